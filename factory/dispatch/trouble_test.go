package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// An interruption ends the calls, and what they were about waits.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(trigger("a"), trigger("b"))
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("Ctrl-C")
		s := &teller{answer: func(ctx context.Context, t factory.Trigger) (factory.Told, error) {
			cancel(stop)
			<-ctx.Done()
			return factory.Told{}, ctx.Err()
		}}
		r, err := dispatcher(o, s).Deliver(ctx)
		if !errors.Is(err, stop) || r.Failed != 0 || len(s.told) != 1 || len(o.claimed) != 0 {
			t.Errorf("%v, %+v, told %v, claimed %v", err, r, s.told, o.claimed)
		}
		if got := o.get(s.told[0]); got.State != factory.TriggerWaiting || got.Due.After(time.Now()) || !strings.Contains(got.Answer, "may have been told") {
			t.Errorf("%+v", got)
		}
	})
}

// What another process has claimed is left to it, until its claim has ended.
func TestClaimsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, s := newOutbox(trigger("a"), trigger("b")), &teller{}
		o.claimed["a"] = time.Now().Add(time.Minute)
		d := dispatcher(o, s)
		d.Patience = time.Minute
		if r := deliver(t, d); r.Delivered != 1 || s.times("a") != 0 {
			t.Errorf("%+v %v", r, s.told)
		}
		time.Sleep(2 * time.Minute) // it died
		if r := deliver(t, d); r.Delivered != 1 || s.times("a") != 1 || s.times("b") != 1 {
			t.Errorf("%+v %v", r, s.told)
		}
	})
}

// Whatever the clock does, everything is delivered, and no host gets more than its rate allows of real time.
func TestClocksThatJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var wrong time.Duration
		chance := rand.New(rand.NewPCG(1, 2))
		o, s := newOutbox(), &teller{}
		s.answer = func(context.Context, factory.Trigger) (factory.Told, error) {
			mu.Lock()
			defer mu.Unlock()
			if chance.IntN(3) == 0 {
				return factory.Told{RetryAfter: time.Duration(chance.IntN(30)) * time.Second}, factory.ErrUnavailable
			}
			return factory.Told{}, nil
		}
		d := dispatcher(o, s)
		o.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(wrong) }
		d.Now, d.Attempts = o.now, 1000
		for n := range 60 {
			one := trigger(fmt.Sprint("t", n))
			one.Canary = n%10 == 0
			o.rows[one.ID] = one
		}
		delivered := 0
		for hour := 0; delivered < 60; hour++ {
			if hour > 500 {
				t.Fatalf("%d of 60 delivered", delivered)
			}
			mu.Lock()
			wrong = time.Duration(chance.IntN(20_000)-10_000) * time.Hour
			mu.Unlock()
			delivered += deliver(t, d).Delivered
			time.Sleep(time.Hour)
		}
		if len(s.told) > 200 {
			t.Errorf("%d calls for 60 triggers", len(s.told))
		}
	})
}

// Two dispatchers on one outbox, and a server that fails a third: each is delivered, and nothing twice at once.
func TestTwoDispatchers(t *testing.T) {
	o := newOutbox()
	for n := range 300 {
		one := trigger(fmt.Sprint("t", n), on(fmt.Sprint("s", n%7)))
		one.Canary, one.Urgent = n%50 == 0, n%9 == 0
		o.rows[one.ID] = one
	}
	var mu sync.Mutex
	delivered, chance := map[string]int{}, rand.New(rand.NewPCG(3, 4))
	s := &teller{answer: func(_ context.Context, t factory.Trigger) (factory.Told, error) {
		mu.Lock()
		defer mu.Unlock()
		if chance.IntN(3) == 0 {
			return factory.Told{RetryAfter: time.Millisecond}, factory.ErrUnavailable
		}
		delivered[t.Key]++
		return factory.Told{}, nil
	}}
	var work sync.WaitGroup
	for range 2 {
		d := dispatcher(o, s)
		d.Backoff, d.Patience, d.PerServer, d.Attempts = time.Millisecond, time.Second, 4, 100
		work.Go(func() {
			if _, err := d.Deliver(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	last := dispatcher(o, s) // of what each left to the other
	last.Backoff, last.Patience, last.Attempts = time.Millisecond, time.Second, 100
	deliver(t, last)
	for key, n := range delivered {
		if n != 1 {
			t.Errorf("%s was delivered %d times", key, n)
		}
	}
	if len(delivered) != 300 {
		t.Errorf("%d of 300 delivered", len(delivered))
	}
}

// Nobody delivered for a day. The canaries are first all the same, and have their time.
func TestCanariesThatAreToldLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for id, waits := range map[string]bool{"pr-1": true, "ci-1": false} {
			o := newOutbox(trigger("a-rest", on("other-")), trigger(id, canary))
			w := &watcher{teller: &teller{}, watched: 1, has: map[string]bool{}}
			d := dispatcher(o, w)
			time.Sleep(24 * time.Hour)
			deliver(t, d)
			if got := o.get("a-rest").State; w.told[0] != id || waits != (got == factory.TriggerWaiting) {
				t.Errorf("%s: %v, the rest is %s", id, w.told, got)
			}
			time.Sleep(29 * time.Minute)
			deliver(t, d)
			if got := o.get("a-rest").State; waits != (got == factory.TriggerWaiting) {
				t.Errorf("%s: after half an hour less one the rest is %s", id, got)
			}
			time.Sleep(2 * time.Minute)
			deliver(t, d)
			if got := o.get("a-rest").State; got != factory.TriggerDelivered {
				t.Errorf("%s: after half an hour the rest is %s", id, got)
			}
		}
	})
}

// A host that is asked twice a minute is told everything all the same, by one Deliver.
func TestSlowHostsAreNotLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, s := newOutbox(trigger("a"), trigger("b"), trigger("c"), trigger("later", func(t *factory.Trigger) { t.Due = t.Due.Add(10 * time.Minute) })), &teller{}
		d, began := dispatcher(o, s), time.Now()
		d.Patience = time.Second
		d.Route = func(factory.Trigger) (factory.Server, error) {
			return factory.Server{ID: "ci", URL: "https://ci.example.com", PerMinute: 2}, nil
		}
		if r := deliver(t, d); r.Delivered != 3 || time.Since(began).Round(time.Second) != time.Minute || o.get("later").State != factory.TriggerWaiting {
			t.Errorf("%+v in %s", r, time.Since(began))
		}
	})
}
