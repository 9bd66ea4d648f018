package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/dispatch"
)

// builds is a teller whose builds stand as a test says.
type builds struct {
	*teller
	seen  factory.Seen
	err   error
	looks []time.Time
}

func (b *builds) Watch(context.Context, factory.Trigger) (factory.Seen, error) {
	b.looks = append(b.looks, time.Now())
	return b.seen, b.err
}

func TestCanaryThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(trigger("rest"), trigger("more"), trigger("ci", canary), trigger("other", func(t *factory.Trigger) { t.Env = factory.Dev }))
		b := &builds{teller: &teller{answer: func(context.Context, factory.Trigger) (factory.Told, error) {
			return factory.Told{Answer: "pipeline 7 started", URL: "https://ci.example.com/7", Handle: "7"}, nil
		}}, seen: factory.Seen{Known: true, Answer: "pipeline 7: running"}}
		d := dispatcher(o, b)
		if r := deliver(t, d); r.Delivered != 2 || r.Held != 2 || len(r.Failing) != 0 || o.get("ci").Answer != "pipeline 7: running" || o.get("ci").Handle != "7" {
			t.Fatalf("%+v %+v", r, o.get("ci"))
		}
		time.Sleep(10 * time.Minute)
		b.seen = factory.Seen{Known: true, Failed: true, Answer: "pipeline 7: failed", URL: "https://ci.example.com/7/failed", Handle: "#7"}
		r := deliver(t, d)
		if got := o.get("ci"); got.Fate != factory.FateFailed || got.State != factory.TriggerDelivered || got.Answer != "pipeline 7: failed" || got.URL != "https://ci.example.com/7/failed" || got.Handle != "#7" {
			t.Errorf("%+v", got)
		}
		if len(r.Failing) != 1 || r.Failing[0].ID != "ci" || r.Failing[0].Holds != 2 || r.Held != 2 {
			t.Errorf("%+v", r)
		}
		// Time heals nothing, also not for another process.
		time.Sleep(100 * time.Hour)
		d = dispatcher(o, b)
		if r := deliver(t, d); r.Delivered != 0 || len(r.Failing) != 1 {
			t.Errorf("%+v", r)
		}
		plan, err := d.Plan(t.Context())
		if err != nil || len(plan) != 2 || !plan[0].At.Equal(dispatch.Never) || !strings.Contains(plan[0].Why, "its canary ci failed: factory triggers retry ci") {
			t.Errorf("%+v, %v", plan, err)
		}
		// A look that cannot be had changes nothing but what is said.
		time.Sleep(time.Minute)
		b.err = errors.New("401")
		deliver(t, d)
		if got := o.get("ci"); got.Fate != factory.FateFailed || got.Answer != "what became of it is not known: 401" {
			t.Errorf("%+v", got)
		}
		// Somebody repairs it and runs it again.
		time.Sleep(time.Minute)
		b.err, b.seen = nil, factory.Seen{Known: true, Done: true, Answer: "pipeline 7: success"}
		if r := deliver(t, d); r.Delivered != 2 || len(r.Failing) != 0 || !o.get("ci").Done || o.get("ci").Fate != "" {
			t.Errorf("%+v %+v", r, o.get("ci"))
		}
	})
}

func TestCanaryThatIsExcused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		excused := func(t *factory.Trigger) { t.Fate = factory.FateExcused }
		gone := func(t *factory.Trigger) { t.State, t.Ended = factory.TriggerDelivered, &t.Created }
		o := newOutbox(trigger("rest"), trigger("a", canary, excused, gone), trigger("b", canary, excused, func(t *factory.Trigger) { t.State = factory.TriggerDead }))
		b := &builds{teller: &teller{}}
		if r := deliver(t, dispatcher(o, b)); r.Delivered != 1 || len(b.looks) != 0 {
			t.Errorf("%+v after %d looks", r, len(b.looks))
		}
	})
}

