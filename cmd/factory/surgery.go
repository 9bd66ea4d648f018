package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/oci"
	"github.com/imagefactory/imagefactory/factory/pipeline"
	"github.com/imagefactory/imagefactory/factory/rebase"
	"github.com/imagefactory/imagefactory/factory/store"
)

// surgery exchanges bases for one release, of many images. What it read of a layer it remembers.
type surgery struct {
	c       *command
	o       rebaseOptions
	onto    factory.Release
	base    factory.Published // of onto
	distro  factory.Distro
	set     definition.Set
	line    pipeline.Line
	dir     string // of blobs and layouts, gone afterwards
	layers  layerCache
	entries []factory.Entry // of the ledger, about onto

	mu    sync.Mutex
	bases []factory.Release // of the base image, newest first; read when it is asked for
}

// operation is one image on its way.
type operation struct {
	ref     string
	name    string
	release *factory.Release // nil = it is somebody else's
	env     factory.Env
	image   factory.Published
	from    factory.Release
	old     factory.Published
	checks  []factory.RebaseCheck
	merged  map[factory.Platform][]rebase.Merged
	config  map[factory.Platform]map[string]json.RawMessage
}

func (c *command) newSurgery(ctx context.Context, onto factory.Release, o rebaseOptions) (*surgery, error) {
	set, err := c.definitions()
	if err != nil {
		return nil, err
	}
	db, err := c.store(ctx)
	if err != nil {
		return nil, err
	}
	s := &surgery{c: c, o: o, onto: onto, set: set}
	if revoked, err := db.Revoked(ctx, onto.Repository, onto.Digest); err != nil {
		return nil, err
	} else if revoked != nil {
		return nil, &factory.Problem{Kind: factory.ErrBlocked, What: onto.Tagged() + " is revoked: " + revoked.Reason, Hint: "put the images on another release of " + onto.Image}
	}
	if s.entries, err = db.Ledger(ctx, store.LedgerQuery{Image: onto.Image, Digest: onto.Digest}); err != nil {
		return nil, err
	}
	if s.distro, err = s.distroOf(onto); err != nil {
		return nil, err
	}
	if s.base, err = c.registry().Published(ctx, onto.Ref()); err != nil {
		return nil, fmt.Errorf("the new base: %w", err)
	}
	if err := os.MkdirAll(c.workDir(), 0o755); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp(c.workDir(), "rebase-"); err != nil {
		return nil, err
	}
	s.layers = layerCache{client: c.registry(), blobs: filepath.Join(s.dir, "blobs"), kept: filepath.Join(c.cfg.State, "rebase")}
	return s, errors.Join(os.MkdirAll(s.layers.blobs, 0o755), os.MkdirAll(s.layers.kept, 0o700))
}

func (s *surgery) close() { _ = os.RemoveAll(s.dir) }

