package graph_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/graph"
)

// lines are the graph as text, columns apart by bars.
func lines(g graph.Graph) string {
	var b strings.Builder
	for _, l := range g.Lines() {
		b.WriteString(strings.TrimRight(strings.Join(g.Cells(l), "|"), "|") + "\n")
	}
	return b.String()
}

func TestMake(t *testing.T) {
	t.Parallel()
	toolbox := image("toolbox", "")
	toolbox.Kind = factory.KindToolbox
	rhel := image("rhel-9", "")
	rhel.Distro, rhel.Archives = factory.Distro{Family: "redhat", Release: "9"}, []factory.Archive{{ID: "redhat-ubi"}}
	base, old := released("debian-12", 3*hour, nil), released("debian-12", 9*day, nil)
	python := released("debian-12-python", 2*hour, base)
	in := graph.Input{At: now, MaxAge: 7 * day, LeftOut: []string{"runs before the newest 100"},
		Images: []factory.Image{rhel, image("web", "debian-12-python"), toolbox, image("debian-12-static", "debian-12"), image("debian-12-python", "debian-12"), image("debian-12", "")},
		Facts: map[string]graph.Facts{
			"debian-12": {Newest: base, InForce: []graph.Standing{standing(factory.Dev, base), standing(factory.Prod, old)},
				Last: &graph.Look{Run: "run-1", At: now.Add(-4 * hour), Action: factory.Keep}},
			"debian-12-python": {Newest: python, InForce: []graph.Standing{standing(factory.Dev, python)}},
			"never-made":       {Last: &graph.Look{Action: factory.Fail}},
		}}
	g := graph.Make(in)
	want := `debian 12|||||4 images, packages from debian, debian-security
└─ debian-12|20261123-1a2b3c4d-dev|3 h|dev prod (9 d)|kept 4 h|ok
   ├─ debian-12-python|20261123-1a2b3c4d-dev|2 h|dev||ok
   │  └─ web|||||never: no release yet
   └─ debian-12-static|||||never: no release yet
redhat 9|||||1 image, packages from redhat-ubi
└─ rhel-9|||||never: no release yet
`
	if got := lines(g); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	root, _ := g.Node("debian-12")
	web, ok := g.Node("web")
	if root.Descendants != 3 || root.Depth != 0 || root.AgeHours != 3 || !ok || web.Depth != 2 || web.Parent != "debian-12-python" || web.Group != "debian 12" || web.Owner != "platform" {
		t.Errorf("%+v\n%+v", root, web)
	}
	if g.Images != 5 || g.Deepest != 2 || !reflect.DeepEqual(g.Counts, map[graph.State]int{graph.OK: 2, graph.Never: 3}) {
		t.Errorf("%d images, %d deep, %v", g.Images, g.Deepest, g.Counts)
	}
	if want := []string{"runs before the newest 100", "what is never published (toolbox)"}; !slices.Equal(g.LeftOut, want) {
		t.Errorf("left out %q", g.LeftOut)
	}
	if want := "5 images of 2 distributions, up to 2 deep; as of 2026-11-23 06:00 UTC"; g.Title() != want {
		t.Errorf("title %q", g.Title())
	}
	if _, ok := g.Node("toolbox"); ok {
		t.Error("the toolbox is in it")
	}
	slices.Reverse(in.Images)
	if again := graph.Make(in); lines(again) != want || !bytes.Equal(again.SVG(), g.SVG()) || !bytes.Equal(again.DOT(), g.DOT()) {
		t.Error("the order of the definitions matters")
	}
}

func TestNothing(t *testing.T) {
	t.Parallel()
	g := graph.Make(graph.Input{At: now})
	if lines(g) != "" || g.Nodes == nil || g.LeftOut == nil || g.Cycles == nil || g.Title() != "0 images of 0 distributions, none on another one; as of 2026-11-23 06:00 UTC" {
		t.Errorf("%+v %q", g, g.Title())
	}
	wellFormed(t, g.SVG())
}

