package graph

import (
	"fmt"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// Around is g without what is neither below the image, nor above it. What the counts of a node say is still of the whole graph. An
// image that is not there is ErrNotFound.
func (g Graph) Around(image string) (Graph, error) {
	centre, ok := g.Node(image)
	if !ok || centre.Kind != Image {
		return g, &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("no image %.80q", image), Hint: "factory graph shows all"}
	}
	keep := map[string]bool{}
	for id := image; id != ""; id = g.Nodes[g.at[id]].Parent {
		keep[id] = true
	}
	for _, n := range g.Nodes[g.at[image]+1:] { // those below come right after it
		if n.Depth <= centre.Depth {
			break
		}
		keep[n.ID] = true
	}
	return g.only(image, keep), nil
}

// only is g about an image, with the nodes to keep.
func (g Graph) only(about string, keep map[string]bool) Graph {
	small := Graph{At: g.At, About: about, Counts: map[State]int{}, Groups: []Group{}, Nodes: []Node{}, Cycles: [][]string{}, LeftOut: slices.Clone(g.LeftOut)}
	dropped := func(id string) bool { return !keep[id] }
	inGroup := map[string]int{}
	for _, n := range g.Nodes {
		if dropped(n.ID) {
			continue
		}
		n.Children = slices.DeleteFunc(slices.Clone(n.Children), dropped)
		small.Nodes = append(small.Nodes, n)
		if n.Kind == Image {
			small.Images++
			small.Counts[n.State]++
			small.Deepest = max(small.Deepest, n.Depth)
			inGroup[n.Group]++
		}
	}
	for _, group := range g.Groups {
		if group.Roots = slices.DeleteFunc(slices.Clone(group.Roots), dropped); len(group.Roots) > 0 {
			group.Images = inGroup[group.Name]
			small.Groups = append(small.Groups, group)
		}
	}
	for _, cycle := range g.Cycles {
		if !slices.ContainsFunc(cycle, dropped) {
			small.Cycles = append(small.Cycles, cycle)
		}
	}
	if others := g.Images - small.Images; others > 0 {
		small.LeftOut = append(small.LeftOut, fmt.Sprintf("%s that %s neither above nor below %s", plural(others, "image"), map[bool]string{true: "is", false: "are"}[others == 1], about))
	}
	return small.indexed()
}
