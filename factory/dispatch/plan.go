package dispatch

import (
	"context"
	"fmt"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Never is when what waits for a person's decision could be told.
var Never = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// Planned is a trigger that waits, with when it could be told and what it waits for. An empty Why is nothing.
type Planned struct {
	factory.Trigger
	At  time.Time `json:"at"`
	Why string    `json:"why,omitempty"`
}

// Plan says what Deliver would find to do, and changes nothing. It is in the order of telling, with those that cannot be told last.
func (d *Dispatcher) Plan(ctx context.Context) (all []Planned, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remember()
	r := &round{d: d, ctx: ctx, dry: true, report: Report{Stuck: map[string]int{}}}
	if err := r.refresh(); err != nil {
		return nil, err
	}
	now := d.Now()
	for _, it := range r.items {
		if it.State != factory.TriggerWaiting {
			continue
		}
		p := Planned{Trigger: it.Trigger, At: r.ready(it, now)}
		switch until, failed := r.heldUntil(it, now); {
		case failed != nil:
			p.Why = fmt.Sprintf("its canary %s failed: factory triggers retry %s, or excuse it", failed.Dependent, failed.ID)
		case until.After(now):
			p.Why = "canaries come first"
		case p.At.After(now):
			p.Why = "not due"
		default:
			p.At = now
		}
		all = append(all, p)
	}
	for _, t := range r.stuck {
		all = append(all, Planned{Trigger: t, At: t.Due, Why: t.Answer})
	}
	return all, nil
}