func TestStates(t *testing.T) {
	t.Parallel()
	parent, before := released("debian-12", 3*hour, nil), released("debian-12", 3*day, nil)
	other := released("debian-13", 3*hour, nil)
	well := func() graph.Facts { return graph.Facts{Newest: released("app", hour, parent)} }
	with := func(f func(*graph.Facts)) graph.Facts { w := well(); f(&w); return w }
	look := func(l graph.Look) graph.Facts {
		return with(func(f *graph.Facts) { l.At = now.Add(-hour); f.Last = &l })
	}
	for _, c := range []struct {
		name  string
		facts graph.Facts
		edit  func(*factory.Image)
		state graph.State
		tone  graph.Tone
		text  string
		last  string
	}{
		{name: "well", facts: well(), state: graph.OK, tone: graph.Good, text: "ok"},
		{name: "rebuilt", facts: look(graph.Look{Action: factory.Rebuild}), state: graph.OK, tone: graph.Good, text: "ok", last: "rebuilt 1 h"},
		{name: "failed", facts: look(graph.Look{Action: factory.Rebuild, Error: "test: sudo is there\nmore"}), state: graph.Failed, tone: graph.Bad, text: "failed: test: sudo is there", last: "failed 1 h"},
		{name: "could not be planned", facts: look(graph.Look{Action: factory.Fail, Reason: "archive debian: down"}), state: graph.Failed, tone: graph.Bad, text: "failed: archive debian: down", last: "failed 1 h"},
		{name: "held", facts: look(graph.Look{Action: factory.Hold, Reason: "debian-12 failed"}), state: graph.Held, tone: graph.Warn, text: "held: debian-12 failed", last: "held 1 h"},
		{name: "yielded", facts: look(graph.Look{Action: factory.Yield}), state: graph.OK, tone: graph.Good, text: "ok", last: "left 1 h"},
		{name: "an action of a later factory", facts: look(graph.Look{Action: "dance\x1b"}), state: graph.OK, tone: graph.Good, text: "ok", last: "dance· 1 h"},
		{name: "never", facts: graph.Facts{}, state: graph.Never, tone: graph.Neutral, text: "never: no release yet"},
		{name: "not set up", facts: graph.Facts{Last: &graph.Look{At: now, Action: factory.Skip, Reason: "not set up here: no archive"}}, state: graph.Never, tone: graph.Neutral,
			text: "never: no release yet, not set up here: no archive", last: "skipped 0 s"},
		{name: "on an older parent", facts: graph.Facts{Newest: released("app", hour, before)}, state: graph.Behind, tone: graph.Warn,
			text: "behind: built on 20261120-1a2b3c4d-dev of debian-12, which has 20261123-1a2b3c4d-dev"},
		{name: "on another parent", facts: graph.Facts{Newest: released("app", hour, other)}, state: graph.Behind, tone: graph.Warn, text: "behind: its newest release is built on debian-13, not on debian-12"},
		{name: "on no parent", facts: graph.Facts{Newest: released("app", hour, nil)}, state: graph.Behind, tone: graph.Warn, text: "behind: its newest release is not built on debian-12 yet"},
		{name: "overdue", facts: graph.Facts{Newest: released("app", 9*day, parent)}, state: graph.Overdue, tone: graph.Warn, text: "overdue: 9 d old, and a refresh was due after 7 d"},
		{name: "due tonight", facts: graph.Facts{Newest: released("app", 8*day, parent)}, state: graph.OK, tone: graph.Good, text: "ok"},
		{name: "from the future", facts: graph.Facts{Newest: released("app", -day, parent)}, state: graph.OK, tone: graph.Good, text: "ok"},
		{name: "ended", facts: well(), edit: func(i *factory.Image) { i.EndOfLife = date("2026-11-22") }, state: graph.Ended, tone: graph.Warn, text: "ended: support ended on 2026-11-22"},
		{name: "its last day", facts: well(), edit: func(i *factory.Image) { i.EndOfLife = date("2026-11-23") }, state: graph.OK, tone: graph.Good, text: "ok"},
		{name: "the worst comes first", state: graph.Breach, tone: graph.Bad, text: "breach: prod: CVE-2026-1 is late; held: x; unfixed: a fix is there since 3 d that is not in prod", last: "held 1 h",
			facts: with(func(f *graph.Facts) {
				s := standing(factory.Prod, parent)
				s.Breach, s.DriftHours = "CVE-2026-1 is late", 80
				f.InForce, f.Last = []graph.Standing{s}, &graph.Look{At: now.Add(-hour), Action: factory.Hold, Reason: "x"}
			})},
	} {
		img := image("app", "debian-12")
		if c.edit != nil {
			c.edit(&img)
		}
		g := graph.Make(graph.Input{At: now, MaxAge: 7 * day, Images: []factory.Image{image("debian-12", ""), img}, Facts: map[string]graph.Facts{"debian-12": {Newest: parent}, "app": c.facts}})
		n, _ := g.Node("app")
		cells := g.Cells(g.Lines()[2])
		if n.State != c.state || n.State.Tone() != c.tone || n.Telling() != c.text || cells[4] != c.last {
			t.Errorf("%s: %s (%s): %q, last %q; want %s (%s): %q, %q", c.name, n.State, n.State.Tone(), n.Telling(), cells[4], c.state, c.tone, c.text, c.last)
		}
		if !strings.Contains(string(g.SVG()), string(c.state)) {
			t.Errorf("%s: the picture does not say so", c.name)
		}
	}
}

