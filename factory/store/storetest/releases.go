package storetest

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

func release(t *testing.T, s *store.Store) {
	ctx := t.Context()
	want := Release("debian-12", 1)
	given := want
	given.Created = want.Created.In(time.FixedZone("CET", 3600)).Add(789 * time.Nanosecond) // comes back in UTC, to the microsecond
	given.Artifact.Layout = "/somewhere"                                                    // a folder of one machine, not part of the record
	returned, err := s.AddRelease(ctx, given)
	must(t, err)
	if !reflect.DeepEqual(returned, want) {
		t.Errorf("returned:\n%+v\nwant\n%+v", returned, want)
	}
	got, err := s.Release(ctx, want.ID)
	must(t, err)
	for i := range want.Documents {
		want.Documents[i].Data = nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("release:\n%+v\nwant\n%+v", got, want)
	}
	bare := factory.Release{ID: "r0", Image: "x", Repository: "x", Digest: factory.DigestOf(nil), Tag: want.Tag, Created: night}
	add(t, s, bare)
	if got, err := s.Release(ctx, "r0"); err != nil || !reflect.DeepEqual(got, bare) {
		t.Errorf("bare release %+v, %v", got, err)
	}
}

func releaseIsImmutable(t *testing.T, s *store.Store) {
	ctx := t.Context()
	first := Release("debian-12", 1)
	add(t, s, first)
	add(t, s, first)

	changed := first
	changed.Reason = "another"
	refused(t, Add(ctx, s, changed), factory.ErrConflict, first.ID, "other content")
	changed = first
	changed.Inputs = []byte("another tar")
	refused(t, Add(ctx, s, changed), factory.ErrConflict, first.ID)

	moved := Release("debian-12", 2)
	moved.Tag = first.Tag
	refused(t, Add(ctx, s, moved), factory.ErrConflict, first.Tagged(), string(first.Digest), string(moved.Digest))

	// The same digest under the same tag, by another run: one record is enough.
	again := first
	again.ID, again.Run = "r-again", "run-2"
	stands, err := s.AddRelease(ctx, again)
	must(t, err)
	if recorded, err := s.Release(ctx, first.ID); err != nil || !reflect.DeepEqual(stands, recorded) {
		t.Errorf("%+v stands for another run's, %v", stands, err)
	}
	// The same digest another day is a release of its own.
	refreshed := first
	refreshed.ID, refreshed.Created, refreshed.Tag.Date = "r-refreshed", first.Created.AddDate(0, 0, 7), factory.DateOf(first.Created.AddDate(0, 0, 7))
	add(t, s, refreshed)

	all, err := s.Releases(ctx, store.Query{})
	must(t, err)
	if len(all) != 2 || all[0].ID != "r-refreshed" || all[1].ID != first.ID || all[1].Reason != first.Reason {
		t.Errorf("releases %+v", all)
	}
	if got, err := s.Release(ctx, first.Ref()); err != nil || got.ID != "r-refreshed" {
		t.Errorf("%s is %s, %v", first.Ref(), got.ID, err)
	}
}

func releaseNeeds(t *testing.T, s *store.Store) {
	for field, remove := range map[string]func(*factory.Release){
		"id":                          func(r *factory.Release) { r.ID = "" },
		"image":                       func(r *factory.Release) { r.Image = "debian 12" },
		"repository":                  func(r *factory.Release) { r.Repository = "a\x00" },
		"digest":                      func(r *factory.Release) { r.Digest = "" },
		"tag":                         func(r *factory.Release) { r.Tag = factory.Tag{} },
		"time":                        func(r *factory.Release) { r.Created = time.Time{} },
		"no time":                     func(r *factory.Release) { r.Scan.At = time.Time{} },
		"is not what its digest says": func(r *factory.Release) { r.Documents[1].Data = nil },
		"is there twice":              func(r *factory.Release) { r.Documents = append(r.Documents, r.Documents[0]) },
		"no proper kind":              func(r *factory.Release) { r.Documents[0].Kind = "" },
		"read again":                  func(r *factory.Release) { r.Tests[0].Platform = factory.Platform{} },
	} {
		r := Release("debian-12", 1)
		remove(&r)
		refused(t, Add(t.Context(), s, r), factory.ErrInvalid, field)
	}
	if all, err := s.Releases(t.Context(), store.Query{}); err != nil || len(all) > 0 {
		t.Errorf("%d releases, %v", len(all), err)
	}
}

