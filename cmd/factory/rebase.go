package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/rebase"
)

type rebaseOptions struct {
	Onto, Env, Tag, To string
	All, DryRun, Prove bool
}

func newRebase(mk maker) *cobra.Command {
	var o rebaseOptions
	c := &cobra.Command{
		Use: "rebase [IMAGE...] --onto RELEASE", Short: "exchange the base below images, without a build, where nothing they need is gone", Args: cobra.ArbitraryArgs,
		Long: `rebase exchanges the layers of an old base release, which are an image's lowest, for those of RELEASE, in the registry. IMAGE is a
release of ours (an image's name means its newest), or a reference to somebody else's image that was built on one of our releases.
It is refused (exit 3), with every reason, unless: both bases are one image of one release series; the lowest layers are exactly the old
base's, on every platform; no package of the old base is missing; the image's own layers hide nothing that changed, but for
databases that can be merged; and every library, symbol version and interpreter that its own programs need is still there.

What comes out is scanned, judged by the environment's gate, signed and attested as what it is. Tests and OpenSCAP's
evaluation are carried from the images that it is made of, and everything says so; --prove makes them anew.
Somebody else's image gets the new tag --tag and an attestation, and nothing of theirs is moved, judged or signed for them.

` + exitHelp,
		Example: "  factory rebase debian-12-python --onto debian-12 --dry-run\n  factory rebase --all --onto debian-12 --env prod\n  factory rebase registry.example.com/payments/api:1.4 --onto debian-12 --tag 1.4-rebased",
	}
	c.Flags().StringVar(&o.Onto, "onto", "", "the base's release: an image's name (its newest), a tag, a reference or a digest")
	envFlag(c, &o.Env, "environment that the rebased release enters; image and base must be in it (default: the image's own)")
	c.Flags().BoolVar(&o.All, "all", false, "every image of ours in force in the environment that is built on the base, and not on RELEASE")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "hold every rule against it, say what would be exchanged, and change nothing")
	c.Flags().BoolVar(&o.Prove, "prove", false, "run acceptance tests and OpenSCAP on the result, instead of carrying what they said before")
	c.Flags().StringVar(&o.Tag, "tag", "", "of somebody else's image: the new tag")
	c.Flags().StringVar(&o.To, "to", "", "of somebody else's image: the repository to write to (default: its own)")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		if err := o.check(args); err != nil {
			return err
		}
		if o.DryRun {
			return c.rebaseAll(ctx, "", args, o)
		}
		return c.leasedPatiently(ctx, "rebase", "", func(ctx context.Context, run string) error { return c.rebaseAll(ctx, run, args, o) })
	})
}

func (o rebaseOptions) check(args []string) error {
	bad := func(what, hint string) error {
		return &factory.Problem{Kind: factory.ErrInvalid, What: what, Hint: hint}
	}
	switch {
	case o.Onto == "":
		return bad("a rebase needs a release to put the image on", "--onto RELEASE, as in --onto debian-12")
	case o.All == (len(args) > 0):
		return bad("either images or --all", "factory rebase IMAGE --onto RELEASE")
	case len(args) > 1 && (o.Tag != "" || o.To != ""):
		return bad("--tag and --to are for one image", "rebase them one after the other")
	}
	if o.Env != "" {
		_, err := factory.ParseEnv(o.Env)
		return err
	}
	return nil
}

// rebased is what became of one image.
type rebased struct {
	Image   string                `json:"image"`
	Before  string                `json:"before"` // reference, with digest
	From    string                `json:"from,omitempty"`
	Onto    string                `json:"onto"`
	Ref     string                `json:"ref,omitempty"` // repository:tag of the result
	Digest  factory.Digest        `json:"digest,omitempty"`
	Result  string                `json:"result"` // rebased, would be rebased, on it already, left out, refused, failed
	Checks  []factory.RebaseCheck `json:"checks"`
	Merged  []string              `json:"merged,omitempty"`
	Carried []string              `json:"carried,omitempty"`
	Found   string                `json:"found,omitempty"` // by the scan
	Why     string                `json:"why,omitempty"`   // it was left out
	Seconds float64               `json:"seconds"`
	Error   string                `json:"error,omitempty"`
	err     error
}

