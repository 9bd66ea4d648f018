package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/dispatch"
	"github.com/imagefactory/imagefactory/factory/downstream"
	"github.com/imagefactory/imagefactory/factory/store"
)

const (
	triggerPatience = 5 * time.Second // for what is due next, when everything due was delivered
	triggerBudget   = 2 * time.Minute // for what a run delivers at its end
	longestCall     = time.Hour       // that may be configured
)

// following are the dependents as this invocation read them, once.
type following struct {
	once sync.Once
	all  []factory.Dependent
	err  error // what is wrong with their file, or with all of it
	said sync.Once
}

// dependents returns those that are in order, and what keeps others from being known.
func (a *app) dependents() ([]factory.Dependent, error) {
	f := &a.following
	f.once.Do(func() {
		set, err := definition.Load(a.cfg.Dir)
		f.all = set.Dependents
		for _, p := range factory.Problems(err) {
			if strings.HasSuffix(p.Where.File, "dependents.yaml") || len(set.Images) == 0 {
				f.err = err
			}
		}
	})
	return f.all, f.err
}

// follow says who is to be told of an entry of the ledger.
func (a *app) follow(e factory.Entry) (all []factory.Trigger) {
	known, problem := a.dependents()
	if problem != nil { // for those nothing is written, so no later run can make up for it
		a.following.said.Do(func() {
			a.emit(factory.Event{Kind: factory.Warned, Image: e.Image, Message: "whoever is not in order in dependents.yaml is not told of what comes now: factory check; " + firstLine(problem.Error())})
		})
	}
	for _, d := range known {
		if d.Image == e.Image && d.Env == e.Env {
			what := factory.DigestOf([]byte(strings.Join([]string{d.Name, string(e.Digest), string(e.Env)}, "\n")))
			all = append(all, factory.Trigger{ID: e.At.UTC().Format("20060102-150405-") + what.Hex()[:12], Dependent: d.Name, Canary: d.Canary,
				Urgent: a.ran.Command == "emergency", Reason: cmp.Or(e.Reason, "released")})
		}
	}
	return all
}

// errAbsent is of a trigger whose dependent these definitions do not have, or not so: they may be older than the trigger, and whoever
// wrote it knew better.
var errAbsent = errors.New("not in dependents.yaml here")

// wayOut is what to do about it.
const wayOut = "send from a checkout that has it, or factory triggers drop --absent"

// addressee finds whom a trigger is for, and the server that it goes through.
func (a *app) addressee(t factory.Trigger) (factory.Dependent, factory.Server, error) {
	known, problem := a.dependents()
	for _, d := range known {
		if d.Name != t.Dependent {
			continue
		}
		if d.Image != t.Image || d.Env != t.Env {
			return d, factory.Server{}, fmt.Errorf("%w: %s follows %s in %s; %s", errAbsent, d.Name, d.Image, d.Env, wayOut)
		}
		s, ok := a.cfg.Servers[d.Tell.Server]
		if !ok {
			return d, s, errors.New("server " + d.Tell.Server + " is not configured: servers: in factory.yaml")
		}
		if _, err := secret(s.Token, a.w.Env); err != nil {
			return d, s, fmt.Errorf("server %s: %w", s.ID, plainly(err))
		}
		return d, s, nil
	}
	if problem != nil {
		return factory.Dependent{}, factory.Server{}, errors.New("dependents.yaml is not in order: factory check")
	}
	return factory.Dependent{}, factory.Server{}, fmt.Errorf("%w: nobody is called %s; %s", errAbsent, t.Dependent, wayOut)
}

// plainly is an error without its kind: nothing is to be decided by it.
func plainly(err error) error { return errors.New(firstLine(err.Error())) }

// dispatcher delivers triggers.
func (a *app) dispatcher(db *store.Store) *dispatch.Dispatcher {
	teller := &telling{app: a, db: db, client: &downstream.Client{Now: a.w.Now, Timeout: a.cfg.TriggerTimeout, Events: a.emit}}
	return &dispatch.Dispatcher{Outbox: db, Book: db, Teller: teller, Now: a.w.Now, Rand: rand.Float64, CanaryWait: a.cfg.CanaryWait, Timeout: a.cfg.TriggerTimeout, Patience: triggerPatience, Events: a.emit,
		Route: func(t factory.Trigger) (factory.Server, error) {
			_, s, err := a.addressee(t)
			return s, err
		}}
}