func releaseRace(t *testing.T, s *store.Store) {
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			r := Release("debian-12", 1)
			if n%2 == 1 {
				r.Inputs = []byte("other inputs") // one of the two contents wins
			}
			if err := Add(t.Context(), s, r); err != nil {
				refused(t, err, factory.ErrConflict)
			}
		})
	}
	wg.Wait()
	if all, err := s.Releases(t.Context(), store.Query{}); err != nil || len(all) != 1 {
		t.Errorf("%d releases, %v", len(all), err)
	}
}

func releaseList(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if r, err := s.Latest(ctx, "debian-12"); err != nil || r != nil {
		t.Errorf("latest of none: %v, %v", r, err)
	}
	for _, n := range []int{2, 0, 1} {
		add(t, s, Release("debian-12", n))
		add(t, s, Release("debian-13", n+1))
	}
	list := func(q store.Query) string {
		all, err := s.Releases(ctx, q)
		must(t, err)
		var names []string
		for _, r := range all {
			if whole := r.Signatures != nil && r.Scan.Findings != nil && r.Decision.Pass && len(r.Compliance.Evaluations) == 1; whole != q.Whole || r.Inputs != nil || r.Documents != nil || len(r.Lock.Platforms) != 1 || len(r.Tests) != 1 || len(r.Controls) != 1 {
				t.Errorf("not light, or too light: %+v", r)
			}
			names = append(names, r.Image+"/"+r.Tag.Date.String()[8:])
		}
		return strings.Join(names, " ")
	}
	for q, want := range map[store.Query]string{
		{Image: "debian-12"}:           "debian-12/25 debian-12/24 debian-12/23",
		{Image: "debian-13", Limit: 2}: "debian-13/26 debian-13/25",
		{Image: "debian"}:              "",
		{Limit: 1}:                     "debian-13/26",
		{Limit: 1, Whole: true}:        "debian-13/26",
		{Image: "debian-12", Env: Release("debian-12", 0).Tag.Env, Repository: Release("debian-12", 0).Repository}: "debian-12/25 debian-12/24 debian-12/23",
		{Image: "debian-12", Repository: "elsewhere.example/debian-12"}:                                            "",
		{Image: "debian-12", Env: "qa"}: "",
	} {
		if got := list(q); got != want {
			t.Errorf("%+v: %s, want %s", q, got, want)
		}
	}
	if n := len(strings.Fields(list(store.Query{}))); n != 6 {
		t.Errorf("%d releases in all", n)
	}
	r, err := s.Latest(ctx, "debian-12")
	must(t, err)
	if r == nil || r.ID != Release("debian-12", 2).ID || r.Signatures != nil {
		t.Errorf("latest: %+v", r)
	}
	if r, err := s.Latest(ctx, ""); err != nil || r != nil {
		t.Errorf("latest of no image: %v, %v", r, err)
	}
}

