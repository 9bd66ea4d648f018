package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/store"
)

func newImages(mk maker) *cobra.Command {
	c := &cobra.Command{Use: "images", Short: "list the images: owner, newest release, age", Long: "images lists every definition with its newest release.\n\n" + exitHelp}
	return leaf(c, mk, func(ctx context.Context, c *command, _ []string) error {
		set, problems := definition.Load(c.cfg.Dir)
		db, err := c.store(ctx)
		if err != nil {
			return err
		}
		type row struct {
			Image     string           `json:"image"`
			Kind      factory.Kind     `json:"kind"`
			Summary   string           `json:"summary"`
			Owner     factory.Owner    `json:"owner"`
			EndOfLife factory.Date     `json:"endOfLife"`
			Release   *factory.Release `json:"release,omitempty"`
		}
		all := []row{}
		var text [][]string
		for _, img := range set.Images {
			last, err := db.Latest(ctx, img.Name)
			if err != nil {
				return err
			}
			all = append(all, row{img.Name, img.Kind, img.Summary, img.Owner, img.EndOfLife, light(last)})
			cells := []string{img.Name, img.Owner.Team, img.EndOfLife.String(), "never", "", img.Summary}
			if img.Kind == factory.KindToolbox {
				cells[3] = "not published"
			}
			if last != nil {
				cells[3], cells[4] = last.Tag.String(), ago(c.w.Now(), last.Created)
			}
			text = append(text, cells)
		}
		if c.JSON {
			err = c.printJSON(all)
		} else {
			err = c.table([]string{"IMAGE", "OWNER", "END OF LIFE", "NEWEST RELEASE", "RELEASED", "SUMMARY"}, text)
		}
		return cmp.Or(err, problems)
	})
}

// definitions are those that are in order. Nothing in order is an error; what else is wrong, factory check and the night tell.
func (c *command) definitions() (definition.Set, error) {
	set, problems := definition.Load(c.cfg.Dir)
	if problems != nil && len(set.Images) == 0 {
		return set, problems
	}
	return set, nil
}

// defined is an error when no definition has this name, not even one that is not in order.
func (c *command) defined(image string) error {
	set, problems := definition.Load(c.cfg.Dir)
	if _, err := set.Image(image); err != nil && !slices.Contains(set.Broken, image) {
		return errors.Join(err, problems)
	}
	return nil
}

// light is a release without its bulk, for lists.
func light(r *factory.Release) *factory.Release {
	if r == nil {
		return nil
	}
	l := *r
	l.Lock, l.Controls, l.Tests, l.Signatures = factory.Lock{}, nil, nil, nil
	return &l
}

func newReleases(mk maker) *cobra.Command {
	var limit int
	c := &cobra.Command{Use: "releases [IMAGE]", Short: "list releases, newest first", Args: cobra.MaximumNArgs(1), Long: "releases lists what was published.\n\n" + exitHelp}
	c.Flags().IntVar(&limit, "limit", 20, "at most so many; 0 = all")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		db, err := c.store(ctx)
		if err != nil {
			return err
		}
		list, err := db.Releases(ctx, store.Query{Image: strings.Join(args, ""), Limit: limit})
		if err != nil {
			return err
		}
		if len(list) == 0 && len(args) == 1 {
			if err := c.defined(args[0]); err != nil {
				return err
			}
		}
		if c.JSON {
			return c.printJSON(list)
		}
		var text [][]string
		for _, r := range list {
			text = append(text, []string{r.Image, r.Tag.String(), r.Digest.Short(), ago(c.w.Now(), r.Created), dirty(r.Source), r.Reason})
		}
		return c.table([]string{"IMAGE", "TAG", "DIGEST", "RELEASED", "INPUTS", "REASON"}, text)
	})
}

func dirty(s factory.Source) string {
	if s.Dirty {
		return "not committed"
	}
	return s.Hash
}

func newRuns(mk maker) *cobra.Command {
	var limit int
	c := &cobra.Command{Use: "runs [RUN]", Short: "list runs, newest first, or show one", Args: cobra.MaximumNArgs(1), Long: "runs lists what was done, when, and how it ended.\n\n" + exitHelp}
	c.Flags().IntVar(&limit, "limit", 20, "at most so many; 0 = all")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		db, err := c.store(ctx)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			run, err := db.Run(ctx, args[0])
			if err != nil {
				return err
			}
			return c.printRun(noticed(run))
		}
		list, err := db.Runs(ctx, limit)
		if err != nil {
			return err
		}
		for i := range list {
			list[i] = noticed(list[i])
		}
		if c.JSON {
			return c.printJSON(list)
		}
		var text [][]string
		for _, r := range list {
			text = append(text, []string{r.ID, r.Command, ago(c.w.Now(), r.Started), runTook(r), string(r.State), firstLine(r.Verdict)})
		}
		return c.table([]string{"RUN", "COMMAND", "STARTED", "TOOK", "STATE", "VERDICT"}, text)
	})
}

// noticed tells of a run that was killed, which nobody has noticed yet: its process is gone from this host.
func noticed(r factory.Run) factory.Run {
	if r.State == factory.Running && r.Host == hostname() && !alive(r.PID) {
		r.State, r.Verdict = factory.Interrupted, "its process is gone; the next run takes over"
	}
	return r
}

func runTook(r factory.Run) string {
	if r.Finished == nil {
		return ""
	}
	return fmt.Sprintf("%.1f s", r.Finished.Sub(r.Started).Seconds())
}

func firstLine(s string) string { line, _, _ := strings.Cut(s, "\n"); return line }

