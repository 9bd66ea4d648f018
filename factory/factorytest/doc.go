// Package factorytest holds working fakes: small things that do the job for real, for tests only.
//
// Rules: only _test.go files import it; nothing here records calls to assert on; a fake that cannot work on this machine says so
// by skipping the test.
package factorytest

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Clock is a clock that stands until it is moved. The zero value stands at 2026-11-23 02:00 UTC. It is safe for concurrent use.
type Clock struct {
	mu    sync.Mutex
	moved time.Duration
}

// Now returns the clock's time, in UTC.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC).Add(c.moved)
}

// Move advances the clock, or sets it back when d is negative.
func (c *Clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved += d
}

// Output is a bytes.Buffer that may be written while it is read, as the terminal of two commands is. The zero value is empty.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends p. It never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String returns what was written since the last Reset.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Reset forgets what was written.
func (o *Output) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Reset()
}

// Recorder keeps the events that it receives. The zero value is ready. It is safe for concurrent use.
type Recorder struct {
	mu     sync.Mutex
	events []factory.Event
}

// Events returns where to send events.
func (r *Recorder) Events() factory.Events {
	return func(e factory.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
	}
}

// All returns the events so far, in the order they came.
func (r *Recorder) All() []factory.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Messages returns the messages of the events of one kind, in the order they came.
func (r *Recorder) Messages(kind factory.EventKind) []string {
	var found []string
	for _, e := range r.All() {
		if e.Kind == kind {
			found = append(found, e.Message)
		}
	}
	return found
}
