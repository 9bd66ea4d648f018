package rebase

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// tree is a layer of a few paths, in which anything may happen.
func tree(r *rand.Rand, own bool) factory.Content {
	var files []factory.LayerFile
	for _, p := range []string{"a", "a/b", "a/b/c", "a/d", "e", "e/f", "etc/passwd", "g"} {
		switch n := r.IntN(9); {
		case n < 4:
			files = append(files, file(p, fmt.Sprintf("x:%d\n", r.IntN(3))))
		case n < 5:
			files = append(files, dir(p))
		case n < 6:
			files = append(files, link(p, "g"))
		case n == 6 && own:
			files = append(files, gone(p))
		case n == 7 && own:
			files = append(files, dir(p), emptied(p))
		}
	}
	return layer(files...)
}

// moved is a layer as the next release has it: most of it as before, some from elsewhere.
func moved(r *rand.Rand, c factory.Content) factory.Content {
	other, files := tree(r, false), []factory.LayerFile{}
	for _, p := range []string{"a", "a/b", "a/b/c", "a/d", "e", "e/f", "etc/passwd", "g"} {
		from := c
		if r.IntN(5) == 0 {
			from = other
		}
		if i := slices.IndexFunc(from.Files, func(f factory.LayerFile) bool { return f.Path == p }); i >= 0 {
			files = append(files, from.Files[i])
		}
	}
	return layer(files...)
}

// proper leaves out what lies below something that is no directory, as every real filesystem does.
func proper(c factory.Content) factory.Content {
	kinds := map[string]factory.FileKind{}
	for _, f := range c.Files {
		kinds[f.Path] = f.Kind
	}
	c.Files = slices.DeleteFunc(c.Files, func(f factory.LayerFile) bool {
		for d := parent(f.Path); d != ""; d = parent(d) {
			if k, there := kinds[d]; there && k != factory.Directory {
				return true
			}
		}
		return false
	})
	return c
}

// Whatever the layers are: when the rules hold, everything that changed between the bases is in the result as the new base has it, or
// merged; the rest is as the image had it; and on an unchanged base nothing is ever refused for its files or merged.
func TestNothingIsHidden(t *testing.T) {
	t.Parallel()
	r, held := rand.New(rand.NewPCG(1, 2)), 0
	for range 6000 {
		old, own := proper(tree(r, false)), proper(tree(r, true))
		is := proper(moved(r, old))
		p := Platform{Platform: amd64, Format: factory.Deb, Old: []factory.Content{old}, New: []factory.Content{is}, Own: []factory.Content{own}, OldPackages: pkgs("x=1"), NewPackages: pkgs("x=1")}
		checks, merged := Check(p)
		if !OK(checks) {
			continue
		}
		held++
		top := factory.Content{}
		kept := map[string]bool{}
		for _, m := range merged {
			top.Files, kept[m.Path] = append(top.Files, m.LayerFile), true
		}
		before, after, base, was := stack(p.Old, p.Own), stack(p.New, p.Own, []factory.Content{top}), stack(p.New), stack(p.Old)
		paths := maps.Clone(before)
		maps.Copy(paths, after)
		for path := range paths {
			changed := !same(was[path], base[path])
			switch {
			case kept[path]:
			case changed && !same(after[path], base[path]), !changed && !same(after[path], before[path]):
				t.Fatalf("/%s\nold %+v\nnew %+v\nown %+v\nafter %+v", path, old, is, own, after[path])
			}
		}
		p.New = p.Old
		if checks, merged := Check(p); !OK(checks) || merged != nil {
			t.Fatalf("on its own base: %q, %v", wrong(checks), merged)
		}
	}
	if held < 100 {
		t.Errorf("only %d of all were let pass: that proves too little", held)
	}
}

