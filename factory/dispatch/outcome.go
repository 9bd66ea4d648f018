package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	longestDelay = 6 * time.Hour    // between two attempts
	longestPause = time.Hour        // that a host can ask for
	claimMargin  = time.Minute      // that a claim outlives its call
	readEvery    = 5 * time.Second  // of the outbox, while calls are under way
	watchEvery   = time.Minute      // for each canary
	patientWith  = 5                // failures of a host in a row
	longestText  = 500              // of an answer
	eight        = 8                // calls at once, and attempts
	halfMinute   = 30 * time.Second // for a call, and after the first failure
)

// errSilent is what came of a call that ended without a word.
var errSilent = errors.New("the call ended without an answer")

func (d *Dispatcher) width() int                { return cmp.Or(d.Width, eight) }
func (d *Dispatcher) perServer() int            { return cmp.Or(d.PerServer, 1) }
func (d *Dispatcher) timeout() time.Duration    { return cmp.Or(d.Timeout, halfMinute) }
func (d *Dispatcher) canaryWait() time.Duration { return cmp.Or(d.CanaryWait, 30*time.Minute) }

// land decides what came of a call, and adds what is to be recorded of it.
func (r *round) land(res result, changed []factory.Trigger) []factory.Trigger {
	it, now := res.it, r.d.Now()
	r.flying--
	it.host.flying--
	it.busy, r.fresh = false, false
	ended := res.err != nil && r.ctx.Err() != nil
	if asked := !res.watch || res.seen.Known || res.err != nil; asked && !ended {
		r.d.judge(it.host, res, now)
	}
	if res.watch {
		return r.noticed(res, ended, changed)
	}
	if ended {
		it.Due, it.Answer = now, "interrupted; it may have been told"
	} else {
		it.Trigger = r.d.outcome(it.Trigger, res.told, res.err, now)
	}
	switch {
	case it.State == factory.TriggerDelivered:
		r.report.Delivered++
	case !ended:
		r.report.Failed++
	}
	if it.State == factory.TriggerDead {
		r.report.Dead++
		r.d.Events.Emit(factory.Event{Time: now, Kind: factory.Warned, Image: it.Image,
			Message: fmt.Sprintf("%s was not told, and attempt %d was the last: %s; factory triggers retry %s", it.Dependent, it.Attempts, it.Answer, it.ID)})
	}
	it.gone = it.State != factory.TriggerWaiting && !it.watching()
	return append(changed, it.Trigger)
}

// noticed decides what a look at a canary showed. A look that could not be had shows nothing.
func (r *round) noticed(res result, ended bool, changed []factory.Trigger) []factory.Trigger {
	it, t := res.it, res.it.Trigger
	switch {
	case ended:
	case res.err != nil:
		t.Answer = shortened("what became of it is not known: " + brief(res.err))
	default:
		it.seen.unknown, t.Done, t.Fate = !res.seen.Known, res.seen.Done, ""
		if res.seen.Failed && !t.Done {
			t.Fate = factory.FateFailed
		}
		t.Answer, t.URL, t.Handle = cmp.Or(shortened(res.seen.Answer), t.Answer), cmp.Or(res.seen.URL, t.URL), cmp.Or(res.seen.Handle, t.Handle)
	}
	if t != it.Trigger {
		it.Trigger, changed = t, append(changed, t)
	}
	it.gone = !it.watching()
	return changed
}

// outcome is a trigger after an attempt.
func (d *Dispatcher) outcome(t factory.Trigger, told factory.Told, err error, now time.Time) factory.Trigger {
	if err == nil {
		t.State, t.Ended, t.Answer, t.URL, t.Handle, t.Done = factory.TriggerDelivered, &now, shortened(told.Answer), told.URL, told.Handle, told.Done
		return t
	}
	t.Answer = brief(err)
	stays := func(kind error) bool { return errors.Is(err, kind) }
	if slices.ContainsFunc([]error{factory.ErrInvalid, factory.ErrNotFound, factory.ErrUnverified, factory.ErrConflict}, stays) || t.Attempts >= cmp.Or(d.Attempts, eight) {
		t.State, t.Ended = factory.TriggerDead, &now
		return t
	}
	t.Due = now.Add(max(d.delay(t.Attempts), min(told.RetryAfter, longestPause)))
	return t
}

// delay is how long to wait after the nth failure: twice as long each time, less up to a half by chance, so that not everybody comes
// back at once.
func (d *Dispatcher) delay(n int) time.Duration {
	whole := min(cmp.Or(d.Backoff, halfMinute)<<min(max(n-1, 0), 20), longestDelay)
	if whole <= 0 { // it grew too long for a duration
		whole = longestDelay
	}
	return whole - time.Duration(d.Rand()*float64(whole/2))
}

// judge notes what a call says about its host.
func (d *Dispatcher) judge(h *host, res result, now time.Time) {
	switch {
	case res.err != nil && res.told.RetryAfter > 0:
		h.paused = now.Add(min(res.told.RetryAfter, longestPause))
	case errors.Is(res.err, factory.ErrUnavailable), errors.Is(res.err, context.DeadlineExceeded):
		if h.failures++; h.failures >= patientWith {
			h.paused = now.Add(min(d.delay(h.failures-patientWith+1), longestPause))
		}
		return
	}
	h.failures = 0
}

// brief is an error in a line.
func brief(err error) string { return shortened(strings.Join(strings.Fields(err.Error()), " ")) }

func shortened(s string) string {
	if len(s) <= longestText {
		return s
	}
	return strings.ToValidUTF8(s[:longestText], "") + "…"
}
