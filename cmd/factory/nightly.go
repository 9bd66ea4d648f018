package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/pipeline"
	"github.com/imagefactory/imagefactory/factory/registry"
)

// leaseName is the one lease of the factory: whoever makes releases or locks holds it.
const leaseName = "factory"

// leaseTTL is how long a lease outlives a factory that vanished from another host.
const leaseTTL = time.Minute

func newNightly(mk maker) *cobra.Command {
	var o nightOptions
	var h heart
	c := &cobra.Command{
		Use:   "nightly",
		Short: "lock, plan, then rebuild whatever has a reason to be rebuilt",
		Long: `nightly asks the archives for the newest packages, plans, and takes every image that has a reason down the pipeline:
resolve, build, harden, pack, test, prove, scan, gate, sign, publish, record. An image that is kept is looked up in today's
vulnerability data. Not rebuilding an image has a reason too.

Images that are built on others come after those, and are rebuilt when what they are built on came out anew. One failing image
holds back those that are built on it, and never another one. One that is built on another and fails is tried again after 1, 2, 4 and
then every 7 days, or as soon as anything about it changed, or when it is asked for by name.

New locks stay in the working tree, and their releases are marked dirty, unless --commit makes a commit of each.

With --heartbeat a monitor is told how the night ended, also one that ended before it began: a POST of {run, state, verdict, exit,
seconds}. Silence then means that no night ran. {exit} and {state} in its URL stand for those values.

` + exitHelp,
		Example: "  factory nightly                    # on embedded defaults\n  factory nightly --commit --push    # in CI\n  factory nightly --heartbeat env:MONITOR_URL",
	}
	c.Flags().BoolVar(&o.Commit, "commit", false, "commit each changed lock on its own")
	c.Flags().BoolVar(&o.Push, "push", false, "push these commits; a lost race is retried (needs --commit)")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "like factory plan: change nothing")
	causeFlag(c, &o.Cause)
	h.flag(c)
	return h.beating(leaf(c, h.watching(mk), func(ctx context.Context, c *command, _ []string) error {
		o.Command, o.Lock, h.rests = "nightly", true, o.DryRun
		if err := checkHeartbeat(h.given); err != nil {
			return err
		}
		return c.night(ctx, o)
	}))
}

func newBuild(mk maker) *cobra.Command {
	var o nightOptions
	c := &cobra.Command{
		Use:   "build IMAGE...",
		Short: "rebuild images now, from the locks as they are",
		Long: `build takes the named images down the whole pipeline whether or not they have a reason, from their lock as it lies in the
repository. With --lock it asks the archives first. Those that are built on others come after them; what an image is built on has to
be released, or named too.

` + exitHelp,
		Example: "  factory build debian-12\n  factory build --lock debian-12 debian-13",
		Args:    cobra.MinimumNArgs(1),
	}
	c.Flags().BoolVar(&o.Lock, "lock", false, "lock the images first")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and change nothing")
	causeFlag(c, &o.Cause)
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		o.Command, o.Images = "build", args
		return c.night(ctx, o)
	})
}

func newPlan(mk maker) *cobra.Command {
	c := &cobra.Command{
		Use:   "plan",
		Short: "say what tonight would do and why, changing nothing",
		Long: `plan asks the archives like nightly does and prints a job for each image with its reason. It writes no lock, makes no
commit and builds nothing but, when it is missing, the toolbox that the solvers run in.

` + exitHelp,
	}
	return leaf(c, mk, func(ctx context.Context, c *command, _ []string) error {
		return c.night(ctx, nightOptions{Command: "plan", Lock: true, DryRun: true})
	})
}

// nightOptions say which night it is.
type nightOptions struct {
	Command      string
	Why          string   // the reason that is recorded for Images; empty = they were asked for
	Images       []string // only these, and rebuilt without a reason; empty = all, with one
	Lock         bool
	Commit, Push bool
	DryRun       bool
	Cause        string                // --cause
	Asked        map[string]lockResult // locks that were solved a moment ago and not written
}

// night is a run from its lease to its verdict.
func (c *command) night(ctx context.Context, o nightOptions) error {
	if o.DryRun && o.Commit {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "--dry-run changes nothing, so it cannot commit or push", Hint: "leave out one of them"}
	}
	if o.Push && !o.Commit {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "--push without --commit", Hint: "add --commit"}
	}
	if err := c.because(o.Cause); err != nil {
		return err
	}
	set, problems := definition.Load(c.cfg.Dir)
	if problems != nil && len(set.Images) == 0 {
		return problems
	}
	for _, name := range o.Images {
		if _, err := set.Image(name); err != nil {
			return errors.Join(err, problems)
		}
	}
	if o.DryRun {
		p, err := c.plan(ctx, set, problems, o)
		if err != nil {
			return err
		}
		return errors.Join(c.printPlan(p.jobs), planError(p.jobs))
	}
	return c.leased(ctx, o.Command, func(ctx context.Context, run string) error {
		return c.nightRun(ctx, run, set, problems, o)
	})
}

