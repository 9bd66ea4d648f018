// Package plan decides what a run does with each image, and says why as a person would.
//
// Rules of this package: it is pure (the time comes in, nothing else does), it never changes what it is given, and every
// action has a reason, keeping included.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Input is what there is to know about one image.
type Input struct {
	Image  factory.Image
	Source factory.Source // of the inputs as they are now
	Lock   factory.Lock   // as it is now
	// Unset says what is missing for the image to be made where this runs, when it never was; empty = nothing.
	Unset string
	// Err says why Source or Lock could not be made.
	Err error
	// Derived is set when Err comes of what became of the parent alone.
	Derived bool
	// Last is the newest release of the image in this place and environment; nil means none.
	Last *factory.Release
	// Gone is set when the registry does not have Last any more.
	Gone bool
	// LastFailed is what the run before did with the image when that failed; nil means it did not.
	LastFailed *factory.RunJob
	// Parent is the newest release of the image that this one is built on; nil means none.
	Parent *factory.Base
	// Tries are the runs that tried to make the image for this environment before, newest first, each with that job alone.
	Tries []factory.Run
}

// Rules are what a plan is made by, beside what there is to know about each image.
type Rules struct {
	Now time.Time
	// MaxAge is how old a release may become although nothing changed; 0 means that age is no reason to rebuild it.
	MaxAge time.Duration
	Env    factory.Env
	// Force are the images that are rebuilt whether or not they have a reason.
	Force []string
}

// Make returns a job for every image that is published, sorted by name. An image is rebuilt when its inputs or its parent differ
// from its last release's, when it is forced by name, and when that release is MaxAge old. A release from the future (the clock
// moved) counts as new. A child's wave is after its parent's; when the parent is rebuilt, the child's job is what it probably
// comes to, and Again decides. A child whose parent cannot be made is held back.
func (r Rules) Make(in []Input) []factory.Job {
	inputs := map[string]Input{}
	for _, i := range in {
		inputs[i.Image.Name] = i
	}
	done := map[string]factory.Job{}
	var job func(i Input) factory.Job
	job = func(i Input) factory.Job {
		if j, ok := done[i.Image.Name]; ok {
			return j
		}
		j := r.decide(i)
		if parent, ok := inputs[i.Image.From]; ok && i.Image.From != "" {
			done[i.Image.Name] = j // in case of a circle, which no definition has
			above := job(parent)
			if i.Derived && above.Action == factory.Fail {
				j.Action, j.Err = factory.Hold, nil
			}
			j = behind(j, above)
			j.Wave = above.Wave + 1
		}
		done[i.Image.Name] = j
		return j
	}
	jobs := []factory.Job{}
	for _, i := range in {
		if i.Image.Kind != factory.KindToolbox {
			jobs = append(jobs, job(i))
		}
	}
	slices.SortStableFunc(jobs, func(a, b factory.Job) int { return cmp.Compare(a.Image.Name, b.Image.Name) })
	return jobs
}

func (r Rules) decide(i Input) factory.Job {
	job := factory.Job{Image: i.Image, Env: r.Env, Source: i.Source, Parent: i.Parent}
	forced := slices.Contains(r.Force, i.Image.Name)
	decide(&job, i, r.Now, r.MaxAge, forced)
	if end := i.Image.EndOfLife; !end.IsZero() && factory.DateOf(r.Now).Time().After(end.Time()) {
		job.Reason += "; support ended on " + end.String()
	}
	if job.Action == factory.Rebuild && !forced && i.Image.From != "" {
		if why := backOff(i.Tries, job.Basis(), r.Now); why != "" {
			job.Action, job.Reason = factory.Hold, why+"; at once: factory build "+i.Image.Name
		}
	}
	return job
}

