package dispatch

import (
	"cmp"
	"slices"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// group is what canaries go ahead of: a digest in an environment.
type group struct {
	ref string
	env factory.Env
}

// item is a trigger with what a round knows of it.
type item struct {
	factory.Trigger
	host *host
	seen *lookout // of a canary
	busy bool     // a call is under way
	// canaries go ahead of it.
	canaries []*item
	gone     bool // not ours to deliver
}

// lookout is what is known of a canary that was told.
type lookout struct {
	at      time.Time // of the last look
	unknown bool      // nobody can find out whether it has it
}

// watching reports whether the item is a canary that was told and may have it or not. One that failed may yet succeed.
func (it *item) watching() bool {
	return it.Canary && it.State == factory.TriggerDelivered && !it.Done && !it.seen.unknown && it.Fate != factory.FateExcused
}

// failed reports whether the item is a canary that holds others back until somebody decides.
func (it *item) failed() bool {
	return it.State == factory.TriggerDelivered && !it.Done && it.Fate == factory.FateFailed
}

// refresh reads the outbox. What is being called stays as it is.
func (r *round) refresh() error {
	open, err := r.d.Outbox.OpenTriggers(r.ctx)
	if err != nil {
		return err
	}
	before := map[string]*item{}
	for _, it := range r.items {
		before[it.ID] = it
	}
	groups := map[group][]*item{}
	r.items, r.stuck, r.fresh, r.read, r.report.Stuck = nil, nil, true, r.d.Now(), map[string]int{}
	for _, t := range open {
		it := before[t.ID]
		if it == nil || !it.busy {
			if it, err = r.item(t); err != nil {
				return err
			}
		}
		if it.Canary {
			g := group{t.Ref, t.Env}
			groups[g] = append(groups[g], it)
		}
		if it.host != nil && !r.refused[it.ID] && (it.busy || it.State == factory.TriggerWaiting || it.watching()) {
			r.items = append(r.items, it)
		}
	}
	for _, it := range r.items {
		if !it.Canary {
			it.canaries = groups[group{it.Ref, it.Env}]
		}
	}
	slices.SortStableFunc(r.items, func(a, b *item) int {
		return cmp.Or(first(b.Urgent)-first(a.Urgent), first(b.Canary)-first(a.Canary), a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID))
	})
	return nil
}

// item is a trigger as the outbox has it.
func (r *round) item(t factory.Trigger) (*item, error) {
	it := &item{Trigger: t, seen: r.d.after[t.ID]}
	if it.seen == nil {
		it.seen = &lookout{}
		if it.Canary {
			r.d.after[t.ID] = it.seen
		}
	}
	return it, r.route(it)
}

func first(b bool) int {
	if b {
		return 1
	}
	return 0
}

// route finds the item's host. Without one it says why in the trigger.
func (r *round) route(it *item) error {
	server, err := r.d.Route(it.Trigger)
	if err == nil {
		it.host, err = r.d.host(server)
	}
	if err == nil {
		return nil
	}
	if it.State != factory.TriggerWaiting {
		return nil // it cannot be asked from here: its time counts
	}
	t := it.Trigger
	t.Answer = brief(err)
	r.report.Stuck[t.Answer]++
	same := t.Answer == it.Answer
	it.Trigger, r.stuck = t, append(r.stuck, t)
	if same || r.dry {
		return nil
	}
	return r.d.Book.SettleTriggers(r.ctx, t)
}

// choose returns the next items to call, at most n. It counts what it chose against the hosts' room, and takes nothing yet.
func (r *round) choose(n int) (all []*item) {
	now, taken := r.d.Now(), map[*host]int{}
	for _, it := range r.items {
		if len(all) >= n {
			break
		}
		if it.busy || r.ready(it, now).After(now) {
			continue
		}
		if h := it.host; h.flying+taken[h] < r.d.perServer() && h.has(now, taken[h]+1) {
			taken[h]++
			all = append(all, it)
		}
	}
	return all
}

// ready is when an item may be called, as far as its trigger, its host's pause and its canaries say.
func (r *round) ready(it *item, now time.Time) time.Time {
	if it.watching() {
		return later(believe(it.seen.at.Add(watchEvery), now, watchEvery), believe(it.host.paused, now, longestPause))
	}
	at := believe(it.Due, now, longestDelay)
	until, _ := r.heldUntil(it, now)
	return later(later(at, believe(it.host.paused, now, longestPause)), until)
}

// heldUntil is when an item's canaries let it go; zero = now. They have their time from when they were told, however late that was;
// one that could not be told, from the beginning. One that failed has until Never.
func (r *round) heldUntil(it *item, now time.Time) (until time.Time, failed *item) {
	for _, c := range it.canaries {
		from := c.Created
		switch {
		case c.failed():
			return Never, c
		case c.Fate == factory.FateExcused:
			continue
		case c.watching() && c.host != nil && !r.dry && (c.busy || !r.ready(c, now).After(now)):
			from = later(from, now) // a look comes first, also when its time is over
		case c.watching() && c.Ended != nil:
			from = later(from, *c.Ended)
		case c.State == factory.TriggerDelivered:
			continue
		case c.State == factory.TriggerWaiting && c.host != nil && (c.busy || c.Attempts == 0):
			from = later(from, now) // its turn is before theirs
		}
		until = later(until, believe(from.Add(r.d.canaryWait()), now, 2*r.d.canaryWait()))
	}
	return until, nil
}

// next is when something could be called that is not yet and will be due within Patience. A host's rate is no reason to leave it.
func (r *round) next() (at time.Time, any bool) {
	now := r.d.Now()
	for _, it := range r.items {
		if it.busy || it.host.flying >= r.d.perServer() {
			continue
		}
		t := r.ready(it, now)
		if t.Sub(now) > r.d.Patience {
			continue
		}
		turn := it.host.turn(now)
		if it.watching() && turn.Sub(now) > r.d.Patience {
			continue // nobody waits to ask
		}
		t = later(t, turn)
		if !any || t.Before(at) {
			at, any = t, true
		}
	}
	return at, any
}

// held counts the items that wait for canaries, and lists those of which that is known to be for long.
func (r *round) held() (n int, failing []Failing) {
	now := r.d.Now()
	for _, it := range r.items {
		until, by := r.heldUntil(it, now)
		if until.After(now) {
			n++
		}
		if by == nil {
			continue
		}
		i := slices.IndexFunc(failing, func(f Failing) bool { return f.ID == by.ID })
		if i < 0 {
			i, failing = len(failing), append(failing, Failing{Trigger: by.Trigger})
		}
		failing[i].Holds++
	}
	return n, failing
}

// sweep forgets the items that are done with.
func (r *round) sweep() {
	r.items = slices.DeleteFunc(r.items, func(it *item) bool { return it.gone })
}

// believe is t, unless it lies further ahead than anybody puts it.
func believe(t, now time.Time, longest time.Duration) time.Time {
	if t.After(now.Add(longest)) {
		return time.Time{}
	}
	return t
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
