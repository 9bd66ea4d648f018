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
		r.Started, r.Env = night.Add(time.Duration(i)*time.Hour), factory.Prod
		r.Jobs = []factory.RunJob{job, {Image: "other", Action: factory.Rebuild}}
		must(t, s.BeginRun(ctx, r))
	}
	elsewhere := run("run-5")
	elsewhere.Env, elsewhere.Jobs = factory.Dev, []factory.RunJob{{Image: "child", Action: factory.Rebuild, Error: "test: no python", Basis: basis}}
	must(t, s.BeginRun(ctx, elsewhere))
	if got, err := s.Tries(ctx, []string{"child"}, factory.Dev, 0); err != nil || len(got["child"]) != 1 || got["child"][0].ID != "run-5" {
		t.Errorf("%+v, %v", got, err)
	}
	all, err := s.Tries(ctx, []string{"child", "other", "nobody"}, factory.Prod, 0)
	must(t, err)
	got := all["child"]
	if len(all) != 2 || len(all["other"]) != 4 || len(got) != 2 || got[0].ID != "run-4" || got[1].ID != "run-1" || len(got[1].Jobs) != 1 || got[1].Command != "nightly" || !got[1].Started.Equal(night) {
		t.Fatalf("%+v", all)
	}
	if j := got[1].Jobs[0]; j.Image != "child" || j.Basis != basis || j.Error != "test: no python" {
		t.Errorf("%+v", j)
	}
	if all, err = s.Tries(ctx, []string{"child", "other"}, factory.Prod, 1); err != nil || len(all["child"]) != 1 || all["child"][0].ID != "run-4" || len(all["other"]) != 1 || all["other"][0].ID != "run-4" {
		t.Errorf("%+v, %v", all, err)
	}
	for _, nobody := range [][]string{{"nobody\x00"}, nil} {
		if all, err = s.Tries(ctx, nobody, factory.Prod, 0); err != nil || len(all) != 0 {
			t.Errorf("%+v, %v", all, err)
		}
	}
}

// newest: of each of many images what Releases says first, in its repository and environment.
func newest(t *testing.T, s *store.Store) {
	ctx := t.Context()
	home := map[string]string{}
	for image, days := range map[string][]int{"debian-12": {2, 0, 1}, "debian-13": {1}, "elsewhere": {1}, "unreleased": nil} {
		home[image] = Release(image, 0).Repository
		for _, n := range days {
			r := Release(image, n)
			if image == "elsewhere" {
				r.Repository = "mirror.invalid/elsewhere"
			}
			add(t, s, r)
		}
	}
	again := Release("debian-13", 1) // at the same time: the id decides
	again.ID, again.Tag.Hash = "zz", "ffffffff"
	add(t, s, again)
	first := Release("debian-12", 0)
	tag := first.Tag
	tag.Env = factory.Staging
	must(t, s.Promote(ctx, factory.Entry{ID: "e-1", Release: first.ID, Image: first.Image, Repository: first.Repository, Digest: first.Digest, Env: tag.Env, Tag: tag, At: first.Created.Add(time.Hour)}))
	anywhere := map[string]string{}
	for image := range home {
		anywhere[image] = ""
	}
	for _, c := range []struct {
		where map[string]string
		env   factory.Env
		want  int
	}{{home, factory.Prod, 2}, {home, factory.Staging, 1}, {home, "", 2}, {home, "qa", 0}, {anywhere, "", 3}, {anywhere, factory.Prod, 3}, {map[string]string{"debian-12": home["debian-12"]}, "", 1},
		{map[string]string{"debian-12": home["debian-13"]}, "", 0}, {map[string]string{"x\x00'": ""}, "", 0}, {nil, "", 0}} {
		got, err := s.Newest(ctx, c.where, c.env)
		must(t, err)
		if len(got) != c.want {
			t.Errorf("%v %s: %d releases, want %d", c.where, c.env, len(got), c.want)
		}
		for image, repository := range c.where {
			one, err := s.Releases(ctx, store.Query{Image: image, Repository: repository, Env: c.env, Limit: 1})
			must(t, err)
			if r, ok := got[image]; ok != (len(one) == 1) || ok && !reflect.DeepEqual(r, one[0]) {
				t.Errorf("%s in %q, %s:\n%+v\nand alone\n%+v", image, repository, c.env, r, one)
			}
		}
	}
}