// What a definition does not say any more, the newest release may.
func TestBrokenAndGone(t *testing.T) {
	t.Parallel()
	base := released("debian-12", hour, nil)
	g := graph.Make(graph.Input{At: now, Images: []factory.Image{image("debian-12", ""), image("orphan", "nobody")}, Broken: []string{"app", "fresh", "web"}, Behind: map[string]string{"web": "app"}, Facts: map[string]graph.Facts{
		"debian-12": {Newest: base}, "app": {Newest: released("app", hour, base)}, "retired": {Newest: released("retired", hour, base)}}})
	want := `debian 12|||||6 images, packages from debian, debian-security
├─ debian-12|20261123-1a2b3c4d-dev|1 h|||ok
│  ├─ app|20261123-1a2b3c4d-dev|1 h|||broken: its definition is not valid: factory check
│  │  └─ web|||||broken: the definition of app, which it is built on, is not valid; never: no release yet
│  └─ retired|20261123-1a2b3c4d-dev|1 h|||gone: nobody defines it any more
└─ nobody|||||broken: nobody defines it, and orphan is built on it; never: no release yet
   └─ orphan|||||never: no release yet
distribution not known|||||1 image
└─ fresh|||||broken: its definition is not valid: factory check; never: no release yet
`
	if got := lines(g); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestCycles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from   map[string]string
		cycles string
		tree   string
	}{
		{map[string]string{"a": "a"}, "[[a]]", "a"},
		{map[string]string{"c": "a", "a": "b", "b": "c", "leaf": "b"}, "[[a b c]]", "a  c   b    leaf"},
		{map[string]string{"x": "y", "y": "x", "m": "n", "n": "m", "root": ""}, "[[m n] [x y]]", "m  n root x  y"},
	} {
		var images []factory.Image
		for name, from := range c.from {
			images = append(images, image(name, from))
		}
		g := graph.Make(graph.Input{At: now, Images: images})
		if got := fmt.Sprint(g.Cycles); got != c.cycles {
			t.Errorf("%v: cycles %s, want %s", c.from, got, c.cycles)
		}
		var tree []string
		for _, n := range g.Nodes {
			tree = append(tree, strings.Repeat(" ", n.Depth)+n.Name)
			in := slices.ContainsFunc(g.Cycles, func(cycle []string) bool { return slices.Contains(cycle, n.Name) })
			if in != (n.State == graph.Cycle) {
				t.Errorf("%v: %s is %s", c.from, n.Name, n.State)
			}
		}
		if got := strings.Join(tree, " "); got != c.tree {
			t.Errorf("%v: %q, want %q", c.from, got, c.tree)
		}
		if len(g.Nodes) != len(images) {
			t.Errorf("%v: %d nodes", c.from, len(g.Nodes))
		}
	}
	g := graph.Make(graph.Input{At: now, Images: []factory.Image{image("b", "a"), image("a", "b")}})
	if n, _ := g.Node("b"); n.Marks[0].Text != "built on itself: a → b → a" {
		t.Errorf("%+v", n.Marks)
	}
}

func TestAround(t *testing.T) {
	t.Parallel()
	in := graph.Input{At: now, Images: []factory.Image{image("base", ""), image("app", "base"), image("web", "app"), image("other", "base"), image("alone", ""), image("x", "y"), image("y", "x")}}
	whole := graph.Make(in)
	g, err := whole.Around("app")
	want := "debian 12|||||3 images, packages from debian, debian-security\n└─ base|||||never: no release yet\n   └─ app|||||never: no release yet\n      └─ web|||||never: no release yet\n"
	if got := lines(g); err != nil || got != want {
		t.Errorf("%v\n%swant\n%s", err, got, want)
	}
	base, _ := g.Node("base")
	if g.About != "app" || g.Images != 3 || g.Deepest != 2 || base.Descendants != 3 || len(g.Cycles) != 0 || !slices.Equal(g.LeftOut, []string{"4 images that are neither above nor below app"}) {
		t.Errorf("%+v", g)
	}
	if !strings.HasPrefix(g.Title(), "app with what is above and below it: 3 images of 1 distribution, up to 2 deep; ") {
		t.Error(g.Title())
	}
	if g, err = whole.Around("x"); err != nil || len(g.Cycles) != 1 || g.Images != 2 {
		t.Errorf("%v %+v", err, g)
	}
	if len(whole.Nodes) != 7 || len(whole.Groups[0].Roots) != 3 {
		t.Error("the whole graph was changed")
	}
	if _, err := whole.Around("nobody"); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
