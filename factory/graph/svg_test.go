package graph_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/graph"
)

// label is a text of a picture, and the space that it may take.
type label struct {
	text                     string
	left, right, top, bottom float64
}

// wellFormed reads a picture and returns its labels.
func wellFormed(t *testing.T, svg []byte) (labels []label, width, height float64) {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(string(svg)))
	var open []xml.StartElement
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return labels, width, height
		}
		if err != nil {
			t.Fatalf("%v in\n%.400s", err, svg)
		}
		switch e := token.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "svg":
				width, height = number(t, e, "width"), number(t, e, "height")
			case "title", "desc", "style", "rect", "g", "path", "text":
			default:
				t.Fatalf("an element %s", e.Name.Local)
			}
			for _, a := range e.Attr {
				if strings.HasPrefix(a.Name.Local, "on") || strings.Contains(a.Name.Local, "href") {
					t.Fatalf("an attribute %s", a.Name.Local)
				}
			}
			open = append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if n := len(open); n > 0 && open[n-1].Name.Local == "text" {
				labels = append(labels, space(t, open[n-1], string(e)))
			}
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func number(t *testing.T, e xml.StartElement, name string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(attribute(e, name), 64)
	if err != nil {
		t.Fatalf("%s of %s: %v", name, e.Name.Local, err)
	}
	return v
}

// space is what a label takes in a fixed-width font, which is wider than others on the whole.
func space(t *testing.T, e xml.StartElement, text string) label {
	t.Helper()
	sizes := map[string]float64{"title": 22, "line head": 13, "group": 14, "about": 12, "legend": 12, "name": 12, "line": 11, "state": 11, "column": 11, "count": 10}
	size := sizes[attribute(e, "class")]
	if size == 0 {
		t.Fatalf("no size is known of class %q", attribute(e, "class"))
	}
	x, y := number(t, e, "x"), number(t, e, "y")
	width := float64(utf8.RuneCountInString(text)) * size * 0.61
	l := label{text: text, left: x, right: x + width, top: y - size*0.78, bottom: y + size*0.22}
	switch attribute(e, "text-anchor") {
	case "end":
		l.left, l.right = x-width, x
	case "middle":
		l.left, l.right = x-width/2, x+width/2
	}
	return l
}

// Two hundred images, six deep: no label lies on another one, and none leaves the picture.
func TestLabelsDoNotOverlap(t *testing.T) {
	t.Parallel()
	in := generated(200)
	in.Broken = []string{"what-nobody-could-read-because-its-name-is-longer-than-any-card"}
	in.Outside = true
	for _, img := range in.Images[:40] {
		in.Dependents = append(in.Dependents, factory.Dependent{Name: "team/" + img.Name + "-and-some-more-of-a-name", Image: img.Name, Env: factory.Prod})
		in.Observed = append(in.Observed, factory.Observed{Repository: "registry.example.com/" + img.Name, Tag: "1.2.3-20261123", Image: img.Name, Created: now.Add(-day)})
	}
	in.LeftOut = []string{strings.Repeat("something that was not looked at, ", 20)}
	g := graph.Make(in)
	if g.Deepest != 6 || g.Images != 201 {
		t.Fatalf("%d images, %d deep", g.Images, g.Deepest)
	}
	around, err := g.Around("debian-12")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []graph.Graph{g, around, graph.Make(generated(5)), graph.Make(generated(30))} {
		labels, width, height := wellFormed(t, g.SVG())
		for i, a := range labels {
			if a.left < 0 || a.top < 0 || a.right > width || a.bottom > height {
				t.Errorf("%q leaves the picture of %v x %v: %+v", a.text, width, height, a)
			}
			for _, b := range labels[i+1:] {
				if a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom {
					t.Errorf("%q lies on %q\n%+v\n%+v", a.text, b.text, a, b)
				}
			}
		}
		if len(labels) < 2*g.Images || width > 2300 {
			t.Errorf("%d labels for %d images, %v wide", len(labels), g.Images, width)
		}
	}
}

// The picture says of what and when it is, and explains itself, to those who do not see it too.
func TestPictureExplainsItself(t *testing.T) {
	t.Parallel()
	svg := string(graph.Make(generated(30)).SVG())
	for _, want := range []string{`role="img" aria-labelledby="title desc"`, `<title id="title">Who builds on whom</title>`, "30 images of 4 distributions, up to 5 deep; as of 2026-11-23 06:00 UTC",
		"2 failed", "prefers-color-scheme: dark", "images that build on it, directly or not", "no release", "newest release registry.example.com/base/debian-12:20261123-1a2b3c4d-dev"} {
		if !strings.Contains(svg, want) {
			t.Errorf("%q is not in it", want)
		}
	}
}

func FuzzSVG(f *testing.F) {
	for _, s := range []string{"debian-12", `</text><script>alert(1)</script>`, `" onload="x`, "]]>", "<!--", "&amp;&#0;", "a\x00b\xff\u202e\u0301\u0301\ufffe", strings.Repeat("w", 300), strings.Repeat("界", 50), "\U0010ffff", "%s %d"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		g := graph.Make(hostile(name, text))
		labels, width, _ := wellFormed(t, g.SVG())
		for _, l := range labels {
			if l.left < 0 || l.left > width || strings.ContainsFunc(l.text, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e }) {
				t.Errorf("%+v", l)
			}
		}
		for _, l := range g.Lines() {
			if cells := strings.Join(g.Cells(l), ""); strings.ContainsAny(cells, "\x1b\n\r\t\x00") {
				t.Errorf("%q", cells)
			}
		}
	})
}

// hostile is a factory in which somebody chose every text.
func hostile(name, text string) graph.Input {
	base, app := image("debian-12", ""), image(name, "debian-12")
	app.Distro, app.Owner.Team, app.Summary, app.Archives = factory.Distro{Family: text, Release: name}, text, text, []factory.Archive{{ID: text}}
	r := released("debian-12", hour, nil)
	r.Ref, r.Digest = text, factory.Digest(text)
	r.Parent = &factory.Base{Image: text}
	s := standing(factory.Env(text), r)
	s.Breach = text
	return graph.Input{At: now, Outside: true, Images: []factory.Image{base, app, image(text, name)}, Broken: []string{text, name}, LeftOut: []string{text},
		Facts:      map[string]graph.Facts{name: {Newest: r, InForce: []graph.Standing{s}, Last: &graph.Look{Run: text, Action: factory.Action(name), Reason: text, Error: text}}, text + "gone": {Newest: r}},
		Dependents: []factory.Dependent{{Name: name, Image: text, Env: factory.Env(text), Owner: text, Tell: factory.Tell{How: factory.TellHow(text)}}},
		Observed:   []factory.Observed{{Repository: text, Tag: name, Image: name, Dependent: name, By: text}, {Repository: name, Image: "debian-12", Release: text, By: text}}}
}
