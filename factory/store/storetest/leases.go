package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

func holder(run string, pid int) store.Holder {
	return store.Holder{Run: run, Command: "nightly", Host: "build1", PID: pid}
}

// state returns the state and the verdict of a run.
func state(t *testing.T, s *store.Store, id string) (factory.RunState, string) {
	t.Helper()
	r, err := s.Run(t.Context(), id)
	must(t, err)
	return r.State, r.Verdict
}

func lease(t *testing.T, s *store.Store) {
	ctx, c := t.Context(), setClock(s)
	first, err := s.Acquire(ctx, "night", holder("run-1", 11), time.Minute)
	must(t, err)
	c.advance(59 * time.Second)
	_, err = s.Acquire(ctx, "night", holder("run-2", 22), time.Minute)
	refused(t, err, factory.ErrBusy, "night", "factory nightly", "process 11", "build1", "run-1", "2026-11-23 02:00:00 UTC", "kill 11", "02:01:00 UTC")
	other, err := s.Acquire(ctx, "day", holder("run-2", 22), time.Minute) // names are independent
	must(t, err)
	must(t, other.Release(ctx))

	must(t, first.Renew(ctx))
	c.advance(59 * time.Second)
	_, err = s.Acquire(ctx, "night", holder("run-2", 22), time.Minute)
	refused(t, err, factory.ErrBusy, "run-1")

	must(t, first.Release(ctx))
	must(t, first.Release(ctx))
	refused(t, first.Renew(ctx), factory.ErrConflict, "released")
	second, err := s.Acquire(ctx, "night", store.Holder{}, time.Minute)
	must(t, err)
	refused(t, first.Renew(ctx), factory.ErrConflict, "taken over")
	refused(t, first.Release(ctx), factory.ErrConflict, "taken over")
	_, err = s.Acquire(ctx, "night", holder("run-2", 22), time.Minute)
	refused(t, err, factory.ErrBusy, "unknown") // still second's, whatever first tried
	must(t, second.Renew(ctx))

	for _, bad := range []string{"", "a b", "\x00"} {
		_, err = s.Acquire(ctx, bad, holder("run-2", 22), time.Minute)
		refused(t, err, factory.ErrInvalid)
	}
	_, err = s.Acquire(ctx, "x", holder("run-2", 22), 0)
	refused(t, err, factory.ErrInvalid)
}

func leaseExpires(t *testing.T, s *store.Store) {
	ctx, c := t.Context(), setClock(s)
	for _, id := range []string{"run-1", "run-2", "run-3"} {
		must(t, s.BeginRun(ctx, run(id)))
	}
	first, err := s.Acquire(ctx, "night", holder("run-1", 11), time.Minute)
	must(t, err)
	c.advance(time.Minute)
	must(t, first.Renew(ctx)) // late, but nobody came
	c.advance(time.Minute)
	second, err := s.Acquire(ctx, "night", holder("run-2", 22), time.Minute)
	must(t, err)
	if st, verdict := state(t, s, "run-1"); st != factory.Interrupted || verdict != "interrupted: its lease ended at 2026-11-23 02:02:00 UTC without being renewed; noticed by run run-2" {
		t.Errorf("run-1 is %s: %q", st, verdict)
	}
	if st, _ := state(t, s, "run-3"); st != factory.Running {
		t.Errorf("run-3 is %s", st)
	}
	refused(t, first.Renew(ctx), factory.ErrConflict, "run-2")
	refused(t, s.FinishRun(ctx, "run-1", factory.Succeeded, "done"), factory.ErrConflict, "interrupted", "run-2")
	must(t, second.Renew(ctx))

	// A run that had ended properly keeps its verdict, although its lease was left.
	must(t, s.FinishRun(ctx, "run-2", factory.Succeeded, "done"))
	c.advance(time.Hour)
	_, err = s.Acquire(ctx, "night", holder("run-3", 33), time.Minute)
	must(t, err)
	if st, verdict := state(t, s, "run-2"); st != factory.Succeeded || verdict != "done" {
		t.Errorf("run-2 is %s: %q", st, verdict)
	}
	// A run that takes its own lease again interrupts nobody.
	c.advance(time.Hour)
	_, err = s.Acquire(ctx, "night", holder("run-3", 33), time.Minute)
	must(t, err)
	if st, _ := state(t, s, "run-3"); st != factory.Running {
		t.Errorf("run-3 is %s", st)
	}
	// Without a run, whoever noticed is described.
	c.advance(time.Hour)
	_, err = s.Acquire(ctx, "night", store.Holder{Command: "lock", Host: "build2", PID: 5}, time.Minute)
	must(t, err)
	if st, verdict := state(t, s, "run-3"); st != factory.Interrupted || verdict[len(verdict)-len("UTC"):] != "UTC" {
		t.Errorf("run-3 is %s: %q", st, verdict)
	}
}

