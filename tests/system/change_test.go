package system_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// lastPackage is where a package can be added to every definition at once or to one.
const lastPackage = "packages:\n  include:\n"

// add puts a package on an image's list.
func (p plant) add(t testing.TB, image, pkg string) {
	t.Helper()
	file := filepath.Join(p.Dir, "baseimages", image, "image.yaml")
	b, err := os.ReadFile(file)
	must(t, err)
	text := string(b)
	if strings.Contains(text, lastPackage) {
		text = strings.Replace(text, lastPackage, lastPackage+"    - "+pkg+"\n", 1)
	} else {
		text += lastPackage + "    - " + pkg + "\n"
	}
	must(t, os.WriteFile(file, []byte(text), 0o644))
}

// planned is a line of factory plan --json.
type planned struct {
	Image, Reason, Hash string
	Action              factory.Action
	Dirty               bool
}

// A person adds a package to one image. The plan says why, the lock becomes a commit of its own, the night rebuilds that
// image and no other, and its tag carries the commit.
func TestPackageChange(t *testing.T) {
	p := newPlant(t)
	origin, other := filepath.Join(t.TempDir(), "origin.git"), filepath.Join(t.TempDir(), "other")
	gitIn(t, p.Dir, "clone", "-q", "--bare", p.Dir, origin)
	gitIn(t, p.Dir, "remote", "set-url", "origin", origin)
	gitIn(t, p.Dir, "clone", "-q", origin, other)
	first := nightOf(t, p.ok(t, "nightly", "--json"))

	p.add(t, "debian-13", "tree")
	t.Run("plan", func(t *testing.T) {
		before := gitIn(t, p.Dir, "status", "--porcelain")
		var plan []planned
		p.json(t, &plan, "plan")
		if len(plan) != 2 || plan[0].Action != factory.Keep || plan[1].Action != factory.Rebuild || !plan[1].Dirty {
			t.Fatalf("%+v", plan)
		}
		if !strings.Contains(plan[1].Reason, "tree ") || !strings.Contains(plan[1].Reason, " added") {
			t.Errorf("reason %q", plan[1].Reason)
		}
		if after := gitIn(t, p.Dir, "status", "--porcelain"); after != before {
			t.Errorf("planning changed the repository:\n%s", after)
		}
	})
	gitIn(t, p.Dir, "commit", "-qam", "debian-13: tree")
	notes := filepath.Join(p.Dir, "notes")
	must(t, os.WriteFile(notes, []byte("not yet"), 0o644))
	must(t, os.WriteFile(filepath.Join(p.Dir, "ansible", "README"), []byte("staged"), 0o644))
	gitIn(t, p.Dir, "add", "ansible/README")

	must(t, os.WriteFile(filepath.Join(other, "elsewhere"), []byte("x"), 0o644))
	gitIn(t, other, "add", ".")
	gitIn(t, other, "commit", "-qm", "somebody was faster")
	gitIn(t, other, "push", "-q")

	t.Run("lock", func(t *testing.T) {
		r := p.ok(t, "lock", "debian-12", "debian-13", "--commit", "--push")
		if !strings.Contains(r.Stdout, "debian-12: nothing changed") || !strings.Contains(r.Stdout, "tree ") {
			t.Errorf("%s", r.Stdout)
		}
		log := gitIn(t, p.Dir, "log", "--format=%s", "--name-only", "origin/main")
		want := "debian-13: update 1 package\n\nbaseimages/debian-13/lock.json\ndebian-13: tree\n\nbaseimages/debian-13/image.yaml\nsomebody was faster\n\nelsewhere\n"
		if !strings.HasPrefix(log, want) {
			t.Errorf("history:\n%s", log)
		}
		if status := gitIn(t, p.Dir, "status", "--porcelain"); status != "A  ansible/README\n?? notes" {
			t.Errorf("status:\n%s", status)
		}
		gitIn(t, other, "pull", "-q")
		if a, b := gitIn(t, other, "rev-parse", "HEAD"), gitIn(t, p.Dir, "rev-parse", "HEAD"); a != b {
			t.Errorf("origin is at %s, here is %s", a, b)
		}
	})
	t.Run("night", func(t *testing.T) {
		n := nightOf(t, p.ok(t, "nightly", "--json"))
		old, job := first.job(t, "debian-13"), n.job(t, "debian-13")
		if !kept(n.job(t, "debian-12")) || job.Action != factory.Rebuild || job.Digest == old.Digest {
			t.Errorf("%+v", n)
		}
		release := p.release(t, "debian-13")
		commit := gitIn(t, p.Dir, "log", "-1", "--format=%H", "--", "baseimages/debian-13")
		if release.Source.Commit != commit || release.Tag.Hash != commit[:8] || release.Source.Dirty || release.Supersedes != old.Release {
			t.Errorf("commit %s, tag %s, source %+v, supersedes %s", commit, release.Tag, release.Source, release.Supersedes)
		}
		p.serve(t)
		p.sound(t, release.Repository)
	})
}

// failing is an acceptance test that no image passes.
const failing = "commands:\n  - name: is perfect\n    run: [\"false\"]\n"

// One image that cannot be made never stops another one, and the exit code and the verdict tell.
func TestOneImageFails(t *testing.T) {
	p := newPlant(t)
	p.edit(t, "baseimages/debian-12/image.yaml", "kind: base", "kind: base\nkidn: base")
	t.Run("definition", func(t *testing.T) {
		r := p.exits(t, 4, "nightly")
		if !strings.Contains(r.said(), "1 released (debian-13), 1 failed (debian-12)") || !strings.Contains(r.said(), "baseimages/debian-12/image.yaml:4:1") {
			t.Errorf("%s", r.said())
		}
	})
	gitIn(t, p.Dir, "checkout", "-q", ".")
	p.edit(t, "baseimages/debian-12/tests.yaml", "commands:\n", failing)
	t.Run("acceptance test", func(t *testing.T) {
		r := p.exits(t, 4, "nightly")
		if !strings.Contains(r.said(), "1 kept (debian-13), 1 failed (debian-12)") || !strings.Contains(r.said(), "is perfect") {
			t.Errorf("%s", r.said())
		}
		p.serve(t)
		if tags := p.tags(t, p.Addr+"/debian-12"); len(tags) != 0 {
			t.Errorf("published all the same: %v", tags)
		}
		if tags := p.sound(t, p.Addr+"/debian-13"); len(tags) != 1 {
			t.Errorf("the neighbour has %v", tags)
		}
	})
	p.edit(t, "baseimages/debian-13/tests.yaml", "commands:\n", failing)
	t.Run("all", func(t *testing.T) {
		r := p.exits(t, 3, "nightly")
		if !strings.Contains(r.said(), "2 failed (debian-12, debian-13)") {
			t.Errorf("%s", r.said())
		}
	})
	gitIn(t, p.Dir, "checkout", "-q", ".")
	t.Run("mended", func(t *testing.T) {
		n := nightOf(t, p.ok(t, "nightly", "--json"))
		if n.job(t, "debian-12").Ref == "" || !kept(n.job(t, "debian-13")) {
			t.Errorf("%+v", n)
		}
	})
}
