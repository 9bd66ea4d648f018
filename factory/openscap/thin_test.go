package openscap

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// small is a data stream with one of everything that can be left out.
const small = `<?xml version="1.0"?>
<ds:all xmlns:ds="urn:ds" xmlns:x="http://checklists.nist.gov/xccdf/1.2" xmlns:o="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:q="http://scap.nist.gov/schema/ocil/2.0">
<x:Profile id="one"><x:select idref="a" selected="true"/><x:select idref="c" selected="false"/><x:select idref="g" selected="true"/><x:refine-value idref="v" selector="1"/></x:Profile>
<x:Profile id="two"><x:select idref="a" selected="1"/><x:select idref="b" selected="true"/><x:select idref="e" selected="true"/><x:refine-value idref="v" selector="1"/></x:Profile>
<x:Profile id="three" extends="two"><x:select idref="d" selected="true"/></x:Profile>
<x:reference href="https://example.com/">R</x:reference>
<x:Group id="g" selected="false"><x:Rule id="a"><x:title>A</x:title><x:reference href="https://www.cisecurity.org/benchmark/x">1.1</x:reference>
<x:reference href="https://example.com/">R1</x:reference><x:fix>rm</x:fix><x:requires idref="d"/><x:conflicts idref="c"/><x:conflicts idref="b"/><x:check><x:check-export value-id="w"/><x:check-content-ref name="def:a"/></x:check></x:Rule></x:Group>
<x:Rule id="b"><x:title>B</x:title><x:check><x:check-export value-id="v"/><x:check-content-ref name="def:b"/></x:check></x:Rule>
<x:Rule id="c"><x:check-content-ref name="def:c"/></x:Rule><x:Rule id="d"/><x:Rule id="e"/>
<cpe>def:cpe</cpe>
<o:definitions><o:definition id="def:a"><o:criterion test_ref="tst:a"/><o:extend definition_ref="def:ext"/></o:definition><o:definition id="def:b"/>
<o:definition id="def:c"/><o:definition id="def:ext"/><o:definition id="def:cpe"/></o:definitions>
<o:tests><o:test id="tst:a"><o:object object_ref="obj:a"/></o:test><o:test id="tst:c"/></o:tests>
<o:objects><o:object id="obj:a"><o:set><o:object_reference>obj:b</o:object_reference></o:set></o:object><o:object id="obj:b"/><o:object id="obj:c"/></o:objects>
<q:questionnaires><q:questionnaire id="ocil:a"/></q:questionnaires>
</ds:all>`

func taken(t testing.TB, data string) *stream {
	t.Helper()
	st, err := readStream([]byte(data))
	must(t, err)
	return st
}

// What a profile's rules, and rules that are named, lead to is kept as it was, byte for byte; all else is gone.
func TestThin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		profiles, rules []string
		all             bool
		kept, gone      []string
	}{
		"a profile": {[]string{"one"}, nil, true,
			[]string{`<x:Profile id="one">`, `<x:Rule id="a">`, `<x:Rule id="d"/>`, `id="def:a"`, `id="def:ext"`, `id="def:cpe"`, `id="tst:a"`, `id="obj:a"`, `id="obj:b"`, ">1.1<", `<x:refine-value idref="v" selector="1"/>`, `<x:select idref="g" selected="true"/>`},
			[]string{`id="two"`, `id="three"`, `Rule id="b"`, `idref="b"`, `idref="c"`, `id="def:b"`, `id="def:c"`, `id="tst:c"`, `id="obj:c"`, "<x:fix>", "example.com", "ocil:a", ">R<"}},
		"what it builds on": {[]string{"three"}, nil, true, []string{`id="two"`, `Rule id="b"`, `id="def:b"`, `Rule id="e"`, `<x:conflicts idref="b"/>`}, []string{`id="one"`, `Rule id="c"`, `<x:conflicts idref="c"/>`}},
		"rules alone":       {[]string{"two"}, []string{"c", "unknown"}, false, []string{`id="two"`, `Rule id="c"`, `id="def:c"`}, []string{`Rule id="a"`, `Rule id="b"`, `idref="a"`, `def:a"`}},
		"rules on top":      {[]string{"one"}, []string{"b"}, true, []string{`Rule id="a"`, `Rule id="b"`, `<x:conflicts idref="b"/>`}, []string{`Rule id="c"`}},
		"no such profile":   {[]string{"four"}, nil, true, []string{"<ds:all", `id="def:cpe"`}, []string{"Profile", "Rule"}},
	} {
		b, n := taken(t, small).thin(c.profiles, c.rules, c.all)
		for _, want := range c.kept {
			if !bytes.Contains(b, []byte(want)) {
				t.Errorf("%s: %s is gone of\n%s", name, want, b)
			}
		}
		for _, unwanted := range c.gone {
			if bytes.Contains(b, []byte(unwanted)) {
				t.Errorf("%s: %s is still in\n%s", name, unwanted, b)
			}
		}
		again, less := taken(t, string(b)).thin(c.profiles, c.rules, c.all)
		if n < 5 || less != 0 || !bytes.Equal(again, b) {
			t.Errorf("%s: %d were left out, and then %d more", name, n, less)
		}
	}
}

