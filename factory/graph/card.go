package graph

import (
	"fmt"
	"strconv"
	"strings"
)

// card draws one node. Whoever rests the pointer on it, or has it read, gets all that is known.
func (g Graph) card(p *picture, c card) {
	n := c.node
	tone := string(n.State.Tone())
	class := "card " + tone
	if n.Kind != Image {
		class += " outside"
	}
	if n.ID == g.About {
		class += " subject"
	}
	p.open("g", "class", class)
	p.element("title", strings.Join(g.details(n), "\n"))
	p.open("rect", "class", "box", "x", c.x, "y", c.y, "width", cardWidth, "height", cardHeight, "rx", 6)
	p.close("rect")
	p.open("rect", "class", "bar", "x", c.x, "y", c.y+6, "width", 4, "height", cardHeight-12, "rx", 2)
	p.close("rect")
	const inside = cardWidth - 14 - 10
	p.text(c.x+14, c.y+15, "name", "start", fit(shown(n.Name), inside, 12, true))
	word := ""
	if n.State != OK {
		word = string(n.State)
	}
	room := inside - textWidth(word, 11, false)
	if word != "" {
		room -= 10
		p.text(c.x+cardWidth-10, c.y+29, "state", "end", word)
	}
	p.text(c.x+14, c.y+29, "line", "start", fit(firstFit(room, 11, g.caption(n, true), g.caption(n, false), g.nodeAge(n)), room, 11, false))
	if n.Descendants > 0 {
		text := strconv.Itoa(n.Descendants)
		width := 10 + int(textWidth(text, 10, false))
		p.open("rect", "class", "pill", "x", c.x+cardWidth-1, "y", c.y+cardHeight/2-8, "width", width, "height", 16, "rx", 8)
		p.close("rect")
		p.text(c.x+cardWidth-1+width/2, c.y+cardHeight/2+4, "count", "middle", text)
	}
	p.close("g")
}

// caption is the second line of a card, with the ages of what is in force or without.
func (g Graph) caption(n Node, ages bool) string {
	var parts []string
	add := func(text string) {
		if text != "" {
			parts = append(parts, text)
		}
	}
	add(g.nodeAge(n))
	add(g.force(n, ages))
	if n.Kind == Image && n.Release == nil {
		add("no release")
	}
	if n.Kind == Dependent {
		add("dependent")
	}
	if n.Outside > 0 {
		add(fmt.Sprintf("%d outside", n.Outside))
	}
	return shown(strings.Join(parts, " · "))
}

// details is all that is known of a node, line by line.
func (g Graph) details(n Node) []string {
	lines := []string{n.Name}
	add := func(format string, args ...any) { lines = append(lines, shown(fmt.Sprintf(format, args...))) }
	for _, m := range n.Marks {
		add("%s: %s", m.State, m.Text)
	}
	if n.Note != "" {
		add("%s", n.Note)
	}
	if n.Owner != "" {
		add("owner %s", n.Owner)
	}
	if n.Parent != "" {
		add("builds on %s", n.Parent)
	}
	if n.Descendants > 0 || n.Outside > 0 {
		add("%s and %d outside build on it", plural(n.Descendants, "image"), n.Outside)
	}
	if r := n.Release; r != nil {
		add("newest release %s, %s, %s old", r.Ref, r.Digest.Short(), g.age(r.Created))
	}
	for _, s := range n.InForce {
		add("in force in %s: %s, %s, since %s", s.Env, s.Tag, s.Digest.Short(), g.age(s.Since))
	}
	if n.LastRun != nil {
		add("last run %s: %s", n.LastRun.Run, g.last(n))
	}
	return lines
}
