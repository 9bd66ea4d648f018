package graph

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"fmt"
	"strings"
)

//go:embed style.css
var style string

// SVG returns the graph as a picture that needs nothing else: no script, no font, no other file. It is light or dark as whoever looks at
// it prefers.
func (g Graph) SVG() []byte {
	l := g.lay()
	head := g.head(l.width)
	l.move(head.bottom)
	l.height += margin
	p := &picture{}
	p.open("svg", "xmlns", "http://www.w3.org/2000/svg", "width", l.width, "height", l.height, "viewBox", fmt.Sprintf("0 0 %d %d", l.width, l.height),
		"role", "img", "aria-labelledby", "title desc")
	p.element("title", head.title, "id", "title")
	p.element("desc", g.description(), "id", "desc")
	p.element("style", style)
	p.open("rect", "class", "page", "width", l.width, "height", l.height)
	p.close("rect")
	head.draw(p)
	for _, b := range l.bands {
		g.drawBand(p, b)
	}
	p.close("svg")
	return p.Bytes()
}

// picture is XML in the making.
type picture struct{ bytes.Buffer }

// open begins an element; attributes are pairs of name and value.
func (p *picture) open(name string, attributes ...any) {
	p.WriteString("<" + name)
	for i := 0; i+1 < len(attributes); i += 2 {
		fmt.Fprintf(p, " %v=\"", attributes[i])
		_ = xml.EscapeText(p, []byte(shown(fmt.Sprint(attributes[i+1])))) // a Buffer takes everything
		p.WriteString(`"`)
	}
	p.WriteString(">")
}

func (p *picture) close(name string) { p.WriteString("</" + name + ">\n") }

// element is a whole element with a text. What is shown in it is safe; newlines stay.
func (p *picture) element(name, text string, attributes ...any) {
	p.open(name, attributes...)
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			p.WriteString("\n")
		}
		_ = xml.EscapeText(p, []byte(shown(line)))
	}
	p.close(name)
}

func (p *picture) text(x, y int, class, anchor, s string) {
	if s != "" {
		p.element("text", s, "x", x, "y", y, "class", class, "text-anchor", anchor)
	}
}

func (g Graph) drawBand(p *picture, b band) {
	p.open("rect", "class", "band", "x", b.x, "y", b.y, "width", b.width, "height", b.height, "rx", 10)
	p.close("rect")
	name := fit(shown(b.group.Name), float64(b.width-2*bandPad), 14, false)
	p.text(b.x+bandPad, b.y+25, "group", "start", name)
	at := bandPad + int(textWidth(name, 14, false)) + 12
	room := float64(b.width - at - bandPad)
	p.text(b.x+at, b.y+25, "about", "start", firstFit(room, 12, shown(b.group.about()), plural(b.group.Images, "image"), ""))
	for depth := range b.columns {
		text := fmt.Sprintf("%d deep", depth)
		if depth == 0 {
			text = "on packages alone"
		}
		p.text(b.column(depth), b.y+48, "column", "start", text)
	}
	for _, c := range b.cards {
		edges(p, b, c)
	}
	for _, c := range b.cards {
		g.card(p, c)
	}
}

// edges draws a trunk from a card to its children.
func edges(p *picture, b band, c card) {
	if len(c.node.Children) == 0 {
		return
	}
	const bend = 8
	left, middle := c.x+cardWidth, c.y+cardHeight/2
	trunk := left + gapX - 18
	var d strings.Builder
	fmt.Fprintf(&d, "M%d %dH%d", left, middle, left+gapX)
	for _, id := range c.node.Children[1:] {
		y := b.cards[b.place[id]].y + cardHeight/2
		fmt.Fprintf(&d, "M%d %dV%dQ%d %d %d %dH%d", trunk, middle, y-bend, trunk, y, trunk+bend, y, left+gapX)
	}
	p.open("path", "class", "edge", "d", d.String())
	p.close("path")
}