func TestLayersAndSeries(t *testing.T) {
	t.Parallel()
	d := func(s string) factory.Digest { return factory.DigestOf([]byte(s)) }
	for _, c := range []struct {
		image, base []factory.Digest
		want        string
	}{
		{[]factory.Digest{d("a"), d("b"), d("c")}, []factory.Digest{d("a"), d("b")}, "the 2 layers of the old base are the image's lowest; 1 above are its own"},
		{[]factory.Digest{d("a"), d("x"), d("c")}, []factory.Digest{d("a"), d("b")}, "only 1 of the old base's 2 layers"},
		{[]factory.Digest{d("a")}, []factory.Digest{d("a"), d("b")}, "only 1 of the old base's 2 layers"},
		{[]factory.Digest{d("a"), d("b")}, []factory.Digest{d("a"), d("b")}, "it has no layer of its own"},
		{[]factory.Digest{d("a")}, nil, "the old base has no layers"},
	} {
		if got := Layers(amd64, c.image, c.base); !strings.Contains(got.Text, c.want) || got.OK != strings.HasPrefix(c.want, "the 2") {
			t.Errorf("%+v", got)
		}
	}
	twelve, thirteen := factory.Distro{Family: "debian", Release: "12"}, factory.Distro{Family: "debian", Release: "13"}
	for _, c := range []struct {
		from string
		was  factory.Distro
		want bool
	}{{"debian-12", twelve, true}, {"debian-12", thirteen, false}, {"other", twelve, false}, {"", factory.Distro{}, false}} {
		if got := Series(c.from, "debian-12", c.was, twelve); got.OK != c.want || got.Text == "" {
			t.Errorf("%+v", got)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	parse := func(s string) (m map[string]json.RawMessage) {
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, c := range []struct{ was, is, own, want string }{
		{`{"User":"1","Env":["A=1","B=1"]}`, `{"User":"2","Env":["B=2","A=1","N=1"]}`, `{"User":"1","Env":["A=1","B=1","C=1"]}`, `{"Env":["B=2","A=1","N=1","C=1"],"User":"2"}`},
		{`{"User":"1"}`, `{"User":"2"}`, `{"User":"3"}`, `{"User":"3"}`},
		{`{"Entrypoint":["a"],"Cmd":["x"]}`, `{"Entrypoint":["b"],"Cmd":["y"]}`, `{"Entrypoint":["mine"],"Cmd":["x"]}`, `{"Cmd":["x"],"Entrypoint":["mine"]}`},
		{`{"Entrypoint":["a"],"Cmd":["x"]}`, `{"Entrypoint":["b"],"Cmd":["y"]}`, `{"Entrypoint":["a"],"Cmd":["mine"]}`, `{"Cmd":["mine"],"Entrypoint":["b"]}`},
		{`{"Labels":{"a":"1","gone":"1"}}`, `{"Labels":{"a":"2"}}`, `{"Labels":{"a":"1","gone":"1","own":"1"}}`, `{"Labels":{"a":"2","own":"1"}}`},
		{`{"Volumes":{"/a":{}}}`, `{"Volumes":null}`, `{"Volumes":{"/a":{}}}`, `{}`},
		{`{"Env":["A=1"],"WorkingDir":"/a"}`, `{}`, `{"Env":["A=1"],"WorkingDir":"/a"}`, `{}`},
		{`{}`, `{"StopSignal":"SIGINT"}`, `{}`, `{"StopSignal":"SIGINT"}`},
	} {
		got, err := Config(parse(c.was), parse(c.is), parse(c.own))
		text, _ := json.Marshal(got)
		if err != nil || string(text) != c.want {
			t.Errorf("%s %s %s: %s, %v; want %s", c.was, c.is, c.own, text, err, c.want)
		}
	}
	for _, bad := range []string{`{"Env":1}`, `{"Labels":[]}`} {
		if _, err := Config(nil, parse(bad), nil); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// Of each rule the worse result of both images is carried, and it says so.
func TestCarry(t *testing.T) {
	t.Parallel()
	made := func(a, b factory.RuleResult) factory.Compliance {
		return factory.Compliance{Benchmark: "b", Evaluations: []factory.Evaluation{{View: factory.ContainerView, Level: 1, Platform: amd64,
			Rules: []factory.RuleOutcome{{Rule: "a", Result: a}, {Rule: "b", Result: b}}}, {View: factory.ExtendedView, Level: 2, Platform: amd64, Rules: []factory.RuleOutcome{{Rule: "z", Result: factory.RulePass}}}}}
	}
	base := made(factory.RuleFail, factory.RulePass)
	base.Evaluations = base.Evaluations[:1]
	image := made(factory.RulePass, factory.RuleError)
	got := Carry(image, base, "image", "base")
	if r := got.Evaluations[0].Rules; r[0].Result != factory.RuleFail || r[1].Result != factory.RuleError || got.Evaluations[1].Rules[0].Result != factory.RuleUnknown ||
		!strings.Contains(got.Carried, "not evaluated in this image") || image.Evaluations[0].Rules[0].Result != factory.RulePass {
		t.Errorf("%+v", got)
	}
	base.Evaluations[0].Rules = []factory.RuleOutcome{{Rule: "0", Result: factory.RulePass}, {Rule: "b", Result: factory.RulePass}, {Rule: "c", Result: factory.RuleFail}}
	base.ContentDigest, base.Content = factory.DigestOf(nil), "Guide 2"
	got = Carry(image, base, "image", "base")
	var rules []string
	for _, r := range got.Evaluations[0].Rules {
		rules = append(rules, fmt.Sprint(r.Rule, " ", r.Result))
	}
	if strings.Join(rules, ", ") != "0 unknown, a unknown, b error, c fail" || !strings.HasSuffix(got.Carried, "with different contents: none, and Guide 2") {
		t.Errorf("what one of them alone was looked at for: %v, %s", rules, got.Carried)
	}
	if got := Carry(factory.Compliance{NoContent: "there was none"}, base, "", ""); got.NoContent != "" || got.Carried == "" {
		t.Errorf("the new base has content: %+v", got)
	}
	if got := Carry(factory.Compliance{NoContent: "there is none"}, factory.Compliance{NoContent: "there is none"}, "", ""); got.NoContent == "" {
		t.Errorf("%+v", got)
	}
	if got := Carry(factory.Compliance{}, base, "", ""); got.Carried != "" || got.Evaluations != nil {
		t.Errorf("%+v", got)
	}
}

func TestRelations(t *testing.T) {
	t.Parallel()
	got := fmt.Sprint(parseRelations("libc6 (>= 2.34), a:any | b (<<1.0), c [amd64], , d (broken"))
	if got != "[[libc6 (>= 2.34)] [a b (<< 1.0)] [c] [d]]" {
		t.Errorf("%s", got)
	}
	for _, c := range []struct {
		have, op, want string
		holds          bool
	}{
		{"1:1", ">=", "2", true}, {"1~rc1", "<<", "1", true}, {"2", "<=", "2", true}, {"2", ">>", "2", false}, {"2", ">", "1", true}, {"1", "<", "2", true}, {"1", "=", "1", true},
		{"1", "", "", true}, {"1", "??", "1", false}, {"bad version", "=", "bad version", true}, {"bad version", ">=", "1", false},
	} {
		if holds(c.have, c.op, c.want) != c.holds {
			t.Errorf("%s %s %s", c.have, c.op, c.want)
		}
	}
	if f := parseFields("A: 1\n b\nno field\n\n continued\n"); f["a"] != "1\nb\ncontinued" {
		t.Errorf("%q", f)
	}
}

func TestLinksAreFollowed(t *testing.T) {
	t.Parallel()
	v := stack([]factory.Content{layer(link("lib64", "usr/lib64"), link("usr/lib64", "/opt/./lib"), dir("opt"), dir("opt/lib"), file("opt/lib/ld.so", "x"), link("loop", "loop"), link("up", "../../opt"))})
	for p, want := range map[string]bool{"/lib64/ld.so": true, "/up/lib/ld.so": true, "/loop/x": false, "/lib64/none": false} {
		if f, ok := v.at(p); ok != want || want && f.Path != "opt/lib/ld.so" {
			t.Errorf("%s: %v %+v", p, ok, f)
		}
	}
	if got := some(slices.Repeat([]string{"x"}, 14)); !strings.HasSuffix(got, "; and 2 more") {
		t.Errorf("%s", got)
	}
	if count(1, "entry") != "1 entry" || count(2, "entry") != "2 entries" {
		t.Error("counts")
	}
}
