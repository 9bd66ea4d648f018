package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/upstream"
)

// levels are the named images and all that they are built on: first those that are made of packages alone, then their children, and
// so on, each sorted. Names that nobody knows are left out.
func levels(set definition.Set, names []string) (all [][]factory.Image) {
	seen := map[string]bool{}
	put := func(img factory.Image, depth int) {
		for len(all) <= depth {
			all = append(all, nil)
		}
		if !seen[img.Name] {
			seen[img.Name] = true
			all[depth] = append(all[depth], img)
		}
	}
	for _, name := range names {
		img, err := set.Image(name)
		if err != nil {
			continue
		}
		ancestors := set.Ancestors(name)
		for depth, a := range ancestors {
			put(a, depth)
		}
		put(img, len(ancestors))
	}
	for _, wave := range all {
		slices.SortFunc(wave, func(a, b factory.Image) int { return cmp.Compare(a.Name, b.Name) })
	}
	return all
}

// parentsFirst sorts names so that nobody comes before what it is built on. Names that nobody knows come last.
func parentsFirst(set definition.Set, names []string) (sorted []string) {
	for _, wave := range levels(set, names) {
		for _, img := range wave {
			if slices.Contains(names, img.Name) {
				sorted = append(sorted, img.Name)
			}
		}
	}
	for _, name := range names {
		if !slices.Contains(sorted, name) {
			sorted = append(sorted, name)
		}
	}
	return sorted
}

// result is what came of locking an image in this run.
func (l *locking) result(name string) lockResult {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.results[name]
	if !ok {
		r.Err = fmt.Errorf("lock %s: not asked for", name)
	}
	return r
}

// behind is why a child keeps its lock when its parent could not be locked: of the same kind as that failure.
func behind(img factory.Image, cause error) error {
	p := &factory.Problem{What: fmt.Sprintf("lock %s: %s, which it is built on, could not be locked", img.Name, img.From), Hint: "mend that first: factory lock " + img.From}
	for _, kind := range []error{factory.ErrUnverified, factory.ErrBlocked, factory.ErrUnavailable, factory.ErrInvalid, factory.ErrNotFound, factory.ErrConflict} {
		if errors.Is(cause, kind) {
			p.Kind = kind
			break
		}
	}
	return p
}

// part says which packages of its parent an image has, when no solver has to be asked for that; nil = all.
func (l *locking) part(img factory.Image) (keep []string, ok bool) {
	switch {
	case len(img.Only) > 0:
		return img.Only, len(img.Packages.Include) == 0
	case slices.ContainsFunc(l.set.Ancestors(img.Name), func(a factory.Image) bool { return len(a.Only) > 0 }):
		return nil, true // it adds none: a solver would bring back what was left out
	}
	parent, err := l.set.Image(img.From)
	asked := img
	asked.Platforms = parent.Platforms
	return nil, err == nil && definition.Digest(asked) == definition.Digest(parent)
}

// cut makes a lock of packages of the parent's.
func (l *locking) cut(req upstream.Request, keep []string, parent lockResult) lockResult {
	name := req.Image.Name
	fail := func(err error) lockResult { return lockResult{Err: fmt.Errorf("lock %s: %w", name, err)} }
	lock := factory.Lock{Schema: factory.LockSchema, Image: name, Definition: req.Definition, Release: parent.Lock.Release, Timestamp: parent.Lock.Timestamp,
		Tools: req.Tools, Roles: req.Roles}
	lock, err := limited(lock, parent.Lock, req.Image, keep)
	if err == nil {
		lock, err = lock.On(parent.Lock)
	}
	if err != nil {
		return fail(err)
	}
	return l.changed(req, lock, parent.Change)
}

// changed is a lock that no solver was asked for now, written when it moved. What known, a change of the same packages, fixes it fixes.
func (l *locking) changed(req upstream.Request, lock factory.Lock, known factory.LockChange) lockResult {
	change := lock.Since(req.Old)
	change.Credit(known)
	if l.Write && !change.Empty() {
		if err := writeLock(l.app.cfg.Dir, lock); err != nil {
			return lockResult{Err: fmt.Errorf("lock %s: %w", req.Image.Name, err)}
		}
	}
	return lockResult{Lock: lock, Change: change}
}

// limited gives a lock the packages of another one that an image keeps.
func limited(lock, of factory.Lock, img factory.Image, keep []string) (factory.Lock, error) {
	var missing []string
	if lock.Platforms, missing = of.Part(img.Platforms, keep); len(missing) > 0 {
		return lock, &factory.Problem{Kind: factory.ErrInvalid, Where: img.Where, What: fmt.Sprintf("only: %s has no package %s", img.From, missing[0]),
			Hint: "the lock.json of " + img.From + " lists what it has; include: brings others"}
	}
	return lock, nil
}
