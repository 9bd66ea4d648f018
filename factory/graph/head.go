package graph

import (
	"fmt"
	"strings"
)

// head is what stands above the drawing: of what, of when, the legend, and what was left out.
type head struct {
	title  string
	lines  []string
	legend []entry
	y      int // of the legend's first line
	bottom int
}

// entry is one thing that the legend explains.
type entry struct {
	tone, text string
	x, y       int
}

func (g Graph) head(page int) head {
	h := head{title: "Who builds on whom"}
	if g.About != "" {
		h.title += ": " + shown(g.About)
	}
	width := float64(page - 2*margin)
	h.title = fit(h.title, width, 22, false)
	h.lines = wrap(shown(g.Title()), width, 13)
	if len(g.LeftOut) > 0 {
		h.lines = append(h.lines, wrap(shown("Left out: "+strings.Join(g.LeftOut, "; ")), width, 13)...)
	}
	h.y = margin + 34 + 19*len(h.lines) + 12
	h.bottom = h.explain(g, page) + 20
	return h
}

// explain lays the legend out, and returns where it ends.
func (h *head) explain(g Graph, width int) int {
	x, y := margin, h.y
	add := func(tone, text string) {
		w := 18 + int(textWidth(text, 12, false)) + 18
		if x > margin && x+w > width-margin {
			x, y = margin, y+22
		}
		h.legend = append(h.legend, entry{tone, text, x, y})
		x += w
	}
	for _, s := range States() {
		if n := g.Counts[s]; n > 0 {
			add(string(s.Tone()), fmt.Sprintf("%d %s", n, s))
		}
	}
	if g.Deepest > 0 {
		add("pill", "images that build on it, directly or not")
	}
	for _, n := range g.Nodes {
		if n.Kind != Image {
			add("outside", "outside of this factory")
			break
		}
	}
	return y + 16
}

func (h head) draw(p *picture) {
	p.text(margin, margin+20, "title", "start", h.title)
	for i, line := range h.lines {
		p.text(margin, margin+46+19*i, "line head", "start", line)
	}
	for _, e := range h.legend {
		p.open("g", "class", "key "+e.tone)
		round := 3
		if e.tone == "pill" {
			round = 6
		}
		p.open("rect", "class", "swatch", "x", e.x, "y", e.y, "width", 12, "height", 12, "rx", round)
		p.close("rect")
		p.text(e.x+18, e.y+10, "legend", "start", e.text)
		p.close("g")
	}
}

// description is for those who do not see the picture.
func (g Graph) description() string {
	var counts []string
	for _, s := range States() {
		if n := g.Counts[s]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, s))
		}
	}
	parts := []string{g.Title(), strings.Join(counts, ", ")}
	for _, text := range g.LeftOut {
		parts = append(parts, "left out: "+text)
	}
	return strings.Join(append(parts, "factory graph prints the same as text, and --json as data"), ". ") + "."
}
