package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/adoption"
	"github.com/imagefactory/imagefactory/factory/store"
)

func newAdoption(mk maker) *cobra.Command {
	var image, owner, env string
	c := &cobra.Command{
		Use: "adoption", Short: "which dependents run on which release, how old, per owner",
		Long: `adoption compares what factory dependents discover has seen with the releases in force in an environment. For each base: how many
repositories run on the release in force, how many are behind, on a revoked one, or on one that nobody knows; the slowest of them, and
how long the release took to reach the first. A repository counts once, by its newest image; unknown counts as not adopted.
At the end it says what it knows nothing about. It asks no registry: what it says is as old as the last look.

` + exitHelp,
		Example: "  factory adoption --env prod\n  factory adoption --image debian-12 --owner payments --json",
	}
	envFlag(c, &env, "compare with the releases in force there (default the configured environment)")
	c.Flags().StringVar(&image, "image", "", "only this base (default all)")
	c.Flags().StringVar(&owner, "owner", "", "only what this team answers for (default all)")
	return leaf(c, mk, func(ctx context.Context, c *command, _ []string) error {
		in := adoption.Input{At: c.w.Now().UTC(), Env: c.cfg.Env, Image: image, Owner: owner}
		if env != "" {
			e, err := factory.ParseEnv(env)
			if err != nil {
				return err
			}
			in.Env = e
		}
		if err := c.gather(ctx, &in); err != nil {
			return err
		}
		r := adoption.New(in)
		if c.JSON {
			return c.printJSON(r)
		}
		return c.printAdoption(r)
	})
}

// gather reads what the report rests on.
func (c *command) gather(ctx context.Context, in *adoption.Input) error {
	set, err := c.definitions()
	if err != nil {
		return err
	}
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	in.Dependents = declaredDependents(set)
	if in.Releases, err = db.Bases(ctx); err != nil {
		return err
	}
	if in.Image != "" && !slices.ContainsFunc(in.Releases, func(r factory.Release) bool { return r.Image == in.Image }) {
		if err := c.defined(in.Image); err != nil {
			return err
		}
	}
	if in.Ledger, err = db.Ledger(ctx, store.LedgerQuery{}); err != nil {
		return err
	}
	if in.Standing, err = db.Standing(ctx); err != nil {
		return err
	}
	if in.Observed, err = db.Observed(ctx, store.ObservedQuery{Gone: true}); err != nil {
		return err
	}
	in.Looks, err = db.Looks(ctx)
	return err
}

func (c *command) printAdoption(r adoption.Report) error {
	sum := func(s adoption.Sum, percent int) []string {
		adopted := "-"
		if s.All > 0 {
			adopted = fmt.Sprintf("%d %%", percent)
		}
		return []string{adopted, fmt.Sprintf("%d of %d", s.Current, s.All), fmt.Sprint(s.Ahead), fmt.Sprint(s.Behind), fmt.Sprint(s.Revoked), fmt.Sprint(s.Unknown)}
	}
	var bases, owners, users [][]string
	for _, b := range r.Bases {
		slowest := ""
		if b.Slowest != nil {
			slowest = fmt.Sprintf("%s, %d d behind", b.Slowest.Repository, b.Slowest.Days)
		}
		bases = append(bases, slices.Concat([]string{b.Image, cmp.Or(b.Tag, "none in "+string(r.Env))}, sum(b.Sum, b.Percent), []string{firstAfter(b), slowest}))
	}
	for _, t := range r.Owners {
		owners = append(owners, slices.Concat([]string{cmp.Or(t.Owner, "nobody's")}, sum(t.Sum, t.Percent), []string{fmt.Sprint(t.Unseen)}))
	}
	for _, u := range r.Users {
		users = append(users, []string{u.Repository + ":" + u.Tag, cmp.Or(u.Owner, "nobody's"), u.Image, cmp.Or(u.Tagged, "unknown"), howItStands(u), fmt.Sprint(u.Older), knownBy(u.Observed), ago(r.At, u.At)})
	}
	heads := []string{"ADOPTED", "CURRENT", "AHEAD", "BEHIND", "REVOKED", "UNKNOWN"}
	if err := c.table(slices.Concat([]string{"BASE", "IN FORCE"}, heads, []string{"FIRST AFTER", "SLOWEST"}), bases); err != nil {
		return err
	}
	for _, part := range []struct {
		head []string
		rows [][]string
	}{
		{slices.Concat([]string{"OWNER"}, heads, []string{"NOT SEEN"}), owners},
		{[]string{"IMAGE", "OWNER", "BASE", "RELEASE", "STANDS", "OLDER", "BY", "LOOKED AT"}, users},
	} {
		if len(part.rows) == 0 {
			continue
		}
		fmt.Fprintln(c.out())
		if err := c.table(part.head, part.rows); err != nil {
			return err
		}
	}
	for _, line := range adoptionLacks(r) {
		fmt.Fprintln(c.w.Stderr, clean(line))
	}
	return nil
}

// firstAfter is how long the release in force took to reach the first image.
func firstAfter(b adoption.Base) string {
	switch {
	case b.First == nil && b.Undated > 0:
		return "not dated"
	case b.First == nil:
		return "-"
	case b.First.Hours < 48:
		return fmt.Sprintf("%.1f h", b.First.Hours)
	}
	return fmt.Sprintf("%.1f d", b.First.Hours/24)
}

// howItStands is how a repository stands, for people.
func howItStands(u adoption.User) string {
	switch {
	case u.State == adoption.Revoked:
		return fmt.Sprintf("REVOKED, %d behind", u.Releases)
	case u.State == adoption.Behind:
		return fmt.Sprintf("%s, %d d behind", count(u.Releases, "release"), u.Days)
	}
	return string(u.State)
}

// adoptionLacks says what the report knows nothing about.
func adoptionLacks(r adoption.Report) []string {
	if r.Looked == 0 {
		lines := []string{"no registry was ever looked at: factory dependents discover REGISTRY"}
		return append(lines, dependentsNotSeen(r)...)
	}
	lines := []string{fmt.Sprintf("compared with what is in force in %s; %s looked at, the last one %s, the longest ago %s", r.Env,
		counted(r.Looked, "repository", "repositories"), ago(r.At, *r.Newest), ago(r.At, *r.Oldest))}
	for _, l := range r.Unread {
		lines = append(lines, fmt.Sprintf("not looked at whole: %s, %s: %s", l.Repository, ago(r.At, l.At), l.Problem))
	}
	for _, env := range []factory.Env{factory.Dev, factory.Staging, factory.Prod} {
		if n := r.Elsewhere[env]; n > 0 {
			lines = append(lines, fmt.Sprintf("left out: %s of dependents that follow %s: --env %s", counted(n, "repository", "repositories"), env, env))
		}
	}
	lines = append(lines, dependentsNotSeen(r)...)
	if r.Gone > 0 {
		lines = append(lines, fmt.Sprintf("left out: %s seen once and not there any more", counted(r.Gone, "image that was", "images that were")))
	}
	return append(lines, "left out: registries that were never looked at, and images that share no layer and do not say what they are built on")
}

func dependentsNotSeen(r adoption.Report) (lines []string) {
	for _, u := range r.Unseen {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("not seen: %s (%s) on %s: %s", u.Dependent, cmp.Or(u.Owner, "nobody's"), u.Image, u.Why)))
	}
	return lines
}
