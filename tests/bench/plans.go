package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/git"
	"github.com/imagefactory/imagefactory/factory/registry"
	"github.com/imagefactory/imagefactory/factory/store"
	"github.com/imagefactory/imagefactory/tests/e2e/fixture"
)

const (
	planned  = 1000 // definitions
	planDeep = 6
	planning = time.Second
)

// plans measures how long the program takes to decide about a thousand images that build on each other, without asking archives: it reads
// their definitions, locks and releases, asks git where they come from, and the registry whether it still has them.
func (b *workbench) plans(ctx context.Context) ([]row, error) {
	say("making %d definitions with their releases", planned)
	apart := *b
	apart.state = filepath.Join(b.work, ".factory-plans")
	dir := filepath.Join(b.work, "plans")
	if err := fixture.Repository(dir); err != nil {
		return nil, err
	}
	if _, err := fixture.Family(dir, planned, planDeep); err != nil {
		return nil, err
	}
	if err := fixture.Commit(dir, "a thousand definitions"); err != nil {
		return nil, err
	}
	set, err := definition.Load(dir)
	if err != nil {
		return nil, err
	}
	names, err := apart.releaseAll(ctx, dir, set)
	if err != nil {
		return nil, err
	}
	var jobs []struct {
		Action factory.Action `json:"action"`
	}
	took, err := b.fastest(fmt.Sprintf("plan of %d definitions", planned), func() error {
		return apart.factory(ctx, dir, &jobs, append([]string{"build", "--dry-run"}, names...)...)
	})
	if err != nil {
		return nil, err
	}
	if len(jobs) != planned {
		return nil, fmt.Errorf("%d jobs for %d definitions", len(jobs), planned)
	}
	return []row{{What: fmt.Sprintf("plan of %d definitions, %d deep", planned, planDeep), Measured: fmt.Sprintf("%.2f s", took.Seconds()), Target: "≤ " + seconds(planning), Met: took <= planning,
		Notes: []string{parts(ctx, dir, set)}}}, nil
}

// parts says how long two of the parts take.
func parts(ctx context.Context, dir string, set definition.Set) string {
	asked := map[string][]string{}
	for _, img := range set.Images {
		asked[img.Name] = img.Inputs
	}
	began := time.Now()
	if _, err := definition.Load(dir); err != nil {
		return "its parts could not be measured: " + err.Error()
	}
	load := time.Since(began)
	definition.Sums(dir, set.Images)
	sums := time.Since(began) - load
	known := (git.Repo{Dir: dir, Skip: definition.Leftover}).Settled(ctx, asked)
	return fmt.Sprintf("parts, alone: definitions %.2f s, digests of their inputs %.2f s, git %.2f s for %d; the last two beside database, registry and locks", load.Seconds(), sums.Seconds(),
		(time.Since(began) - load - sums).Seconds(), len(known))
}

// releaseAll publishes and records a release of each image, as its definition is now.
func (b *workbench) releaseAll(ctx context.Context, dir string, set definition.Set) (names []string, err error) {
	server := &registry.Server{Dir: filepath.Join(b.state, "registry"), Addr: b.address}
	running, err := server.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, running.Close()) }()
	db, err := store.Open(ctx, filepath.Join(b.state, "factory.db"), store.Options{Now: time.Now})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	sums := definition.Sums(dir, set.Images)
	now := time.Now().UTC()
	tag := factory.Tag{Date: factory.DateOf(now), Hash: "1a2b3c4d", Env: factory.Dev}
	for _, img := range set.Images {
		if img.Kind == factory.KindToolbox {
			continue
		}
		lock, _, err := definition.ReadLock(dir, img.Name)
		if err != nil {
			return nil, err
		}
		r := factory.Release{ID: "r-" + img.Name, Image: img.Name, Owner: img.Owner.Team, Repository: b.address + "/" + img.Name, Tag: tag, Created: now, Run: "run-1", Reason: "first release",
			Source: factory.Source{Hash: tag.Hash, Commit: tag.Hash + strings.Repeat("0", 32), Inputs: sums[img.Name]}, Lock: lock}
		if r.Digest, err = fixture.Publish(r.Tagged(), img.Name); err != nil {
			return nil, err
		}
		if _, err := db.AddRelease(ctx, r); err != nil {
			return nil, err
		}
		names = append(names, img.Name)
	}
	return names, nil
}
