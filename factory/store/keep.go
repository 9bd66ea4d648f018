package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Keep renews the lease every third of its ttl until stop is called or ctx ends. The context returned is cancelled, with an
// ErrConflict as cause, when somebody else has the lease, and with ErrUnavailable when the lease has expired because the
// database did not answer for so long; a shorter absence is sat out. stop cancels it too, waits for the renewal that is under
// way, and does not release the lease.
func (l *Lease) Keep(ctx context.Context) (held context.Context, stop func()) {
	held, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(l.keep(held))
	}()
	return held, sync.OnceFunc(func() {
		cancel(context.Canceled)
		<-done
	})
}

// keep returns why the lease is not kept any more.
func (l *Lease) keep(ctx context.Context) error {
	every := max(l.ttl/3, time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		attempt, cancel := context.WithTimeout(ctx, every) // a database that hangs must not outlast the lease
		err := l.Renew(attempt)
		cancel()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, factory.ErrConflict):
			return err
		case !l.store.now().Before(l.Expires()):
			return &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("the lease %s ended because the database was away for %v", l.name, l.ttl), Cause: err}
		default:
			l.store.Log.WarnContext(ctx, "lease not renewed, trying again", "lease", l.name, "error", err)
		}
	}
}

// Expires is when the lease ends unless it is renewed before, as far as this holder knows.
func (l *Lease) Expires() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.expires
}
