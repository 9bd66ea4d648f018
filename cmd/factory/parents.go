package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/store"
)

// onParent makes sure that a child's lock, its parent's lock and the release that the child is built on belong together: else
// packages would be installed on others than those that they were chosen for.
func (a *app) onParent(ctx context.Context, job factory.Job, lock factory.Lock) error {
	img := job.Image
	stale := func(what string) error {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("the lock of %s was made for %s", img.Name, what), Hint: "make it: factory lock " + img.Name}
	}
	switch {
	case img.From == "" && lock.Parent == nil:
		return nil
	case img.From == "":
		return stale("a child of " + lock.Parent.Image)
	case lock.Parent == nil || lock.Parent.Image != img.From:
		return stale("another parent than " + img.From)
	}
	theirs, ok, err := definition.ReadLock(a.cfg.Dir, img.From)
	switch {
	case err != nil:
		return err
	case !ok:
		return noLock(img.From)
	}
	switch pin, err := theirs.Pin(); {
	case err != nil:
		return err
	case pin != *lock.Parent:
		return stale("another lock of " + img.From)
	case job.Parent == nil:
		return noParent(img)
	}
	db, err := a.store(ctx)
	if err != nil {
		return err
	}
	r, err := db.Release(ctx, job.Parent.Release)
	if err != nil {
		return fmt.Errorf("parent of %s: %w", img.Name, err)
	}
	if revoked, err := db.Revoked(ctx, r.Repository, r.Digest); err != nil {
		return err
	} else if revoked != nil {
		return &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("%s, which %s would be built on, is revoked: %s", r.Tagged(), img.Name, revoked.Reason),
			Hint: fmt.Sprintf("make its successor first: factory build --lock %s %s", img.From, img.Name)}
	}
	if pin, err := r.Lock.Pin(); err != nil || pin != *lock.Parent {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s was released from another lock than %s was locked with", job.Parent.Ref(), img.Name), Cause: err,
			Hint: fmt.Sprintf("factory build %s %s", img.From, img.Name)}
	}
	return nil
}

// noParent says that there is nothing to build a child on.
func noParent(img factory.Image) error {
	return &factory.Problem{Kind: factory.ErrNotFound, Where: img.Where, What: fmt.Sprintf("%s has no release that %s could be built on", img.From, img.Name),
		Hint: fmt.Sprintf("factory build %s %s", img.From, img.Name)}
}

// base is the newest release of an image where new releases go, as something to build on; nil = there is none.
func (a *app) base(ctx context.Context, image string) (*factory.Base, error) {
	db, err := a.store(ctx)
	if err != nil {
		return nil, err
	}
	last, err := db.Releases(ctx, store.Query{Image: image, Repository: a.repository(image), Env: a.cfg.Env, Limit: 1})
	if err != nil || len(last) == 0 {
		return nil, err
	}
	return baseOf(last[0]), nil
}

func baseOf(r factory.Release) *factory.Base {
	return &factory.Base{Image: r.Image, Release: r.ID, Repository: r.Repository, Digest: r.Digest, Tag: r.Tag}
}

// beneath adds to evidence what the gate has to know about the release that the image is built on.
func (c *command) beneath(ctx context.Context, e *factory.Evidence) error {
	if e.Parent == nil {
		return nil
	}
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s %s (%s)", e.Parent.Image, e.Parent.Tag, e.Parent.Digest.Short())
	revoked, err := db.Revoked(ctx, e.Parent.Repository, e.Parent.Digest)
	if err != nil {
		return err
	}
	if revoked != nil {
		e.BaseRevoked = fmt.Sprintf("%s: %s", name, revoked.Reason)
	}
	parent, err := db.Release(ctx, e.Parent.Release)
	switch {
	case errors.Is(err, factory.ErrNotFound):
		e.Base = "it is built on " + name + ", which this database does not know: what its ancestors' waivers accept is not accepted here"
		return nil
	case err != nil || revoked != nil:
		return err
	}
	entries, err := db.Ledger(ctx, store.LedgerQuery{Image: parent.Image, Digest: parent.Digest})
	if err == nil && !slices.ContainsFunc(entries, func(l factory.Entry) bool { return l.Env == e.Env && !l.Revoked }) {
		e.Base = fmt.Sprintf("its base %s is not in %s; promote that first", name, e.Env)
	}
	return err
}