func TestShared(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		old, new  string
		same, own string
		unknown   bool
	}{
		"a demands d, which is off in both; its group is on in one": {same: "", own: "a"},
		"its group is on in both":                                   {old: `<x:select idref="e" selected="true"/>`, new: `<x:select idref="g" selected="1"/>`, own: "a"}, // b, that it excludes, is on in one
		"nothing that it excludes differs":                          {old: `<x:Group id="g" selected="false"><x:Rule id="a"><x:title>A</x:title>`, new: `<x:Group id="g"><x:Rule id="b"/><x:Rule id="a"/><x:Rule id="z">`, same: "a"},
		"a value that it is given differs":                          {old: `idref="v" selector="1"/></x:Profile>` + "\n" + `<x:Profile id="two">`, new: `idref="w" selector="1"/></x:Profile><x:Profile id="two">`, own: "a"},
		"its group is off":                                          {old: `<x:select idref="g" selected="true"/>`, new: ""},
		"a profile that builds on another one":                      {old: `<x:Profile id="one">`, new: `<x:Profile id="one" extends="two">`, unknown: true},
		"a profile that is not there":                               {old: `<x:Profile id="one">`, new: `<x:Profile id="first">`, unknown: true},
	} {
		same, own, known := taken(t, strings.Replace(small, c.old, c.new, 1)).shared("one", "two")
		var both []string
		for id := range same {
			both = append(both, id)
		}
		if known == c.unknown || strings.Join(both, " ") != c.same || strings.Join(own, " ") != c.own {
			t.Errorf("%s: %q and %q, known %v", name, both, own, known)
		}
	}
}

