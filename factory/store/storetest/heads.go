package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

// heads: the newest release of each image, and what is in force, whatever came after it.
func heads(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if all, err := s.Heads(ctx); err != nil || len(all) != 0 {
		t.Errorf("of nothing: %+v, %v", all, err)
	}
	for n := range 3 {
		add(t, s, Release("debian-12", n+1))
	}
	child := Child("debian-12-python", 4)
	add(t, s, child)
	first := Release("debian-12", 1)
	tag := first.Tag
	tag.Env = factory.Staging
	must(t, s.Promote(ctx, factory.Entry{ID: "e-1", Release: first.ID, Image: first.Image, Repository: first.Repository, Digest: first.Digest, Env: tag.Env, Tag: tag, At: first.Created.Add(time.Hour)}))
	all, err := s.Heads(ctx)
	must(t, err)
	var ids []string
	for _, r := range all {
		ids = append(ids, r.ID)
		if r.Image == child.Image && (r.Parent == nil || *r.Parent != *child.Parent) || r.Tagged() == ":" || r.Digest == "" || r.Created.IsZero() || r.Lock.Schema != 0 {
			t.Errorf("%+v", r)
		}
	}
	want := []string{child.ID, Release("debian-12", 3).ID, first.ID}
	if !slices.Equal(ids, want) {
		t.Errorf("%q, want %q", ids, want)
	}
}