func leaseOfTheDead(t *testing.T, s *store.Store) {
	ctx := t.Context()
	setClock(s)
	alive := []int{11, 22}
	s.Alive = func(pid int) bool { return slices.Contains(alive, pid) }
	must(t, s.BeginRun(ctx, run("run-1")))
	_, err := s.Acquire(ctx, "night", holder("run-1", 11), time.Hour)
	must(t, err)
	_, err = s.Acquire(ctx, "night", holder("run-2", 22), time.Hour)
	refused(t, err, factory.ErrBusy, "run-1")

	alive = []int{22}
	elsewhere := holder("run-2", 22)
	elsewhere.Host = "build2" // cannot know
	_, err = s.Acquire(ctx, "night", elsewhere, time.Hour)
	refused(t, err, factory.ErrBusy, "run-1")
	if st, _ := state(t, s, "run-1"); st != factory.Running {
		t.Errorf("run-1 is %s", st)
	}

	_, err = s.Acquire(ctx, "night", holder("run-2", 22), time.Hour)
	must(t, err)
	if st, verdict := state(t, s, "run-1"); st != factory.Interrupted || verdict != "interrupted: its process 11 on build1 is gone; noticed by run run-2" {
		t.Errorf("run-1 is %s: %q", st, verdict)
	}
	s.Alive = nil
	alive = nil
	_, err = s.Acquire(ctx, "night", holder("run-3", 33), time.Hour)
	refused(t, err, factory.ErrBusy, "run-2")
}

// leaseLost takes a lease away from a keeper, who is told.
func leaseLost(t *testing.T, s *store.Store) {
	c := setClock(s)
	l, err := s.Acquire(t.Context(), "night", holder("run-1", 11), 3*time.Second)
	must(t, err)
	c.advance(time.Minute)
	_, err = s.Acquire(t.Context(), "night", holder("run-2", 22), time.Hour)
	must(t, err)
	ctx, stop := l.Keep(t.Context())
	defer stop()
	<-ctx.Done()
	refused(t, context.Cause(ctx), factory.ErrConflict, "night", "run-2")
	stop()
	refused(t, context.Cause(ctx), factory.ErrConflict)
}

func leaseKept(t *testing.T, s *store.Store) {
	c := setClock(s)
	l, err := s.Acquire(t.Context(), "night", holder("run-1", 11), 3*time.Second)
	must(t, err)
	ctx, stop := l.Keep(t.Context())
	defer stop()
	c.advance(time.Hour) // it has expired, but the keeper renews it before anybody comes
	for tick := time.NewTicker(10 * time.Millisecond); l.Expires().Before(night.Add(time.Hour)); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(context.Cause(ctx))
		}
	}
	_, err = s.Acquire(t.Context(), "night", holder("run-2", 22), time.Hour)
	refused(t, err, factory.ErrBusy, "run-1")
	must(t, ctx.Err())
	stop()
	stop()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		t.Errorf("after stop: %v", cause)
	}
	must(t, l.Release(t.Context())) // stop did not
}

func leaseRace(t *testing.T, s *store.Store) {
	setClock(s)
	var wg sync.WaitGroup
	results := make(chan error, 16)
	for n := range cap(results) {
		wg.Go(func() {
			_, err := s.Acquire(t.Context(), "night", holder("run", n), time.Hour)
			results <- err
		})
	}
	wg.Wait()
	close(results)
	won := 0
	for err := range results {
		if err == nil {
			won++
		} else {
			refused(t, err, factory.ErrBusy)
		}
	}
	if won != 1 {
		t.Errorf("%d have the lease", won)
	}
}
