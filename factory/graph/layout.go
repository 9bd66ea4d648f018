package graph

import (
	"cmp"
	"slices"
)

// Sizes of the drawing, in pixels.
const (
	margin      = 28
	cardWidth   = 248
	cardHeight  = 37
	gapX        = 60 // between two columns
	gapY        = 5  // between two cards
	gapFamilies = 8  // more, between the children of two parents
	bandPad     = 18 // inside of a group's band
	bandHead    = 58 // its heading
	gapBands    = 16
	leastWidth  = 880
	pageWidth   = 1400 // bands that are not wider lie side by side
)

// card is where a node is drawn: its upper left corner.
type card struct {
	node Node
	x, y int
}

// band is where a group is drawn.
type band struct {
	group               Group
	x, y, width, height int
	columns             int
	cards               []card
	place               map[string]int // of cards, by the node's id
}

// column is where a column begins.
func (b band) column(depth int) int { return b.x + bandPad + depth*(cardWidth+gapX) }

// layout is where everything is drawn.
type layout struct {
	width, height int
	bands         []band
}

// bySize is g with the children of each node, and the roots, in the order of how much is built on them, the most first. What has little
// below it then finds room beside what reaches far.
func (g Graph) bySize() Graph {
	sorted := g
	sorted.Nodes = nil
	more := func(a, b string) int {
		x, y := g.Nodes[g.at[a]], g.Nodes[g.at[b]]
		return cmp.Or(cmp.Compare(order(x.Kind), order(y.Kind)), cmp.Compare(y.Descendants, x.Descendants), cmp.Compare(a, b))
	}
	var add func(ids []string)
	add = func(ids []string) {
		for _, id := range slices.SortedFunc(slices.Values(ids), more) {
			n := g.Nodes[g.at[id]]
			n.Children = slices.SortedFunc(slices.Values(n.Children), more)
			sorted.Nodes = append(sorted.Nodes, n)
			add(n.Children)
		}
	}
	for _, group := range g.Groups {
		add(group.Roots)
	}
	return sorted.indexed()
}

// lay draws each group on its own and packs them onto the page.
func (g Graph) lay() layout {
	var l layout
	g = g.bySize()
	widest, all := 0, -gapBands
	for _, group := range g.Groups {
		b := g.band(group)
		widest, all = max(widest, b.width), all+b.width+gapBands
		l.bands = append(l.bands, b)
	}
	inner := max(widest, min(all, pageWidth-2*margin))
	l.width = max(leastWidth, inner+2*margin)
	for i := range l.bands {
		l.bands[i].pack(l.bands[:i], inner)
		l.height = max(l.height, l.bands[i].y+l.bands[i].height)
	}
	return l
}

// pack moves a band to where it gets highest, left of and below those that are there.
func (b *band) pack(there []band, inner int) {
	best := card{x: -1}
	for _, x := range append([]int{0}, rightOf(there)...) {
		if x > 0 && x+b.width > inner {
			continue
		}
		y := 0
		for _, t := range there {
			if left := t.x - margin; left < x+b.width+gapBands && x < left+t.width+gapBands {
				y = max(y, t.y+t.height+gapBands)
			}
		}
		if best.x < 0 || cmp.Or(cmp.Compare(y, best.y), cmp.Compare(x, best.x)) < 0 {
			best = card{x: x, y: y}
		}
	}
	b.x, b.y = best.x+margin, best.y
	for i := range b.cards {
		b.cards[i].x, b.cards[i].y = b.cards[i].x+b.x, b.cards[i].y+b.y
	}
}

func rightOf(there []band) (all []int) {
	for _, t := range there {
		all = append(all, t.x-margin+t.width+gapBands)
	}
	return all
}

// move moves everything down.
func (l *layout) move(down int) {
	for i := range l.bands {
		b := &l.bands[i]
		b.y += down
		for j := range b.cards {
			b.cards[j].y += down
		}
	}
	l.height += down
}

// band puts each node of a group into the column of its depth, beside the first of its children. Below the cards of a column there is
// room for the next, whatever is in other columns: so the drawing gets no higher than it must, and no two trunks cross.
func (g Graph) band(group Group) band {
	b := band{group: group, place: map[string]int{}}
	var nodes []Node
	for _, n := range g.Nodes {
		if n.Group == group.Name {
			nodes, b.columns = append(nodes, n), max(b.columns, n.Depth+1)
		}
	}
	b.width = 2*bandPad + b.columns*cardWidth + (b.columns-1)*gapX + 10
	free := columns{next: slices.Repeat([]int{bandHead}, b.columns), parent: make([]string, b.columns)}
	for _, n := range nodes {
		b.put(g, n, &free)
	}
	b.height = slices.Max(free.next) - gapY + bandPad
	return b
}

// columns is, for each column, where the next card may begin, and whose child the one before is.
type columns struct {
	next   []int
	parent []string
}

func (b *band) put(g Graph, n Node, free *columns) {
	y := 0
	if n.Parent != "" && g.Nodes[g.at[n.Parent]].Children[0] == n.ID {
		y = b.cards[b.place[n.Parent]].y
	} else {
		// Its first child, that one's first child and so on come beside it, so there must be room for them too.
		for m := n; ; m = g.Nodes[g.at[m.Children[0]]] {
			least := free.next[m.Depth]
			if before := free.parent[m.Depth]; before != "" && before != m.Parent {
				least += gapFamilies
			}
			if y = max(y, least); len(m.Children) == 0 {
				break
			}
		}
	}
	free.next[n.Depth], free.parent[n.Depth] = y+cardHeight+gapY, n.Parent
	b.place[n.ID] = len(b.cards)
	b.cards = append(b.cards, card{n, b.column(n.Depth), y})
}
