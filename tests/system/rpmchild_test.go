package system_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// onRPM are children of two forms of rpm's database: Berkeley DB and SQLite.
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
	"rhel-9-find/image.yaml":         "from: rhel-9\nsummary: Red Hat Enterprise Linux 9 with what finds files\npackages:\n  include: [findutils]\n",
	"rhel-9-find/tests.yaml":         "packages: {present: [bash, findutils]}\n",
}

// childrenOf builds images of RPM packages on others: the database goes on, and everybody who reads it finds what is there.
func (y yard) childrenOf(t *testing.T, parents map[string]factory.Release) {
	t.Helper()
	p := y.branch(t)
	p.settle(t, onRPM)
	gitIn(t, p.Dir, "add", "-A")
	gitIn(t, p.Dir, "commit", "-qm", "children of RPM images")
	p.ok(t, "lock", "--commit", "amazonlinux-2-find", "rhel-9-find")
	p.ok(t, "build", "amazonlinux-2-find", "rhel-9-find")
	p.serve(t)
	for _, image := range []string{"amazonlinux-2-find", "rhel-9-find"} {
		r, parent := p.release(t, image), parents[strings.TrimSuffix(image, "-find")]
		if r.Parent == nil || r.Parent.Digest != parent.Digest || len(r.Lock.Lacks(parent.Lock)) > 0 || !slices.Contains(r.Lock.Beyond(parent.Lock), "findutils") {
			t.Errorf("%s: on %+v, adds %q", image, r.Parent, r.Lock.Beyond(parent.Lock))
		}
		below, layers := parent.Artifact.Platforms[0].Layers, r.Artifact.Platforms[0].Layers
		if len(layers) != len(below)+2 || !slices.Equal(layers[:len(below)], below) {
			t.Errorf("%s: layers %v on %v", image, layers, below)
		}
		if out := p.ok(t, "verify", r.Tagged()).Stdout; !strings.Contains(out, parent.Digest.Hex()) {
			t.Errorf("verify does not name the base:\n%s", out)
		}
		family := map[string]string{"amazonlinux-2-find": "amazon", "rhel-9-find": "redhat"}[image]
		sbom := p.ok(t, "sbom", image).Stdout
		for _, pkg := range r.Lock.Platforms[0].Packages {
			if !strings.Contains(sbom, "pkg:rpm/"+family+"/"+pkg.Name+"@") {
				t.Errorf("%s: the SBOM lacks %s", image, pkg.Name)
			}
		}
		if r.Scan.Packages != len(r.Lock.Platforms[0].Packages) || len(r.Scan.NotLookedAt) > 0 {
			t.Errorf("%s: %d packages were looked at, %q not, of %d", image, r.Scan.Packages, r.Scan.NotLookedAt, len(r.Lock.Platforms[0].Packages))
		}
	}
	if !slices.ContainsFunc(p.release(t, "amazonlinux-2-find").Controls, func(c factory.ControlOutcome) bool { return c.Control == "1.7.1" && c.Outcome == factory.Exempt }) {
		t.Error("the child's exemption does not count")
	}
	if out := p.ok(t, "reproduce", "amazonlinux-2-find").Stdout; !strings.Contains(out, string(p.release(t, "amazonlinux-2-find").Digest)) {
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
