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
)

// planned is what a night is going to do, with what that was decided by.
type planned struct {
	jobs   []factory.Job
	rules  plan.Rules
	inputs map[string]plan.Input
	why    string
}

// plan locks (when asked to) and decides what is to be done with each image.
func (c *command) plan(ctx context.Context, set definition.Set, problems error, o nightOptions) (planned, error) {
	names := o.Images
	if len(names) == 0 {
		for _, img := range set.Images {
			names = append(names, img.Name)
		}
	}
	none := planned{}
	unset, err := c.unset(ctx, set, o.Images)
	if err != nil {
		return none, err
	}
	locks := map[string]lockResult{}
	if o.Lock {
		l := &locking{app: c.app, set: set, Write: !o.DryRun, Asked: o.Asked}
		locks = l.run(ctx, slices.DeleteFunc(slices.Clone(names), func(name string) bool { return unset[name] != "" }))
		if ctx.Err() != nil {
			return none, context.Cause(ctx)
		}
		if o.Commit {
			if err := c.commitLocks(ctx, set, locks, o.Push); err != nil {
				return none, err
			}
		}
		// Meanwhile somebody may have edited a definition, and a push may have brought others' commits.
		set, problems = definition.Load(c.cfg.Dir)
	}
	above := above(set, names, o)
	k, err := c.known(ctx, set, locks, o.DryRun, slices.DeleteFunc(slices.Concat(names, above), func(name string) bool { return unset[name] != "" }))
	if err != nil {
		return none, err
	}
	p := planned{rules: plan.Rules{Now: c.w.Now(), MaxAge: c.cfg.MaxAge, Env: c.cfg.Env, Force: o.Images}, inputs: map[string]plan.Input{}, why: o.Why}
	var in []plan.Input
	for _, name := range names {
		img, err := set.Image(name)
		if err != nil && slices.Contains(set.Broken, name) && len(o.Images) == 0 {
			continue // it becomes a failed job below
		}
		if err != nil {
			return none, errors.Join(err, problems)
		}
		input := plan.Input{Image: img, Unset: unset[name]}
		if input.Unset == "" {
			input = c.planInput(ctx, img, k)
		}
		if img.From != "" && input.Parent == nil && input.Err == nil && input.Unset == "" && !slices.Contains(names, img.From) && !o.Lock {
			input.Err = noParent(img)
		}
		p.inputs[name] = input
		in = append(in, input)
	}
	in = append(in, c.lockedAnew(ctx, k, above, p)...)
	for _, j := range p.rules.Make(in) {
		p.jobs = append(p.jobs, p.called(j))
	}
	p.jobs = append(p.jobs, brokenDefinitions(set, o.Images)...)
	return p, nil
}

// above are the images that those that are locked by name are built on, and that are not named themselves, parents first.
func above(set definition.Set, names []string, o nightOptions) (all []string) {
	if !o.Lock || len(o.Images) == 0 {
		return nil
	}
	for _, wave := range levels(set, names) {
		for _, img := range wave {
			if !slices.Contains(names, img.Name) {
				all = append(all, img.Name)
			}
		}
	}
	return all
}

// lockedAnew are those of the images that named ones are built on that changed since their last release, by their locks above all: what
// was locked for them can be built on nothing else.
func (c *command) lockedAnew(ctx context.Context, k known, names []string, p planned) (in []plan.Input) {
	var above []plan.Input
	for _, name := range names {
		if img, err := k.set.Image(name); err == nil {
			above = append(above, c.planInput(ctx, img, k))
		}
	}
	rules := p.rules
	rules.MaxAge, rules.Force = 0, nil
	for _, j := range rules.Make(above) {
		if i := slices.IndexFunc(above, func(i plan.Input) bool { return i.Image.Name == j.Image.Name }); j.Action != factory.Keep {
			p.inputs[j.Image.Name] = above[i]
			in = append(in, above[i])
		}
	}
	return in
}

// called gives a job the reason that it was asked for, where one was said.
func (p planned) called(j factory.Job) factory.Job {
	if p.why != "" && j.Action == factory.Rebuild {
		j.Reason = p.why
	}
	return j
}

// unset says of each image what is missing here for it to be made: an archive whose URL nobody configured, as long as the image
// has neither a lock nor a release. What was made once is never left out without a word, and what is asked for by name is tried.
func (c *command) unset(ctx context.Context, set definition.Set, asked []string) (map[string]string, error) {
	missing, anywhere := map[string]string{}, map[string]string{}
	for _, img := range set.Images {
		why := c.noArchives(img)
		if why == "" || len(asked) > 0 {
			continue
		}
		if _, locked, err := definition.ReadLock(c.cfg.Dir, img.Name); !locked && err == nil {
			missing[img.Name], anywhere[img.Name] = why, ""
		}
	}
	if len(missing) == 0 {
		return missing, nil
	}
	db, err := c.store(ctx)
	if err != nil {
		return nil, err
	}
	released, err := db.Newest(ctx, anywhere, "")
	for image := range released {
		delete(missing, image)
	}
	return missing, err
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
func (c *command) planInput(ctx context.Context, img factory.Image, k known) plan.Input {
	in := plan.Input{Image: img}
	if img.Kind == factory.KindToolbox {
		return in
	}
	if last, ok := k.last[img.Name]; ok {
		in.Last = &last
		in.Gone, in.Err = k.presence[img.Name].gone, k.presence[img.Name].err
	}
	in.LastFailed, in.Tries, in.Parent = k.failed[img.Name], k.tries[img.Name], k.base(img)
	if in.Err == nil {
		in.Lock, in.Err = k.lock(img)
		in.Derived = in.Err != nil && k.locks[img.Name].Derived
	}
	if in.Err == nil {
		in.Source, in.Err = c.sourceKnown(ctx, img, k)
	}
	if in.Err == nil && in.Source.Dirty && c.cfg.Env != factory.Dev {
		in.Err = &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("the inputs of %s are not committed, so it can be built for dev only", img.Name),
			Hint: "git commit them, with factory nightly --commit for locks; or use --env dev"}
	}
	return in
}

func noLock(name string) error {
	return &factory.Problem{Kind: factory.ErrNotFound, What: name + " has no lock", Hint: "make it: factory lock " + name}
}

// brokenDefinitions is a failed job for every image whose definition does not load: it must not be forgotten.
func brokenDefinitions(set definition.Set, only []string) []factory.Job {
	if len(only) > 0 {
		return nil
	}
	var jobs []factory.Job
	for _, name := range set.Broken {
		j := factory.Job{Image: factory.Image{Name: name, From: set.Behind[name]}}
		if j.Image.From != "" {
			j = j.Behind("has a definition that is not valid")
		} else {
			j.Action, j.Reason, j.Err = factory.Fail, "its definition is not valid", set.Faults[name]
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// planError is what a night with these jobs would end with before it began.
func planError(jobs []factory.Job) error {
	out := pipeline.Outcome{Errors: map[string]error{}}
	for _, j := range jobs {
		out.Jobs = append(out.Jobs, factory.RunJob{Image: j.Image.Name, Action: j.Action, Reason: j.Reason})
		if j.Action == factory.Fail {
			out.Errors[j.Image.Name] = cmp.Or(j.Err, errors.New(j.Reason))
		}
	}
	return nightError(out)
}
