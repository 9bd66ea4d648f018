package plan

import (
	"fmt"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Again decides about a child whose parent was made since the plan: i.Parent is the release that there is now.
func (r Rules) Again(i Input, planned factory.Job) factory.Job {
	j := r.decide(i)
	j.Wave = planned.Wave
	return j
}

// behind is a child's job with what is planned for its parent.
func behind(j factory.Job, parent factory.Job) factory.Job {
	switch {
	case j.Action == factory.Skip:
	case parent.Action == factory.Fail:
		return j.Behind("cannot be made: " + firstLine(parent.Reason))
	case parent.Action == factory.Hold:
		return j.Behind("is held back itself")
	case j.Action == factory.Fail:
	case parent.Action == factory.Rebuild && j.Action == factory.Rebuild:
		j.Parent = nil
		j.Reason += "; after " + j.Image.From
	case parent.Action == factory.Rebuild: // what is said of it now was said with the parent as it is now
		otherwise := map[factory.Action]string{factory.Keep: "kept", factory.Hold: "held back"}[j.Action]
		j.Action, j.Parent, j.Reason = factory.Rebuild, nil, fmt.Sprintf("after %s, which it is built on; %s when that comes out as it is", j.Image.From, otherwise)
	case parent.Action == factory.Skip && j.Parent == nil:
		return j.Behind("is not set up here")
	}
	return j
}

// longestPause is how many days a child that keeps failing is left alone at most.
const longestPause = 7

// backOff says why an image that failed with this very basis is not tried today; empty = it is. After n failures in a row the next
// try is 2^(n-1) days later. What was interrupted or ended by an outage says nothing about the image.
func backOff(tries []factory.Run, basis factory.Digest, now time.Time) string {
	n, last := 0, time.Time{}
	for _, run := range tries {
		if run.State == factory.Interrupted || len(run.Jobs) == 0 || run.Jobs[0].Error != "" && run.Jobs[0].Basis == "" {
			continue
		}
		if j := run.Jobs[0]; j.Error == "" || j.Basis != basis {
			break
		}
		if n++; n == 1 {
			last = run.Started
		}
	}
	if n == 0 {
		return ""
	}
	pause := longestPause
	if n <= 3 {
		pause = 1 << (n - 1)
	}
	next := factory.DateOf(last.AddDate(0, 0, pause))
	today := factory.DateOf(now).Time()
	// A try from the future says that the clock was wrong, and nothing about how long to wait.
	if !today.Before(next.Time()) || last.After(now) {
		return ""
	}
	times := "its last try failed"
	if n > 1 {
		times = fmt.Sprintf("its last %d tries failed", n)
	}
	return times + ", and nothing changed since: the next one is on " + next.String()
}
