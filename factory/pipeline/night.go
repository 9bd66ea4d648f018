package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
)

// Maker makes one job into a release. Line is the one that works for real.
type Maker interface {
	Make(ctx context.Context, run string, job factory.Job) (factory.Release, []factory.StepTime, error)
}

// Journal keeps what became of each job while the night goes on.
type Journal interface {
	SaveJob(ctx context.Context, run string, job factory.RunJob) error
}

// Rescanner looks again at the newest release of a job's image, with today's vulnerability data. It returns what came of it, in one
// sentence, and why nothing may be built on that release; empty = it may.
type Rescanner interface {
	Rescan(ctx context.Context, job factory.Job) (found, barred string, err error)
}

// Night works through a plan.
type Night struct {
	Maker   Maker
	Journal Journal
	// Rescanner is needed when the plan has jobs with the action Rescan.
	Rescanner Rescanner
	// Yield is asked before each image that something is to be done with. When it says what for, the images being made are finished and
	// no other is begun. Nil = nobody asks.
	Yield func(ctx context.Context) (to string)
	// Again is asked about a job whose image is built on one that this night has made, before it is begun. Nil = the plan stands.
	Again func(ctx context.Context, planned factory.Job) factory.Job
	// Width is how many images are made at once; 0 means one.
	Width int
	// Events receives progress; nil discards.
	Events factory.Events
}

// Outcome is what came of a night. Errors holds, by image, why it failed.
type Outcome struct {
	Jobs   []factory.RunJob
	Errors map[string]error
	// Yielded says what the night left its last images to the next one for; empty = it did not.
	Yielded string

	barred map[string]string // by image, why nothing may be built on the release that was kept
}

// Run does every job, one wave after the other, Width at a time. An image that cannot be made, or whose release nobody may build on,
// holds back those that are built on it, and never another one. A rescan that fails holds back nobody: the release is what it was. The error is for the night itself: it was cancelled, or its journal cannot be written.
func (n Night) Run(ctx context.Context, run string, jobs []factory.Job) (Outcome, error) {
	out := Outcome{Errors: map[string]error{}, barred: map[string]string{}}
	var mu sync.Mutex
	var journal error
	done := func(rj factory.RunJob, barred string, err error) {
		mu.Lock()
		defer mu.Unlock()
		out.Jobs = append(out.Jobs, rj)
		out.barred[rj.Image] = barred
		if err != nil {
			out.Errors[rj.Image] = err
		}
		// What happened is worth keeping even when the night was cancelled.
		journal = errors.Join(journal, n.Journal.SaveJob(context.WithoutCancel(ctx), run, rj))
	}
	for _, wave := range waves(jobs) {
		var group sync.WaitGroup
		slots := make(chan struct{}, max(1, n.Width))
		for _, job := range wave {
			slots <- struct{}{}
			job = n.yield(ctx, n.after(ctx, job, &out, &mu), &out)
			group.Go(func() {
				defer func() { <-slots }()
				done(n.one(ctx, run, job))
			})
		}
		group.Wait()
	}
	slices.SortFunc(out.Jobs, func(a, b factory.RunJob) int { return cmp.Compare(a.Image, b.Image) })
	if ctx.Err() != nil {
		return out, errors.Join(context.Cause(ctx), journal)
	}
	return out, journal
}

// after is the job now that something became of what its image is built on.
func (n Night) after(ctx context.Context, job factory.Job, out *Outcome, mu *sync.Mutex) factory.Job {
	if job.Image.From == "" || job.Action == factory.Skip || job.Action == factory.Hold {
		return job
	}
	mu.Lock()
	i := slices.IndexFunc(out.Jobs, func(j factory.RunJob) bool { return j.Image == job.Image.From })
	var parent factory.RunJob
	if i >= 0 {
		parent = out.Jobs[i]
	}
	barred := out.barred[job.Image.From]
	mu.Unlock()
	switch {
	case i < 0:
	case parent.Error != "" && parent.Action != factory.Rescan:
		return job.Behind("failed: " + firstLine(parent.Error))
	case parent.Action == factory.Hold:
		return job.Behind("is held back itself")
	case barred != "" && job.Action == factory.Rebuild:
		return job.Behind("is not to be built on: " + firstLine(barred))
	case parent.Action == factory.Yield && job.Action == factory.Rebuild:
		job.Action, job.Reason = factory.Yield, fmt.Sprintf("%s, which it is built on, is left to the next run; %s: %s", job.Image.From, job.Action, job.Reason)
	case parent.Action == factory.Rebuild && n.Again != nil && job.Action != factory.Fail && ctx.Err() == nil:
		return n.Again(ctx, job)
	}
	return job
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// yield returns the job as it is, or as one for the next run when somebody needs the factory now.
func (n Night) yield(ctx context.Context, job factory.Job, out *Outcome) factory.Job {
	if n.Yield == nil || job.Action != factory.Rebuild && job.Action != factory.Rescan {
		return job
	}
	if out.Yielded == "" {
		out.Yielded = n.Yield(ctx)
	}
	if out.Yielded != "" {
		job.Reason = fmt.Sprintf("yielded to %s; %s: %s", out.Yielded, job.Action, job.Reason)
		job.Action = factory.Yield
	}
	return job
}

// waves groups jobs by wave, in order.
func waves(jobs []factory.Job) [][]factory.Job {
	sorted := slices.Clone(jobs)
	slices.SortStableFunc(sorted, func(a, b factory.Job) int { return cmp.Compare(a.Wave, b.Wave) })
	var all [][]factory.Job
	for i, j := range sorted {
		if i == 0 || j.Wave != sorted[i-1].Wave {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], j)
	}
	return all
}

