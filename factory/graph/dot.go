package graph

import (
	"bytes"
	"fmt"
	"strings"
)

// DOT returns the graph in Graphviz' language. Nodes are called by their ids.
func (g Graph) DOT() []byte {
	var b bytes.Buffer
	title := g.Title()
	for _, text := range g.LeftOut {
		title += "\nleft out: " + text
	}
	b.WriteString("digraph factory {\n")
	fmt.Fprintf(&b, "  graph [rankdir=LR, ranksep=0.6, nodesep=0.12, fontname=\"sans-serif\", labelloc=t, labeljust=l, label=%s];\n", dotLabel(title))
	b.WriteString("  node [shape=box, style=\"rounded,filled\", fontname=\"monospace\", fontsize=10, fillcolor=\"#ffffff\", color=\"#818b98\"];\n")
	b.WriteString("  edge [color=\"#818b98\", arrowsize=0.6];\n")
	for i, group := range g.Groups {
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%s; color=\"#d0d7de\"; style=rounded;\n", i, dotLabel(group.Name+", "+group.about()))
		for _, n := range g.Nodes {
			if n.Group == group.Name {
				fmt.Fprintf(&b, "    %s [label=%s, tooltip=%s, %s];\n", dotText(n.ID), dotLabel(n.Name+"\n"+g.caption(n, true)), dotLabel(strings.Join(g.details(n), "\n")), dotStyle(n))
			}
		}
		b.WriteString("  }\n")
	}
	for _, n := range g.Nodes {
		if n.Parent != "" {
			fmt.Fprintf(&b, "  %s -> %s;\n", dotText(n.Parent), dotText(n.ID))
		}
	}
	b.WriteString("}\n")
	return b.Bytes()
}

var dotColors = map[Tone]string{Bad: `color="#d1242f", fillcolor="#ffebe9"`, Warn: `color="#9a6700", fillcolor="#fff8c5"`, Good: `color="#1a7f37"`, Neutral: `color="#818b98"`}

func dotStyle(n Node) string {
	style := dotColors[n.State.Tone()]
	if n.Kind != Image {
		style += `, style="rounded,filled,dashed"`
	}
	return style
}

// dotText is a name between double quotes.
func dotText(s string) string { return `"` + dotEscape(s) + `"` }

func dotEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(shown(s))
}

// dotLabel is a text that is shown: lines end in \l, which aligns them left, and Graphviz reads entities in it.
func dotLabel(s string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(s, "\n") {
		b.WriteString(strings.ReplaceAll(dotEscape(line), "&", "&amp;"))
		b.WriteString(`\l`)
	}
	return `"` + b.String() + `"`
}