// Level 1 has rules of its own where a value differs: only these are evaluated, and what level 2 says of them is not taken.
func TestLevel1OfItsOwn(t *testing.T) {
	t.Parallel()
	const rule = prefix + "accounts_root_path_dirs_no_write"
	value := `<x:refine-value idref="mode" selector="strict"/>`
	box := &toolbox{ship: func(b []byte) []byte {
		b = swap(b, `<x:Profile id="`+debianProfiles[0]+`">`, `<x:Profile id="`+debianProfiles[0]+`">`+value)
		return swap(b, `<x:Rule id="`+rule+`">`, `<x:Rule id="`+rule+`"><x:check-export value-id="mode"/>`)
	}, edit: func(v factory.View, _ *report, f map[string][]byte) {
		if v == factory.ContainerView { // level 2 is stricter
			f["level2.arf.xml"] = swap(f["level2.arf.xml"], `idref="`+rule+`" severity="high"><result>pass`, `idref="`+rule+`"><result>fail`)
		}
	}}
	proven, err := Prover{Runner: box}.Prove(t.Context(), hardened(debian12(), amd64))
	must(t, err)
	one, two := proven.Compliance.Find(factory.ContainerView, 1, amd64), proven.Compliance.Find(factory.ContainerView, 2, amd64)
	if of(one, "accounts_root_path_dirs_no_write").Result != factory.RulePass || of(two, "accounts_root_path_dirs_no_write").Result != factory.RuleFail {
		t.Errorf("level 1 %+v, level 2 %+v", one, two)
	}
	if one.Score().String() != "3 of 3, 1 not applicable" || one.Seconds == 0 || !slices.IsSortedFunc(one.Rules, byRule) || len(proven.Documents) != 6 {
		t.Errorf("%d documents, level 1 %s in %f s: %+v", len(proven.Documents), one.Score(), one.Seconds, one.Rules)
	}
	if method := strings.Join(proven.Compliance.Method, "\n"); !strings.Contains(method, "level 2 has 3 of its rules too") || !strings.Contains(method, "the others (1) were evaluated by themselves: accounts_root_path_dirs_no_write.") {
		t.Error(method)
	}

	// A profile that builds on another one is evaluated whole.
	box = &toolbox{ship: func(b []byte) []byte {
		return swap(b, `<x:Profile id="`+debianProfiles[0]+`"`, `<x:Profile id="`+debianProfiles[0]+`" extends="`+debianProfiles[1]+`"`)
	}}
	proven, err = Prover{Runner: box}.Prove(t.Context(), hardened(debian12(), amd64))
	must(t, err)
	if one := proven.Compliance.Find(factory.ContainerView, 1, amd64); one.Score().NotApplicable != 4 || len(proven.Documents) != 6 {
		t.Errorf("level 1: %s, %d documents", one.Score(), len(proven.Documents))
	}
}

// The content is read once for all images of a run, and again after a failure; one that cannot be read proves nothing.
func TestContents(t *testing.T) {
	t.Parallel()
	box, all := &toolbox{ship: func([]byte) []byte { return []byte("<a><b></a>") }}, &Contents{}
	p := Prover{Runner: box, Contents: all}
	if _, err := p.Prove(t.Context(), hardened(debian12(), amd64)); err == nil || !strings.Contains(err.Error(), "the toolbox's ssg-debian12-ds.xml") {
		t.Errorf("broken content: %v", err)
	}
	box.ship = nil
	for range 2 {
		_, err := p.Prove(t.Context(), hardened(debian12(), amd64))
		must(t, err)
	}
	if box.reads != 2 {
		t.Errorf("the content was read %d times", box.reads)
	}
	nothing := &toolbox{ship: func(b []byte) []byte { return swap(b, `selected="true"`, `selected="false"`) }, edit: func(_ factory.View, _ *report, f map[string][]byte) {
		f["level2.arf.xml"] = swap(f["level2.arf.xml"], "accounts_root_path", "other")
	}}
	if _, err := (Prover{Runner: nothing}).Prove(t.Context(), hardened(debian12(), amd64)); err == nil || !strings.Contains(err.Error(), "level1: none of 0 rules applies") {
		t.Errorf("level 1 selects nothing: %v", err)
	}
}

func FuzzThin(f *testing.F) {
	f.Add([]byte(small))
	f.Add(dataStream())
	f.Add([]byte("<a/>"))
	f.Add([]byte(`<x:Rule xmlns:x="` + xccdf + `" id="a"><x:Rule id="b"/><x:fix/></x:Rule>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		st, err := readStream(data)
		if err != nil {
			return
		}
		b, n := st.thin([]string{"one", "two"}, []string{"b"}, true)
		if len(b) > len(data) || n == 0 && !bytes.Equal(b, data) {
			t.Fatalf("%d left out of %q: %q", n, data, b)
		}
		if _, err := readStream(b); err != nil {
			t.Fatalf("%q became %q: %v", data, b, err)
		}
		z, err := packed(b)
		must(t, err)
		r, err := gzip.NewReader(bytes.NewReader(z))
		must(t, err)
		if again, err := io.ReadAll(r); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("packed %q: %q, %v", b, again, err)
		}
	})
}
