package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

func newCheck(mk maker) *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "verify everything in baseimages/, and list every problem at once",
		Long: "check reads every definition, lock, owner, profile and policy strictly, and compares CODEOWNERS.\n" +
			"It refuses a Dockerfile that takes something from elsewhere, and warns of files: that hardening writes anew. It changes nothing.\n\n" + exitHelp,
	}
	return leaf(c, mk, func(_ context.Context, c *command, _ []string) error {
		set, err := definition.Load(c.cfg.Dir)
		problems := factory.Problems(err)
		if err != nil && len(problems) == 0 {
			return err
		}
		warnings := set.Expired(factory.DateOf(c.w.Now()))
		for _, img := range set.Images {
			lost, err := c.inside(img)
			if err != nil && len(factory.Problems(err)) == 0 {
				return err
			}
			problems = slices.Concat(problems, c.checkLock(img), factory.Problems(err))
			warnings = append(warnings, lost...)
		}
		if _, err := definition.Policies(c.cfg.Dir); err != nil {
			for _, p := range factory.Problems(err) { // Load has told what is in the files, and not that there are none
				if !slices.ContainsFunc(problems, func(q *factory.Problem) bool { return p.Error() == q.Error() }) {
					problems = append(problems, p)
				}
			}
		}
		if c.JSON {
			if err := c.printJSON(map[string]any{"images": len(set.Images), "problems": rows(problems), "warnings": rows(warnings)}); err != nil {
				return err
			}
		} else {
			for _, p := range problems {
				fmt.Fprintln(c.out(), p.Error())
			}
			for _, p := range warnings {
				fmt.Fprintln(c.out(), "warning: "+p.Error())
			}
			fmt.Fprintf(c.out(), "%s, %s, %s\n", count(len(set.Images), "image"), count(len(problems), "problem"), count(len(warnings), "warning"))
		}
		if len(problems) > 0 {
			return silentError{factory.ErrInvalid}
		}
		return nil
	})
}

// checkLock reads an image's lock and compares it with the definition.
func (c *command) checkLock(img factory.Image) []*factory.Problem {
	lock, ok, err := definition.ReadLock(c.cfg.Dir, img.Name)
	where := factory.Position{File: "baseimages/" + img.Name + "/lock.json"}
	switch {
	case err != nil:
		return factory.Problems(err)
	case !ok:
		return nil // a definition may be older than its first lock
	case lock.Image != img.Name:
		return []*factory.Problem{{Kind: factory.ErrInvalid, Where: where, What: fmt.Sprintf("this is the lock of %q", lock.Image), Hint: "factory lock " + img.Name}}
	case lock.Definition != definition.Digest(img):
		return []*factory.Problem{{Kind: factory.ErrInvalid, Where: where, What: "the definition changed since it was locked", Hint: "factory lock " + img.Name}}
	}
	return nil
}

func rows(problems []*factory.Problem) []map[string]any {
	all := []map[string]any{}
	for _, p := range problems {
		all = append(all, map[string]any{"where": p.Where, "what": p.What, "hint": p.Hint})
	}
	return all
}

func newSchema(mk maker) *cobra.Command {
	c := &cobra.Command{Use: "schema", Short: "print the JSON schema of the definitions, for editors",
		Long:    "schema prints what baseimages/schema.json must contain.\n\n" + exitHelp,
		Example: "  factory schema > baseimages/schema.json"}
	return leaf(c, mk, func(_ context.Context, c *command, _ []string) error {
		_, err := c.out().Write(definition.Schema())
		return err
	})
}
