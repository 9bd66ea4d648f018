package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Retry says how often a registry that is down, busy or slow is asked again. Waits double from First to Max; a
// Retry-After of the registry is honoured when it is longer. The zero value tries 8 times within about one minute.
type Retry struct {
	Attempts int           // 0 = 8
	First    time.Duration // 0 = 500 ms
	Max      time.Duration // 0 = 30 s
	// Budget bounds the sum of all waits for one request; 0 = 3 min. A registry that asks for more is unavailable.
	Budget time.Duration
	// Sleep waits, or returns early with ctx's error. Nil = a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Jitter returns a number in [0,1) that stretches a wait by up to a quarter, so that many clients do not come back at
	// once. Nil = none.
	Jitter func() float64
	// Events hears of every wait.
	Events factory.Events
}

// Do runs f until it succeeds, fails for good, or the patience of r ends. What names the work in messages ("push
// sha256:…"), host the registry. The error is f's own when that is a Problem or ctx's, and otherwise a Problem:
// ErrUnavailable, ErrNotFound, ErrInvalid (credentials, names), ErrConflict or ErrUnverified (damaged content).
func (r Retry) Do(ctx context.Context, host, what string, f func(context.Context) error) error {
	attempts, budget := cmp.Or(r.Attempts, 8), cmp.Or(r.Budget, 3*time.Minute)
	var waited time.Duration
	for try := 1; ; try++ {
		asked := new(hint)
		err := f(context.WithValue(ctx, hintKey{}, asked))
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
		if !transient(err) {
			return problem(host, what, err)
		}
		wait := max(r.delay(try), asked.get())
		if try >= attempts || waited+wait > budget {
			return exhausted(host, what, try, waited, asked.get(), err)
		}
		r.Events.Emit(factory.Event{Kind: factory.Warned, Step: factory.StepPublish,
			Message: fmt.Sprintf("registry %s: %s: %s; trying again in %s (%d of %d)", host, what, cause(err), wait.Round(time.Millisecond), try+1, attempts)})
		if err := r.sleep(ctx, wait); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		waited += wait
	}
}

func (r Retry) delay(try int) time.Duration {
	d, most := cmp.Or(r.First, 500*time.Millisecond), cmp.Or(r.Max, 30*time.Second)
	for range try - 1 {
		d = min(2*d, most)
	}
	if r.Jitter != nil {
		d += time.Duration(r.Jitter() * float64(d) / 4)
	}
	return d
}

func (r Retry) sleep(ctx context.Context, d time.Duration) error {
	if r.Sleep != nil {
		return r.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func exhausted(host, what string, tries int, waited, asked time.Duration, err error) error {
	tried := fmt.Sprintf("tried %d times, waited %s", tries, waited.Round(time.Millisecond))
	if asked > 0 {
		tried += fmt.Sprintf(", it asks for %s more", asked)
	}
	hint := "see whether the registry is up, then run the same command again: what was pushed is kept"
	if errors.Is(err, errStalled) {
		hint = "the connection is open but nothing moves; " + hint
	}
	return &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("registry %s: %s: %s", host, what, tried), Hint: hint, Cause: cause(err)}
}
