package system_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// breed puts the shipped children into a repository that has their parent.
func (p plant) breed(t testing.TB) {
	t.Helper()
	for _, name := range []string{"baseimages", "CODEOWNERS"} {
		if out, err := exec.Command("cp", "-a", filepath.Join(root(), name), p.Dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	must(t, drop(p.Dir, families...))
	p.settle(t, service)
	gitIn(t, p.Dir, "add", "-A")
	gitIn(t, p.Dir, "commit", "-qm", "children")
	p.ok(t, "check")
}

// The shipped children go down the whole line on their parent's release, share its layers or nothing, and can be made again.
func TestChildren(t *testing.T) {
	p := again(t)
	parent := p.release(t, "debian-12")
	p.breed(t)
	r := p.ok(t, "nightly", "--commit", "--json")
	n := nightOf(t, r)
	for _, image := range images {
		if job := n.job(t, image); job.Release != "" || job.Error != "" {
			t.Errorf("%+v", job)
		}
	}
	below := parent.Artifact.Platforms[0].Layers
	for _, image := range children {
		c := p.release(t, image)
		if c.Parent == nil || c.Parent.Digest != parent.Digest {
			t.Fatalf("%s is built on %+v", image, c.Parent)
		}
		layers := c.Artifact.Platforms[0].Layers
		if whole := image == "debian-12-python"; whole != (len(layers) == len(below)+2 && slices.Equal(layers[:len(below)], below)) || !whole && slices.Contains(layers, below[0]) {
			t.Errorf("%s has the layers %v", image, layers)
		}
		for _, e := range c.Compliance.Evaluations {
			t.Logf("%s: %s: %s", image, e.Name(), e.Score())
		}
	}
	t.Run("verify", func(t *testing.T) {
		p.serve(t)
		for _, image := range append([]string{"service", "worker"}, children...) {
			if out := p.ok(t, "verify", p.release(t, image).Tagged()).Stdout; !strings.Contains(out, p.release(t, image).Parent.Digest.Hex()) {
				t.Errorf("verify does not name the base:\n%s", out)
			}
		}
	})
	t.Run("made by a Dockerfile", func(t *testing.T) {
		p.serve(t)
		p.servesAs(t, parent)
	})
	t.Run("again", func(t *testing.T) {
		if _, err := os.Stat(filepath.Join(p.State, "parents", parent.Digest.Hex(), "index.json")); err != nil {
			t.Error(err)
		}
		p.ok(t, "reproduce", "service")
		if r := p.ok(t, "nightly"); !strings.HasPrefix(r.last(), "6 kept (debian-12, debian-12-python, debian-12-static, debian-13, service, worker)") {
			t.Error(r.last())
		}
	})
}