func (c *command) printRun(r factory.Run) error {
	if c.JSON {
		return c.printJSON(r)
	}
	fmt.Fprintf(c.out(), "run %s (%s), %s, on %s, process %d\n%s\n\n", r.ID, r.Command, r.State, r.Host, r.PID, clean(firstLine(r.Verdict)))
	var text [][]string
	for _, j := range r.Jobs {
		text = append(text, []string{j.Image, string(j.Action), cmp.Or(j.Error, j.Ref, j.Reason), stepTimes(j.Steps)})
	}
	return c.table([]string{"IMAGE", "ACTION", "RESULT", "WHERE TIME WENT"}, text)
}

func newShow(mk maker) *cobra.Command {
	var env string
	c := &cobra.Command{
		Use: "show REF", Short: "show one release: what is in it, why it was made, what was proven", Args: cobra.ExactArgs(1),
		Long: `show prints all that is known of a release. REF is an image (its newest release, or with --env the one in force there), a tag, a
reference, a digest, or a release id; a unique beginning of the last two will do.

` + exitHelp,
		Example: "  factory show debian-12\n  factory show debian-12 --env prod\n  factory show 20261123-1a2b3c4d-dev --json",
	}
	namedFlag(c, &env)
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		r, err := c.releaseIn(ctx, args[0], env)
		if err != nil {
			return err
		}
		if c.JSON {
			return c.printJSON(r)
		}
		return c.printRelease(r)
	})
}

func (c *command) printRelease(r factory.Release) error {
	line := func(name, text string) { fmt.Fprintf(c.out(), "%-13s %s\n", name, clean(text)) }
	line("image", r.Image)
	line("reference", r.Tagged())
	line("digest", r.Ref())
	line("released", fmt.Sprintf("%s (%s), run %s", r.Created.Format("2006-01-02 15:04:05 MST"), ago(c.w.Now(), r.Created), r.Run))
	line("why", r.Reason)
	line("owner", r.Owner)
	line("inputs", fmt.Sprintf("%s %s", cmp.Or(r.Source.Commit, dirty(r.Source)), r.Source.Inputs.Short()))
	if b := r.Parent; b != nil {
		line("built on", fmt.Sprintf("%s:%s", b.Repository, b.Tag))
		line("", b.Ref())
	}
	if r.Supersedes != "" {
		line("supersedes", r.Supersedes)
	}
	if r.Rebased != nil {
		line("rebased", fmt.Sprintf("not built: %s was put on %s instead of %s", r.Rebased.Before.Ref(), r.Rebased.Onto.Tag, r.Rebased.From.Tag))
		for _, text := range r.Rebased.Carried {
			line("", "CARRIED: "+text)
		}
	}
	for _, p := range r.Artifact.Platforms {
		line(p.Platform.String(), fmt.Sprintf("%s, %s to pull, %s unpacked, %d packages", p.Digest.Short(), mib(p.Size), mib(p.Unpacked), len(r.Lock.For(p.Platform))))
		for _, l := range p.Layers {
			line("", fmt.Sprintf("layer %s %s %s", l.Name, l.Digest.Short(), mib(l.Size)))
		}
		for _, text := range runs(p.Config) {
			line("", text)
		}
	}
	passed := 0
	for _, t := range r.Tests {
		if t.Passed {
			passed++
		}
	}
	line("tests", fmt.Sprintf("%d of %d passed", passed, len(r.Tests)))
	line("controls", outcomes(r.Controls))
	for _, e := range r.Compliance.Evaluations {
		line("proven", e.Name()+": "+e.Score().String())
	}
	if r.Scan.Packages > 0 {
		line("scanned", fmt.Sprintf("%s in %d packages, %d not looked at; %s, %s", cmp.Or(severities(r.Scan.Counts()), "nothing found"), r.Scan.Packages, len(r.Scan.NotLookedAt), r.Scan.Scanner, r.Scan.Database))
	}
	for _, d := range r.Documents {
		line("kept", fmt.Sprintf("%s %s %s", d.Kind, d.Name, d.Digest.Short()))
	}
	for _, s := range r.Signatures {
		line("signed", fmt.Sprintf("%s %s", cmp.Or(s.Predicate, "signature"), s.Subject.Short()))
	}
	line("time", stepTimes(r.Steps))
	var text [][]string
	for _, o := range r.Controls {
		text = append(text, []string{o.Control, string(o.Outcome), o.Title, o.Reason})
	}
	if len(text) > 0 {
		fmt.Fprintln(c.out())
		if err := c.table([]string{"CONTROL", "OUTCOME", "TITLE", "REASON"}, text); err != nil {
			return err
		}
	}
	return c.printPackages(r.Lock)
}

// printPackages lists what is in a release, for every platform.
func (c *command) printPackages(l factory.Lock) error {
	var text [][]string
	for _, lp := range l.Platforms {
		for _, p := range lp.Packages {
			text = append(text, []string{p.Name, p.Version, p.Arch, p.Archive, lp.Platform.String()})
		}
	}
	fmt.Fprintln(c.out())
	return c.table([]string{"PACKAGE", "VERSION", "ARCH", "ARCHIVE", "PLATFORM"}, text)
}

// outcomes counts controls by outcome, all of them, so that the sum is the whole.
func outcomes(controls []factory.ControlOutcome) string {
	counts := map[factory.Outcome]int{}
	for _, o := range controls {
		counts[o.Outcome]++
	}
	var parts []string
	for _, o := range []factory.Outcome{factory.Applied, factory.Already, factory.NotApplicable, factory.Exempt, factory.Failed} {
		if counts[o] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[o], o))
		}
	}
	return fmt.Sprintf("%s, of %d", cmp.Or(strings.Join(parts, ", "), "none"), len(controls))
}
