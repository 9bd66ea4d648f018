package storetest

import (
	"reflect"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

// children: what a release is built on, and what it was made because of, is part of it.
func children(t *testing.T, s *store.Store) {
	ctx := t.Context()
	parent, child := Release("debian-12", 1), Child("debian-12-python", 1)
	add(t, s, parent)
	add(t, s, child)
	add(t, s, child)
	for name, read := range map[string]func() (factory.Release, error){
		"whole": func() (factory.Release, error) { return s.Release(ctx, child.ID) },
		"list": func() (factory.Release, error) {
			all, err := s.Releases(ctx, store.Query{Image: child.Image})
			must(t, err)
			return all[0], nil
		},
	} {
		got, err := read()
		must(t, err)
		if !reflect.DeepEqual(got.Parent, child.Parent) || got.Cause != child.Cause {
			t.Errorf("%s: parent %+v, cause %q", name, got.Parent, got.Cause)
		}
	}
	if got, err := s.Release(ctx, parent.ID); err != nil || got.Parent != nil || got.Cause != "" {
		t.Errorf("parent %+v, cause %q, %v", got.Parent, got.Cause, err)
	}
	rebasedRelease(t, s)
	other := child
	other.Cause = "another"
	refused(t, Add(ctx, s, other), factory.ErrConflict, "other content")
	other = child
	other.Parent = nil
	refused(t, Add(ctx, s, other), factory.ErrConflict, "other content")
}

// rebasedRelease: how a release came to be that was not built is part of it.
func rebasedRelease(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r := Child("debian-12-rebased", 2)
	r.Rebased = &factory.Rebase{Before: *r.Parent, From: *r.Parent, Onto: *r.Parent, Checks: []factory.RebaseCheck{{Rule: "layers", OK: true, Text: "they are"}}, Carried: []string{"tests"}}
	add(t, s, r)
	add(t, s, r)
	if got, err := s.Release(ctx, r.ID); err != nil || !reflect.DeepEqual(got.Rebased, r.Rebased) {
		t.Errorf("%+v, %v", got.Rebased, err)
	}
	r.Rebased = nil
	refused(t, Add(ctx, s, r), factory.ErrConflict, "other content")
}

// Child returns a release that is built on the first one of debian-12, and that a trigger led to.
func Child(image string, n int) factory.Release {
	r, parent := Release(image, n), Release("debian-12", 1)
	r.Parent = &factory.Base{Image: parent.Image, Release: parent.ID, Repository: parent.Repository, Digest: parent.Digest, Tag: parent.Tag}
	r.Cause = "t-01"
	return r
}

// tries: what was tried of an image, from what, and how that ended; nothing else of those runs.
func tries(t *testing.T, s *store.Store) {
	ctx := t.Context()
	basis := factory.DigestOf([]byte("inputs"))
	for i, job := range []factory.RunJob{
		{Image: "child", Action: factory.Rebuild, Reason: "first release", Error: "test: no python", Basis: basis},
		{Image: "child", Action: factory.Hold, Reason: "debian-12, which it is built on, failed"},
		{Image: "child", Action: factory.Keep},
		{Image: "child", Action: factory.Rebuild, Reason: "asked for", Release: "r1", Basis: basis},
	} {
		r := run([]string{"run-1", "run-2", "run-3", "run-4"}[i])
		r.Started = night.Add(time.Duration(i) * time.Hour)
		r.Jobs = []factory.RunJob{job, {Image: "other", Action: factory.Rebuild}}
		must(t, s.BeginRun(ctx, r))
	}
	got, err := s.Tries(ctx, "child", 0)
	must(t, err)
	if len(got) != 2 || got[0].ID != "run-4" || got[1].ID != "run-1" || len(got[1].Jobs) != 1 {
		t.Fatalf("%+v", got)
	}
	if j := got[1].Jobs[0]; j.Image != "child" || j.Basis != basis || j.Error != "test: no python" {
		t.Errorf("%+v", j)
	}
	if got, err = s.Tries(ctx, "child", 1); err != nil || len(got) != 1 || got[0].ID != "run-4" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = s.Tries(ctx, "nobody", 0); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
