package system_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// onRPM is a child of the release whose database, of Berkeley DB, is the hardest to continue; those of SQLite are tried in factory/buildkit.
var onRPM = map[string]string{
	"amazonlinux-2-find/image.yaml": `from: amazonlinux-2
summary: Amazon Linux 2 with the message bus's account and what finds files
packages:
  include: [dbus-common, findutils]
users:
  - {name: app, uid: 1000, gid: 1000, home: /home/app, shell: /sbin/nologin}
files:
  - {path: /etc/issue.app, source: files/issue, mode: "0640", owner: "0:1000"}
hardening:
  exempt:
    - {control: "1.7.1", reason: it says whose it is, until: 2099-12-31}
`,
	"amazonlinux-2-find/files/issue": "ours\n",
	"amazonlinux-2-find/tests.yaml":  "packages: {present: [bash, dbus-common, findutils]}\nusers:\n  - {name: dbus, uid: 81, gid: 81, home: /, shell: /sbin/nologin}\n  - {name: app, uid: 1000, gid: 1000, home: /home/app}\nfiles:\n  - {path: /etc/issue.app, mode: \"0640\"}\n",
}

// childOn builds an image of RPM packages on another: the database goes on, and everybody who reads it finds what is there.
func (y yard) childOn(t *testing.T, parent factory.Release) {
	t.Helper()
	const image = "amazonlinux-2-find"
	p := y.branch(t)
	p.settle(t, onRPM)
	gitIn(t, p.Dir, "add", "-A")
	gitIn(t, p.Dir, "commit", "-qm", "a child of an RPM image")
	p.ok(t, "lock", "--commit", image)
	p.ok(t, "build", image)
	p.serve(t)
	r := p.release(t, image)
	if r.Parent == nil || r.Parent.Digest != parent.Digest || len(r.Lock.Lacks(parent.Lock)) > 0 || !slices.Equal(r.Lock.Beyond(parent.Lock), []string{"dbus-common", "findutils"}) {
		t.Errorf("on %+v, adds %q", r.Parent, r.Lock.Beyond(parent.Lock))
	}
	below, layers := parent.Artifact.Platforms[0].Layers, r.Artifact.Platforms[0].Layers
	if len(layers) != len(below)+2 || !slices.Equal(layers[:len(below)], below) {
		t.Errorf("layers %v on %v", layers, below)
	}
	if out := p.ok(t, "verify", r.Tagged()).Stdout; !strings.Contains(out, parent.Digest.Hex()) {
		t.Errorf("verify does not name the base:\n%s", out)
	}
	sbom := p.ok(t, "sbom", image).Stdout
	for _, pkg := range r.Lock.Platforms[0].Packages {
		if !strings.Contains(sbom, "pkg:rpm/amazon/"+pkg.Name+"@") {
			t.Errorf("the SBOM lacks %s", pkg.Name)
		}
	}
	if n := len(r.Lock.Platforms[0].Packages); r.Scan.Packages != n || len(r.Scan.NotLookedAt) > 0 {
		t.Errorf("%d packages were looked at, %q not, of %d", r.Scan.Packages, r.Scan.NotLookedAt, n)
	}
	if !slices.ContainsFunc(r.Controls, func(c factory.ControlOutcome) bool { return c.Control == "1.7.1" && c.Outcome == factory.Exempt }) {
		t.Error("the child's exemption does not count")
	}
	if out := p.ok(t, "reproduce", image).Stdout; !strings.Contains(out, string(r.Digest)) {
		t.Error(out)
	}
}

// branch is the installation with a repository of its own: what is defined there nobody else has to build.
func (y yard) branch(t *testing.T) plant {
	t.Helper()
	p := y.plant
	p.Dir = filepath.Join(t.TempDir(), "repo")
	gitIn(t, filepath.Dir(p.Dir), "clone", "-q", y.Dir, p.Dir)
	return p
}
