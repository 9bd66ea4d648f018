package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/buildkit"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/oci"
	"github.com/imagefactory/imagefactory/factory/upstream"
)

// lockResult is what came of locking one image.
type lockResult struct {
	Lock   factory.Lock
	Change factory.LockChange
	Err    error
	// Derived is set when the image's parent could not be locked, and so nobody tried.
	Derived bool
}

// locking refreshes locks: the toolbox first, because it is where the solvers run, then every image on its own, those that others are
// built on before those.
type locking struct {
	app   *app
	set   definition.Set
	Write bool // replace lock.json; otherwise only say what would change
	Full  bool // ask the solver even when no archive moved
	Repin bool // make the toolbox on this machine and pin what comes out
	// Asked is what came of asking a moment ago, without writing: it is taken where it is still current, and nobody asks twice.
	Asked map[string]lockResult

	mu      sync.Mutex
	results map[string]lockResult
}

// run locks the named images and what they are built on, and returns what came of each. An image that fails keeps its old lock.
func (l *locking) run(ctx context.Context, names []string) map[string]lockResult {
	l.results = map[string]lockResult{}
	box, err := l.toolbox(ctx, slices.Contains(names, boxName(l.set)))
	for _, name := range names {
		if _, unknown := l.set.Image(name); unknown != nil {
			l.put(name, lockResult{Err: unknown})
		}
	}
	for _, wave := range levels(l.set, names) {
		l.wave(ctx, wave, box, err)
	}
	return l.results
}

func (l *locking) put(name string, r lockResult) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results[name] = r
	a := l.app
	switch {
	case r.Err != nil:
		a.events.Emit(factory.Event{Kind: factory.Broke, Image: name, Step: factory.StepResolve, Message: r.Err.Error()})
	case r.Change.Empty():
		a.events.Emit(factory.Event{Kind: factory.Noted, Image: name, Message: "lock is current"})
	default:
		a.events.Emit(factory.Event{Kind: factory.Noted, Image: name, Message: "lock moved: " + changeLine(r)})
	}
}

func boxName(set definition.Set) string {
	for _, img := range set.Images {
		if img.Kind == factory.KindToolbox {
			return img.Name
		}
	}
	return ""
}

// toolboxState is the toolbox that images are locked with. Its use is put off until somebody needs it.
type toolboxState struct {
	image  factory.Image
	lock   factory.Lock
	digest factory.Digest
}

// toolbox locks the toolbox when it is asked for or has no lock, and makes it when its lock moved.
func (l *locking) toolbox(ctx context.Context, asked bool) (toolboxState, error) {
	a, name := l.app, boxName(l.set)
	img, err := l.set.Image(name)
	if err != nil {
		return toolboxState{}, &factory.Problem{Kind: factory.ErrInvalid, What: "no definition has kind: toolbox", Hint: "restore baseimages/toolbox"}
	}
	old, exists, err := definition.ReadLock(a.cfg.Dir, name)
	if err != nil {
		return toolboxState{}, err
	}
	if exists && old.Digest != "" && old.Definition == definition.Digest(img) && !asked {
		return toolboxState{img, old, old.Digest}, nil
	}
	res := l.solveToolbox(ctx, img, old, exists)
	l.put(name, res)
	if res.Err != nil && ctx.Err() == nil && exists && old.Digest != "" {
		// The images can still be locked and built with the toolbox that there is.
		a.events.Emit(factory.Event{Kind: factory.Warned, Image: name, Message: "going on with the toolbox as it was locked before"})
		return toolboxState{img, old, old.Digest}, nil
	}
	return toolboxState{img, res.Lock, res.Lock.Digest}, res.Err
}

func (l *locking) solveToolbox(ctx context.Context, img factory.Image, old factory.Lock, exists bool) lockResult {
	a := l.app
	req := upstream.Request{Image: img, Definition: definition.Digest(img)}
	if exists {
		req.Old = &old
	}
	// There is no toolbox yet to solve in: this machine's own apt does it.
	s := l.solver(upstream.Host{Env: upstream.Proxies(a.environment())})
	if exists && old.Digest != "" && !l.Repin && l.current(ctx, s, req) {
		return lockResult{Lock: old, Change: factory.LockChange{Image: img.Name}}
	}
	a.events.Emit(factory.Event{Kind: factory.Began, Image: img.Name, Step: factory.StepResolve, Message: "asking the archives"})
	began := a.w.Now()
	lock, change, err := s.Solve(ctx, req)
	if err != nil {
		return lockResult{Err: fmt.Errorf("lock %s: %w", img.Name, err)}
	}
	a.events.Emit(factory.Event{Kind: factory.Finished, Image: img.Name, Step: factory.StepResolve, Seconds: a.w.Now().Sub(began).Seconds()})
	if exists && lock.SamePackages(old) {
		lock.Digest = old.Digest
	}
	switch {
	case l.Write && l.Repin:
		lock, err = a.toolboxes().Pin(ctx, img, lock)
	case l.Write && lock.Digest == "":
		lock.Digest, err = a.toolbox(ctx, img, lock)
	}
	if err != nil {
		return lockResult{Err: err}
	}
	if l.Write && (!change.Empty() || lock.Digest != old.Digest) {
		if err := writeLock(a.cfg.Dir, lock); err != nil {
			return lockResult{Err: err}
		}
	}
	return lockResult{Lock: lock, Change: change}
}

// tools are what an image is made with, as its lock names it: the toolbox, and this program's own way of building.
func tools(box factory.Digest, img factory.Image) map[string]factory.Digest {
	recipe := fmt.Sprintf("%s oci %d", buildkit.Recipe(img.Distro.Format()), oci.Recipe)
	if img.From != "" {
		recipe = fmt.Sprintf("%s oci %d", buildkit.ChildRecipe(img.Distro.Format()), oci.Recipe)
	}
	return map[string]factory.Digest{"toolbox": box, "recipe": factory.DigestOf([]byte(recipe))}
}

func (l *locking) solver(r upstream.Runner) upstream.Solver {
	a := l.app
	return upstream.Solver{Runner: r, Archives: a.cfg.Archives, Entitlements: a.cfg.Entitlements, HTTP: &http.Client{Timeout: 30 * time.Second}, Now: a.w.Now, Events: a.events,
		Cache: filepath.Join(a.cfg.State, "archives")}
}

// current reports whether no archive moved since the lock was made. When that cannot be told, the solver is asked.
func (l *locking) current(ctx context.Context, s upstream.Solver, req upstream.Request) bool {
	if l.Full {
		return false
	}
	ok, err := s.Current(ctx, req)
	return err == nil && ok
}

// lockErr joins the failures of a locking run, in the order of the images.
func lockErr(results map[string]lockResult) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(results)) {
		errs = append(errs, results[name].Err)
	}
	return errors.Join(errs...)
}
