package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/registry"
)

// known is what there is to know of the images of a plan. Database, registry, git and files are asked about all of them at once: a
// thousand images are no thousand questions.
type known struct {
	set   definition.Set
	locks map[string]lockResult // that were made for this plan
	dry   bool                  // locks that changed are not in the repository

	last     map[string]factory.Release    // the newest one of each image, and of what that is built on
	tries    map[string][]factory.Run      // of children
	failed   map[string]*factory.RunJob    // see lastFailures
	presence map[string]presence           // of last
	written  map[string]definition.Written // of images that have none in locks
	sources  map[string]factory.Source     // of the files as they are, as far as they could be found out together
}

// presence is what the registry says of a release that the factory believes to be there.
type presence struct {
	gone bool
	err  error
}

// maxTries are as many tries as the longest pause needs to be found.
const maxTries = 8

// known finds out about the named images. Names that nobody knows are left out.
func (c *command) known(ctx context.Context, set definition.Set, locks map[string]lockResult, dry bool, names []string) (known, error) {
	k := known{set: set, locks: locks, dry: dry}
	var images []factory.Image
	for _, name := range names {
		if img, err := set.Image(name); err == nil && img.Kind != factory.KindToolbox {
			images = append(images, img)
		}
	}
	// First of all and on all cores: git, which takes longest of what is asked beside each other, waits for them.
	sums := definition.Sums(c.cfg.Dir, images)
	var files sync.WaitGroup
	files.Go(func() { k.sources = c.foresee(ctx, images, sums) })
	files.Go(func() { k.written = c.readLocks(images, locks) })
	err := c.recorded(ctx, &k, images)
	if err == nil {
		k.presence = c.present(ctx, k.last, images)
		err = context.Cause(ctx)
	}
	files.Wait()
	return k, err
}

// recorded asks the database.
func (c *command) recorded(ctx context.Context, k *known, images []factory.Image) error {
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	repositories := map[string]string{}
	var children []string
	for _, img := range images {
		repositories[img.Name] = c.repository(img.Name)
		if img.From != "" {
			repositories[img.From] = c.repository(img.From)
			children = append(children, img.Name)
		}
	}
	if k.last, err = db.Newest(ctx, repositories, c.cfg.Env); err != nil {
		return err
	}
	if k.tries, err = db.Tries(ctx, children, c.cfg.Env, maxTries); err != nil {
		return err
	}
	runs, err := db.Runs(ctx, 10)
	runs = slices.DeleteFunc(runs, func(r factory.Run) bool { return r.Env != "" && r.Env != c.cfg.Env })
	k.failed = lastFailures(runs)
	return err
}

// lastFailures is, of each image, what the last run that had to do with it did, where that failed.
func lastFailures(runs []factory.Run) map[string]*factory.RunJob {
	failed := map[string]*factory.RunJob{}
	for _, r := range runs {
		for i, j := range r.Jobs {
			if _, later := failed[j.Image]; later || j.Action == factory.Yield || j.Action == factory.Hold { // nobody tried
				continue
			}
			failed[j.Image] = nil
			if j.Error != "" {
				failed[j.Image] = &r.Jobs[i]
			}
		}
	}
	return failed
}

// present asks the registry for releases that the factory believes to be there. A tag that stands for something else is an
// error; a registry that does not answer is not: that will be noticed when something is published.
func (c *command) present(ctx context.Context, last map[string]factory.Release, images []factory.Image) map[string]presence {
	var releases []factory.Release
	var refs []string
	for _, img := range images {
		if r, ok := last[img.Name]; ok {
			releases, refs = append(releases, r), append(refs, r.Tagged())
		}
	}
	if len(releases) == 0 || c.serveKept(ctx, releases[0].Repository) != nil {
		return nil
	}
	client := c.registry()
	client.Retry.Attempts = 1
	answers := client.ResolveAll(ctx, refs)
	all := map[string]presence{}
	for i, a := range answers {
		switch r := releases[i]; {
		case errors.Is(a.Err, factory.ErrNotFound):
			all[r.Image] = presence{gone: true}
		case a.Err == nil && a.Digest != r.Digest:
			all[r.Image] = presence{err: &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s stands for %s, and %s was released", r.Tagged(), a.Digest, r.Digest),
				Hint: "somebody moved the tag: find out who, and put it back"}}
		}
	}
	c.warnUntold(releases, answers)
	return all
}

// warnUntold says of which releases it cannot be told whether they are still there. Of a registry that does not answer it is said once.
func (c *command) warnUntold(releases []factory.Release, answers []registry.Answer) {
	unasked := 0
	for _, a := range answers {
		if a.Unasked {
			unasked++
		}
	}
	silent, silence := unasked, error(nil)
	for i, a := range answers {
		switch {
		case a.Err == nil || a.Unasked || errors.Is(a.Err, factory.ErrNotFound):
		case unasked > 0 && errors.Is(a.Err, factory.ErrUnavailable):
			silent, silence = silent+1, cmp.Or(silence, a.Err)
		default:
			c.events.Emit(factory.Event{Kind: factory.Warned, Image: releases[i].Image, Message: fmt.Sprintf("whether %s is still there cannot be told: %v", releases[i].Tagged(), a.Err)})
		}
	}
	if silence != nil {
		c.events.Emit(factory.Event{Kind: factory.Warned, Message: fmt.Sprintf("whether %d of %d releases are still there cannot be told: the registry stopped answering, and %d were not looked at: %v",
			silent, len(releases), unasked, silence)})
	}
}

// readLocks reads the locks of images as they lie in the repository, but of those that were locked just now.
func (c *command) readLocks(images []factory.Image, locks map[string]lockResult) map[string]definition.Written {
	var names []string
	for _, img := range images {
		if _, just := locks[img.Name]; !just {
			names = append(names, img.Name)
		}
	}
	return definition.ReadLocks(c.cfg.Dir, names)
}

// unwritten are the locks of an image and of what it is built on that changed and are not in the repository.
func (k known) unwritten(img factory.Image) (locks []factory.Lock) {
	if !k.dry || len(k.locks) == 0 {
		return nil
	}
	for _, i := range append(k.set.Ancestors(img.Name), img) {
		if r, ok := k.locks[i.Name]; ok && r.Err == nil && !r.Change.Empty() {
			locks = append(locks, r.Lock)
		}
	}
	return locks
}

// base is the newest release of what an image is built on; nil = there is none.
func (k known) base(img factory.Image) *factory.Base {
	r, ok := k.last[img.From]
	if !ok || img.From == "" {
		return nil
	}
	return baseOf(r)
}

// lock is the lock that an image is made from: that of just now, or else the one in the repository.
func (k known) lock(img factory.Image) (factory.Lock, error) {
	if r, ok := k.locks[img.Name]; ok {
		return r.Lock, r.Err
	}
	w := k.written[img.Name]
	if w.Err == nil && !w.There {
		w.Err = noLock(img.Name)
	}
	return w.Lock, w.Err
}
