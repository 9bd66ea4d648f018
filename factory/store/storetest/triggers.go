package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

// followed makes dependents follow whatever comes into an environment.
func followed(s *store.Store, env factory.Env, dependents ...string) {
	s.Follow = func(e factory.Entry) (all []factory.Trigger) {
		for _, d := range dependents {
			if e.Env == env {
				all = append(all, factory.Trigger{ID: "t-" + e.ID + "-" + d, Dependent: d, Canary: strings.HasPrefix(d, "canary"), Urgent: e.Reason == "urgent", Reason: e.Reason + " \x00"})
			}
		}
		return all
	}
}

// states are all triggers, oldest first.
func states(t *testing.T, s *store.Store) string {
	t.Helper()
	all, err := s.Triggers(t.Context(), store.TriggerQuery{})
	must(t, err)
	var text []string
	for _, one := range slices.Backward(all) {
		text = append(text, one.ID+" "+string(one.State))
	}
	return strings.Join(text, ", ")
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
	}
}

// What comes into an environment and its triggers are one thing; what was not told yet is superseded by what is newer.
func triggers(t *testing.T, s *store.Store) {
	ctx := t.Context()
	setClock(s)
	add(t, s, devRelease("debian-12", 0)) // nobody follows
	followed(s, factory.Dev, "api", "canary")
	a, b := devRelease("debian-12", 1), devRelease("debian-12", 2)
	a.Cause = "elsewhere"
	add(t, s, a)
	add(t, s, a)
	id := func(r factory.Release, d string) string { return "t-" + r.ID + "-" + d }
	same(t, "first", states(t, s), id(a, "api")+" waiting, "+id(a, "canary")+" waiting")
	one, err := s.Trigger(ctx, id(a, "api"))
	must(t, err)
	want := factory.Trigger{ID: id(a, "api"), Key: one.Key, Dependent: "api", Image: a.Image, Release: a.ID, Ref: a.Ref(), Tag: a.Tag, Env: factory.Dev, Reason: a.Reason + " \uFFFD", Cause: "elsewhere",
		State: factory.TriggerWaiting, Created: a.Created, Due: a.Created}
	if one != want || len(one.Key) != 64 {
		t.Errorf("%+v\nwant\n%+v", one, want)
	}
	add(t, s, b)
	same(t, "newer", states(t, s), id(a, "api")+" superseded, "+id(a, "canary")+" superseded, "+id(b, "api")+" waiting, "+id(b, "canary")+" waiting")
	if one, err = s.Trigger(ctx, id(a, "api")); err != nil || one.Ended == nil || one.Answer != "superseded by "+id(b, "api") {
		t.Errorf("%+v, %v", one, err)
	}

	again := devRelease("debian-12", 3) // the first digest comes back, under another tag
	again.Digest, again.Artifact.Digest, again.Documents = a.Digest, a.Digest, a.Documents
	add(t, s, again)
	if one, err = s.Trigger(ctx, id(a, "api")); err != nil || one.State != factory.TriggerWaiting || one.Tag != again.Tag || one.Release != again.ID || one.Ended != nil || one.Answer != "" {
		t.Errorf("%+v, %v", one, err)
	}

	followed(s, factory.Staging, "web")
	up := entry(b, factory.Staging)
	must(t, s.Promote(ctx, up))
	must(t, s.Promote(ctx, up))
	up.ID = "e-again"
	must(t, s.Promote(ctx, up))
	all, err := s.Triggers(ctx, store.TriggerQuery{Dependent: "web"})
	if err != nil || len(all) != 1 || all[0].Env != factory.Staging || all[0].Tag.Env != factory.Staging || all[0].Ref != b.Ref() || all[0].State != factory.TriggerWaiting {
		t.Errorf("%+v, %v", all, err)
	}
	before := states(t, s)
	older := entry(a, factory.Staging)
	s.Follow = func(factory.Entry) []factory.Trigger { return []factory.Trigger{{ID: " ", Dependent: "x"}} }
	refused(t, s.Promote(ctx, older), factory.ErrInvalid, "a trigger")
	same(t, "nothing of a promotion that failed", states(t, s), before)
	if ledger, err := s.Ledger(ctx, store.LedgerQuery{Env: factory.Staging}); err != nil || len(ledger) != 1 {
		t.Errorf("the promotion is there without its trigger: %+v, %v", ledger, err)
	}
}