func releaseReferences(t *testing.T, s *store.Store) {
	ctx := t.Context()
	a, b, c := Release("debian-12", 1), Release("debian-12", 2), Release("debian-13", 1)
	c.Tag.Hash = b.Tag.Hash
	c.Tag.Date = b.Tag.Date // b and c share a tag
	b.ID, c.ID = "k100", "k200"
	mirrored := b // the same digest in another registry
	mirrored.ID, mirrored.Repository, mirrored.Created = "m1", "mirror.invalid/debian-12", b.Created.Add(time.Hour)
	for _, r := range []factory.Release{a, b, c, mirrored} {
		add(t, s, r)
	}
	for ref, want := range map[string]string{
		a.ID:                                   a.ID,
		a.ID[:3]:                               a.ID,
		"k1":                                   b.ID,
		a.Ref():                                a.ID,
		b.Ref():                                b.ID,
		mirrored.Ref():                         "m1",
		a.Tagged():                             a.ID,
		a.Tagged() + "@" + string(a.Digest):    a.ID,
		a.Tag.String():                         a.ID,
		"debian-12":                            "m1", // newest
		"debian-13":                            c.ID,
		a.Repository:                           b.ID,
		string(a.Digest):                       a.ID,
		string(a.Digest)[:20]:                  a.ID,
		a.Digest.Hex():                         a.ID,
		a.Digest.Short():                       a.ID,
		"k":                                    "!k100, k200",
		b.Tag.String():                         "!m1, k200, k100",
		string(b.Digest):                       "!m1, k100",
		b.Digest.Short():                       "!m1, k100",
		"":                                     "",
		"@":                                    "",
		"sha256:":                              "",
		a.Repository + "@":                     "",
		a.Repository + "@sha256:" + "00":       "",
		b.Tagged() + "@" + string(a.Digest):    "",
		a.Repository + ":latest":               "",
		"debian-14":                            "",
		"k%":                                   "",
		"K1":                                   "",
		"a\x00":                                "",
		strings.Repeat("x", 5000):              "",
		"20261123-ffffffff-dev":                "",
		"registry.invalid:5000/base/debian-1":  "",
		"' OR 1=1 --":                          "",
		a.Repository + "@sha512:" + "00":       "",
		"nobody.invalid/x@" + string(a.Digest): "",
	} {
		got, err := s.Release(ctx, ref)
		several, ok := strings.CutPrefix(want, "!")
		switch {
		case ok:
			refused(t, err, factory.ErrInvalid, append(strings.Split(several, ", "), "could be several releases", "debian-1")...)
		case want == "":
			refused(t, err, factory.ErrNotFound, "factory releases")
		case err != nil || got.ID != want:
			t.Errorf("%q: release %q, %v; want %q", ref, got.ID, err, want)
		case got.Signatures == nil || got.Inputs == nil || got.Documents == nil:
			t.Errorf("%q: not the whole release", ref)
		}
	}
	for n := range 10 {
		must(t, Add(ctx, s, factory.Release{ID: "z" + strings.Repeat("z", n), Image: "z", Repository: "z", Digest: a.Digest,
			Tag: factory.Tag{Date: factory.DateOf(night.AddDate(0, 0, n)), Hash: "00000000", Env: factory.Dev}, Created: night}))
	}
	_, err := s.Release(ctx, "zz")
	must(t, err) // a whole id is never ambiguous
	for n := range 10 {
		must(t, Add(ctx, s, factory.Release{ID: "y" + string(rune('0'+n)), Image: "z", Repository: "y", Digest: a.Digest,
			Tag: factory.Tag{Date: factory.DateOf(night.AddDate(0, 0, n)), Hash: "00000000", Env: factory.Dev}, Created: night}))
	}
	_, err = s.Release(ctx, "y")
	must(t, err) // a repository
	must(t, s.BeginRun(ctx, run("y")))
	for n := range 10 {
		must(t, s.BeginRun(ctx, run("q"+string(rune('0'+n)))))
	}
	_, err = s.Run(ctx, "q")
	refused(t, err, factory.ErrInvalid, "and 2 more")
}

func releaseHints(t *testing.T, s *store.Store) {
	_, err := s.Release(t.Context(), "debian-12")
	refused(t, err, factory.ErrNotFound, "nothing was released yet", "factory nightly")
	r := Release("debian-12", 1)
	add(t, s, r)
	for ref, hint := range map[string]string{
		"debain-12":                       "did you mean debian-12?",
		"debian12":                        "did you mean debian-12?",
		r.Repository + ":20261124-1-prod": "did you mean " + r.Tagged() + "?",
		"20261124-00000003-prod":          "did you mean " + r.Tag.String() + "?",
	} {
		_, err := s.Release(t.Context(), ref)
		refused(t, err, factory.ErrNotFound, ref, hint)
	}
	_, err = s.Release(t.Context(), "windows")
	if refused(t, err, factory.ErrNotFound); strings.Contains(err.Error(), "did you mean") {
		t.Errorf("a hint out of nowhere: %v", err)
	}
}

func inputs(t *testing.T, s *store.Store) {
	ctx := t.Context()
	tar := make([]byte, 3<<20)
	random := rand.NewChaCha8([32]byte{})
	random.Read(tar) // nothing to compress
	a, b, c := Release("debian-12", 1), Release("debian-12", 2), Release("debian-13", 1)
	a.Inputs, b.Inputs, c.Inputs = tar, tar, nil
	for _, r := range []factory.Release{a, b, c} {
		add(t, s, r)
		got, err := s.Inputs(ctx, r.ID)
		must(t, err)
		if !bytes.Equal(got, r.Inputs) || (got == nil) != (r.Inputs == nil) {
			t.Errorf("%s: %d bytes of inputs, want %d", r.ID, len(got), len(r.Inputs))
		}
	}
	_, err := s.Inputs(ctx, "r-none")
	refused(t, err, factory.ErrNotFound, "r-none")
}
