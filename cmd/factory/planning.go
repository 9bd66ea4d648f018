package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/pipeline"
	"github.com/imagefactory/imagefactory/factory/plan"
	"github.com/imagefactory/imagefactory/factory/store"
)

// plan locks (when asked to) and decides what is to be done with each image.
func (c *command) plan(ctx context.Context, set definition.Set, problems error, o nightOptions) ([]factory.Job, error) {
	names := o.Images
	if len(names) == 0 {
		for _, img := range set.Images {
			names = append(names, img.Name)
		}
	}
	unset, err := c.unset(ctx, set, o.Images)
	if err != nil {
		return nil, err
	}
	locks := map[string]lockResult{}
	if o.Lock {
		l := &locking{app: c.app, set: set, Write: !o.DryRun}
		locks = l.run(ctx, slices.DeleteFunc(slices.Clone(names), func(name string) bool { return unset[name] != "" }))
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if o.Commit {
			if err := c.commitLocks(ctx, set, locks, o.Push); err != nil {
				return nil, err
			}
		}
		// Meanwhile somebody may have edited a definition, and a push may have brought others' commits.
		set, problems = definition.Load(c.cfg.Dir)
	}
	var in []plan.Input
	for _, name := range names {
		img, err := set.Image(name)
		if err != nil && slices.Contains(set.Broken, name) && len(o.Images) == 0 {
			continue // it becomes a failed job below
		}
		if err != nil {
			return nil, errors.Join(err, problems)
		}
		if unset[name] != "" {
			in = append(in, plan.Input{Image: img, Unset: unset[name]})
			continue
		}
		input, err := c.planInput(ctx, img, locks, o)
		if err != nil {
			return nil, err
		}
		in = append(in, input)
	}
	var force []string
	if len(o.Images) > 0 {
		force = o.Images
	}
	jobs := plan.Make(c.w.Now(), c.cfg.MaxAge, c.cfg.Env, force, in)
	for i := range jobs {
		if o.Why != "" && jobs[i].Action == factory.Rebuild {
			jobs[i].Reason = o.Why
		}
	}
	return append(jobs, brokenDefinitions(set, problems, o.Images)...), nil
}

// unset says of each image what is missing here for it to be made: an archive whose URL nobody configured, as long as the image
// has neither a lock nor a release. What was made once is never left out without a word, and what is asked for by name is tried.
func (c *command) unset(ctx context.Context, set definition.Set, asked []string) (map[string]string, error) {
	missing := map[string]string{}
	for _, img := range set.Images {
		why := c.noArchives(img)
		if _, locked, err := definition.ReadLock(c.cfg.Dir, img.Name); why == "" || locked || err != nil || len(asked) > 0 {
			continue
		}
		db, err := c.store(ctx)
		if err != nil {
			return nil, err
		}
		if last, err := db.Releases(ctx, store.Query{Image: img.Name, Limit: 1}); err != nil {
			return nil, err
		} else if len(last) == 0 {
			missing[img.Name] = why
		}
	}
	return missing, nil
}

