package graph

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// builder is a graph in the making.
type builder struct {
	in       Input
	nodes    map[string]*Node
	children map[string][]string
	cycles   [][]string
	leftOut  []string
}

// Make draws in.
func Make(in Input) Graph {
	b := &builder{in: in, nodes: map[string]*Node{}, children: map[string][]string{}, leftOut: slices.Clone(in.LeftOut)}
	b.define()
	b.recall()
	for _, id := range b.ids() {
		if n := b.nodes[id]; n.from != "" {
			b.link(n)
		}
	}
	b.cut()
	for _, id := range b.ids() {
		n := b.nodes[id]
		n.judge(in, b.nodes[n.from])
	}
	b.outside()
	return b.arrange()
}

func (b *builder) ids() []string { return slices.Sorted(maps.Keys(b.nodes)) }

// add returns the node with the id, which is new unless there is one.
func (b *builder) add(id string, kind Kind, name string) *Node {
	if b.nodes[id] == nil {
		b.nodes[id] = &Node{ID: id, Kind: kind, Name: name}
	}
	return b.nodes[id]
}

// define adds what is defined.
func (b *builder) define() {
	var tools []string
	for _, img := range b.in.Images {
		if img.Kind == factory.KindToolbox {
			tools = append(tools, img.Name)
			continue
		}
		n := b.add(img.Name, Image, img.Name)
		n.Owner, n.from, n.distro, n.ends, n.Note = img.Owner.Team, img.From, img.Distro, img.EndOfLife, img.Summary
		for _, a := range img.Archives {
			n.sources = append(n.sources, a.ID)
		}
	}
	if len(tools) > 0 {
		slices.Sort(tools)
		b.leftOut = append(b.leftOut, fmt.Sprintf("what is never published (%s)", some(tools)))
	}
	for _, name := range b.in.Broken {
		n := b.add(name, Image, name)
		if n.from = b.in.Behind[name]; n.from != "" {
			n.mark(Broken, "the definition of %s, which it is built on, is not valid", n.from)
			continue
		}
		n.mark(Broken, "its definition is not valid: factory check")
	}
}

// recall adds what was released or done. What a definition does not say, because it is broken or gone, its newest release may.
func (b *builder) recall() {
	for _, name := range slices.Sorted(maps.Keys(b.in.Facts)) {
		f := b.in.Facts[name]
		if b.nodes[name] == nil {
			if f.Newest == nil {
				continue // a run knows it, and nothing came of it
			}
			b.add(name, Image, name).mark(Gone, "nobody defines it any more")
		}
		n := b.nodes[name]
		n.Release, n.InForce, n.LastRun = f.Newest, f.InForce, f.Last
		if known := n.distro.Family != ""; !known && n.from == "" && f.Newest != nil && f.Newest.Parent != nil {
			n.from = f.Newest.Parent.Image
		}
	}
}

// link makes n a child of the image that it is built on.
func (b *builder) link(n *Node) {
	if b.nodes[n.from] == nil {
		parent := b.add(n.from, Image, n.from)
		parent.distro = n.distro
		parent.mark(Broken, "nobody defines it, and %s is built on it", n.ID)
	}
	n.Parent = n.from
	b.children[n.from] = append(b.children[n.from], n.ID)
}

// cut finds the cycles, marks who is in them and makes the first of each a root.
func (b *builder) cut() {
	done := map[string]bool{}
	for _, start := range b.ids() {
		var path []string
		on := map[string]bool{}
		id := start
		for ; id != "" && !done[id] && !on[id]; id = b.nodes[id].Parent {
			path, on[id] = append(path, id), true
		}
		if on[id] {
			b.cycle(path[slices.Index(path, id):])
		}
		for _, id := range path {
			done[id] = true
		}
	}
}

func (b *builder) cycle(members []string) {
	first := slices.Index(members, slices.Min(members))
	members = slices.Concat(members[first:], members[:first])
	b.cycles = append(b.cycles, members)
	text := strings.Join(append(slices.Clone(members), members[0]), " → ")
	for _, id := range members {
		b.nodes[id].mark(Cycle, "built on itself: %s", text)
	}
	root := b.nodes[members[0]]
	b.children[root.Parent] = slices.DeleteFunc(b.children[root.Parent], func(id string) bool { return id == root.ID })
	root.Parent = ""
}

// arrange puts everything into its place.
func (b *builder) arrange() Graph {
	g := Graph{At: b.in.At, Counts: map[State]int{}, Groups: []Group{}, Nodes: []Node{}, Cycles: [][]string{}, LeftOut: b.leftOut}
	g.Cycles = append(g.Cycles, b.cycles...)
	groups := map[string]*Group{}
	for _, id := range b.ids() {
		n := b.nodes[id]
		n.settle()
		if n.Parent != "" {
			continue
		}
		name := groupName(n.distro)
		if groups[name] == nil {
			groups[name] = &Group{Name: name, Archives: []string{}, distro: n.distro}
		}
		groups[name].Roots = append(groups[name].Roots, id)
	}
	for _, group := range slices.SortedFunc(maps.Values(groups), compareGroups) {
		for _, root := range group.Roots {
			b.place(&g, group, root, 0)
		}
		slices.Sort(group.Archives)
		group.Archives = slices.Compact(group.Archives)
		g.Groups = append(g.Groups, *group)
	}
	return g.indexed()
}

// place adds a node with all that builds on it, and returns how many images that are.
func (b *builder) place(g *Graph, group *Group, id string, depth int) (images int) {
	n := b.nodes[id]
	n.Depth, n.Group, n.Children = depth, group.Name, b.children[id]
	slices.SortFunc(n.Children, func(a, c string) int {
		return cmp.Or(cmp.Compare(order(b.nodes[a].Kind), order(b.nodes[c].Kind)), cmp.Compare(a, c))
	})
	group.Archives = append(group.Archives, n.sources...)
	at := len(g.Nodes)
	g.Nodes = append(g.Nodes, *n)
	for _, child := range n.Children {
		g.Nodes[at].Descendants += b.place(g, group, child, depth+1)
	}
	if n.Kind != Image {
		return 0
	}
	g.Images++
	group.Images++
	g.Counts[n.State]++
	g.Deepest = max(g.Deepest, depth)
	return g.Nodes[at].Descendants + 1
}

func order(k Kind) int { return slices.Index([]Kind{Image, Dependent, Observed}, k) }

const noGroup = "distribution not known"

func groupName(d factory.Distro) string {
	if d.Family == "" {
		return noGroup
	}
	return strings.TrimSpace(d.Family + " " + d.Release)
}

// compareGroups sorts releases as numbers, and what is not known last.
func compareGroups(a, b *Group) int {
	if a.distro.Family == "" || b.distro.Family == "" {
		return -cmp.Compare(a.distro.Family, b.distro.Family)
	}
	return cmp.Or(cmp.Compare(a.distro.Family, b.distro.Family), cmp.Compare(len(a.distro.Release), len(b.distro.Release)), cmp.Compare(a.distro.Release, b.distro.Release))
}

// indexed is g with what finds its nodes.
func (g Graph) indexed() Graph {
	g.at = map[string]int{}
	for i, n := range g.Nodes {
		g.at[n.ID] = i
	}
	if g.LeftOut == nil {
		g.LeftOut = []string{}
	}
	return g
}