func decide(job *factory.Job, i Input, now time.Time, maxAge time.Duration, forced bool) {
	if i.Unset != "" {
		job.Action, job.Reason = factory.Skip, "not set up here: "+i.Unset
		return
	}
	if i.Err != nil {
		job.Action, job.Reason, job.Err = factory.Fail, i.Err.Error(), i.Err
		return
	}
	job.Action = factory.Rebuild
	if i.Last == nil {
		job.Reason = "first release" + failedBefore(i)
		return
	}
	job.Supersedes = i.Last.ID
	age, clock := now.Sub(i.Last.Created), ""
	if age < 0 {
		age, clock = 0, " (it was made in the future by this clock, so it counts as new)"
	}
	changed := i.Source.Inputs != i.Last.Source.Inputs
	moved := i.Parent != nil && (i.Last.Parent == nil || i.Last.Parent.Digest != i.Parent.Digest)
	due := maxAge > 0 && age >= maxAge
	ended := endedExemption(i, now)
	switch {
	case forced:
		job.Reason = "asked for"
	case i.Gone:
		job.Reason = fmt.Sprintf("the registry has lost %s", i.Last.Tag)
	case changed:
		job.Reason = why(i.Lock.Since(&i.Last.Lock)) + failedBefore(i)
	case moved:
		job.Reason = fmt.Sprintf("%s, which it is built on, is %s now", i.Parent.Image, i.Parent.Tag) + failedBefore(i)
	case ended != "":
		job.Reason = fmt.Sprintf("the exemption of control %s has ended", ended)
	case i.Last.Source.Dirty && !i.Source.Dirty:
		job.Reason = "its inputs are committed now"
	case due && i.Last.Rebased != nil:
		job.Reason = fmt.Sprintf("nothing changed, but %s is %s old and was rebased: a build of its own is due after %s%s", i.Last.Tag, days(age), days(maxAge), failedBefore(i))
	case due:
		job.Refresh = i.Last.Digest
		job.Reason = fmt.Sprintf("nothing changed, but %s is %s old and a refresh is due after %s%s", i.Last.Tag, days(age), days(maxAge), failedBefore(i))
	default:
		job.Action, job.Supersedes = factory.Keep, ""
		job.Reason = fmt.Sprintf("nothing changed since %s, %s old%s", i.Last.Tag, days(age), clock)
		if maxAge > 0 {
			job.Reason += "; refresh due in " + days(roundUp(maxAge-age))
		}
	}
}

// endedExemption returns a control that the last release was exempt from and this one is not, by the calendar alone.
func endedExemption(i Input, now time.Time) string {
	made, today := factory.DateOf(i.Last.Created).Time(), factory.DateOf(now).Time()
	for _, e := range i.Image.Hardening.Exempt {
		if end := e.Until.Time(); !made.After(end) && today.After(end) {
			return e.Control
		}
	}
	return ""
}

// why tells a change of the inputs. What the lock does not know (tests, users, configuration) is the definition too.
func why(c factory.LockChange) string {
	var reasons []string
	if len(c.Packages) > 0 {
		first := tell(c.Packages[0])
		if n := len(c.Packages) - 1; n > 0 {
			first += fmt.Sprintf(" and %d more", n)
		}
		reasons = append(reasons, first)
	}
	for _, o := range c.Other {
		switch o {
		case "toolbox":
			reasons = append(reasons, "toolbox moved")
		case "recipe":
			reasons = append(reasons, "this version of the factory builds differently")
		default:
			reasons = append(reasons, o+" changed")
		}
	}
	if len(reasons) == 0 {
		return "definition changed"
	}
	return strings.Join(reasons, ", ")
}

func tell(p factory.PackageChange) string {
	switch {
	case p.Old == "":
		return fmt.Sprintf("%s %s added", p.Name, p.New)
	case p.New == "":
		return fmt.Sprintf("%s %s removed", p.Name, p.Old)
	case p.Old == p.New:
		return fmt.Sprintf("%s %s has other content", p.Name, p.New)
	}
	return fmt.Sprintf("%s %s -> %s", p.Name, p.Old, p.New)
}

// failedBefore reminds of a try that went wrong: the next one may as well.
func failedBefore(i Input) string {
	if i.LastFailed == nil || i.LastFailed.Error == "" {
		return ""
	}
	return "; the last try failed: " + firstLine(i.LastFailed.Error)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

const day = 24 * time.Hour

// roundUp rounds to whole days; what is due today is due in a day.
func roundUp(d time.Duration) time.Duration {
	if rest := d % day; rest > 0 && d < day*(1<<16) {
		return d - rest + day
	}
	return d
}

// days writes a duration in whole days, rounded down.
func days(d time.Duration) string {
	switch n := int(d / day); n {
	case 0:
		return "less than a day"
	case 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", n)
	}
}
