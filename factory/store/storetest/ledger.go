package storetest

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

// entry is the promotion of a release, an hour after it was made.
func entry(r factory.Release, to factory.Env) factory.Entry {
	tag := r.Tag
	tag.Env = to
	return factory.Entry{ID: "e-" + r.ID + "-" + string(to), Release: r.ID, Image: r.Image, Repository: r.Repository, Digest: r.Digest, Env: to, Tag: tag,
		At: r.Created.Add(time.Hour), By: "ada@host", Reason: "canary is green", Decision: factory.Decision{Pass: true, Env: to, Digest: r.Digest}}
}

// revocation is the end of a digest.
func revocation(r factory.Release) factory.Entry {
	return factory.Entry{ID: "x-" + r.ID, Release: r.ID, Image: r.Image, Repository: r.Repository, Digest: r.Digest, At: r.Created.Add(2 * time.Hour), By: "ada@host",
		Reason: "backdoor", Revoked: true}
}

func devRelease(image string, n int) factory.Release {
	r := Release(image, n)
	r.Tag.Env = factory.Dev
	return r
}

func ids(t *testing.T, entries []factory.Entry, err error) string {
	t.Helper()
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.ID)
	}
	return strings.Join(all, " ")
}

func ledger(t *testing.T, s *store.Store) {
	ctx := t.Context()
	a, b := devRelease("debian-12", 1), devRelease("debian-13", 1)
	add(t, s, a)
	add(t, s, a)
	add(t, s, b)
	up := entry(a, factory.Prod)
	must(t, s.Promote(ctx, up))
	must(t, s.Promote(ctx, up))
	again := up
	again.ID, again.By = "e-again", "bob@host"
	must(t, s.Promote(ctx, again)) // the first one stands
	end := revocation(a)
	if r, err := s.Revoked(ctx, a.Repository, a.Digest); err != nil || r != nil {
		t.Errorf("revoked already: %+v, %v", r, err)
	}
	must(t, s.Revoke(ctx, end))
	later := end
	later.ID, later.Reason = "x-later", "still"
	must(t, s.Revoke(ctx, later))

	got, err := s.Ledger(ctx, store.LedgerQuery{Image: "debian-12"})
	must(t, err)
	first := factory.Entry{ID: a.ID, Release: a.ID, Image: a.Image, Repository: a.Repository, Digest: a.Digest, Env: factory.Dev, Tag: a.Tag, At: a.Created, By: a.Run, Run: a.Run,
		Reason: a.Reason, Decision: a.Decision}
	if want := []factory.Entry{end, up, first}; !reflect.DeepEqual(got, want) {
		t.Errorf("ledger\n%+v\nwant\n%+v", got, want)
	}
	for q, want := range map[store.LedgerQuery]string{
		{}:                       end.ID + " " + up.ID + " " + b.ID + " " + a.ID,
		{Limit: 2}:               end.ID + " " + up.ID,
		{Digest: b.Digest}:       b.ID,
		{Env: factory.Prod}:      end.ID + " " + up.ID,
		{Env: factory.Dev}:       end.ID + " " + b.ID + " " + a.ID,
		{Env: factory.Staging}:   "",
		{Image: "x' OR 1=1\x00"}: "",
		{Image: "debian-13", Env: factory.Dev, Digest: b.Digest, Limit: 9}: b.ID,
	} {
		got, err := s.Ledger(ctx, q)
		if got := ids(t, got, err); got != want {
			t.Errorf("%+v: %s, want %s", q, got, want)
		}
	}
	if r, err := s.Revoked(ctx, a.Repository, a.Digest); err != nil || !reflect.DeepEqual(*r, end) {
		t.Errorf("revoked: %+v, %v", r, err)
	}
	for _, other := range [][2]string{{a.Repository, string(b.Digest)}, {b.Repository, string(a.Digest)}, {"\x00", ""}} {
		if r, err := s.Revoked(ctx, other[0], factory.Digest(other[1])); err != nil || r != nil {
			t.Errorf("%v is revoked: %+v, %v", other, r, err)
		}
	}
}

