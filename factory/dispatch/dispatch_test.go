package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/dispatch"
)

func TestDeliversUrgentThenCanariesThenTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := func(t *factory.Trigger) { t.Ref += "0" }
		o := newOutbox(trigger("d-rest"), trigger("c-canary", canary), trigger("b-urgent", urgent, other), trigger("a-late", other, func(t *factory.Trigger) { t.Due = t.Due.Add(time.Hour) }))
		s := &teller{}
		d := dispatcher(o, s)
		if r := deliver(t, d); r.Delivered != 3 || r.Held != 0 {
			t.Errorf("%+v", r)
		}
		if want := []string{"b-urgent", "c-canary", "d-rest"}; !slices.Equal(s.told, want) {
			t.Errorf("told %v, want %v", s.told, want)
		}
		if got := o.get("d-rest"); got.State != factory.TriggerDelivered || got.Ended == nil || got.Answer != "202 Accepted" || got.URL == "" || got.Attempts != 1 {
			t.Errorf("%+v", got)
		}
		time.Sleep(time.Hour)
		if r := deliver(t, d); r.Delivered != 1 || o.get("a-late").State != factory.TriggerDelivered {
			t.Errorf("%+v", r)
		}
	})
}

// watcher knows of the canaries whether they have it.
type watcher struct {
	*teller
	has     map[string]bool
	watched int
}

func (w *watcher) Watch(_ context.Context, t factory.Trigger) (factory.Seen, error) {
	w.watched++
	if w.watched == 1 {
		return factory.Seen{}, errors.New("cut off") // nobody knows yet
	}
	return factory.Seen{Known: strings.HasPrefix(t.ID, "pr-"), Done: w.has[t.ID]}, nil
}

func TestCanariesHoldTheRest(t *testing.T) {
	for name, c := range map[string]struct {
		canary  string
		answer  error
		after   time.Duration // with what it takes to deliver the rest
		has     bool
		release bool
	}{
		"down":                {canary: "pr-1", answer: factory.ErrUnavailable, after: 29 * time.Minute},
		"down for too long":   {canary: "pr-1", answer: factory.ErrUnavailable, after: 30 * time.Minute, release: true},
		"dead":                {canary: "pr-1", answer: factory.ErrNotFound, after: 29 * time.Minute},
		"dead for too long":   {canary: "pr-1", answer: factory.ErrNotFound, after: 31 * time.Minute, release: true},
		"told, not merged":    {canary: "pr-1", after: 10 * time.Minute},
		"not merged for long": {canary: "pr-1", after: 31 * time.Minute, release: true},
		"merged":              {canary: "pr-1", after: 2 * time.Minute, has: true, release: true},
		"nobody can know":     {canary: "ci-1", after: 2 * time.Minute, release: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOutbox(trigger("rest"), trigger(c.canary, canary), trigger("other", func(t *factory.Trigger) { t.Env = factory.Dev }))
				w := &watcher{teller: &teller{answer: func(_ context.Context, t factory.Trigger) (factory.Told, error) {
					if t.Canary {
						return factory.Told{}, c.answer
					}
					return factory.Told{}, nil
				}}, has: map[string]bool{c.canary: c.has}}
				d := dispatcher(o, w)
				if plan, err := d.Plan(t.Context()); err != nil || len(plan) != 3 || plan[0].Why != "" || plan[0].ID != c.canary || !slices.ContainsFunc(plan, func(p dispatch.Planned) bool {
					return p.ID == "rest" && p.Why == "canaries come first" && p.At.After(time.Now())
				}) {
					t.Errorf("plan %+v, %v", plan, err)
				}
				if r := deliver(t, d); r.Held != 1 || o.get("rest").State != factory.TriggerWaiting || o.get("other").State != factory.TriggerDelivered {
					t.Fatalf("%+v %v", r, states(o))
				}
				time.Sleep(c.after)
				deliver(t, d)
				if got := o.get("rest").State == factory.TriggerDelivered; got != c.release {
					t.Errorf("after %s released: %t, %v", c.after, got, states(o))
				}
				if got := o.get(c.canary); got.Done != c.has {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// A host that accepts and never answers costs one slot for the time of a call, and nobody waits for it.
func TestHostThatNeverAnswersHoldsNobodyBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		for n := range 20 {
			for _, server := range []string{"hung-", ""} {
				one := trigger(fmt.Sprintf("%s%02d", server, n), on(server))
				o.rows[one.ID] = one
			}
		}
		s := &teller{answer: func(ctx context.Context, t factory.Trigger) (factory.Told, error) {
			if t.Reason == "hung-" {
				<-ctx.Done()
				return factory.Told{}, &factory.Problem{Kind: factory.ErrUnavailable, What: "no answer", Cause: ctx.Err()}
			}
			return factory.Told{}, nil
		}}
		d, began := dispatcher(o, s), time.Now()
		late := time.AfterFunc(7*time.Second, func() { // somebody else's release meanwhile
			o.mu.Lock()
			defer o.mu.Unlock()
			o.rows["late"] = trigger("late")
		})
		defer late.Stop()
		r := deliver(t, d)
		for i, id := range s.told {
			if took := s.at[i].Sub(began); !strings.HasPrefix(id, "hung") && took > 12*time.Second {
				t.Errorf("%s waited %s", id, took)
			}
		}
		if r.Delivered != 21 || r.Failed < 5 {
			t.Errorf("%+v", r)
		}
		// Five in a row, and it is left alone.
		if took := time.Since(began); took != 5*30*time.Second || r.Failed != 5 {
			t.Errorf("took %s, %d failed", took, r.Failed)
		}
	})
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		for n := range 100 {
			one := trigger(fmt.Sprint("t", n))
			o.rows[one.ID] = one
		}
		s := &teller{}
		d := dispatcher(o, s)
		d.PerServer, d.Patience = 8, time.Second
		d.Route = func(t factory.Trigger) (factory.Server, error) { // two servers on one host: the smaller rate counts for both
			if strings.HasSuffix(t.ID, "1") {
				return factory.Server{ID: "b", URL: "https://CI.example.com/b", PerMinute: 60}, nil
			}
			return factory.Server{ID: "a", URL: "https://ci.example.com/a", PerMinute: 6000}, nil
		}
		began := time.Now()
		r := deliver(t, d)
		if took := time.Since(began); r.Delivered != 100 || took < 89*time.Second || took > 91*time.Second {
			t.Errorf("%+v in %s", r, took)
		}
		for i := range s.at {
			n := 0
			for _, at := range s.at[i:] {
				if at.Sub(s.at[i]) < time.Minute {
					n++
				}
			}
			if n > 71 {
				t.Errorf("%d in a minute", n)
			}
		}
	})
}

func TestWhatIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		told factory.Told
		err  error
		dead int // after so many attempts
		due  time.Duration
	}{
		"invalid":      {err: factory.ErrInvalid, dead: 1},
		"not found":    {err: &factory.Problem{Kind: factory.ErrNotFound, What: "404"}, dead: 1},
		"not verified": {err: factory.ErrUnverified, dead: 1},
		"conflict":     {err: factory.ErrConflict, dead: 1},
		"unavailable":  {err: factory.ErrUnavailable, dead: 8, due: 22500 * time.Millisecond},
		"other":        {err: errors.New(strings.Repeat("long\n", 200)), dead: 8, due: 22500 * time.Millisecond},
		"retry after":  {told: factory.Told{RetryAfter: 5 * time.Minute}, err: factory.ErrUnavailable, dead: 8, due: 5 * time.Minute},
		"far too long": {told: factory.Told{RetryAfter: 500 * time.Hour}, err: factory.ErrUnavailable, dead: 8, due: time.Hour},
		"its own bug":  {told: factory.Told{RetryAfter: -1}, dead: 8, due: 22500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, warned := newOutbox(trigger("a")), 0
				s := &teller{answer: func(context.Context, factory.Trigger) (factory.Told, error) {
					if c.err == nil {
						panic("index out of range")
					}
					return c.told, c.err
				}}
				d := dispatcher(o, s)
				d.Events = func(e factory.Event) { warned++ }
				r := deliver(t, d)
				got := o.get("a")
				if c.dead > 1 && (got.State != factory.TriggerWaiting || time.Until(got.Due) != c.due || r.Failed != 1 || warned != 0) {
					t.Errorf("due in %s, %+v", time.Until(got.Due), r)
				}
				for range 20 {
					time.Sleep(7 * time.Hour)
					deliver(t, d)
				}
				got = o.get("a")
				if got.State != factory.TriggerDead || got.Attempts != c.dead || got.Ended == nil || got.Answer == "" || len(got.Answer) > 510 || warned != 1 {
					t.Errorf("%+v, %d warnings", got, warned)
				}
			})
		})
	}
}

func TestBackoffGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(trigger("a"))
		s := &teller{answer: func(context.Context, factory.Trigger) (factory.Told, error) {
			return factory.Told{}, factory.ErrBusy
		}}
		d := dispatcher(o, s)
		d.Patience, d.Attempts, d.Rand = 24*time.Hour, 30, func() float64 { return 0 }
		deliver(t, d)
		var last time.Duration
		for i := range s.at[1:] {
			gap := s.at[i+1].Sub(s.at[i])
			if want := min(30*time.Second<<i, 6*time.Hour); i < 15 && gap != want || gap > 6*time.Hour || gap < last {
				t.Errorf("gap %d: %s, want %s", i, gap, want)
			}
			last = gap
		}
		if len(s.at) != 30 {
			t.Errorf("%d attempts", len(s.at))
		}
	})
}

// Trouble that is nobody's fault: it is told, and waits.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(trigger("a", on("unset")), trigger("b", on("gone")), trigger("c", on("%zz")), trigger("d"), trigger("e", canary, on("unset"), func(t *factory.Trigger) { t.Env = factory.Dev }),
			trigger("f", canary, on("unset"), func(t *factory.Trigger) { t.State = factory.TriggerDelivered }))
		d := dispatcher(o, &teller{})
		plan, err := d.Plan(t.Context())
		var said []string
		for _, p := range plan {
			said = append(said, p.ID+" "+p.Why)
		}
		slices.Sort(said)
		if want := []string{"a server ci is not configured", "b no dependent b", "c server ci has no URL", "d ", "e server ci is not configured"}; err != nil || !slices.Equal(said, want) || o.get("b").State != factory.TriggerWaiting {
			t.Errorf("plan %q, %v", said, err)
		}
		r := deliver(t, d)
		if r.Delivered != 1 || !reflect.DeepEqual(r.Stuck, map[string]int{"server ci is not configured": 2, "server ci has no URL": 1, "no dependent b": 1}) {
			t.Errorf("%+v", r)
		}
		if a, b := o.get("a"), o.get("b"); a.State != factory.TriggerWaiting || a.Attempts != 0 || a.Answer != "server ci is not configured" || b.State != factory.TriggerWaiting || b.Ended != nil || b.Answer != "no dependent b" {
			t.Errorf("%+v\n%+v", a, b)
		}
		o.fail = errors.New("the disk is full")
		if _, err := d.Deliver(t.Context()); !errors.Is(err, o.fail) {
			t.Errorf("error %v", err)
		}
		if _, err := d.Plan(t.Context()); !errors.Is(err, o.fail) {
			t.Errorf("error %v", err)
		}
	})
}

var _ dispatch.Watcher = (*watcher)(nil)
