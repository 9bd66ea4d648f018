package storetest

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

// seen is an image of the nth day.
func seen(repository, tag, content string, n int) factory.Observed {
	return factory.Observed{Repository: repository, Tag: tag, Digest: factory.DigestOf([]byte(content)), Created: day(n), Image: "debian-12", Release: "r1", Base: factory.DigestOf([]byte("base")),
		By: factory.ByAnnotation, Layers: 6, Of: 9, Dependent: "payments", At: night.AddDate(0, 0, n)}
}

func sighting(repository string, n int, images ...factory.Observed) store.Sighting {
	return store.Sighting{Look: factory.Look{Repository: repository, At: night.AddDate(0, 0, n), Tags: 7, Read: 5, Found: len(images)}, Images: images}
}

// observed: what is seen is kept as it was seen last; what vanished is marked, and comes back.
func observed(t *testing.T, s *store.Store) {
	ctx := t.Context()
	const app, web = "registry.invalid/team/app", "registry.invalid/team/web"
	bare := factory.Observed{Repository: web, Tag: "1", Digest: factory.DigestOf(nil), Image: "debian-13", By: factory.ByLayers, At: night}
	observe := func(want int, all ...store.Sighting) {
		t.Helper()
		if gone, err := s.Observe(ctx, all); err != nil || gone != want {
			t.Fatalf("%d are gone, %v; want %d", gone, err, want)
		}
	}
	have := func(q store.ObservedQuery, want ...factory.Observed) {
		t.Helper()
		got, err := s.Observed(ctx, q)
		must(t, err)
		if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%+v:\n got %+v\nwant %+v", q, got, want)
		}
	}
	have(store.ObservedQuery{Gone: true})
	observe(0, sighting(app, 0, seen(app, "1", "a", 0), seen(app, "2", "b", 0), seen(app, "3", "c", 0)), sighting(web, 0, bare))
	have(store.ObservedQuery{}, seen(app, "1", "a", 0), seen(app, "2", "b", 0), seen(app, "3", "c", 0), bare)
	have(store.ObservedQuery{Image: "debian-13"}, bare)

	// Tag 1 has moved, 2 was not read, 3 is not there any more.
	next := sighting(app, 1, seen(app, "1", "d", 1))
	next.Spared = []string{"2"}
	observe(2, next)
	gone := func(o factory.Observed, n int) factory.Observed {
		at := night.AddDate(0, 0, n)
		o.Gone = &at
		return o
	}
	have(store.ObservedQuery{Image: "debian-12"}, seen(app, "1", "d", 1), seen(app, "2", "b", 0))
	have(store.ObservedQuery{Image: "debian-12", Gone: true}, gone(seen(app, "1", "a", 0), 1), seen(app, "1", "d", 1), seen(app, "2", "b", 0), gone(seen(app, "3", "c", 0), 1))

	// Nobody knows what is there: nothing is gone by that. And 3 is back.
	blind := sighting(app, 2, seen(app, "3", "c", 2))
	blind.Blind, blind.Problem = true, "registry: \x00 no answer"
	observe(0, blind)
	have(store.ObservedQuery{Image: "debian-12"}, seen(app, "1", "d", 1), seen(app, "2", "b", 0), seen(app, "3", "c", 2))
	observe(1, sighting(web, 3))
	have(store.ObservedQuery{Image: "debian-13"})

	looks, err := s.Looks(ctx)
	must(t, err)
	want := []factory.Look{{Repository: app, At: night.AddDate(0, 0, 2), Tags: 7, Read: 5, Found: 1, Problem: "registry: \uFFFD no answer"}, {Repository: web, At: night.AddDate(0, 0, 3), Tags: 7, Read: 5}}
	if !reflect.DeepEqual(looks, want) {
		t.Errorf("%+v", looks)
	}

	// All or nothing.
	_, err = s.Observe(ctx, []store.Sighting{sighting(web, 4, bare), sighting(web, 4, seen(app, "1", "a", 4))})
	refused(t, err, factory.ErrInvalid)
	_, err = s.Observe(ctx, []store.Sighting{{Look: factory.Look{Repository: "a b", At: night}}})
	refused(t, err, factory.ErrInvalid)
	have(store.ObservedQuery{Image: "debian-13"})
}

// observedMany: more than fits into one statement.
func observedMany(t *testing.T, s *store.Store) {
	const app = "registry.invalid/team/app"
	var all []factory.Observed
	for i := range 1201 {
		all = append(all, seen(app, fmt.Sprint("t", i), "a", 0))
	}
	_, err := s.Observe(t.Context(), []store.Sighting{sighting(app, 0, all...)})
	must(t, err)
	got, err := s.Observed(t.Context(), store.ObservedQuery{})
	must(t, err)
	if len(got) != 1201 {
		t.Errorf("%d of 1201", len(got))
	}
}

// bases: every release, newest first, with its layers.
func bases(t *testing.T, s *store.Store) {
	for n := range 3 {
		add(t, s, Release("debian-12", n))
	}
	got, err := s.Bases(t.Context())
	must(t, err)
	if len(got) != 3 {
		t.Fatal(len(got))
	}
	for i, r := range got {
		want := Release("debian-12", 2-i)
		if r.ID != want.ID || !r.Created.Equal(want.Created.Truncate(time.Microsecond)) || !reflect.DeepEqual(r.Artifact, want.Artifact) || r.Ref() != want.Ref() || r.Tag != want.Tag || len(r.Lock.Platforms) > 0 {
			t.Errorf("%+v", r)
		}
	}
}
