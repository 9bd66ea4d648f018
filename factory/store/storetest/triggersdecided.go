package storetest

import (
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

// What becomes of canaries is kept, and a person's word counts for more.
func triggersDecided(t *testing.T, s *store.Store) {
	ctx, now := t.Context(), setClock(s)
	followed(s, factory.Dev, "a", "canary-1", "canary-2")
	r := devRelease("debian-12", 1)
	add(t, s, r)
	id := func(d string) string { return "t-" + r.ID + "-" + d }
	claimed, err := s.ClaimTriggers(ctx, []string{id("canary-1"), id("canary-2")}, now.Now().Add(time.Minute))
	must(t, err)
	ended := now.Now()
	for _, c := range claimed {
		c.State, c.Ended, c.Handle, c.Answer = factory.TriggerDelivered, &ended, "7", "told"
		must(t, s.SettleTriggers(ctx, c))
		c.Fate, c.Handle, c.Answer = factory.FateFailed, "#8", "build 8: FAILURE"
		must(t, s.SettleTriggers(ctx, c))
	}
	get := func(d string) factory.Trigger {
		t.Helper()
		one, err := s.Trigger(ctx, id(d))
		must(t, err)
		return one
	}
	if one := get("canary-1"); one.Fate != factory.FateFailed || one.Handle != "#8" || one.State != factory.TriggerDelivered || one.Answer != "build 8: FAILURE" {
		t.Errorf("%+v", one)
	}
	if open, err := s.OpenTriggers(ctx); err != nil || len(open) != 3 {
		t.Errorf("%+v, %v", open, err)
	}
	_, err = s.ExcuseTriggers(ctx, "flaky", id("canary-1"), id("a"))
	refused(t, err, factory.ErrConflict, "is waiting, no canary")
	if n, err := s.ExcuseTriggers(ctx, "flaky \x00", id("canary-1")); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	late := claimed[0] // somebody looked at the same time
	late.State, late.Ended, late.Fate, late.Answer = factory.TriggerDelivered, &ended, factory.FateFailed, "build 8: FAILURE"
	must(t, s.SettleTriggers(ctx, late))
	if one := get("canary-1"); one.Fate != factory.FateExcused || one.Answer != "excused: flaky \uFFFD" {
		t.Errorf("%+v", one)
	}
	_, err = s.RetryTriggers(ctx, id("canary-1"))
	refused(t, err, factory.ErrConflict, "is delivered, not dead")
	if n, err := s.RetryTriggers(ctx); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := s.RetryTriggers(ctx, id("canary-2")); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	if one := get("canary-2"); one.State != factory.TriggerWaiting || one.Fate != "" || one.Handle != "" || one.Attempts != 0 || one.Ended != nil {
		t.Errorf("%+v", one)
	}
	_, err = s.DropTriggers(ctx, "gone", id("canary-1"))
	refused(t, err, factory.ErrConflict, "nothing that is left to be told")
	if n, err := s.DropTriggers(ctx, "moved away", id("canary-2"), id("a")); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	if one := get("a"); one.State != factory.TriggerObsolete || one.Answer != "dropped: moved away" || one.Ended == nil {
		t.Errorf("%+v", one)
	}
	_, err = s.ExcuseTriggers(ctx, "why", id("canary-2"))
	refused(t, err, factory.ErrConflict, "one that holds nobody back")
}

// A run that does not know a dependent who still waits leaves him what there is to tell: the newest digest, in place of the old one.
func triggersCarriedOn(t *testing.T, s *store.Store) {
	ctx, now := t.Context(), setClock(s)
	followed(s, factory.Dev, "a", "canary-b", "c")
	old, next := devRelease("debian-12", 1), devRelease("debian-12", 2)
	add(t, s, old)
	claimed, err := s.ClaimTriggers(ctx, []string{"t-" + old.ID + "-c"}, now.Now().Add(time.Minute))
	must(t, err)
	ended := now.Now()
	claimed[0].State, claimed[0].Ended = factory.TriggerDelivered, &ended
	must(t, s.SettleTriggers(ctx, claimed[0]))
	followed(s, factory.Dev, "a") // an older checkout
	add(t, s, devRelease("debian-13", 1))
	add(t, s, next)
	add(t, s, next)
	all, err := s.Triggers(ctx, store.TriggerQuery{State: factory.TriggerWaiting})
	must(t, err)
	by := map[string]factory.Trigger{}
	for _, one := range all {
		if one.Image == "debian-12" {
			by[one.Dependent] = one
		}
	}
	if b := by["canary-b"]; len(by) != 2 || b.Ref != next.Ref() || !b.Canary || b.ID == "" || by["a"].Ref != next.Ref() {
		t.Errorf("%+v", all)
	}
	was, err := s.Trigger(ctx, "t-"+old.ID+"-canary-b")
	if err != nil || was.State != factory.TriggerObsolete || was.Answer != "superseded by "+by["canary-b"].ID {
		t.Errorf("%+v, %v", was, err)
	}
	if now.advance(time.Second); by["canary-b"].Key == was.Key {
		t.Error("another digest is another message")
	}
	followed(s, factory.Dev, "a", "canary-b") // one that knows it again
	last := devRelease("debian-12", 3)
	add(t, s, last)
	if one, err := s.Trigger(ctx, "t-"+last.ID+"-canary-b"); err != nil || one.State != factory.TriggerWaiting {
		t.Errorf("%+v, %v", one, err)
	}
}