// distroOf is what a release was made as: its own inputs say so, and today's definition where they were not kept.
func (s *surgery) distroOf(r factory.Release) (factory.Distro, error) {
	if len(r.Inputs) > 0 {
		dir, err := os.MkdirTemp("", "factory-rebase-")
		if err != nil {
			return factory.Distro{}, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if img, _, err := unpackInputs(r.Inputs, filepath.Join(dir, "inputs"), r.Image); err == nil {
			return img.Distro, nil
		}
	}
	img, err := s.set.Image(r.Image)
	return img.Distro, err
}

// prepare makes sure that what every rebase needs is there.
func (s *surgery) prepare(ctx context.Context, run string) (err error) {
	if s.line, err = s.c.line(ctx, run); err != nil {
		return err
	}
	if _, _, err := s.c.scanner(ctx); err != nil {
		return err
	}
	if !s.o.Prove {
		return nil
	}
	box, err := s.c.boxLock(s.set)
	if err != nil {
		return err
	}
	_, err = s.c.toolbox(ctx, box.image, box.lock)
	return err
}

// rebase takes one image from its reference to what became of it.
func (s *surgery) rebase(ctx context.Context, run, ref string) (r rebased) {
	r = rebased{Image: ref, Before: ref, Onto: s.onto.Tagged(), Result: "failed", Checks: []factory.RebaseCheck{}}
	fail := func(err error) rebased {
		r.err, r.Error = err, err.Error()
		return r
	}
	op, err := s.admit(ctx, ref)
	if err != nil {
		return fail(err)
	}
	r.Image, r.Before = op.name, op.image.Repository+"@"+string(op.image.Digest)
	if err := s.examine(ctx, op); err != nil {
		return fail(err)
	}
	if op.from.Digest == s.onto.Digest {
		r.Result, r.Ref, r.Digest = "on it already", "", op.image.Digest
		return r
	}
	r.Checks, r.Merged = op.checks, mergedNames(op.merged)
	if op.from.Digest != "" {
		r.From = op.from.Tagged()
	}
	if err := rebaseRefusal(op.name, s.onto, op.checks); err != nil {
		r.Result = "refused"
		return fail(err)
	}
	if s.o.DryRun {
		r.Result = "would be rebased"
		return r
	}
	if op.release == nil {
		return s.foreign(ctx, run, op, r)
	}
	return s.own(ctx, run, op, r)
}

// admit finds out what a reference stands for.
func (s *surgery) admit(ctx context.Context, ref string) (*operation, error) {
	release, err := s.ours(ctx, ref)
	if errors.Is(err, factory.ErrNotFound) {
		parsed, bad := factory.ParseRef(ref)
		if bad != nil {
			return nil, errors.Join(err, bad)
		}
		op := &operation{ref: ref, name: parsed.Repository}
		op.image, err = s.c.registry().Published(ctx, ref)
		return op, err
	}
	if err != nil {
		return nil, err
	}
	op := &operation{ref: ref, name: release.Image, release: &release, env: cmp.Or(factory.Env(s.o.Env), release.Tag.Env)}
	op.image, err = s.c.registry().Published(ctx, release.Ref())
	return op, err
}

// ours is the release of ours that is meant. An image's name with an environment means the release that is in force there.
func (s *surgery) ours(ctx context.Context, ref string) (factory.Release, error) {
	db, err := s.c.store(ctx)
	if err != nil {
		return factory.Release{}, err
	}
	if s.o.Env != "" {
		standing, err := db.Standing(ctx)
		if err != nil {
			return factory.Release{}, err
		}
		for _, e := range standing {
			if e.Image == ref && e.Env == factory.Env(s.o.Env) {
				return db.Release(ctx, e.Release)
			}
		}
	}
	return db.Release(ctx, ref)
}

// examine finds the old base and holds every rule against the image. Rules about content are looked at only where the layers are those of
// the base: of others nobody knows which are the image's own.
func (s *surgery) examine(ctx context.Context, op *operation) error {
	if op.release != nil {
		if err := s.standing(ctx, op); err != nil {
			return err
		}
	}
	found, err := s.oldBase(ctx, op)
	if err != nil || op.from.Digest == s.onto.Digest {
		return err
	}
	was := factory.Distro{}
	if found {
		if was, err = s.distroOf(op.from); err != nil {
			return err
		}
	}
	op.checks = append(op.checks, rebase.Series(op.from.Image, s.onto.Image, was, s.distro))
	if !found {
		return nil
	}
	if op.old, err = s.c.registry().Published(ctx, op.from.Ref()); err != nil {
		return fmt.Errorf("the old base: %w", err)
	}
	op.merged, op.config = map[factory.Platform][]rebase.Merged{}, map[factory.Platform]map[string]json.RawMessage{}
	for _, m := range op.image.Platforms {
		if err := s.platform(ctx, op, m); err != nil {
			return err
		}
	}
	return nil
}

// standing wants image and base in the environment, and the image not revoked: what must not be used is not made anew.
func (s *surgery) standing(ctx context.Context, op *operation) error {
	db, err := s.c.store(ctx)
	if err != nil {
		return err
	}
	mine, err := db.Ledger(ctx, store.LedgerQuery{Image: op.release.Image, Digest: op.release.Digest})
	if err != nil {
		return err
	}
	in := func(entries []factory.Entry) bool {
		return slices.ContainsFunc(entries, func(e factory.Entry) bool { return e.Env == op.env && !e.Revoked })
	}
	c := factory.RebaseCheck{Rule: "environment", OK: true, Text: "image and base are in " + string(op.env)}
	switch {
	case slices.ContainsFunc(mine, func(e factory.Entry) bool { return e.Revoked }):
		c.OK, c.Text = false, "the image is revoked; what is wrong with it may lie in its own layers"
	case !in(mine):
		c.OK, c.Text = false, fmt.Sprintf("the image never was in %s", op.env)
	case !in(s.entries):
		c.OK, c.Text = false, fmt.Sprintf("the new base never was in %s: factory promote %s --to %s", op.env, s.onto.Tag, op.env)
	}
	op.checks = append(op.checks, c)
	return nil
}

// oldBase finds the release that an image is built on: the one that is recorded, that its annotations name, or whose layers it has. Which
// of these it was does not matter, for the layers are compared in any case.
func (s *surgery) oldBase(ctx context.Context, op *operation) (bool, error) {
	db, err := s.c.store(ctx)
	if err != nil {
		return false, err
	}
	var named []string
	if op.release != nil && op.release.Parent != nil {
		named = append(named, op.release.Parent.Ref())
	}
	for _, m := range op.image.Platforms {
		f, err := oci.Read(m)
		if err != nil {
			return false, err
		}
		if d, err := factory.ParseDigest(f.Base()); err == nil {
			named = append(named, string(d))
		}
	}
	for _, ref := range named {
		if op.from, err = db.Release(ctx, ref); err == nil {
			return true, nil
		} else if !errors.Is(err, factory.ErrNotFound) && !errors.Is(err, factory.ErrInvalid) {
			return false, err
		}
	}
	return s.byLayers(ctx, op)
}

// byLayers looks for the release of the base whose layers are the image's lowest, on its first platform.
func (s *surgery) byLayers(ctx context.Context, op *operation) (bool, error) {
	op.from = factory.Release{}
	db, err := s.c.store(ctx)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bases == nil {
		if s.bases, err = db.Releases(ctx, store.Query{Image: s.onto.Image}); err != nil {
			return false, err
		}
	}
	m := op.image.Platforms[0]
	facts, err := oci.Read(m)
	if err != nil {
		return false, err
	}
	for _, r := range s.bases {
		for _, p := range r.Artifact.Platforms {
			if p.Platform == m.Platform && rebase.Layers(m.Platform, digests(facts.Layers), layersOf(p)).OK {
				op.from, err = db.Release(ctx, r.ID)
				return true, err
			}
		}
	}
	return false, nil
}

func digests(layers []oci.Sized) (all []factory.Digest) {
	for _, l := range layers {
		all = append(all, l.Digest)
	}
	return all
}

func layersOf(p factory.PlatformImage) (all []factory.Digest) {
	for _, l := range p.Layers {
		all = append(all, l.Digest)
	}
	return all
}
