package graph_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/graph"
)

// tokens reads DOT as Graphviz' scanner does: between double quotes a backslash and a quote are a quote, a backslash and a backslash
// stay both, and nothing else is special. Texts are returned with a quote in front.
func tokens(t *testing.T, dot string) (all []string) {
	t.Helper()
	for i := 0; i < len(dot); {
		switch c := dot[i]; {
		case strings.IndexByte(" \n", c) >= 0:
			i++
		case c == '"':
			var b strings.Builder
			for i++; i < len(dot) && dot[i] != '"'; i++ {
				switch {
				case dot[i] == '\n':
					t.Fatalf("a text over two lines in\n%s", dot)
				case dot[i] == '\\' && i+1 < len(dot) && dot[i+1] == '"':
					i++
				case dot[i] == '\\' && i+1 < len(dot) && dot[i+1] == '\\':
					b.WriteByte('\\')
					i++
				}
				b.WriteByte(dot[i])
			}
			if i++; i > len(dot) {
				t.Fatalf("a text without an end in\n%s", dot)
			}
			all = append(all, `"`+b.String())
		case strings.IndexByte("{}[]=,;", c) >= 0:
			all, i = append(all, string(c)), i+1
		default:
			end := i + strings.IndexAny(dot[i:]+" ", " {}[]=,;\"\n")
			all, i = append(all, dot[i:end]), end
		}
	}
	return all
}

// drawing is what Graphviz would make of DOT: nodes and edges.
func drawing(t *testing.T, dot string) (nodes, edges []string) {
	t.Helper()
	all := tokens(t, dot)
	depth := 0
	for i, token := range all {
		switch token {
		case "{", "[":
			depth++
		case "}", "]":
			depth--
		case "->":
			edges = append(edges, all[i-1]+" -> "+all[i+1])
		}
		if strings.HasPrefix(token, `"`) && i+1 < len(all) && all[i+1] == "[" {
			nodes = append(nodes, token)
		}
		if i > 0 && strings.HasPrefix(token, `"`) && !slices.Contains([]string{"=", "->", ";", "{", "}"}, all[i-1]) {
			t.Fatalf("a text %s after %s", token, all[i-1])
		}
	}
	if depth != 0 || all[0] != "digraph" || all[len(all)-1] != "}" {
		t.Fatalf("not balanced:\n%s", dot)
	}
	return nodes, edges
}

func TestDOT(t *testing.T) {
	t.Parallel()
	g := graph.Make(graph.Input{At: now, LeftOut: []string{`a "b" \ & <c>`}, Images: []factory.Image{image("debian-12", ""), image("app", "debian-12"), image("web", "app")}, Outside: true,
		Dependents: []factory.Dependent{{Name: `pay\ments "x"`, Image: "app"}}})
	nodes, edges := drawing(t, string(g.DOT()))
	if want := []string{`"debian-12`, `"app`, `"web`, `"dependent:pay\\ments "x"`}; !slices.Equal(nodes, want) {
		t.Errorf("nodes %q", nodes)
	}
	if want := []string{`"debian-12 -> "app`, `"app -> "web`, `"app -> "dependent:pay\\ments "x"`}; !slices.Equal(edges, want) {
		t.Errorf("edges %q", edges)
	}
	for _, want := range []string{`left out: a \"b\" \\ &amp; <c>\l"`, `label="debian 12, 3 images, packages from debian, debian-security\l"`, `label="debian-12\lno release · 0`, "rankdir=LR", "dashed"} {
		if want = strings.TrimSuffix(want, " · 0"); !strings.Contains(string(g.DOT()), want) {
			t.Errorf("%s is not in\n%s", want, g.DOT())
		}
	}
}

// Where Graphviz is there, it reads it too.
func TestGraphvizReadsIt(t *testing.T) {
	t.Parallel()
	dot, err := exec.LookPath("dot")
	if err != nil {
		t.Skip("no Graphviz here; TestDOT reads it in its place")
	}
	cmd := exec.Command(dot, "-Tplain")
	cmd.Stdin = strings.NewReader(string(graph.Make(hostile("a\\", "\"];}\n\\l&lt;")).DOT()))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "\nnode ") {
		t.Errorf("%v\n%s", err, out)
	}
}

func FuzzDOT(f *testing.F) {
	for _, s := range []string{"debian-12", `a"b`, `a\`, `\"`, `\\"`, "a\nb", "//", "/* ", "#", `"];}`, "<b>x</b>", "&quot;", "\x00\xff", "\\N\\G"} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		g := graph.Make(hostile(name, text))
		nodes, edges := drawing(t, string(g.DOT()))
		children := 0
		for _, n := range g.Nodes {
			if n.Parent != "" {
				children++
			}
		}
		if len(nodes) != len(g.Nodes) || len(edges) != children {
			t.Error(fmt.Sprintf("%d of %d nodes, %d of %d edges in\n", len(nodes), len(g.Nodes), len(edges), children), string(g.DOT()))
		}
	})
}