// Whose trigger led to a release is not told of it, and neither are those whose triggers led to that.
func triggersAndCauses(t *testing.T, s *store.Store) {
	ctx := t.Context()
	followed(s, factory.Dev, "a", "b", "c")
	cause := ""
	for n, d := range []string{"a", "b", "c", ""} {
		r := devRelease("debian-12", n)
		r.Cause = cause
		add(t, s, r)
		for i, other := range []string{"a", "b", "c"} {
			one, err := s.Trigger(ctx, "t-"+r.ID+"-"+other)
			must(t, err)
			if told := i >= n; told != (one.State == factory.TriggerWaiting) || !told && !strings.Contains(one.Answer, "its own trigger t-") || one.Cause != cause {
				t.Errorf("release %d: %+v", n, one)
			}
		}
		cause = "t-" + r.ID + "-" + d
	}
	// A release's promotion has its cause.
	r := devRelease("debian-12", 9)
	r.Cause = "t-" + devRelease("debian-12", 0).ID + "-a"
	add(t, s, r)
	followed(s, factory.Staging, "a", "b")
	must(t, s.Promote(ctx, entry(r, factory.Staging)))
	same(t, "promoted", fmt.Sprint(counted(t, s, "a"), counted(t, s, "b")), "0 1")
}

// counted is how many triggers of a dependent wait in staging.
func counted(t *testing.T, s *store.Store, dependent string) (n int) {
	t.Helper()
	all, err := s.Triggers(t.Context(), store.TriggerQuery{Dependent: dependent, State: factory.TriggerWaiting})
	must(t, err)
	for _, one := range all {
		if one.Env == factory.Staging {
			n++
		}
	}
	return n
}

// Of a digest that is revoked nobody is told any more.
func triggersRevoked(t *testing.T, s *store.Store) {
	ctx := t.Context()
	setClock(s)
	followed(s, factory.Dev, "a", "b", "c")
	r := devRelease("debian-12", 1)
	add(t, s, r)
	got, err := s.ClaimTriggers(ctx, []string{"t-" + r.ID + "-a", "t-" + r.ID + "-b"}, night.Add(time.Minute))
	must(t, err)
	got[0].State, got[0].Answer = factory.TriggerDelivered, "202"
	must(t, s.SettleTriggers(ctx, got[0]))
	must(t, s.Revoke(ctx, revocation(r)))
	same(t, "revoked", states(t, s), fmt.Sprintf("t-%[1]s-a delivered, t-%[1]s-b superseded, t-%[1]s-c superseded", r.ID))
	got[1].Answer = "later" // an attempt that ends now changes nothing, unless it was delivered
	must(t, s.SettleTriggers(ctx, got[1]))
	one, err := s.Trigger(ctx, got[1].ID)
	if err != nil || one.Answer != "the digest was revoked: backdoor" || one.Ended == nil {
		t.Errorf("%+v, %v", one, err)
	}
	got[1].State = factory.TriggerDelivered
	must(t, s.SettleTriggers(ctx, got[1]))
	if one, err = s.Trigger(ctx, got[1].ID); err != nil || one.State != factory.TriggerDelivered {
		t.Errorf("%+v, %v", one, err)
	}
	again := devRelease("debian-12", 2)
	again.Digest, again.Artifact.Digest, again.Documents = r.Digest, r.Digest, r.Documents
	before := states(t, s)
	add(t, s, again)
	same(t, "released again", states(t, s), before)
}

// A claim is one process's until it ends.
func triggersClaimed(t *testing.T, s *store.Store) {
	ctx, now := t.Context(), setClock(s)
	followed(s, factory.Dev, "canary", "rest", "gone")
	r := devRelease("debian-12", 1)
	add(t, s, r)
	ids := []string{"t-" + r.ID + "-rest", "t-" + r.ID + "-canary", "t-none"}
	if none, err := s.ClaimTriggers(ctx, nil, now.Now()); err != nil || none != nil {
		t.Errorf("%+v, %v", none, err)
	}
	claim := func(want ...string) []factory.Trigger {
		t.Helper()
		got, err := s.ClaimTriggers(ctx, ids, now.Now().Add(90*time.Second))
		must(t, err)
		var all []string
		for _, one := range got {
			all = append(all, one.Dependent)
		}
		same(t, "claimed", strings.Join(all, " "), strings.Join(want, " "))
		return got
	}
	first := claim("rest", "canary")
	if first[0].Attempts != 1 {
		t.Errorf("%+v", first[0])
	}
	claim()
	now.advance(2 * time.Minute) // it died
	second := claim("rest", "canary")
	now.advance(-200 * 24 * time.Hour) // and that claim was made by a clock that was wrong
	third := claim("rest", "canary")
	first[0].State = factory.TriggerDead
	must(t, s.SettleTriggers(ctx, first[0])) // it was not dead, but it is late: another has it
	second[0].Answer = "late too"
	must(t, s.SettleTriggers(ctx, second[0]))
	claim()
	third[0].Answer, third[0].Due = "503 \x00", now.Now().Add(time.Hour)
	must(t, s.SettleTriggers(ctx, third[0]))
	ended := now.Now()
	third[1].State, third[1].Ended, third[1].URL, third[1].Done = factory.TriggerDelivered, &ended, "https://ci.example.com/1", true
	must(t, s.SettleTriggers(ctx, third[1]))
	if got := claim("rest")[0]; got.Attempts != 4 || got.Answer != "503 \uFFFD" || !got.Due.Equal(now.Now().Add(time.Hour)) {
		t.Errorf("%+v", got)
	}

	open, err := s.OpenTriggers(ctx) // canaries of what waits, whatever became of them
	must(t, err)
	var all []string
	for _, one := range open {
		all = append(all, one.Dependent+" "+string(one.State))
	}
	same(t, "open", strings.Join(all, ", "), "canary delivered, gone waiting, rest waiting")
	must(t, s.Revoke(ctx, revocation(r)))
	if open, err = s.OpenTriggers(ctx); err != nil || len(open) != 0 {
		t.Errorf("%+v, %v", open, err)
	}
}

