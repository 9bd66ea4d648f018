package main

import (
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/tests/e2e/fixture"
)

// offspring are children of debian-12: one that adds nothing to lock, its child, and a part.
func (d *desk) offspring(t *testing.T) {
	t.Helper()
	d.child(t, "debian-12-app", "debian-12", "config: {cmd: [app]}\n")
	d.child(t, "debian-12-app-a", "debian-12-app", "config: {env: {A: a}}\n")
	d.child(t, "debian-12-bit", "debian-12", "only: [tzdata]\n")
}

func (d *desk) set(t *testing.T) definition.Set {
	t.Helper()
	set, err := definition.Load(d.dir)
	must(t, err)
	return set
}

func TestLevels(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.offspring(t)
	var got [][]string
	for _, wave := range levels(d.set(t), []string{"debian-12-app-a", "debian-13", "nobody"}) {
		var names []string
		for _, img := range wave {
			names = append(names, img.Name)
		}
		got = append(got, names)
	}
	if len(got) != 3 || !slices.Equal(got[0], []string{"debian-12", "debian-13"}) || !slices.Equal(got[1], []string{"debian-12-app"}) || !slices.Equal(got[2], []string{"debian-12-app-a"}) {
		t.Error(got)
	}
	if sorted := parentsFirst(d.set(t), []string{"nobody", "debian-12-app-a", "debian-12-app", "toolbox"}); !slices.Equal(sorted, []string{"toolbox", "debian-12-app", "debian-12-app-a", "nobody"}) {
		t.Error(sorted)
	}
}

// A child that asks the archive for nothing more gets its lock from its parent's, with what is known of the change.
func TestLockFromTheParents(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.offspring(t)
	c := d.command(t, nil)
	l := &locking{app: c.app, set: d.set(t), Write: true, results: map[string]lockResult{}}
	parent := newer(t, d, "debian-12")
	change := factory.LockChange{Image: "debian-12", Packages: []factory.PackageChange{{Name: "bash", Old: "1.0-1", New: "2.0-1", CVEs: []string{"CVE-2026-1"}}},
		Advisories: []factory.Advisory{{Source: "bash", Vulnerability: "CVE-2026-1"}, {Source: "zlib", Vulnerability: "CVE-2026-2"}}}
	l.put("debian-12", lockResult{Lock: parent, Change: change})
	locked := func(name string) lockResult {
		_, res, settled := l.told(t.Context(), d.image(t, name), toolboxState{digest: fixture.Toolbox})
		if !settled {
			t.Errorf("%s: a solver would be asked", name)
		}
		return res
	}
	app := locked("debian-12-app")
	must(t, app.Err)
	if pin, _ := parent.Pin(); *app.Lock.Parent != pin || !slices.Equal(app.Change.CVEs(), []string{"CVE-2026-1"}) || len(app.Change.Advisories) != 1 || app.Change.Other[0] != "parent debian-12" {
		t.Errorf("%+v", app)
	}
	if lock, _, err := definition.ReadLock(d.dir, "debian-12-app"); err != nil || !lock.SamePackages(parent) {
		t.Errorf("%+v %v", lock, err)
	}
	bit := locked("debian-12-bit")
	if must(t, bit.Err); len(bit.Lock.Platforms[0].Packages) != 1 || len(bit.Change.Packages) != 0 {
		t.Errorf("%+v", bit)
	}
	edit(t, d.dir, "baseimages/debian-12-bit/image.yaml", "only: [tzdata]", "only: [tzdata, perl]")
	if bit = locked("debian-12-bit"); !errors.Is(bit.Err, factory.ErrInvalid) || !strings.Contains(bit.Err.Error(), "only: debian-12 has no package perl") {
		t.Error(bit.Err)
	}
	l.put("debian-12-app", lockResult{Err: &factory.Problem{Kind: factory.ErrUnavailable, What: "archive debian: down"}})
	if last := locked("debian-12-app-a"); !errors.Is(last.Err, factory.ErrUnavailable) || !strings.Contains(last.Err.Error(), "debian-12-app, which it is built on, could not be locked (mend that first: factory lock debian-12-app)") {
		t.Error(last.Err)
	}
	if r := l.result("nobody"); r.Err == nil {
		t.Error("a lock of nobody")
	}
}