// noArchives names the archives of an image that nothing says the URL of, and what to do about it; empty = all are known.
func (c *command) noArchives(img factory.Image) string {
	var ids []string
	for _, a := range img.Archives {
		if c.cfg.Archives[a.ID] == "" && !slices.Contains(ids, a.ID) {
			ids = append(ids, a.ID)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	return fmt.Sprintf("nothing says where archive %s is; set archives: in factory.yaml", strings.Join(ids, " and "))
}

// planInput is what the plan needs to know about one image.
func (c *command) planInput(ctx context.Context, img factory.Image, locks map[string]lockResult, o nightOptions) (plan.Input, error) {
	in := plan.Input{Image: img}
	db, err := c.store(ctx)
	if err != nil {
		return in, err
	}
	if img.Kind == factory.KindToolbox {
		return in, nil
	}
	last, err := db.Releases(ctx, store.Query{Image: img.Name, Repository: c.repository(img.Name), Env: c.cfg.Env, Limit: 1})
	if err != nil {
		return in, err
	}
	if len(last) > 0 {
		in.Last = &last[0]
		in.Gone, in.Err = c.gone(ctx, last[0])
	}
	if in.LastFailed, err = lastFailure(ctx, db, img.Name); err != nil {
		return in, err
	}
	res, locked := locks[img.Name]
	switch {
	case in.Err != nil:
		return in, nil
	case locked && res.Err != nil:
		in.Err = res.Err
		return in, nil
	case locked:
		in.Lock = res.Lock
	default:
		var there bool
		if in.Lock, there, in.Err = definition.ReadLock(c.cfg.Dir, img.Name); in.Err == nil && !there {
			in.Err = noLock(img.Name)
		}
	}
	if in.Err == nil && locked && o.DryRun && !res.Change.Empty() {
		in.Source, in.Err = c.sourceWith(ctx, img, res.Lock)
	} else if in.Err == nil {
		in.Source, in.Err = c.source(ctx, img)
	}
	if in.Err == nil && in.Source.Dirty && c.cfg.Env != factory.Dev {
		in.Err = &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("the inputs of %s are not committed, so it can be built for dev only", img.Name),
			Hint: "git commit them, with factory nightly --commit for locks; or use --env dev"}
	}
	return in, nil
}

// gone asks the registry for a release that the factory believes to be there. A tag that stands for something else is an
// error; a registry that does not answer is not: that will be noticed when something is published.
func (c *command) gone(ctx context.Context, last factory.Release) (bool, error) {
	if err := c.serveKept(ctx, last.Repository); err != nil {
		return false, nil
	}
	client := c.registry()
	client.Retry.Attempts = 1
	switch d, err := client.Resolve(ctx, last.Tagged()); {
	case errors.Is(err, factory.ErrNotFound):
		return true, nil
	case err != nil:
		c.events.Emit(factory.Event{Kind: factory.Warned, Image: last.Image, Message: fmt.Sprintf("whether %s is still there cannot be told: %v", last.Tagged(), err)})
	case d != last.Digest:
		return false, &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s stands for %s, and %s was released", last.Tagged(), d, last.Digest),
			Hint: "somebody moved the tag: find out who, and put it back"}
	}
	return false, nil
}

// lastFailure is what the last finished run did with an image when that failed, nil when it did not.
func lastFailure(ctx context.Context, db *store.Store, image string) (*factory.RunJob, error) {
	runs, err := db.Runs(ctx, 10)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		for _, j := range r.Jobs {
			if j.Image == image && j.Action == factory.Yield {
				continue // nobody tried
			}
			if j.Image == image && j.Error == "" {
				return nil, nil
			}
			if j.Image == image {
				return &j, nil
			}
		}
	}
	return nil, nil
}

func noLock(name string) error {
	return &factory.Problem{Kind: factory.ErrNotFound, What: name + " has no lock", Hint: "make it: factory lock " + name}
}

// brokenDefinitions is a failed job for every image whose definition does not load: it must not be forgotten.
func brokenDefinitions(set definition.Set, problems error, only []string) []factory.Job {
	if len(only) > 0 {
		return nil
	}
	var jobs []factory.Job
	for _, name := range set.Broken {
		jobs = append(jobs, factory.Job{Image: factory.Image{Name: name}, Action: factory.Fail, Reason: "its definition is not valid", Err: problems})
	}
	return jobs
}

// planError is what a night with these jobs would end with before it began.
func planError(jobs []factory.Job) error {
	out := pipeline.Outcome{Errors: map[string]error{}}
	for _, j := range jobs {
		out.Jobs = append(out.Jobs, factory.RunJob{Image: j.Image.Name})
		if j.Action == factory.Fail {
			out.Errors[j.Image.Name] = cmp.Or(j.Err, errors.New(j.Reason))
		}
	}
	return nightError(out)
}
