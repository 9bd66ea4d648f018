package dispatch

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Outbox has what is to be delivered.
type Outbox interface {
	// OpenTriggers returns every trigger that waits, and the canaries of the same digests and environments.
	OpenTriggers(ctx context.Context) ([]factory.Trigger, error)
	// ClaimTriggers takes triggers until an instant and returns those that it got, with one more attempt.
	ClaimTriggers(ctx context.Context, ids []string, until time.Time) ([]factory.Trigger, error)
}

// Book keeps what came of it.
type Book interface {
	// SettleTriggers records what came of triggers and ends their claims.
	SettleTriggers(ctx context.Context, all ...factory.Trigger) error
}

// Teller tells a dependent. It must return soon after its context ends.
type Teller interface {
	Tell(ctx context.Context, t factory.Trigger) (factory.Told, error)
}

// Watcher is a Teller that can find out later what became of what a dependent was told.
type Watcher interface {
	// Watch says what is known. An error means that it could not be asked now, and says nothing of the dependent.
	Watch(ctx context.Context, t factory.Trigger) (factory.Seen, error)
}

// Dispatcher delivers. It remembers its hosts from one Deliver to the next.
type Dispatcher struct {
	Outbox Outbox
	Book   Book
	Teller Teller
	// Route returns the server that a trigger goes through. With an error it waits, and says why.
	Route func(factory.Trigger) (factory.Server, error)
	Now   func() time.Time
	Rand  func() float64 // at least 0, less than 1

	Width      int           // calls at once; 0 means 8
	PerServer  int           // of them, to one host; 0 means 1
	Attempts   int           // after so many a trigger is dead; 0 means 8
	Timeout    time.Duration // of one call; 0 means 30 s
	CanaryWait time.Duration // how long canaries hold the others back; 0 means 30 min
	Backoff    time.Duration // after the first failure; 0 means 30 s
	// Patience is how long Deliver waits for what will be due, like a second attempt; 0 means not at all. For a host's next turn it waits.
	Patience time.Duration
	Events   factory.Events

	mu    sync.Mutex
	hosts map[string]*host
	after map[string]*lookout // by the id of a canary
}

// Report is what a Deliver did and left.
type Report struct {
	Delivered int
	Failed    int // attempts, of which some were the last
	Dead      int
	Held      int // wait for canaries
	// Stuck are triggers that cannot be told as things are, by the reason.
	Stuck map[string]int
	// Failing are canaries that failed, with how many others each holds back.
	Failing []Failing
}

// Failing is a canary whose build failed.
type Failing struct {
	factory.Trigger
	Holds int // others, until a person decides, or it succeeds after all
}

// Deliver tells everybody whose trigger is due, until nothing is due within Patience. Its error is that of the outbox or of ctx; what
// goes wrong with a dependent is in its trigger. One Deliver runs at a time.
func (d *Dispatcher) Deliver(ctx context.Context) (Report, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remember()
	r := &round{d: d, ctx: ctx, results: make(chan result, d.width()), refused: map[string]bool{}, report: Report{Stuck: map[string]int{}}}
	err := r.run()
	for r.flying > 0 { // when ctx or the outbox failed; they end soon: each call has a time-out
		err = firstError(err, r.settle(<-r.results))
	}
	r.report.Held, r.report.Failing = r.held()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return r.report, err
}

// remember makes room for what is remembered.
func (d *Dispatcher) remember() {
	if d.hosts == nil {
		d.hosts, d.after = map[string]*host{}, map[string]*lookout{}
	}
}

// round is one Deliver.
type round struct {
	d       *Dispatcher
	ctx     context.Context
	items   []*item // that wait, or are canaries; the next ones first
	flying  int
	results chan result
	fresh   bool // items are as the outbox has them
	read    time.Time
	refused map[string]bool // somebody else delivers them
	stuck   []factory.Trigger
	dry     bool // nothing is recorded
	report  Report
}

// result is what came of a call.
type result struct {
	it    *item
	told  factory.Told
	err   error
	watch bool
	seen  factory.Seen
}

func (r *round) run() error {
	for r.ctx.Err() == nil {
		if age := r.d.Now().Sub(r.read); !r.fresh && r.flying == 0 || age < 0 || age >= readEvery {
			if err := r.refresh(); err != nil {
				return err
			}
		}
		began, err := r.start()
		if err != nil {
			return err
		}
		if began && r.flying < r.d.width() {
			continue // what was claimed by somebody else made room for more
		}
		wake, any := time.Time{}, false
		if r.flying < r.d.width() {
			wake, any = r.next()
		}
		switch wait := wake.Sub(r.d.Now()); {
		case r.flying > 0 && any:
			err = r.wait(min(wait, readEvery))
		case r.flying > 0:
			err = r.wait(readEvery)
		case !r.fresh:
		case !any:
			return nil
		default:
			err = r.wait(wait)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wait waits for calls to end, or for the time of the next one.
func (r *round) wait(d time.Duration) error {
	timer := time.NewTimer(max(d, time.Millisecond))
	defer timer.Stop()
	select {
	case <-r.ctx.Done():
	case <-timer.C:
	case one := <-r.results:
		return r.settle(one)
	}
	return nil
}

// settle records what came of a call, and of all others that have ended meanwhile.
func (r *round) settle(one result) error {
	changed := r.land(one, nil)
	for len(r.results) > 0 {
		changed = r.land(<-r.results, changed)
	}
	r.sweep()
	// What happened is recorded also when everything is being ended.
	return r.d.Book.SettleTriggers(context.WithoutCancel(r.ctx), changed...)
}

// start begins as many calls as there is room for, and reports whether any began.
func (r *round) start() (bool, error) {
	chosen, now := r.choose(r.d.width()-r.flying), r.d.Now()
	var ids []string
	byID := map[string]*item{}
	for _, it := range chosen {
		if it.watching() {
			it.seen.at, it.busy = now, true
			it.host.take(now)
			r.fly(it, r.watch)
			continue
		}
		ids, byID[it.ID] = append(ids, it.ID), it
	}
	if len(ids) == 0 {
		return len(chosen) > 0, nil
	}
	claimed, err := r.d.Outbox.ClaimTriggers(r.ctx, ids, now.Add(r.d.timeout()+claimMargin))
	for _, t := range claimed {
		it := byID[t.ID]
		it.Trigger, it.busy = t, true
		delete(byID, t.ID)
		it.host.take(now)
		r.fly(it, r.tell)
	}
	for id, it := range byID { // somebody else's
		it.gone, r.refused[id] = true, true
	}
	r.sweep()
	r.fresh = false
	return true, err
}

func (r *round) fly(it *item, call func(context.Context, *item) result) {
	r.flying++
	it.host.flying++
	go func() {
		ctx, cancel := context.WithTimeout(r.ctx, r.d.timeout())
		defer cancel()
		res := result{it: it, err: errSilent}
		defer func() {
			if p := recover(); p != nil {
				res = result{it: it, err: fmt.Errorf("the factory itself failed: %v", p), watch: it.watching()}
			}
			r.results <- res
		}()
		res = call(ctx, it)
	}()
}

func (r *round) tell(ctx context.Context, it *item) result {
	told, err := r.d.Teller.Tell(ctx, it.Trigger)
	return result{it: it, told: told, err: err}
}

func (r *round) watch(ctx context.Context, it *item) result {
	w, ok := r.d.Teller.(Watcher)
	if !ok {
		return result{it: it, watch: true}
	}
	seen, err := w.Watch(ctx, it.Trigger)
	return result{it: it, watch: true, seen: seen, told: factory.Told{RetryAfter: seen.RetryAfter}, err: err}
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