// leasedPatiently is leased for what must happen now although a night may be running: it waits for its turn.
// A night that runs is asked to yield to want, unless that is empty.
func (c *command) leasedPatiently(ctx context.Context, name, want string, f func(ctx context.Context, run string) error) error {
	for told := false; ; told = true {
		err := c.leased(ctx, name, f)
		if !errors.Is(err, factory.ErrBusy) {
			return err
		}
		if !told {
			c.events.Emit(factory.Event{Kind: factory.Warned, Message: "waiting: " + err.Error()})
		}
		if want != "" {
			db, err := c.store(ctx)
			if err != nil {
				return err
			}
			if err := db.Want(ctx, leaseName, want, leaseTTL); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

// leased runs f while this process holds the factory's lease, and records it as a run.
func (c *command) leased(ctx context.Context, name string, f func(ctx context.Context, run string) error) error {
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	run := factory.Run{ID: c.newID(), Command: name, Env: c.cfg.Env, Host: hostname(), PID: os.Getpid(), Started: c.w.Now().UTC(), State: factory.Running}
	lease, err := db.Acquire(ctx, leaseName, storeHolder(run), leaseTTL)
	if err != nil {
		return err
	}
	held, stop := lease.Keep(ctx)
	defer func() { stop(); _ = lease.Release(context.WithoutCancel(ctx)) }()
	if err := db.BeginRun(ctx, run); err != nil {
		return err
	}
	c.ran, c.post = run, c.startCourier(held, db)
	err = f(held, run.ID)
	c.tellOf(c.post.finish(held, false))
	if cause := context.Cause(held); cause != nil && errors.Is(cause, factory.ErrConflict) {
		err = &factory.Problem{Kind: factory.ErrBusy, What: "another run took the lease over", Cause: cause, Hint: "see which: factory runs"}
	} else if cause != nil && err == nil {
		err = cause
	}
	var told *verdict
	c.ran.State, c.ran.Verdict = factory.Succeeded, "done"
	switch {
	case errors.As(err, &told):
		err, c.ran.State, c.ran.Verdict = told.error, told.State, told.Text
	case err != nil:
		c.ran.State, c.ran.Verdict = ended(err), err.Error()
	}
	return errors.Join(err, db.FinishRun(context.WithoutCancel(ctx), run.ID, c.ran.State, c.ran.Verdict))
}

func hostname() string { name, _ := os.Hostname(); return name }

// ended is the state of a run that an error ended.
func ended(err error) factory.RunState {
	if exitCode(err) == exitInterrupted {
		return factory.Interrupted
	}
	return factory.Broken
}

// verdict carries how a run ended to whoever records it.
type verdict struct {
	error
	State factory.RunState
	Text  string
}

func (v *verdict) Unwrap() error { return v.error }

func (c *command) nightRun(ctx context.Context, run string, set definition.Set, problems error, o nightOptions) error {
	began := c.w.Now()
	var refreshed error
	p, err := c.nightPlan(ctx, set, problems, o)
	if err != nil {
		return err
	}
	out, err := c.nightWork(ctx, run, set, p, o)
	if err != nil && out.Jobs == nil {
		return err
	}
	if err == nil && o.Command == "nightly" && out.Yielded == "" {
		refreshed = c.refreshStanding(ctx, run, set, nil)
	}
	c.post.finish(ctx, out.Yielded != "")
	text := fmt.Sprintf("%s in %.1f s", out.Verdict(), c.w.Now().Sub(began).Seconds())
	if perr := c.printNight(run, out, text); perr != nil {
		err = errors.Join(err, perr)
	}
	if err != nil {
		return &verdict{errors.Join(err, out.Err()), ended(err), text}
	}
	if refreshed != nil {
		err, state := nightError(out), out.State()
		if state == factory.Succeeded { // every image is as it should be, and something about an older release is not known
			err, state = errPartial, factory.Partial
		}
		return &verdict{errors.Join(err, refreshed), state, text}
	}
	return &verdict{nightError(out), out.State(), text}
}

// nightPlan locks and plans, once it is sure that there is somewhere to publish.
func (c *command) nightPlan(ctx context.Context, set definition.Set, problems error, o nightOptions) (planned, error) {
	c.sweep()
	if err := c.serveRegistry(ctx); err != nil {
		return planned{}, err // now, and not after minutes of work
	}
	for _, w := range set.Expired(factory.DateOf(c.w.Now())) {
		if o.Command == "nightly" {
			c.events.Emit(factory.Event{Kind: factory.Warned, Message: w.Error()})
		}
	}
	p, err := c.plan(ctx, set, problems, o)
	if err != nil {
		return p, err
	}
	p.jobs, err = c.rescanJobs(ctx, p.jobs)
	return p, err
}

// again decides about a job whose parent was made since the plan, by the release that there is now.
func (c *command) again(p planned) func(ctx context.Context, job factory.Job) factory.Job {
	return func(ctx context.Context, job factory.Job) factory.Job {
		in := p.inputs[job.Image.Name]
		var err error
		if in.Parent, err = c.base(ctx, job.Image.From); err == nil && in.Parent == nil {
			err = noParent(job.Image)
		}
		if err == nil {
			var jobs []factory.Job
			if jobs, err = c.rescanJobs(ctx, []factory.Job{p.called(p.rules.Again(in, job))}); err == nil {
				return jobs[0]
			}
		}
		job.Action, job.Reason, job.Err = factory.Fail, err.Error(), err
		return job
	}
}

// nightWork does what is planned. The outcome has no jobs when nothing could begin.
func (c *command) nightWork(ctx context.Context, run string, set definition.Set, p planned, o nightOptions) (pipeline.Outcome, error) {
	db, err := c.store(ctx)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	night := pipeline.Night{Width: c.cfg.Width, Events: c.events, Journal: db, Rescanner: rescanning{c, set, run}, Again: c.again(p)}
	if o.Command == "nightly" {
		night.Yield = func(ctx context.Context) string {
			to, err := db.Wanted(ctx, leaseName)
			if err != nil { // whoever waits goes on waiting, and is seen the next time
				c.events.Emit(factory.Event{Kind: factory.Warned, Message: err.Error()})
			}
			return to
		}
	}
	if todo := slices.DeleteFunc(slices.Clone(p.jobs), func(j factory.Job) bool { return j.Action != factory.Rebuild }); len(todo) > 0 {
		if night.Maker, err = c.prepare(ctx, run, set, todo); err != nil {
			return pipeline.Outcome{}, err
		}
	}
	return night.Run(ctx, run, p.jobs)
}

// nightError decides the exit code: partial when some images are fine, the failures' own kind when none is. Images that are left to the
// next night because somebody else needed the lease are no failures.
func nightError(out pipeline.Outcome) error {
	err := out.Err()
	if out.Yielded != "" {
		left := &factory.Problem{Kind: factory.ErrBusy, What: "the rest is left to the next night: yielded to " + out.Yielded, Hint: "factory runs tells when that has ended; then factory nightly"}
		if err == nil {
			return left
		}
		err = errors.Join(err, left)
	}
	if err == nil { // else what they are held back by is told
		for _, j := range out.Held() {
			err = errors.Join(err, &factory.Problem{Kind: factory.ErrBlocked, What: j.Image + " is held back: " + j.Reason})
		}
	}
	if out.State() == factory.Partial {
		return errors.Join(errPartial, err)
	}
	return err
}

// prepare makes sure that what every job needs is there, before hours of work depend on it.
func (c *command) prepare(ctx context.Context, run string, set definition.Set, todo []factory.Job) (pipeline.Line, error) {
	line, err := c.line(ctx, run)
	if err != nil {
		return line, err
	}
	box, err := c.boxLock(set)
	if err != nil {
		return line, err
	}
	if _, err := c.toolbox(ctx, box.image, box.lock); err != nil {
		return line, err
	}
	// The data is decided now: a night that cannot scan must not find out after an hour of building.
	if _, _, err := c.scanner(ctx); err != nil {
		return line, err
	}
	for _, job := range todo {
		if err := c.registry().Ping(ctx, c.repository(job.Image.Name)); err != nil {
			return line, err
		}
	}
	return line, nil
}

// sweep removes what a killed run left half made. The lease is held, so nobody works on it.
func (c *command) sweep() {
	_ = os.RemoveAll(c.workDir())
	if err := (&registry.Parents{Dir: c.parentDir(), Now: c.w.Now}).Sweep(unusedParents); err != nil {
		c.events.Emit(factory.Event{Kind: factory.Warned, Message: err.Error()})
	}
	temporary, _ := filepath.Glob(filepath.Join(c.cfg.Dir, "baseimages", "*", ".lock-*"))
	for _, t := range temporary {
		_ = os.Remove(t)
	}
}
