package storetest

import (
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

// Who was told of what is revoked is told of what is in force again; everybody else has that still.
func triggersOfWhatIsRevoked(t *testing.T, s *store.Store) {
	ctx, now := t.Context(), setClock(s)
	followed(s, factory.Dev, "told", "not")
	deliver := func(r factory.Release, dependents ...string) {
		t.Helper()
		var ids []string
		for _, d := range dependents {
			ids = append(ids, "t-"+r.ID+"-"+d)
		}
		got, err := s.ClaimTriggers(ctx, ids, now.Now().Add(time.Minute))
		must(t, err)
		for _, one := range got {
			now.advance(time.Second)
			ended := now.Now()
			one.State, one.Ended = factory.TriggerDelivered, &ended
			must(t, s.SettleTriggers(ctx, one))
		}
	}
	a, b, c := devRelease("debian-12", 1), devRelease("debian-12", 2), devRelease("debian-12", 3)
	add(t, s, a)
	deliver(a, "told", "not")
	add(t, s, b)
	deliver(b, "told")
	add(t, s, c)
	deliver(c, "told")
	before := states(t, s)
	must(t, s.Revoke(ctx, revocation(b))) // it was not in force any more
	same(t, "revoked before", states(t, s), before)
	s.Follow = func(e factory.Entry) (all []factory.Trigger) {
		for _, d := range []string{"told", "not"} {
			all = append(all, factory.Trigger{ID: "back-" + d, Dependent: d, Reason: e.Reason})
		}
		return all
	}
	gone := revocation(c)
	must(t, s.Revoke(ctx, gone))
	must(t, s.Revoke(ctx, gone))
	all, err := s.Triggers(ctx, store.TriggerQuery{State: factory.TriggerWaiting})
	if err != nil || len(all) != 1 || all[0].ID != "back-told" || all[0].Ref != a.Ref() || all[0].Release != a.ID || all[0].Reason != c.Tag.String()+" was revoked: backdoor" || !all[0].Created.Equal(gone.At) {
		t.Errorf("%+v, %v", all, err)
	}
}

// Who was told of a digest, and then of another, is told when the first one comes back: as something new.
func triggersOfWhatComesBack(t *testing.T, s *store.Store) {
	ctx, now := t.Context(), setClock(s)
	followed(s, factory.Dev, "a")
	a := devRelease("debian-12", 1)
	keys := map[string]bool{}
	comes := func(n int, digest factory.Release, told bool) {
		t.Helper()
		r := devRelease("debian-12", n)
		r.Digest, r.Artifact.Digest, r.Documents = digest.Digest, digest.Digest, digest.Documents
		add(t, s, r)
		id := "t-" + r.ID + "-a"
		got, err := s.ClaimTriggers(ctx, []string{id}, now.Now().Add(time.Minute))
		must(t, err)
		if told != (len(got) == 1) {
			t.Errorf("release %d: %+v, %s", n, got, states(t, s))
		}
		for _, one := range got {
			now.advance(time.Second)
			ended := now.Now()
			one.State, one.Ended = factory.TriggerDelivered, &ended
			must(t, s.SettleTriggers(ctx, one))
			if one.Ref != r.Ref() || keys[one.Key] {
				t.Errorf("release %d: %+v", n, one)
			}
			keys[one.Key] = true
		}
	}
	b := devRelease("debian-12", 2)
	comes(1, a, true)
	comes(2, b, true)
	comes(3, a, true)
	comes(4, a, false) // under another tag, and nothing in between
	comes(5, b, true)
	comes(6, a, true)
}