// rebaseAll rebases some images at once. One that is refused does not stop another one.
func (c *command) rebaseAll(ctx context.Context, run string, args []string, o rebaseOptions) error {
	if err := c.serveRegistry(ctx); err != nil {
		return err
	}
	onto, err := c.release(ctx, o.Onto)
	if err != nil {
		return err
	}
	var parts []rebased
	if o.All {
		if args, parts, err = c.builtOn(ctx, onto, o); err != nil {
			return err
		}
	}
	work, err := c.newSurgery(ctx, onto, o)
	if err != nil {
		return err
	}
	defer work.close()
	if !o.DryRun {
		if err := work.prepare(ctx, run); err != nil {
			return err
		}
	}
	rows := make([]rebased, len(args))
	var group sync.WaitGroup
	slots := make(chan struct{}, c.cfg.Width)
	for i, ref := range args {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			began := c.w.Now()
			rows[i] = work.rebase(ctx, run, ref)
			rows[i].Seconds = c.w.Now().Sub(began).Seconds()
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(rebaseError(rows), c.printRebase(append(rows, parts...), onto, o))
}

// rebaseError decides the exit code.
func rebaseError(rows []rebased) error {
	var errs []error
	for _, r := range rows {
		if r.err != nil {
			errs = append(errs, r.err)
		}
	}
	if len(errs) > 0 && len(errs) < len(rows) {
		errs = append(errs, errPartial)
	}
	return errors.Join(errs...)
}

// builtOn are the releases in force in an environment that stand on another release of the base. Parts are those with only a
// part of it: they share no layer with it, so they are left out, and no failure.
func (c *command) builtOn(ctx context.Context, onto factory.Release, o rebaseOptions) (refs []string, parts []rebased, err error) {
	db, err := c.store(ctx)
	if err != nil {
		return nil, nil, err
	}
	standing, err := db.Standing(ctx)
	if err != nil {
		return nil, nil, err
	}
	set, err := c.definitions()
	if err != nil {
		return nil, nil, err
	}
	env := cmp.Or(factory.Env(o.Env), c.cfg.Env)
	for _, e := range standing {
		if e.Env != env || e.Image == onto.Image {
			continue
		}
		r, err := db.Release(ctx, e.Release)
		if err != nil {
			return nil, nil, err
		}
		if r.Parent == nil || r.Parent.Image != onto.Image || r.Parent.Digest == onto.Digest {
			continue
		}
		if img, err := set.Image(r.Image); err == nil && len(img.Only) > 0 {
			parts = append(parts, rebased{Image: r.Image, Before: r.Ref(), Onto: onto.Tagged(), Result: "left out", Checks: []factory.RebaseCheck{},
				Why: fmt.Sprintf("it has only a part of %s (only:), and no layer of it; factory build %s builds it anew", onto.Image, r.Image)})
			continue
		}
		refs = append(refs, r.ID)
	}
	return refs, parts, nil
}

// rebaseRefusal is what the rules say no to, as an error that gives every reason.
func rebaseRefusal(name string, onto factory.Release, checks []factory.RebaseCheck) error {
	var errs []error
	for _, k := range checks {
		if !k.OK {
			where := strings.TrimSpace(k.Rule + " " + k.Platform.String())
			errs = append(errs, &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("%s is not put on %s: %s: %s", name, onto.Tag, where, k.Text)})
		}
	}
	if len(errs) == 0 {
		return nil
	}
	last := errs[len(errs)-1].(*factory.Problem)
	last.Hint = "build it anew on that release; factory rebase --dry-run shows every rule"
	return errors.Join(errs...)
}

func (c *command) printRebase(rows []rebased, onto factory.Release, o rebaseOptions) error {
	if c.JSON {
		return c.printJSON(rows)
	}
	var text, checks [][]string
	counts := map[string]int{}
	for _, r := range rows {
		counts[r.Result]++
		why := cmp.Or(firstLine(r.Error), r.Why, strings.Join(slices.DeleteFunc([]string{mergedCell(r.Merged), r.Found, carriedCell(r.Carried)}, func(s string) bool { return s == "" }), "; "))
		text = append(text, []string{r.Image, r.Result, cmp.Or(r.Ref, r.Before), r.Digest.Short(), r.From, fmt.Sprintf("%.1f s", r.Seconds), why})
		for _, k := range r.Checks {
			if o.DryRun || !k.OK {
				mark := "ok"
				if !k.OK {
					mark = "NO"
				}
				checks = append(checks, []string{r.Image, mark, k.Rule, k.Platform.String(), k.Text})
			}
		}
	}
	if err := c.table([]string{"IMAGE", "RESULT", "REFERENCE", "DIGEST", "FROM", "TOOK", "WHAT"}, text); err != nil {
		return err
	}
	if len(checks) > 0 {
		fmt.Fprintln(c.out())
		if err := c.table([]string{"IMAGE", "", "RULE", "PLATFORM", "FOUND"}, checks); err != nil {
			return err
		}
	}
	var parts []string
	for _, k := range sortedKeys(counts) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[k], k))
	}
	fmt.Fprintf(c.w.Stderr, "onto %s: %s\n", onto.Tagged(), cmp.Or(strings.Join(parts, ", "), "no image in force stands on another release of "+onto.Image))
	return nil
}

func mergedCell(merged []string) string {
	if len(merged) == 0 {
		return ""
	}
	return "merged " + strings.Join(merged, ", ")
}

func carriedCell(carried []string) string {
	if len(carried) == 0 {
		return ""
	}
	return fmt.Sprintf("CARRIED: %s", count(len(carried), "result"))
}

// names of merged files, for people.
func mergedNames(all map[factory.Platform][]rebase.Merged) (names []string) {
	for _, some := range all {
		for _, m := range some {
			names = append(names, "/"+m.Path)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
