package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

func newLock(mk maker) *cobra.Command {
	var commit, push, dry bool
	c := &cobra.Command{
		Use:   "lock [IMAGE...]",
		Short: "ask the archives for the exact package set of each image",
		Long: `lock has the distribution's own solver (apt, dnf), inside the toolbox, decide the exact packages of each image from its archives,
whose signatures are verified with the distribution's keys. It prints what changed against the lock there was: packages,
versions, and the vulnerabilities that the new packages' changelogs, or the repositories' advisories, name. An image that cannot be locked keeps its old lock.

What an image is built on is locked before it: a child's lock holds its parent's packages exactly, and what the child adds.

` + exitHelp,
		Example: "  factory lock\n  factory lock debian-12 --commit --push",
		Args:    cobra.ArbitraryArgs,
	}
	c.Flags().BoolVar(&commit, "commit", false, "commit each changed lock on its own; other changes stay untouched")
	c.Flags().BoolVar(&push, "push", false, "push these commits; a lost race is retried (needs --commit)")
	c.Flags().BoolVar(&dry, "dry-run", false, "print the change, write nothing")
	return leaf(c, mk, func(ctx context.Context, c *command, names []string) error {
		if push && !commit || commit && dry {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "these flags do not go together", Hint: "--push needs --commit, and --dry-run excludes both"}
		}
		set, problems := definition.Load(c.cfg.Dir)
		if problems != nil && len(set.Images) == 0 {
			return problems
		}
		explicit := slices.Contains(names, boxName(set))
		unset, err := c.unset(ctx, set, names)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			for _, img := range set.Images {
				if why := unset[img.Name]; why != "" {
					c.events.Emit(factory.Event{Kind: factory.Noted, Image: img.Name, Message: "not set up here: " + why})
					continue
				}
				names = append(names, img.Name)
			}
		}
		for _, n := range names {
			if _, err := set.Image(n); err != nil {
				return errors.Join(err, problems)
			}
		}
		work := func(ctx context.Context, _ string) error {
			l := &locking{app: c.app, set: set, Write: !dry, Full: true, Repin: explicit}
			results := l.run(ctx, names)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if commit {
				if err := c.commitLocks(ctx, set, results, push); err != nil {
					return err
				}
			}
			return errors.Join(c.printLocks(results), lockErr(results), problems)
		}
		if dry {
			return work(ctx, "")
		}
		return c.leased(ctx, "lock", work)
	})
}

// commitLocks makes one commit for each image whose lock is not committed as it is, and pushes whatever is not pushed yet.
func (a *app) commitLocks(ctx context.Context, set definition.Set, results map[string]lockResult, push bool) error {
	repo := a.git()
	for _, name := range parentsFirst(set, sortedKeys(results)) {
		r := results[name]
		if r.Err != nil {
			continue
		}
		if unfit, err := a.definitionDirty(ctx, set, name); err != nil {
			return fmt.Errorf("commit lock of %s: %w", name, err)
		} else if unfit {
			a.events.Emit(factory.Event{Kind: factory.Warned, Image: name, Message: "its definition is not committed, so its lock is not either"})
			continue
		}
		// Against what is committed, not against what this run found: an earlier one may have been killed before its commit.
		path := "baseimages/" + name + "/lock.json"
		if committed, ok, err := repo.Committed(ctx, path); err != nil {
			return fmt.Errorf("commit lock of %s: %w", name, err)
		} else if old, err := factory.DecodeLock(committed); ok && err == nil && r.Change.Empty() {
			r.Change = r.Lock.Since(&old)
		} else if !ok {
			r.Change.First = true
		}
		commit, err := repo.Commit(ctx, changeMessage(r), []string{path})
		if err != nil {
			return fmt.Errorf("commit lock of %s: %w", name, err)
		}
		if commit != "" {
			a.events.Emit(factory.Event{Kind: factory.Noted, Image: name, Message: "committed the new lock as " + commit[:min(8, len(commit))]})
		}
	}
	if !push {
		return nil
	}
	if err := repo.Push(ctx, 0); err != nil {
		return err
	}
	a.events.Emit(factory.Event{Kind: factory.Noted, Message: "every commit is pushed"})
	return nil
}

// definitionDirty reports whether what an image's lock was made from is not committed: the lock would not fit the commit.
func (a *app) definitionDirty(ctx context.Context, set definition.Set, name string) (bool, error) {
	img, err := set.Image(name)
	if err != nil {
		return false, err
	}
	folder := "baseimages/" + name
	paths := slices.DeleteFunc(slices.Clone(img.Inputs), func(p string) bool { return p == folder })
	src, err := a.git().Source(ctx, append(paths, folder+"/image.yaml", folder+"/tests.yaml", folder+"/waivers.yaml", folder+"/files", folder+"/Dockerfile", folder+"/Containerfile"))
	return src.Dirty, err
}

func (c *command) printLocks(results map[string]lockResult) error {
	if c.JSON {
		type row struct {
			factory.LockChange
			Changed bool   `json:"changed"`
			Error   string `json:"error,omitempty"`
		}
		rows := []row{}
		for _, name := range sortedKeys(results) {
			r := results[name]
			out := row{LockChange: r.Change, Changed: !r.Change.Empty()}
			out.Image = name
			if r.Err != nil {
				out.Error = r.Err.Error()
			}
			rows = append(rows, out)
		}
		return c.printJSON(rows)
	}
	for _, name := range sortedKeys(results) {
		switch r := results[name]; {
		case r.Err != nil:
			fmt.Fprintf(c.out(), "%s: not locked, the old lock stays\n", name)
		case r.Change.Empty():
			fmt.Fprintf(c.out(), "%s: nothing changed\n", name)
		case r.Change.First:
			fmt.Fprintf(c.out(), "%s: first lock, %s\n", name, count(packageCount(r.Lock), "package"))
		default:
			fmt.Fprintf(c.out(), "%s:\n%s", name, changeTable(r.Change))
		}
	}
	return nil
}

func packageCount(l factory.Lock) (n int) {
	for _, p := range l.Platforms {
		n += len(p.Packages)
	}
	return n
}
