package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/graph"
)

func newGraph(mk maker) *cobra.Command {
	var o graphOptions
	c := &cobra.Command{
		Use: "graph [IMAGE]", Short: "who builds on whom, with age and state, as a tree or a picture", Args: cobra.MaximumNArgs(1),
		Long: `graph shows each distribution with the images made of its packages and, below each image, those that are built on it: the newest release
and its age, what is in force where, what the last run did, and how it stands. With IMAGE it shows that image, what it is built on and
what is built on it. Definitions that are not valid are in it, and so is what is published and nobody defines any more.

--svg writes a picture that needs nothing else, for any browser; resting on an image tells all that is known of it. --dot writes the
graph in Graphviz' language.

States, the worst first: broken, cycle, failed, breach (with --gate), held, behind (built on an older release of its parent), overdue, unfixed, ended,
gone, never, ok.

` + exitHelp,
		Example: "  factory graph\n  factory graph debian-12\n  factory graph --svg graph.svg\n  factory graph --dot | dot -Tpdf > graph.pdf",
	}
	c.Flags().StringVar(&o.SVG, "svg", "", "write a picture to this file; - is stdout")
	c.Flags().BoolVar(&o.DOT, "dot", false, "print the graph in Graphviz' language")
	c.Flags().BoolVar(&o.Outside, "outside", false, "show who builds on them elsewhere too: dependents, and what factory dependents discover has seen")
	c.Flags().BoolVar(&o.Gate, "gate", false, "have the gate judge what is in force too, which takes longer")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		if err := o.check(c.JSON); err != nil {
			return err
		}
		g, err := c.graph(ctx, strings.Join(args, ""), o)
		if err != nil {
			return err
		}
		switch {
		case c.JSON:
			return c.printJSON(g)
		case o.DOT:
			_, err := c.out().Write(g.DOT())
			return err
		case o.SVG != "":
			return c.writePicture(g, o.SVG)
		}
		return c.printGraph(g)
	})
}

// graphOptions say what is to be in the graph, and in which form it is wanted.
type graphOptions struct {
	SVG     string
	DOT     bool
	Outside bool
	Gate    bool
}

func (o graphOptions) check(asJSON bool) error {
	forms := 0
	for _, is := range []bool{asJSON, o.DOT, o.SVG != ""} {
		if is {
			forms++
		}
	}
	if forms > 1 {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "--json, --dot and --svg are three forms of the same graph", Hint: "name one of them"}
	}
	return nil
}

// graph draws everything, or what is above and below one image.
func (c *command) graph(ctx context.Context, image string, o graphOptions) (graph.Graph, error) {
	set, problems := definition.Load(c.cfg.Dir)
	if problems != nil && len(set.Images)+len(set.Broken) == 0 {
		return graph.Graph{}, problems
	}
	in, err := c.graphInput(ctx, set, o)
	if err != nil {
		return graph.Graph{}, err
	}
	g := graph.Make(in)
	if image == "" {
		return g, nil
	}
	around, err := g.Around(image)
	if err != nil {
		if _, nearer := set.Image(image); nearer != nil {
			err = nearer
		}
	}
	return around, err
}

func (c *command) writePicture(g graph.Graph, file string) error {
	if file == "-" {
		_, err := c.out().Write(g.SVG())
		return err
	}
	if err := os.WriteFile(file, g.SVG(), 0o644); err != nil {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "picture", Cause: err, Hint: "name a file in a folder that you may write: --svg FILE"}
	}
	c.say("wrote %s: %s", file, g.Title())
	return nil
}

func (c *command) printGraph(g graph.Graph) error {
	var rows [][]string
	var styles []string
	for _, l := range g.Lines() {
		style := dim
		if l.Node != nil {
			style = tones[l.Node.State.Tone()]
		}
		rows, styles = append(rows, g.Cells(l)), append(styles, style)
	}
	err := c.painted([]string{"IMAGE", "NEWEST RELEASE", "AGE", "IN FORCE", "LAST RUN", "STATE"}, rows, styles)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.w.Stderr, clean(g.Title()))
	for _, text := range g.LeftOut {
		fmt.Fprintln(c.w.Stderr, "left out: "+clean(text))
	}
	return nil
}
