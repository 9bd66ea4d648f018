package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/git"
)

// resolver finds a job's exact inputs: the lock as committed, and a copy of every file that the image is made of.
type resolver struct{ app *app }

// Resolve refuses a lock that does not belong to the definition, the roles or the toolbox in front of it.
func (r resolver) Resolve(ctx context.Context, job factory.Job) (factory.Locked, error) {
	img, dir := job.Image, r.app.cfg.Dir
	lock, ok, err := definition.ReadLock(dir, img.Name)
	if err != nil {
		return factory.Locked{}, err
	}
	relock := "make it: factory lock " + img.Name
	if !ok {
		return factory.Locked{}, noLock(img.Name)
	}
	stale := func(what string) error {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("the lock of %s was made for another %s", img.Name, what), Hint: relock}
	}
	roles, err := definition.RoleDigests(dir, img)
	switch {
	case err != nil:
		return factory.Locked{}, err
	case lock.Image != img.Name:
		return factory.Locked{}, stale("image, " + lock.Image)
	case lock.Definition != definition.Digest(img):
		return factory.Locked{}, stale("definition")
	case !maps.Equal(lock.Roles, roles):
		return factory.Locked{}, stale("version of its roles")
	case r.app.box != nil && !maps.Equal(lock.Tools, tools(*r.app.box, img)):
		return factory.Locked{}, stale("toolbox or version of the factory")
	}
	if err := r.app.onParent(ctx, job, lock); err != nil {
		return factory.Locked{}, err
	}
	tar, inputs, err := definition.Pack(dir, img)
	if err != nil {
		return factory.Locked{}, err
	}
	if job.Source.Inputs != "" && inputs != job.Source.Inputs {
		return factory.Locked{}, &factory.Problem{Kind: factory.ErrConflict, What: "the inputs of " + img.Name + " changed while the run was planning", Hint: "run it again"}
	}
	if err := sameDefinition(tar, img); err != nil {
		return factory.Locked{}, err
	}
	locked := factory.Locked{Job: job, Lock: lock, Inputs: tar, At: r.app.began}
	if job.Refresh != "" {
		locked.Fresh = r.app.newID()
	}
	return locked, nil
}

// sameDefinition makes sure that what was planned is what was packed: the files may have changed since they were read.
func sameDefinition(tar []byte, planned factory.Image) error {
	dir, err := os.MkdirTemp("", "factory-inputs-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	packed, _, err := unpackInputs(tar, filepath.Join(dir, "inputs"), planned.Name)
	if err != nil {
		return err
	}
	packed.Owner = planned.Owner // the other images' part of owners.yaml is not packed, and so lines differ
	a, _ := json.Marshal(packed)
	b, _ := json.Marshal(planned)
	if !bytes.Equal(a, b) {
		return &factory.Problem{Kind: factory.ErrConflict, What: "the definition of " + planned.Name + " changed while the run was planning", Hint: "run it again"}
	}
	return nil
}

// source says which commit made an image's inputs, and what they are.
func (a *app) source(ctx context.Context, img factory.Image) (factory.Source, error) {
	return sourceIn(ctx, a.git(), img)
}

// foresee finds out the sources of images in one go, as far as that is possible: git is slow to ask a thousand times. Their inputs'
// digests were made before git is asked: what is edited after that makes it dirty, never clean.
func (a *app) foresee(ctx context.Context, images []factory.Image, sums map[string]factory.Digest) map[string]factory.Source {
	asked := map[string][]string{}
	for _, img := range images {
		asked[img.Name] = img.Inputs
	}
	sources := a.git().Settled(ctx, asked)
	for name, s := range sources {
		if s.Inputs = sums[name]; s.Inputs == "" {
			delete(sources, name)
			continue
		}
		sources[name] = s
	}
	return sources
}

// sourceKnown is the source of an image with the locks of this plan.
func (a *app) sourceKnown(ctx context.Context, img factory.Image, k known) (factory.Source, error) {
	locks := k.unwritten(img)
	if s, ok := k.sources[img.Name]; ok && len(locks) == 0 {
		return s, nil
	}
	return a.sourceWith(ctx, img, locks)
}

func sourceIn(ctx context.Context, repo git.Repo, img factory.Image) (factory.Source, error) {
	// Packed first: what is edited after that makes it dirty, never clean.
	_, inputs, err := definition.Pack(repo.Dir, img)
	if err != nil {
		return factory.Source{}, err
	}
	src, err := repo.Source(ctx, img.Inputs)
	src.Inputs = inputs
	return src, err
}

// sourceWith is source as it would be with other locks, without writing those to the repository.
func (a *app) sourceWith(ctx context.Context, img factory.Image, locks []factory.Lock) (factory.Source, error) {
	if len(locks) == 0 {
		return a.source(ctx, img)
	}
	tar, _, err := definition.Pack(a.cfg.Dir, img)
	if err != nil {
		return factory.Source{}, err
	}
	dir, err := os.MkdirTemp("", "factory-plan-")
	if err != nil {
		return factory.Source{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := definition.Unpack(tar, dir); err != nil {
		return factory.Source{}, err
	}
	for _, lock := range locks {
		if err := writeLock(dir, lock); err != nil {
			return factory.Source{}, err
		}
	}
	src, err := sourceIn(ctx, git.Repo{Dir: dir, Skip: definition.Leftover}, img)
	src.Dirty = true
	return src, err
}

// lockPath is where an image's lock lies in a repository.
func lockPath(dir, image string) string { return filepath.Join(dir, "baseimages", image, "lock.json") }

// writeLock replaces an image's lock in one step: a crash leaves the old one or the new one.
func writeLock(dir string, lock factory.Lock) error {
	b, err := lock.Encode()
	if err != nil {
		return err
	}
	path := lockPath(dir, lock.Image)
	tmp, err := os.CreateTemp(filepath.Dir(path), ".lock-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("lock of %s: %w", lock.Image, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("lock of %s: %w", lock.Image, err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("lock of %s: %w", lock.Image, err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}