// Whoever claims at once, each trigger is one's.
func triggersRace(t *testing.T, s *store.Store) {
	ctx := t.Context()
	var dependents, ids []string
	r := devRelease("debian-12", 1)
	for n := range 40 {
		d := fmt.Sprintf("d%02d", n)
		dependents, ids = append(dependents, d), append(ids, "t-"+r.ID+"-"+d)
	}
	followed(s, factory.Dev, dependents...)
	add(t, s, r)
	var mu sync.Mutex
	claims := map[string]int{}
	var work sync.WaitGroup
	for n := range 8 {
		work.Go(func() {
			for i := 0; i < len(ids); i += 5 {
				from := (i + 5*n) % len(ids)
				got, err := s.ClaimTriggers(ctx, ids[from:from+5], time.Now().Add(time.Hour))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, one := range got {
					claims[one.ID]++
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
	for _, id := range ids {
		if claims[id] != 1 {
			t.Errorf("%s was claimed %d times", id, claims[id])
		}
	}
}

func triggersRetried(t *testing.T, s *store.Store) {
	ctx, now := t.Context(), setClock(s)
	followed(s, factory.Dev, "a", "b", "c")
	r := devRelease("debian-12", 1)
	add(t, s, r)
	id := func(d string) string { return "t-" + r.ID + "-" + d }
	got, err := s.ClaimTriggers(ctx, []string{id("a"), id("b")}, now.Now().Add(time.Minute))
	must(t, err)
	ended := now.Now()
	for _, one := range got {
		one.State, one.Ended, one.Answer = factory.TriggerDead, &ended, "404"
		must(t, s.SettleTriggers(ctx, one))
	}
	counts, err := s.CountTriggers(ctx)
	if err != nil || counts[factory.TriggerDead] != 2 || counts[factory.TriggerWaiting] != 1 || len(counts) != 2 {
		t.Errorf("%v, %v", counts, err)
	}
	_, err = s.RetryTriggers(ctx, id("a"), id("c"))
	refused(t, err, factory.ErrConflict, "is waiting, not dead")
	_, err = s.RetryTriggers(ctx, id("a"), "t-none")
	refused(t, err, factory.ErrNotFound, "t-none")
	if n, err := s.RetryTriggers(ctx, id("a")); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	one, err := s.Trigger(ctx, id("a"))
	if err != nil || one.State != factory.TriggerWaiting || one.Attempts != 0 || one.Ended != nil || one.Answer != "404" || !one.Due.Equal(now.Now()) {
		t.Errorf("%+v, %v", one, err)
	}
	if n, err := s.RetryTriggers(ctx); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	same(t, "retried", states(t, s), id("a")+" waiting, "+id("b")+" waiting, "+id("c")+" waiting")
	add(t, s, devRelease("debian-12", 2)) // a dead one is superseded like one that waits
}

func triggersAskedFor(t *testing.T, s *store.Store) {
	ctx := t.Context()
	followed(s, factory.Dev, "a", "b")
	first, second := devRelease("debian-12", 1), devRelease("debian-12", 2)
	add(t, s, first)
	add(t, s, second)
	for q, want := range map[store.TriggerQuery]int{{}: 4, {Limit: 3}: 3, {Dependent: "a"}: 2, {State: factory.TriggerObsolete}: 2, {State: "x' OR 1=1\x00"}: 0, {Dependent: "a", State: factory.TriggerWaiting}: 1} {
		if got, err := s.Triggers(ctx, q); err != nil || len(got) != want {
			t.Errorf("%+v: %d, %v", q, len(got), err)
		}
	}
	last, err := s.LastTriggers(ctx)
	if err != nil || len(last) != 2 || last["a"].Release != second.ID || last["b"].State != factory.TriggerWaiting {
		t.Errorf("%+v, %v", last, err)
	}
	if one, err := s.Trigger(ctx, "t-"+first.ID+"-a"); err != nil || one.Dependent != "a" {
		t.Errorf("%+v, %v", one, err)
	}
	_, err = s.Trigger(ctx, "t-"+first.ID)
	refused(t, err, factory.ErrInvalid, "could be several triggers")
	for _, none := range []string{"", "t-x", "\x00"} {
		_, err = s.Trigger(ctx, none)
		refused(t, err, factory.ErrNotFound, "factory triggers list")
	}
}
