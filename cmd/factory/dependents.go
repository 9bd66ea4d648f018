package main

import (
	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

func newDependents(mk maker) *cobra.Command {
	c := &cobra.Command{Use: "dependents", Short: "who builds on our images", Long: "dependents finds those who build on our images. factory adoption says how they stand.\n\n" + exitHelp,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(newDiscover(mk))
	return c
}

// declaredDependents are the dependents that the definitions name.
func declaredDependents(definition.Set) []factory.Dependent { return nil }