// A lock, the parent's lock and the parent's release belong together, or nothing is built.
func TestResolveChild(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, d *desk, job *factory.Job)
		want   string
	}{
		"well": {func(*testing.T, *desk, *factory.Job) {}, ""},
		"no release of the parent": {func(_ *testing.T, _ *desk, job *factory.Job) { job.Parent = nil },
			"debian-12 has no release that debian-12-app could be built on (factory build debian-12 debian-12-app)"},
		"a release that nobody knows": {func(_ *testing.T, _ *desk, job *factory.Job) { job.Parent.Release = "nothing" }, `parent of debian-12-app: no release "nothing"`},
		"the parent was locked again": {func(t *testing.T, d *desk, _ *factory.Job) { must(t, writeLock(d.dir, newer(t, d, "debian-12"))) },
			"the lock of debian-12-app was made for another lock of debian-12 (make it: factory lock debian-12-app)"},
		"both were locked again": {func(t *testing.T, d *desk, _ *factory.Job) {
			must(t, fixture.Lock(d.dir, map[string]string{"bash": "2.0-1"}))
		},
			"was released from another lock than debian-12-app was locked with (factory build debian-12 debian-12-app)"},
		"the parent has no lock": {func(t *testing.T, d *desk, _ *factory.Job) { must(t, os.Remove(lockPath(d.dir, "debian-12"))) }, "debian-12 has no lock"},
		"the parent's lock is damaged": {func(t *testing.T, d *desk, _ *factory.Job) {
			must(t, os.WriteFile(lockPath(d.dir, "debian-12"), []byte("{"), 0o644))
		}, "corrupt lock"},
		"a lock without a parent": {func(t *testing.T, d *desk, _ *factory.Job) {
			lock, _, err := definition.ReadLock(d.dir, "debian-12-app")
			must(t, err)
			lock.Parent = nil
			must(t, writeLock(d.dir, lock))
		}, "the lock of debian-12-app was made for another parent than debian-12"},
		"no child any more": {func(_ *testing.T, _ *desk, job *factory.Job) { job.Image.From = "" }, "the lock of debian-12-app was made for a child of debian-12"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			d.child(t, "debian-12-app", "debian-12", "config: {cmd: [app]}\n")
			parent := d.release(t, "debian-12", time.Hour)
			a := d.command(t, nil)
			job := factory.Job{Image: d.image(t, "debian-12-app"), Parent: baseOf(parent)}
			c.change(t, d, &job)
			locked, err := resolver{a.app}.Resolve(t.Context(), job)
			if c.want == "" {
				if must(t, err); locked.Job.Parent.Digest != parent.Digest {
					t.Errorf("%+v", locked.Job)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// What tonight would do with a family, after this and that.
func TestPlanChildren(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.offspring(t)
	plan := func(want int, lines ...string) {
		t.Helper()
		if code := d.run(t, "plan"); code != want {
			t.Fatalf("exit %d\n%s", code, &d.stderr)
		}
		for _, line := range lines {
			image, rest, _ := strings.Cut(line, " ")
			i := strings.Index(d.stdout.String(), "\n"+image+" ")
			if got, _, _ := strings.Cut(d.stdout.String()[i+1:], "\n"); i < 0 || !strings.Contains(got, "  "+rest) && !strings.Contains(strings.Join(strings.Fields(got), " "), rest) {
				t.Errorf("%q, want %q", got, line)
			}
		}
	}
	plan(0, "debian-12 rebuild", "debian-12-app rebuild", "debian-12-app-a rebuild", "debian-12-bit rebuild")
	if code := d.run(t, "build", "--dry-run", "debian-12-app"); code != exitInvalid || !strings.Contains(d.stdout.String(), "debian-12 has no release that debian-12-app could be built on (factory build debian-12 debian-12-app)") {
		t.Errorf("exit %d\n%s%s", code, &d.stdout, &d.stderr)
	}
	first := d.release(t, "debian-12", 3*day)
	app := d.release(t, "debian-12-app", 3*day)
	if app.Parent == nil || app.Parent.Digest != first.Digest {
		t.Fatalf("%+v", app.Parent)
	}
	d.release(t, "debian-12-app-a", 3*day)
	d.release(t, "debian-12-bit", 3*day)
	plan(0, "debian-12 keep", "debian-12-app keep", "debian-12-app-a keep", "debian-12-bit keep")
	// Somebody built the parent twice by hand since: there is one child to make, on the last one.
	d.release(t, "debian-12", 2*day)
	second := d.release(t, "debian-12", day)
	plan(0, "debian-12 keep", "debian-12-app debian-12, which it is built on, is "+second.Tag.String()+" now", "debian-12-app-a after debian-12-app, which it is built on; kept when that comes out as it is",
		"debian-12-bit rebuild")
	d.relock(t, map[string]string{"bash": "2.0-1"})
	plan(0, "debian-12 bash 1.0-1 -> 2.0-1", "debian-12-app bash 1.0-1 -> 2.0-1, parent debian-12 changed; after debian-12", "debian-12-bit parent debian-12 changed; after debian-12")
	must(t, os.Remove(lockPath(d.dir, "debian-12")))
	if code := d.run(t, "build", "--dry-run", "debian-12", "debian-12-app"); code != exitInvalid || !strings.Contains(d.stdout.String(), "debian-12, which it is built on, cannot be made: debian-12 has no lock") {
		t.Errorf("exit %d\n%s", code, &d.stdout)
	}
}

// What is decided again when the parent was made: by the release that there is then.
func TestDecideAgain(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.child(t, "debian-12-app", "debian-12", "config: {cmd: [app]}\n")
	d.release(t, "debian-12", 8*day) // due
	app := d.release(t, "debian-12-app", day)
	c := d.command(t, nil)
	must(t, c.keyPair())
	p, err := c.plan(t.Context(), d.set(t), nil, nightOptions{Command: "nightly"})
	must(t, err)
	job := p.jobs[1]
	if job.Image.Name != "debian-12-app" || job.Action != factory.Rebuild || job.Wave != 1 || job.Parent != nil {
		t.Fatalf("%+v", job)
	}
	if same := c.again(p)(t.Context(), job); same.Action == factory.Rebuild || same.Action == factory.Fail {
		t.Errorf("the parent came out as it was: %+v", same)
	}
	second := d.release(t, "debian-12", 0)
	if again := c.again(p)(t.Context(), job); again.Action != factory.Rebuild || again.Parent.Digest != second.Digest || again.Supersedes != app.ID {
		t.Errorf("%+v", again)
	}
	p.why = "emergency CVE-2026-1"
	if again := c.again(p)(t.Context(), job); again.Reason != p.why {
		t.Errorf("%+v", again)
	}
	c.cfg.Env = factory.Prod // where there is none
	if again := c.again(p)(t.Context(), job); again.Action != factory.Fail || !errors.Is(again.Err, factory.ErrNotFound) {
		t.Errorf("%+v", again)
	}
}

// A child that failed waits its time, is told so in the table, and the night is partial.
func TestBackOffIsToldAndKept(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.child(t, "debian-12-app", "debian-12", "config: {cmd: [app]}\n")
	d.release(t, "debian-12", day)
	d.release(t, "debian-13", day)
	c := d.command(t, nil)
	must(t, c.keyPair())
	db, err := c.store(t.Context())
	must(t, err)
	p, err := c.plan(t.Context(), d.set(t), nil, nightOptions{Command: "nightly"})
	must(t, err)
	tried := factory.RunJob{Image: "debian-12-app", Action: factory.Rebuild, Error: "test debian-12-app: no app", Basis: p.jobs[1].Basis()}
	must(t, db.BeginRun(context.Background(), factory.Run{ID: "r1", Command: "nightly", Env: factory.Dev, Started: d.Now().Add(-2 * time.Hour), State: factory.Partial, Jobs: []factory.RunJob{tried}}))
	next := factory.DateOf(d.Now().AddDate(0, 0, 1)).String()
	why := "its last try failed, and nothing changed since: the next one is on " + next + "; at once: factory build debian-12-app"
	if factory.DateOf(d.Now().Add(-2*time.Hour)) != factory.DateOf(d.Now()) {
		t.Fatal("the test's clock is set to midnight")
	}
	if code := d.run(t, "nightly"); code != exitPartial || !strings.Contains(d.stdout.String(), "held back") || !strings.Contains(d.stdout.String(), why) ||
		!strings.Contains(d.stderr.String(), "\n2 kept (debian-12, debian-13), 1 held back (debian-12-app) in ") || !strings.Contains(d.stderr.String(), "factory: debian-12-app is held back: "+why) {
		t.Errorf("exit %d\n%s%s", code, &d.stdout, &d.stderr)
	}
	if code := d.run(t, "build", "--dry-run", "debian-12-app"); code != exitOK || !strings.Contains(d.stdout.String(), "rebuild") {
		t.Errorf("exit %d\n%s", code, &d.stdout)
	}
	d.Move(day)
	if code := d.run(t, "plan"); code != exitOK || !strings.Contains(d.stdout.String(), "first release; the last try failed: test debian-12-app: no app") {
		t.Errorf("exit %d\n%s", code, &d.stdout)
	}
}

// Locks are committed parents first: before that is done, a child's does not fit the commit.
func TestCommitParentsFirst(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.child(t, "app", "debian-12", "config: {cmd: [app]}\n") // sorts before its parent
	must(t, fixture.Lock(d.dir, map[string]string{"bash": "2.0-1"}))
	results := map[string]lockResult{}
	for _, name := range []string{"app", "debian-12"} {
		lock, _, err := definition.ReadLock(d.dir, name)
		must(t, err)
		results[name] = lockResult{Lock: lock, Change: factory.LockChange{Image: name, Packages: []factory.PackageChange{{Name: "bash", Old: "1.0-1", New: "2.0-1"}}}}
	}
	c := d.command(t, nil)
	must(t, c.commitLocks(t.Context(), d.set(t), results, false))
	if got := gitRun(t, d.dir, "log", "--format=%s", "-2"); got != "app: update 1 package\ndebian-12: update 1 package\n" {
		t.Errorf("%q", got)
	}
}

// Building with --lock makes what an image is built on too, where that was locked anew, and leaves it alone where it was not.
func TestLockedAnew(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.offspring(t)
	d.release(t, "debian-12", 8*day) // due, which is no reason here
	d.release(t, "debian-12-app", day)
	d.release(t, "debian-12-app-a", day)
	build := func() string {
		if code := d.run(t, "build", "--dry-run", "--lock", "debian-12-app-a"); code != exitOK {
			t.Fatalf("exit %d\n%s", code, &d.stderr)
		}
		return strings.Join(strings.Fields(d.stdout.String()), " ")
	}
	if got := build(); strings.Contains(got, "debian-12 ") || !strings.Contains(got, "debian-12-app-a rebuild") || !strings.Contains(got, "asked for") {
		t.Error(got)
	}
	d.relock(t, map[string]string{"bash": "2.0-1"})
	got := build()
	for _, want := range []string{"bash 1.0-1 -> 2.0-1 debian-12-app rebuild", "parent debian-12 changed; after debian-12", "asked for; after debian-12-app"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	set := d.set(t)
	locks := map[string]lockResult{}
	for _, img := range set.Images {
		lock, _, err := definition.ReadLock(d.dir, img.Name)
		must(t, err)
		locks[img.Name] = lockResult{Lock: lock}
	}
	if from := comesFrom(set, locks, "debian-12-app-a", "bash"); from != "debian-12" {
		t.Error(from)
	}
	if from := comesFrom(set, locks, "debian-12-app-a", "perl") + comesFrom(set, locks, "debian-12", "bash"); from != "" {
		t.Error(from)
	}
}

// A base that is not where its child goes is a warning of the gate; one that is revoked blocks, and nothing is built on it.
func TestBeneath(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.child(t, "debian-12-app", "debian-12", "packages: {include: [perl]}\n")
	parent := d.release(t, "debian-12", day)
	app := d.release(t, "debian-12-app", day)
	c := d.command(t, nil)
	said := func(r factory.Release, env factory.Env) string {
		t.Helper()
		s, err := c.judge(t.Context(), d.set(t), r, env)
		must(t, err)
		for _, reason := range s.Decision.Reasons {
			if reason.Rule == "base" {
				if reason.Blocks != strings.Contains(reason.Text, "revoked") || reason.Subject != "debian-12" {
					t.Errorf("%+v", reason)
				}
				return reason.Text
			}
		}
		if r.Parent != nil && !reflect.DeepEqual(s.Evidence.Own, map[string][]string{"debian-12": {"perl"}}) && s.Evidence.Base == "" {
			t.Errorf("its own packages are %v", s.Evidence.Own)
		}
		return ""
	}
	if got := said(app, factory.Dev) + said(parent, factory.Prod); got != "" {
		t.Error(got)
	}
	if got, want := said(app, factory.Prod), "its base debian-12 "+parent.Tag.String()+" ("+parent.Digest.Short()+") is not in prod; promote that first"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	db, err := c.store(t.Context())
	must(t, err)
	must(t, db.Revoke(t.Context(), factory.Entry{ID: "e1", Release: parent.ID, Image: parent.Image, Repository: parent.Repository, Digest: parent.Digest, Env: parent.Tag.Env, Tag: parent.Tag,
		At: d.Now(), By: "me", Reason: "it is bad", Revoked: true}))
	if got, want := said(app, factory.Dev), "it is built on a release that was revoked: debian-12 "+parent.Tag.String()+" ("+parent.Digest.Short()+"): it is bad"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	judged, _, err := gating{c}.Decide(t.Context(), factory.Evidence{Image: d.image(t, "debian-12-app"), Env: factory.Dev, Digest: app.Digest, Parent: baseOf(parent), At: d.Now()})
	if must(t, err); !slices.ContainsFunc(judged.Blocking(), func(r factory.Reason) bool { return r.Rule == "base" }) {
		t.Errorf("what was revoked after the run began is published: %+v", judged.Reasons)
	}
	_, err = resolver{c.app}.Resolve(t.Context(), factory.Job{Image: d.image(t, "debian-12-app"), Parent: baseOf(parent)})
	if !errors.Is(err, factory.ErrBlocked) || !strings.Contains(err.Error(), "which debian-12-app would be built on, is revoked: it is bad") {
		t.Error(err)
	}
	app.Parent.Release, app.Parent.Digest = "nobody", factory.DigestOf(nil)
	if got := said(app, factory.Dev); !strings.Contains(got, "which this database does not know: what its ancestors' waivers accept is not accepted here") {
		t.Error(got)
	}
}

// What is held back behind its parent has not been mended, and its proof says so.
func TestEmergencyHeldBack(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.offspring(t)
	d.release(t, "debian-12-app", day)
	e := &emergency{command: d.command(t, nil), emergencyOptions: emergencyOptions{ID: "CVE-2026-1", Env: factory.Dev}, done: map[string]bool{}}
	must(t, e.keyPair())
	e.cfg.Archives["debian"] = d.archive
	e.told.Affected = []sufferer{{Image: "debian-12-app", Env: factory.Dev, Package: "bash", Fix: true}}
	must(t, os.WriteFile(lockPath(d.dir, "debian-12"), []byte("{"), 0o644)) // cannot be locked
	err := e.mend(t.Context(), "run", []string{"debian-12-app"})
	if err == nil || len(e.proofs) != 1 || !strings.Contains(e.proofs[0].Error, "debian-12") {
		t.Fatalf("%v, %+v", err, e.proofs)
	}
}
