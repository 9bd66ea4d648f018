package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/dispatch"
)

// outbox is a small one, in memory, with claims that end.
type outbox struct {
	mu      sync.Mutex
	now     func() time.Time
	rows    map[string]factory.Trigger
	claimed map[string]time.Time
	fail    error
}

func newOutbox(triggers ...factory.Trigger) *outbox {
	o := &outbox{now: time.Now, rows: map[string]factory.Trigger{}, claimed: map[string]time.Time{}}
	for _, t := range triggers {
		o.rows[t.ID] = t
	}
	return o
}

func (o *outbox) OpenTriggers(context.Context) (all []factory.Trigger, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range o.rows {
		if t.State == factory.TriggerWaiting || t.Canary && t.State != factory.TriggerObsolete {
			all = append(all, t)
		}
	}
	return all, o.fail
}

func (o *outbox) ClaimTriggers(_ context.Context, ids []string, until time.Time) (all []factory.Trigger, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	for _, id := range ids {
		t := o.rows[id]
		if c, ok := o.claimed[id]; t.State != factory.TriggerWaiting || ok && c.After(now) && !c.After(until.Add(until.Sub(now))) {
			continue
		}
		t.Attempts++
		o.rows[id], o.claimed[id] = t, until
		all = append(all, t)
	}
	return all, o.fail
}

func (o *outbox) SettleTriggers(_ context.Context, all ...factory.Trigger) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range all {
		if have := o.rows[t.ID]; have.Attempts == t.Attempts {
			o.rows[t.ID] = t
			delete(o.claimed, t.ID)
		}
	}
	return nil
}

func (o *outbox) get(id string) factory.Trigger {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rows[id]
}

// tellers answer by the trigger's dependent, and note who was told when.
type teller struct {
	mu     sync.Mutex
	told   []string
	at     []time.Time
	answer func(ctx context.Context, t factory.Trigger) (factory.Told, error)
}

func (s *teller) Tell(ctx context.Context, t factory.Trigger) (factory.Told, error) {
	s.mu.Lock()
	s.told, s.at = append(s.told, t.ID), append(s.at, time.Now())
	s.mu.Unlock()
	if s.answer == nil {
		return factory.Told{Answer: "202 Accepted", URL: "https://ci.example.com/1"}, nil
	}
	return s.answer(ctx, t)
}

func (s *teller) times(id string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.told {
		if t == id {
			n++
		}
	}
	return n
}

func trigger(id string, edit ...func(*factory.Trigger)) factory.Trigger {
	t := factory.Trigger{ID: id, Key: "key-" + id, Dependent: id, Image: "debian-12", Ref: "registry.example.com/debian-12@" + string(factory.DigestOf(nil)), Env: factory.Prod,
		State: factory.TriggerWaiting, Created: time.Now(), Due: time.Now()}
	for _, e := range edit {
		e(&t)
	}
	return t
}

func canary(t *factory.Trigger) { t.Canary = true }
func urgent(t *factory.Trigger) { t.Urgent = true }
func on(server string) func(*factory.Trigger) {
	return func(t *factory.Trigger) { t.Reason = server }
}

// dispatcher delivers what is in o through s: to the server that stands in a trigger's reason.
func dispatcher(o *outbox, s dispatch.Teller) *dispatch.Dispatcher {
	return &dispatch.Dispatcher{Outbox: o, Book: o, Teller: s, Now: time.Now, Rand: func() float64 { return 0.5 },
		Route: func(t factory.Trigger) (factory.Server, error) {
			switch t.Reason {
			case "gone":
				return factory.Server{}, &factory.Problem{Kind: factory.ErrNotFound, What: "no dependent " + t.Dependent}
			case "unset":
				return factory.Server{}, errors.New("server ci is not configured")
			}
			return factory.Server{ID: "ci", URL: "https://" + t.Reason + "ci.example.com", PerMinute: 600_000}, nil
		}}
}

func deliver(t *testing.T, d *dispatch.Dispatcher) dispatch.Report {
	t.Helper()
	r, err := d.Deliver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func states(o *outbox) (all []string) {
	for id, t := range o.rows {
		all = append(all, fmt.Sprintf("%s %s", id, t.State))
	}
	slices.Sort(all)
	return all
}
