package main

import (
	"cmp"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
)

// causeForm is what the id of a trigger looks like.
var causeForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func causeFlag(c *cobra.Command, given *string) {
	c.Flags().StringVar(given, "cause", "", "id of the factory's own trigger that asked for this run (default: the setting)")
}

// because notes which trigger of ours asked for this run: its releases say so, and it is not told of them again.
func (a *app) because(given string) error {
	if given != "" && !causeForm.MatchString(given) {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "--cause is no id of a trigger", Hint: "expected letters, digits, dots and dashes, as a trigger brings it"}
	}
	a.cause = cmp.Or(given, a.cfg.values["cause"].Value)
	return nil
}