// courier delivers triggers beside the work that causes them.
type courier struct {
	app  *app
	db   *store.Store
	d    *dispatch.Dispatcher
	wake chan struct{}
	work sync.WaitGroup
	stop context.CancelFunc // of what is being delivered
	once sync.Once
	did  dispatch.Report
	told *tally
	said bool
}

// tally is what came of triggers so far.
type tally struct {
	Delivered int `json:"delivered"` // by this run
	Waiting   int `json:"waiting"`   // now
	Dead      int `json:"dead"`      // now
}

// String is the tally as a line, with what to type.
func (t tally) String() string {
	text := fmt.Sprintf("triggers: %d delivered, %d waiting, %d dead", t.Delivered, t.Waiting, t.Dead)
	if t.Dead > 0 {
		text += "; see why: factory triggers list --status dead"
	}
	return text
}

// startCourier begins to deliver whenever it is woken, until ctx ends or it is asked to finish.
func (a *app) startCourier(ctx context.Context, db *store.Store) *courier {
	c := &courier{app: a, db: db, d: a.dispatcher(db), wake: make(chan struct{}, 1)}
	c.begin(ctx)
	return c
}

func (c *courier) begin(ctx context.Context) {
	ctx, c.stop = context.WithCancel(ctx)
	c.work.Go(func() {
		for range c.wake {
			c.deliver(ctx)
		}
	})
}

// nudge says that there may be something to deliver. Nobody waits for that.
func (c *courier) nudge() {
	if c == nil {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// deliver never fails what it stands beside: what goes wrong is a warning.
func (c *courier) deliver(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	r, err := c.d.Deliver(ctx)
	c.did.Delivered += r.Delivered
	c.did.Stuck, c.did.Failing = r.Stuck, r.Failing
	if err != nil && ctx.Err() == nil {
		c.app.emit(factory.Event{Kind: factory.Warned, Message: "triggers: " + err.Error()})
	}
}

// finish delivers what is due, for a limited time, and returns what came of it all; nil when there is nothing to say. In a hurry
// it leaves that to the next run, and ends what is being delivered: somebody waits for the lease. Finishing again says the same.
func (c *courier) finish(ctx context.Context, hurry bool) *tally {
	if c == nil {
		return nil
	}
	c.once.Do(func() {
		close(c.wake)
		limited, cancel := context.WithTimeout(ctx, triggerBudget)
		defer cancel()
		if hurry {
			cancel()
		}
		if c.stop != nil {
			context.AfterFunc(limited, c.stop)
		}
		c.work.Wait()
		c.deliver(limited)
		counts, err := c.db.CountTriggers(context.WithoutCancel(ctx))
		if err != nil {
			c.app.emit(factory.Event{Kind: factory.Warned, Message: err.Error()})
			return
		}
		t := tally{c.did.Delivered, counts[factory.TriggerWaiting], counts[factory.TriggerDead]}
		for _, why := range sortedKeys(c.did.Stuck) {
			c.app.emit(factory.Event{Kind: factory.Warned, Message: fmt.Sprintf("%s cannot be told: %s", count(c.did.Stuck[why], "dependent"), why)})
		}
		for _, f := range c.did.Failing {
			c.app.emit(factory.Event{Kind: factory.Warned, Image: f.Image, Message: fmt.Sprintf("the canary %s failed, and %s not told: %s; once it is repaired: factory triggers retry %s; or let them go: factory triggers excuse %s --reason WHY",
				f.Dependent, counted(f.Holds, "dependent is", "dependents are"), f.Answer, f.ID, f.ID)})
		}
		if t != (tally{}) {
			c.told = &t
		}
	})
	return c.told
}

// recording wakes the courier after each release: its triggers are in the outbox by then.
type recording struct {
	*store.Store
	*courier
}

func (r recording) AddRelease(ctx context.Context, rel factory.Release) (factory.Release, error) {
	stands, err := r.Store.AddRelease(ctx, rel)
	if err == nil {
		r.nudge()
	}
	return stands, err
}

// tellOf says what came of triggers, unless that was said, or there is nothing to say.
func (c *command) tellOf(t *tally) {
	if t == nil || c.post.said {
		return
	}
	c.post.said = true
	c.emit(factory.Event{Kind: factory.Noted, Message: t.String()})
}

// emit shows an event, also when results were printed already.
func (a *app) emit(e factory.Event) {
	if a.shown.Load() {
		a.afterwards(e)
	} else {
		a.events.Emit(e)
	}
}