// one does one job, whatever the plan says of it.
func (n Night) one(ctx context.Context, run string, job factory.Job) (rj factory.RunJob, barred string, err error) {
	rj, barred = factory.RunJob{Image: job.Image.Name, Action: job.Action, Reason: job.Reason}, job.Barred
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: the factory itself failed: %v", rj.Image, r)
		}
		if err != nil {
			rj.Error = err.Error()
		}
	}()
	switch job.Action {
	case factory.Keep:
		n.Events.Emit(factory.Event{Kind: factory.Noted, Image: rj.Image, Message: "kept: " + job.Reason})
		return rj, barred, nil
	case factory.Skip:
		n.Events.Emit(factory.Event{Kind: factory.Noted, Image: rj.Image, Message: "skipped: " + job.Reason})
		return rj, barred, nil
	case factory.Hold:
		n.Events.Emit(factory.Event{Kind: factory.Warned, Image: rj.Image, Message: "held back: " + job.Reason})
		return rj, barred, nil
	case factory.Yield:
		n.Events.Emit(factory.Event{Kind: factory.Noted, Image: rj.Image, Message: "left to the next run: " + job.Reason})
		return rj, barred, nil
	case factory.Fail:
		n.Events.Emit(factory.Event{Kind: factory.Broke, Image: rj.Image, Step: factory.StepResolve, Message: job.Reason})
		return rj, barred, cmp.Or(job.Err, errors.New(job.Reason))
	}
	if ctx.Err() != nil {
		return rj, barred, context.Cause(ctx)
	}
	if job.Action == factory.Rescan {
		barred, err = n.rescan(ctx, job, &rj)
		return rj, barred, err
	}
	rj.Basis = job.Basis()
	n.Events.Emit(factory.Event{Kind: factory.Noted, Image: rj.Image, Message: "rebuild: " + job.Reason})
	release, times, err := n.Maker.Make(ctx, run, job)
	rj.Steps = times
	if factory.Outage(err) || ctx.Err() != nil {
		rj.Basis = ""
	}
	if err == nil {
		rj.Release, rj.Ref, rj.Digest = release.ID, release.Tagged(), release.Digest
	}
	return rj, barred, err
}

// rescan looks again at what is kept. A job that has an error already cannot be.
func (n Night) rescan(ctx context.Context, job factory.Job, rj *factory.RunJob) (barred string, err error) {
	if job.Err != nil { // of all that are kept the same, and told once
		n.Events.Emit(factory.Event{Kind: factory.Broke, Image: rj.Image, Step: factory.StepScan, Message: job.Reason})
		return job.Barred, job.Err
	}
	found, barred, err := n.Rescanner.Rescan(ctx, job)
	if err != nil {
		n.Events.Emit(factory.Event{Kind: factory.Broke, Image: rj.Image, Step: factory.StepScan, Message: err.Error()})
		return barred, fmt.Errorf("%s %s: %w", factory.StepScan, rj.Image, err)
	}
	rj.Reason += "; " + found
	n.Events.Emit(factory.Event{Kind: factory.Noted, Image: rj.Image, Message: "kept: " + rj.Reason})
	return barred, nil
}

// State returns what the run as a whole is. An image that is held back is no failure of its own, and not as it should be either.
func (o Outcome) State() factory.RunState {
	tried := slices.DeleteFunc(slices.Clone(o.Jobs), func(j factory.RunJob) bool { return j.Action == factory.Skip || j.Action == factory.Hold })
	switch {
	case len(o.Errors) == 0 && o.Yielded == "" && len(o.Held()) == 0:
		return factory.Succeeded
	case len(o.Errors) == len(tried) && len(tried) > 0 && o.Yielded == "":
		return factory.Broken
	}
	return factory.Partial
}

// Err returns nil when every image is fine, all errors otherwise, in the order of their images.
func (o Outcome) Err() error {
	var errs []error
	for _, j := range o.Jobs {
		if err := o.Errors[j.Image]; err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Held are the images that nobody tried because of what they are built on, or because they failed too often.
func (o Outcome) Held() (jobs []factory.RunJob) {
	for _, j := range o.Jobs {
		if j.Action == factory.Hold {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// Verdict is the night in one sentence.
func (o Outcome) Verdict() string {
	var released, kept, skipped, failed, left, held []string
	var slow factory.StepTime
	var slowImage string
	for _, j := range o.Jobs {
		switch {
		case o.Errors[j.Image] != nil:
			failed = append(failed, j.Image)
		case j.Action == factory.Keep, j.Action == factory.Rescan:
			kept = append(kept, j.Image)
		case j.Action == factory.Skip:
			skipped = append(skipped, j.Image)
		case j.Action == factory.Yield:
			left = append(left, j.Image)
		case j.Action == factory.Hold:
			held = append(held, j.Image)
		default:
			released = append(released, j.Image)
		}
		for _, s := range j.Steps {
			if s.Seconds > slow.Seconds {
				slow, slowImage = s, j.Image
			}
		}
	}
	var parts []string
	for _, p := range []struct {
		names []string
		verb  string
	}{{released, "released"}, {kept, "kept"}, {failed, "failed"}, {held, "held back"}, {left, "left to the next run"}, {skipped, "not set up"}} {
		if len(p.names) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", len(p.names), p.verb, strings.Join(p.names, ", ")))
		}
	}
	if len(parts) == 0 {
		return "no images"
	}
	s := strings.Join(parts, ", ")
	if o.Yielded != "" {
		s += "; yielded to " + o.Yielded
	}
	if slow.Seconds > 0 {
		s += fmt.Sprintf("; slowest step: %s of %s, %.1f s", slow.Step, slowImage, slow.Seconds)
	}
	return s
}
