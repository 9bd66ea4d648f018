package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/upstream"
)

// wave locks images that are not built on one another: each on its own as far as that can be told without a solver, the others together.
func (l *locking) wave(ctx context.Context, images []factory.Image, box toolboxState, noBox error) {
	var mu sync.Mutex
	var open []upstream.Request
	var group sync.WaitGroup
	for _, img := range images {
		switch {
		case img.Kind == factory.KindToolbox:
		case noBox != nil:
			l.put(img.Name, lockResult{Err: noBox})
		default:
			group.Go(func() {
				req, res, settled := l.told(ctx, img, box)
				if settled {
					l.put(img.Name, res)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				open = append(open, req)
			})
		}
	}
	group.Wait()
	if len(open) > 0 {
		slices.SortFunc(open, func(a, b upstream.Request) int { return cmp.Compare(a.Image.Name, b.Image.Name) })
		l.ask(ctx, open, box)
	}
}

// told is what comes of locking an image when no solver has to be asked for it; settled is false when one has to, with this request.
func (l *locking) told(ctx context.Context, img factory.Image, box toolboxState) (req upstream.Request, res lockResult, settled bool) {
	a := l.app
	fail := func(err error) (upstream.Request, lockResult, bool) { return req, unlocked(img, err), true }
	old, exists, err := definition.ReadLock(a.cfg.Dir, img.Name)
	if err != nil {
		return fail(err)
	}
	roles, err := definition.RoleDigests(a.cfg.Dir, img)
	if err != nil {
		return fail(err)
	}
	req = upstream.Request{Image: img, Definition: definition.Digest(img), Tools: tools(box.digest, img), Roles: roles}
	if exists {
		req.Old = &old
	}
	if img.From != "" {
		parent := l.result(img.From)
		if parent.Err != nil {
			return req, lockResult{Err: behind(img, parent.Err), Derived: true}, true
		}
		req.Parent = &parent.Lock
		if keep, ok := l.part(img); ok {
			return req, l.cut(req, keep, parent), true
		}
	}
	s := l.solver(a.build())
	if exists && l.current(ctx, s, req) {
		return req, lockResult{Lock: old, Change: factory.LockChange{Image: img.Name}}, true
	}
	if asked, ok := l.Asked[img.Name]; ok && asked.Err == nil {
		now := req
		if now.Old = &asked.Lock; l.current(ctx, s, now) {
			return req, l.changed(req, asked.Lock, asked.Change), true
		}
	}
	return req, res, false
}

func unlocked(img factory.Image, err error) lockResult {
	return lockResult{Err: fmt.Errorf("lock %s: %w", img.Name, err)}
}

// ask has the archives' solvers decide, inside the toolbox.
func (l *locking) ask(ctx context.Context, reqs []upstream.Request, box toolboxState) {
	a := l.app
	s := l.solver(a.build())
	_, err := a.toolbox(ctx, box.image, box.lock)
	if err == nil {
		s.Toolbox, err = a.build().Toolbox()
	}
	if err != nil {
		for _, req := range reqs {
			l.put(req.Image.Name, unlocked(req.Image, err))
		}
		return
	}
	began := a.w.Now()
	var whole []upstream.Request
	var group sync.WaitGroup
	for _, req := range reqs {
		a.events.Emit(factory.Event{Kind: factory.Began, Image: req.Image.Name, Step: factory.StepResolve, Message: "asking the archives"})
		if len(req.Image.Only) > 0 {
			group.Go(func() { l.answered(req, l.solvePart(ctx, s, req), began) })
		} else {
			whole = append(whole, req)
		}
	}
	for i, solution := range s.SolveAll(ctx, whole) {
		l.answered(whole[i], solution, began)
	}
	group.Wait()
}

// answered writes the lock that a solver's answer makes.
func (l *locking) answered(req upstream.Request, solution upstream.Solution, began time.Time) {
	a, img := l.app, req.Image
	if solution.Err != nil {
		l.put(img.Name, unlocked(img, solution.Err))
		return
	}
	a.events.Emit(factory.Event{Kind: factory.Finished, Image: img.Name, Step: factory.StepResolve, Seconds: a.w.Now().Sub(began).Seconds()})
	if l.Write && !solution.Change.Empty() {
		if err := writeLock(a.cfg.Dir, solution.Lock); err != nil {
			l.put(img.Name, unlocked(img, err))
			return
		}
	}
	l.put(img.Name, lockResult{Lock: solution.Lock, Change: solution.Change})
}

// solvePart asks the archives for an image that has only a part of its parent, and packages of its own.
func (l *locking) solvePart(ctx context.Context, s upstream.Solver, req upstream.Request) (made upstream.Solution) {
	parent, err := l.set.Image(req.Image.From)
	if err != nil {
		return upstream.Solution{Err: err}
	}
	made.Lock, made.Change, made.Err = s.SolvePart(ctx, req, parent.Packages)
	return made
}
