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
	k, err := c.known(ctx, set, locks, o)
	if err != nil {
		return none, err
	}
	p := planned{rules: plan.Rules{Now: c.w.Now(), MaxAge: c.cfg.MaxAge, Env: c.cfg.Env, Force: o.Images}, inputs: map[string]plan.Input{}, why: o.Why}
	defer c.foresee(ctx, set, names)()
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
			if input, err = c.planInput(ctx, img, k); err != nil {
				return none, err
			}
		}
		if img.From != "" && input.Parent == nil && input.Err == nil && input.Unset == "" && !slices.Contains(names, img.From) && !o.Lock {
			input.Err = noParent(img)
		}
		p.inputs[name] = input
		in = append(in, input)
	}
	if o.Lock && len(o.Images) > 0 {
		above, err := c.lockedAnew(ctx, k, names, p)
		if err != nil {
			return none, err
		}
		in = append(in, above...)
	}
	for _, j := range p.rules.Make(in) {
		p.jobs = append(p.jobs, p.called(j))
	}
	p.jobs = append(p.jobs, brokenDefinitions(set, problems, o.Images)...)
	return p, nil
}

// lockedAnew are the images that the named ones are built on and that changed since their last release, by their locks above all: what
// was locked for them can be built on nothing else.
func (c *command) lockedAnew(ctx context.Context, k known, names []string, p planned) (in []plan.Input, err error) {
	var above []plan.Input
	for _, wave := range levels(k.set, names) {
		for _, img := range wave {
			if slices.Contains(names, img.Name) {
				continue
			}
			input, err := c.planInput(ctx, img, k)
			if err != nil {
				return nil, err
			}
			above = append(above, input)
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
	return in, nil
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

// known is what is the same for every image of a plan.
type known struct {
	set   definition.Set
	locks map[string]lockResult
	dry   bool          // locks that changed are not in the repository
	runs  []factory.Run // the last ones
}

func (c *command) known(ctx context.Context, set definition.Set, locks map[string]lockResult, o nightOptions) (known, error) {
	k := known{set: set, locks: locks, dry: o.DryRun}
	db, err := c.store(ctx)
	if err == nil {
		k.runs, err = db.Runs(ctx, 10)
	}
	return k, err
}

// unwritten are the locks of an image and of what it is built on that changed and are not in the repository.
func (k known) unwritten(img factory.Image) (locks []factory.Lock) {
	for _, i := range append(k.set.Ancestors(img.Name), img) {
		if r, ok := k.locks[i.Name]; ok && k.dry && r.Err == nil && !r.Change.Empty() {
			locks = append(locks, r.Lock)
		}
	}
	return locks
}

// maxTries are as many tries as the longest pause needs to be found.
const maxTries = 8

// planInput is what the plan needs to know about one image.
func (c *command) planInput(ctx context.Context, img factory.Image, k known) (plan.Input, error) {
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
	in.LastFailed = lastFailure(k.runs, img.Name)
	if img.From != "" {
		if in.Tries, err = db.Tries(ctx, img.Name, maxTries); err != nil {
			return in, err
		}
		if in.Parent, err = c.base(ctx, img.From); err != nil {
			return in, err
		}
	}
	res, locked := k.locks[img.Name]
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
	if in.Err == nil {
		in.Source, in.Err = c.sourceWith(ctx, img, k.unwritten(img))
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

// lastFailure is what the last run that had to do with an image did when that failed, nil when it did not.
func lastFailure(runs []factory.Run, image string) *factory.RunJob {
	for _, r := range runs {
		for _, j := range r.Jobs {
			switch {
			case j.Image != image || j.Action == factory.Yield || j.Action == factory.Hold: // nobody tried
			case j.Error == "":
				return nil
			default:
				return &j
			}
		}
	}
	return nil
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
		j := factory.Job{Image: factory.Image{Name: name, From: set.Behind[name]}, Action: factory.Fail, Reason: "its definition is not valid", Err: problems}
		if j.Image.From != "" {
			j = j.Behind("has a definition that is not valid")
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