func ledgerRefuses(t *testing.T, s *store.Store) {
	ctx := t.Context()
	a, b := devRelease("debian-12", 1), devRelease("debian-12", 2)
	add(t, s, a)
	add(t, s, b)
	must(t, s.Promote(ctx, entry(a, factory.Staging)))
	for name, c := range map[string]struct {
		kind  error
		edit  func(*factory.Entry)
		words string
	}{
		"moved":         {factory.ErrConflict, func(e *factory.Entry) { e.Tag = entry(a, factory.Staging).Tag }, "a tag never moves"},
		"a release's":   {factory.ErrConflict, func(e *factory.Entry) { e.Tag, e.Env = a.Tag, factory.Dev }, "a tag never moves"},
		"id":            {factory.ErrConflict, func(e *factory.Entry) { e.ID = "e-" + a.ID + "-staging" }, "other content"},
		"other digest":  {factory.ErrConflict, func(e *factory.Entry) { e.Digest = a.Digest }, string(b.Digest)},
		"other place":   {factory.ErrConflict, func(e *factory.Entry) { e.Repository = "elsewhere.invalid/x" }, "elsewhere.invalid/x"},
		"no release":    {factory.ErrNotFound, func(e *factory.Entry) { e.Release = "r-none" }, "r-none"},
		"other env":     {factory.ErrInvalid, func(e *factory.Entry) { e.Env = factory.Prod }, "no tag for a promotion"},
		"revoked":       {factory.ErrInvalid, func(e *factory.Entry) { e.Revoked = true }, "no tag for a promotion"},
		"no id":         {factory.ErrInvalid, func(e *factory.Entry) { e.ID = "" }, "no proper id"},
		"no image":      {factory.ErrInvalid, func(e *factory.Entry) { e.Image = " " }, "no proper image"},
		"no repository": {factory.ErrInvalid, func(e *factory.Entry) { e.Repository = "" }, "no proper repository"},
		"no digest":     {factory.ErrInvalid, func(e *factory.Entry) { e.Digest = "" }, "no proper digest"},
		"no time":       {factory.ErrInvalid, func(e *factory.Entry) { e.At = time.Time{} }, "no proper time"},
		"no tag":        {factory.ErrInvalid, func(e *factory.Entry) { e.Tag = factory.Tag{} }, "no proper tag"},
	} {
		e := entry(b, factory.Staging)
		c.edit(&e)
		err := s.Promote(ctx, e)
		if refused(t, err, c.kind); !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused(t, s.Revoke(ctx, factory.Entry{ID: "x"}), factory.ErrInvalid, "no proper")
	unknown := revocation(a)
	unknown.Digest = factory.DigestOf(nil)
	refused(t, s.Revoke(ctx, unknown), factory.ErrNotFound, "never released")
	taken := revocation(a)
	taken.ID = b.ID
	refused(t, s.Revoke(ctx, taken), factory.ErrConflict, "other content")

	must(t, s.Revoke(ctx, revocation(b)))
	refused(t, s.Promote(ctx, entry(b, factory.Staging)), factory.ErrBlocked, "backdoor", "later release")
	all, err := s.Ledger(ctx, store.LedgerQuery{})
	if got := ids(t, all, err); got != "x-"+b.ID+" e-"+a.ID+"-staging "+b.ID+" "+a.ID {
		t.Errorf("the ledger is %s", got)
	}

	// A release does not take a tag that another was promoted to.
	c := devRelease("debian-12", 3)
	c.Tag = entry(a, factory.Staging).Tag
	refused(t, Add(ctx, s, c), factory.ErrConflict, "a tag never moves", string(a.Digest))
	if _, err := s.Documents(ctx, c.ID); err == nil {
		t.Error("half a release was recorded")
	}
	c.Digest = a.Digest // but it is what is there: the one that was promoted stands
	if stands, err := s.AddRelease(ctx, c); err != nil || stands.ID != a.ID {
		t.Errorf("%s stands, %v", stands.ID, err)
	}
}

func ledgerStanding(t *testing.T, s *store.Store) {
	ctx := t.Context()
	a, b, other := devRelease("debian-12", 1), devRelease("debian-12", 2), devRelease("debian-13", 1)
	standing := func(want ...string) {
		t.Helper()
		got, err := s.Standing(ctx)
		if got := ids(t, got, err); got != strings.Join(want, " ") {
			t.Errorf("standing %s, want %s", got, want)
		}
	}
	env := func(e factory.Env, want ...string) {
		t.Helper()
		got, err := s.Releases(ctx, store.Query{Env: e})
		must(t, err)
		var all []string
		for _, r := range got {
			all = append(all, r.ID)
		}
		if !reflect.DeepEqual(all, want) {
			t.Errorf("in %s are %v, want %v", e, all, want)
		}
	}
	standing()
	for _, r := range []factory.Release{other, b, a} { // a is recorded last, by a clock that ran back
		add(t, s, r)
	}
	standing(a.ID, other.ID)
	must(t, s.Promote(ctx, entry(a, factory.Prod)))
	must(t, s.Promote(ctx, entry(a, factory.Staging)))
	must(t, s.Promote(ctx, entry(b, factory.Prod)))
	standing(a.ID, "e-"+a.ID+"-staging", "e-"+b.ID+"-prod", other.ID)
	env(factory.Prod, b.ID, a.ID)
	env(factory.Staging, a.ID)
	must(t, s.Revoke(ctx, revocation(b)))
	standing(a.ID, "e-"+a.ID+"-staging", "e-"+a.ID+"-prod", other.ID) // the one before it
	must(t, s.Revoke(ctx, revocation(a)))
	standing(other.ID)
	env(factory.Prod, b.ID, a.ID) // came into it

	refreshed := a
	refreshed.ID, refreshed.Created, refreshed.Tag.Date = "r-refreshed", a.Created.AddDate(0, 0, 7), factory.DateOf(a.Created.AddDate(0, 0, 7))
	add(t, s, refreshed) // of a digest that is revoked
	standing(other.ID)
	mirrored := a
	mirrored.ID, mirrored.Repository = "m1", "mirror.invalid/debian-12"
	add(t, s, mirrored) // is not revoked there
	standing("m1", other.ID)
}

func ledgerReferences(t *testing.T, s *store.Store) {
	ctx := t.Context()
	a, b := devRelease("debian-12", 1), devRelease("debian-12", 2)
	add(t, s, a)
	add(t, s, b)
	up := entry(a, factory.Prod)
	must(t, s.Promote(ctx, up))
	refreshed := a // the same digest a week later, and its tag there
	refreshed.ID, refreshed.Created, refreshed.Tag.Date = "r-refreshed", a.Created.AddDate(0, 0, 7), factory.DateOf(a.Created.AddDate(0, 0, 7))
	add(t, s, refreshed)
	for ref, want := range map[string]string{
		a.Repository + ":" + up.Tag.String():                          a.ID,
		a.Repository + ":" + up.Tag.String() + "@" + string(a.Digest): a.ID,
		up.Tag.String():    a.ID,
		a.Tag.String():     a.ID,
		refreshed.Tagged(): "r-refreshed",
		a.Ref():            "r-refreshed",
		b.Tagged():         b.ID,
	} {
		if got, err := s.Release(ctx, ref); err != nil || got.ID != want {
			t.Errorf("%s is %q, %v; want %s", ref, got.ID, err, want)
		}
	}
	for _, ref := range []string{b.Repository + ":" + entry(b, factory.Prod).Tag.String(), b.Repository + ":" + up.Tag.String() + "@" + string(b.Digest)} {
		_, err := s.Release(ctx, ref)
		refused(t, err, factory.ErrNotFound)
	}
	must(t, s.Revoke(ctx, revocation(a)))
	if got, err := s.Release(ctx, up.Tag.String()); err != nil || got.ID != a.ID { // to be looked at nevertheless
		t.Errorf("revoked: %q, %v", got.ID, err)
	}
}

// Of those who want one tag for several digests, one gets it.
func ledgerRace(t *testing.T, s *store.Store) {
	ctx := t.Context()
	var all []factory.Release
	for n := range 8 {
		r := devRelease("debian-12", n)
		add(t, s, r)
		all = append(all, r)
	}
	var wg sync.WaitGroup
	for n := range 24 {
		wg.Go(func() {
			e := entry(all[n%8], factory.Prod)
			e.ID, e.Tag = fmt.Sprintf("e-%d", n), entry(all[0], factory.Prod).Tag
			if err := s.Promote(ctx, e); err != nil {
				refused(t, err, factory.ErrConflict)
			}
		})
	}
	wg.Wait()
	if got, err := s.Ledger(ctx, store.LedgerQuery{Env: factory.Prod}); err != nil || len(got) != 1 {
		t.Errorf("%d entries, %v", len(got), err)
	}
}