// Whoever comes after its time was over looks once more before anybody else is told.
func TestCanaryThatFailedUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := func(t *factory.Trigger) { t.State, t.Ended = factory.TriggerDelivered, &t.Created }
		o := newOutbox(trigger("rest"), trigger("ci", canary, told), trigger("slow", canary, told))
		b := &builds{teller: &teller{}, seen: factory.Seen{Known: true, Failed: true}}
		time.Sleep(time.Hour)
		if r := deliver(t, dispatcher(o, b)); r.Delivered != 0 || len(r.Failing) != 1 || len(b.looks) != 2 {
			t.Errorf("%+v after %d looks", r, len(b.looks))
		}
	})
}

// What cannot be asked is no failure: it waits, and at last its time is over.
func TestCanaryThatCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(trigger("rest"), trigger("ci", canary))
		b := &builds{teller: &teller{}, err: &factory.Problem{Kind: factory.ErrUnverified, What: "it answers 403"}}
		d := dispatcher(o, b)
		deliver(t, d)
		time.Sleep(29 * time.Minute)
		if r := deliver(t, d); r.Held != 1 || o.get("ci").State != factory.TriggerDelivered || !strings.Contains(o.get("ci").Answer, "not known: it answers 403") {
			t.Errorf("%+v %+v", r, o.get("ci"))
		}
		time.Sleep(time.Minute)
		if r := deliver(t, d); r.Delivered != 1 || o.get("ci").Fate != "" {
			t.Errorf("%+v", r)
		}
	})
}

// A checkout or a configuration that cannot ask a canary does not take it for one that succeeded.
func TestCanaryOfSomebodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(trigger("rest"), trigger("ci", canary, on("unset"), func(t *factory.Trigger) { t.State, t.Ended = factory.TriggerDelivered, &t.Created }))
		b := &builds{teller: &teller{}, seen: factory.Seen{Known: true, Done: true}}
		if r := deliver(t, dispatcher(o, b)); r.Delivered != 0 || r.Held != 1 {
			t.Errorf("%+v", r)
		}
		time.Sleep(30 * time.Minute)
		if r := deliver(t, dispatcher(o, b)); r.Delivered != 1 || len(b.looks) != 0 {
			t.Errorf("%+v after %d looks", r, len(b.looks))
		}
	})
}

// Looks are calls: they keep to the host's rate and leave it alone when it asks for that; and nobody waits to have one.
func TestLooksCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		for n := range 20 {
			one := trigger(fmt.Sprint("c", n), canary, func(t *factory.Trigger) {
				t.Ref += fmt.Sprint(n)
				t.State, t.Ended = factory.TriggerDelivered, &t.Created
			})
			o.rows[one.ID] = one
		}
		b := &builds{teller: &teller{}, seen: factory.Seen{Known: true}}
		d := dispatcher(o, b)
		d.Patience, d.Route = 5*time.Second, func(factory.Trigger) (factory.Server, error) {
			return factory.Server{ID: "ci", URL: "https://ci.example.com", PerMinute: 60}, nil
		}
		began := time.Now()
		deliver(t, d)
		if len(b.looks) != 20 || time.Since(began) < 10*time.Second {
			t.Errorf("%d looks in %s", len(b.looks), time.Since(began))
		}
		b.looks, b.err, b.seen = nil, factory.ErrUnavailable, factory.Seen{RetryAfter: 10 * time.Minute}
		time.Sleep(2 * time.Minute)
		deliver(t, d)
		time.Sleep(9 * time.Minute)
		deliver(t, d)
		if len(b.looks) != 1 {
			t.Errorf("%d looks, and it asked for peace", len(b.looks))
		}
		d.Route = func(factory.Trigger) (factory.Server, error) {
			return factory.Server{ID: "ci", URL: "https://slow.example.com", PerMinute: 1}, nil
		}
		b.looks, b.err, began = nil, nil, time.Now()
		deliver(t, d)
		if len(b.looks) != 1 || time.Since(began) > time.Minute {
			t.Errorf("%d looks in %s", len(b.looks), time.Since(began))
		}
	})
}
