package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/tests/e2e/fixture"
)

// The fixture names tools as the program does, or else everything there looks stale.
func TestFixtureKnowsTheTools(t *testing.T) {
	t.Parallel()
	want := tools(fixture.Toolbox, factory.Deb)
	for name, digest := range fixture.Tools {
		if want[name] != digest || len(want) != len(fixture.Tools) {
			t.Errorf("fixture says %v, want %v", fixture.Tools, want)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := d.command(t, nil)
	img := d.image(t, "debian-12")
	source, err := c.source(t.Context(), img)
	must(t, err)
	if source.Dirty || len(source.Commit) != 40 || source.Hash != source.Commit[:8] {
		t.Errorf("%+v", source)
	}
	box := fixture.Toolbox
	c.box = &box
	job := factory.Job{Image: img, Source: source}
	locked, err := resolver{c.app}.Resolve(t.Context(), job)
	must(t, err)
	if locked.Fresh != "" || locked.At != d.Now() || locked.Lock.Image != "debian-12" || len(locked.Inputs) == 0 {
		t.Errorf("%+v", locked)
	}
	job.Refresh = factory.DigestOf(nil)
	if locked, err = (resolver{c.app}).Resolve(t.Context(), job); err != nil || locked.Fresh == "" {
		t.Errorf("a refresh takes nothing from a cache: %q %v", locked.Fresh, err)
	}
}

func TestResolveRefusesWhatIsStale(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, d *desk, c *command)
		kind   error
		want   string
	}{
		"no lock": {func(t *testing.T, d *desk, _ *command) { must(t, os.Remove(lockPath(d.dir, "debian-12"))) }, factory.ErrNotFound, "debian-12 has no lock (make it: factory lock debian-12)"},
		"a corrupt lock": {func(t *testing.T, d *desk, _ *command) {
			must(t, os.WriteFile(lockPath(d.dir, "debian-12"), []byte("{"), 0o644))
		}, factory.ErrInvalid, "corrupt lock"},
		"another image's lock": {func(t *testing.T, d *desk, _ *command) {
			b, err := os.ReadFile(lockPath(d.dir, "debian-13"))
			must(t, err)
			must(t, os.WriteFile(lockPath(d.dir, "debian-12"), b, 0o644))
		}, factory.ErrInvalid, "debian-13"},
		"another definition": {func(t *testing.T, d *desk, _ *command) {
			edit(t, d.dir, "baseimages/shared/debian.yaml", "[tzdata]", "[bash, tzdata]")
		}, factory.ErrInvalid, "made for another definition (make it: factory lock debian-12)"},
		"another role": {func(t *testing.T, d *desk, _ *command) {
			edit(t, d.dir, "ansible/roles/common/defaults/main.yml", "365", "90")
		}, factory.ErrInvalid, "made for another version of its roles"},
		"another toolbox": {func(_ *testing.T, _ *desk, c *command) { box := factory.DigestOf(nil); c.box = &box }, factory.ErrInvalid, "made for another toolbox"},
		"edited meanwhile": {func(t *testing.T, d *desk, _ *command) {
			edit(t, d.dir, "baseimages/debian-12/tests.yaml", "prints its release", "prints it")
		}, factory.ErrConflict, "changed while the run was planning (run it again)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			cmd := d.command(t, nil)
			source, err := cmd.source(t.Context(), d.image(t, "debian-12"))
			must(t, err)
			c.change(t, d, cmd)
			_, err = resolver{cmd.app}.Resolve(t.Context(), factory.Job{Image: d.image(t, "debian-12"), Source: source})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// edit replaces a text in a file that must contain it.
func edit(t *testing.T, dir, name, old, new string) {
	t.Helper()
	name = filepath.Join(dir, name)
	b, err := os.ReadFile(name)
	must(t, err)
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("%s does not contain %q", name, old)
	}
	must(t, os.WriteFile(name, bytes.Replace(b, []byte(old), []byte(new), 1), 0o644))
}

// newer is the lock of an image with a newer bash.
func newer(t *testing.T, d *desk, image string) factory.Lock {
	t.Helper()
	lock, _, err := definition.ReadLock(d.dir, image)
	must(t, err)
	lock.Platforms[0].Packages[0].Version = "2.0-1"
	return lock
}

func TestSourceWithAnotherLock(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := d.command(t, nil)
	img := d.image(t, "debian-12")
	now, err := c.source(t.Context(), img)
	must(t, err)
	then, err := c.sourceWith(t.Context(), img, []factory.Lock{newer(t, d, "debian-12")})
	if err != nil || !then.Dirty || then.Inputs == now.Inputs || then.Hash == now.Hash {
		t.Errorf("%+v %v", then, err)
	}
	again, err := c.source(t.Context(), img)
	if err != nil || again != now {
		t.Errorf("the repository changed: %+v %v", again, err)
	}
}

func TestWriteLock(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	lock := newer(t, d, "debian-12")
	must(t, writeLock(d.dir, lock))
	if got, _, err := definition.ReadLock(d.dir, "debian-12"); err != nil || !got.SamePackages(lock) {
		t.Errorf("%+v %v", got, err)
	}
	if left, err := filepath.Glob(filepath.Join(d.dir, "baseimages", "debian-12", ".lock-*")); err != nil || len(left) > 0 {
		t.Errorf("left %v %v", left, err)
	}
	lock.Image = "nowhere"
	if err := writeLock(d.dir, lock); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func gitRun(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestCommitLocks(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := d.command(t, nil)
	remote := t.TempDir()
	gitRun(t, remote, "init", "-q", "--bare")
	gitRun(t, d.dir, "remote", "add", "origin", remote)
	gitRun(t, d.dir, "push", "-q", "-u", "origin", "main")
	set, err := definition.Load(d.dir)
	must(t, err)
	lock := newer(t, d, "debian-12")
	must(t, writeLock(d.dir, lock))
	edit(t, d.dir, "CODEOWNERS", "/baseimages/toolbox/", "# mine\n/baseimages/toolbox/")
	results := map[string]lockResult{
		"debian-12": {Lock: lock, Change: factory.LockChange{Image: "debian-12", Packages: []factory.PackageChange{{Name: "bash", Old: "1.0-1", New: "2.0-1", CVEs: []string{"CVE-2026-1"}}}}},
		"debian-13": {Change: factory.LockChange{Image: "debian-13"}},
		"toolbox":   {Err: errors.New("down"), Change: factory.LockChange{Image: "toolbox", First: true}},
	}
	must(t, c.commitLocks(t.Context(), set, results, true))
	if got, want := gitRun(t, d.dir, "log", "--format=%B", "--name-only", "origin/main", "-1"), "debian-12: update 1 package, fixing CVE-2026-1\n\n  bash 1.0-1 → 2.0-1  fixes CVE-2026-1\n\n\nbaseimages/debian-12/lock.json\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := gitRun(t, d.dir, "status", "--porcelain"); got != " M CODEOWNERS\n" {
		t.Errorf("other files were touched: %q", got)
	}
	before := gitRun(t, d.dir, "rev-parse", "HEAD")
	must(t, c.commitLocks(t.Context(), set, map[string]lockResult{"debian-13": results["debian-13"]}, true))
	if after := gitRun(t, d.dir, "rev-parse", "HEAD"); after != before {
		t.Error("nothing changed, and it was committed")
	}
	// A lock that an earlier run wrote and did not live to commit is committed by the next one.
	left := newer(t, d, "debian-13")
	must(t, writeLock(d.dir, left))
	left13 := map[string]lockResult{"debian-13": {Lock: left, Change: factory.LockChange{Image: "debian-13"}}}
	must(t, c.commitLocks(t.Context(), set, left13, true))
	if got := gitRun(t, d.dir, "log", "--format=%s", "origin/main", "-1"); got != "debian-13: update 1 package\n" {
		t.Errorf("the lock that was left became %q", got)
	}
	// A lock of a definition that is not committed would not fit the commit.
	edit(t, d.dir, "baseimages/debian-13/image.yaml", "summary:", "# edited\nsummary:")
	left.Timestamp = left.Timestamp.Add(time.Hour)
	must(t, writeLock(d.dir, left))
	before = gitRun(t, d.dir, "rev-parse", "HEAD")
	must(t, c.commitLocks(t.Context(), set, left13, false))
	if after := gitRun(t, d.dir, "rev-parse", "HEAD"); after != before {
		t.Error("the lock of a definition that is not committed was committed")
	}
}

func TestPrintLocks(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := d.command(t, nil)
	results := map[string]lockResult{
		"a": {Change: factory.LockChange{Image: "a", Packages: []factory.PackageChange{{Name: "bash", Old: "1", New: "2"}}}},
		"b": {Change: factory.LockChange{Image: "b"}},
		"c": {Change: factory.LockChange{Image: "c", First: true}, Lock: factory.Lock{Platforms: []factory.LockedPlatform{{Packages: make([]factory.Package, 1)}}}},
		"d": {Err: errors.New("down")},
	}
	must(t, c.printLocks(results))
	if got, want := d.stdout.String(), "a:\n  bash 1 → 2\nb: nothing changed\nc: first lock, 1 package\nd: not locked, the old lock stays\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	d.stdout.Reset()
	c.JSON = true
	must(t, c.printLocks(results))
	for _, want := range []string{`"changed": true`, `"error": "down"`, `"first": true`, `"image": "d"`} {
		if !strings.Contains(d.stdout.String(), want) {
			t.Errorf("no %s in %s", want, &d.stdout)
		}
	}
	if err := lockErr(results); err == nil || err.Error() != "down" {
		t.Error(err)
	}
}

func TestReproduceCompares(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.release(t, "debian-12", 0)
	r.Repository += "-that-is-gone"
	c := d.command(t, nil)
	must(t, c.compare(t.Context(), r, factory.Artifact{Digest: r.Digest}, t.TempDir(), true))
	if !strings.HasPrefix(d.stdout.String(), "reproduced: "+r.Tagged()) {
		t.Errorf("%s", &d.stdout)
	}
	d.stdout.Reset()
	c.JSON = true
	other := factory.Artifact{Digest: factory.DigestOf(nil)}
	err := c.compare(t.Context(), r, other, filepath.Join(t.TempDir(), "x"), true)
	if !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), "what differs cannot be told") || !strings.Contains(d.stdout.String(), `"same": false`) {
		t.Errorf("%v %s", err, &d.stdout)
	}
	// Other tools may well make another image: that proves nothing against the release.
	if err := c.compare(t.Context(), r, other, filepath.Join(t.TempDir(), "x"), false); !errors.Is(err, factory.ErrUnavailable) || errors.Is(err, factory.ErrUnverified) {
		t.Errorf("%v", err)
	}
}

func TestUnpackInputs(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.release(t, "debian-12", 0)
	img, lock, err := unpackInputs(r.Inputs, filepath.Join(t.TempDir(), "x"), "debian-12")
	if err != nil || img.Name != "debian-12" || !lock.SamePackages(r.Lock) {
		t.Errorf("%+v %v", img, err)
	}
	if _, _, err := unpackInputs(r.Inputs, filepath.Join(t.TempDir(), "x"), "debian-13"); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, _, err := unpackInputs([]byte("no tar"), filepath.Join(t.TempDir(), "x"), "debian-12"); err == nil {
		t.Error("what is no tar was unpacked")
	}
}
