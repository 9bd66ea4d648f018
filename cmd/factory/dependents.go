package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

func newDependents(mk maker) *cobra.Command {
	parent := &cobra.Command{Use: "dependents", Short: "who builds on our images", Long: "dependents are in baseimages/dependents.yaml: who follows which image, and how they are told. discover finds who builds on\nour images without being there. factory adoption says how they stand.\n\n" + exitHelp,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	list := &cobra.Command{Use: "list", Short: "who follows which image, how they are told, and of what last", Args: cobra.NoArgs,
		Long: "list shows every dependent with the newest trigger for it. NOT CONFIGURED means that factory.yaml lacks its server.\n\n" + exitHelp}
	parent.AddCommand(leaf(list, mk, func(ctx context.Context, c *command, _ []string) error { return c.listDependents(ctx) }))
	parent.AddCommand(newDiscover(mk))
	return parent
}

// dependentView is a dependent with the newest trigger for it.
type dependentView struct {
	factory.Dependent
	Configured bool             `json:"configured"` // its server is
	Last       *factory.Trigger `json:"last,omitempty"`
}

func (c *command) listDependents(ctx context.Context) error {
	known, problems := c.dependents()
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	last, err := db.LastTriggers(ctx)
	if err != nil {
		return err
	}
	all := []dependentView{}
	var text [][]string
	for _, d := range known {
		_, configured := c.cfg.Servers[d.Tell.Server]
		v := dependentView{Dependent: d, Configured: configured}
		server, told := d.Tell.Server, "never"
		if !configured {
			server += " NOT CONFIGURED"
		}
		if t, ok := last[d.Name]; ok {
			v.Last, told = &t, t.Tag.String()+" "+string(t.State)
		}
		canary := ""
		if d.Canary {
			canary = "canary"
		}
		all = append(all, v)
		text = append(text, []string{d.Name, d.Repository, d.Image, string(d.Env), d.Owner, canary, string(d.Tell.How), server, told})
	}
	if c.JSON {
		err = c.printJSON(all)
	} else {
		err = c.table([]string{"DEPENDENT", "REPOSITORY", "FOLLOWS", "IN", "OWNER", "CANARY", "TOLD BY", "SERVER", "LAST"}, text)
	}
	return cmp.Or(err, problems)
}

// declaredDependents are the dependents that the definitions name.
func declaredDependents(set definition.Set) []factory.Dependent { return set.Dependents }
