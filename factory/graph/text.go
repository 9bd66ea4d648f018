package graph

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// Line is a line of the tree as text.
type Line struct {
	Indent string // the tree's own lines
	Group  *Group // nil in the line of a node
	Node   *Node  // nil in the line of a group
}

// Lines returns the tree as text, one line for each group and node.
func (g Graph) Lines() []Line {
	var all []Line
	for i := range g.Groups {
		all = append(all, Line{Group: &g.Groups[i]})
		all = g.below(all, g.Groups[i].Roots, "")
	}
	return all
}

func (g Graph) below(all []Line, ids []string, indent string) []Line {
	for i, id := range ids {
		branch, further := "├─ ", "│  "
		if i == len(ids)-1 {
			branch, further = "└─ ", "   "
		}
		n := &g.Nodes[g.at[id]]
		all = append(all, Line{Indent: indent + branch, Node: n})
		all = g.below(all, n.Children, indent+further)
	}
	return all
}

// Cells are a line as columns: name, tag of the newest release, its age, what is in force, what the last run did, state.
func (g Graph) Cells(l Line) []string {
	if l.Group != nil {
		return []string{shown(l.Group.Name), "", "", "", "", shown(l.Group.about())}
	}
	n := l.Node
	return []string{l.Indent + shown(n.Name), n.tag(), g.nodeAge(*n), shown(g.force(*n, true)), g.last(*n), shown(n.Telling())}
}

func (n Node) tag() string {
	if n.Release == nil {
		return ""
	}
	return n.Release.Tag.String()
}

// nodeAge is how old the newest release is, or the observed image; empty when there is none.
func (g Graph) nodeAge(n Node) string {
	switch {
	case n.Release != nil:
		return g.age(n.Release.Created)
	case n.Kind == Observed:
		return g.age(n.created)
	}
	return ""
}

// force is the environments that something is in force in, with its age where that is not the newest release.
func (g Graph) force(n Node, ages bool) string {
	var parts []string
	for _, s := range n.InForce {
		text := string(s.Env)
		if ages && (n.Release == nil || s.Digest != n.Release.Digest) {
			text += " (" + g.age(s.Created) + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

// last is what the last run did, and when.
func (g Graph) last(n Node) string {
	l := n.LastRun
	if l == nil {
		return ""
	}
	return l.did() + " " + g.age(l.At)
}

// did is what a run did, in a word.
func (l Look) did() string {
	if l.Error != "" {
		return "failed"
	}
	words := map[factory.Action]string{factory.Rebuild: "rebuilt", factory.Keep: "kept", factory.Rescan: "rescanned", factory.Skip: "skipped",
		factory.Yield: "left", factory.Hold: "held", factory.Fail: "failed"}
	return cmp.Or(words[l.Action], shown(string(l.Action)))
}

// Telling is the state and why; what is well has its note.
func (n Node) Telling() string {
	var parts []string
	for _, m := range n.Marks {
		parts = append(parts, string(m.State)+": "+m.Text)
	}
	if len(parts) == 0 {
		parts = []string{string(n.State)}
	}
	if n.Kind != Image && n.Note != "" {
		parts = append(parts, n.Note)
	}
	return strings.Join(parts, "; ")
}

// about is what there is to say of a group.
func (g Group) about() string {
	text := plural(g.Images, "image")
	if len(g.Archives) > 0 {
		text += ", packages from " + strings.Join(g.Archives, ", ")
	}
	return text
}

// Title says what the graph is of, and of when.
func (g Graph) Title() string {
	known := 0
	for _, group := range g.Groups {
		if group.Name != noGroup {
			known++
		}
	}
	text := fmt.Sprintf("%s of %s, %s", plural(g.Images, "image"), plural(known, "distribution"), depth(g.Deepest))
	if g.About != "" {
		text = fmt.Sprintf("%s with what is above and below it: %s", shown(g.About), text)
	}
	return text + "; as of " + g.At.UTC().Format("2006-01-02 15:04 MST")
}

func depth(d int) string {
	if d == 0 {
		return "none on another one"
	}
	return fmt.Sprintf("up to %d deep", d)
}
