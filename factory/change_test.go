package factory

import (
	"fmt"
	"reflect"
	"testing"
)

func TestLockSince(t *testing.T) {
	t.Parallel()
	amd, arm := Platform{"linux", "amd64"}, Platform{"linux", "arm64"}
	pkg := func(name, version string) Package {
		return Package{Name: name, Version: version, Arch: "amd64", SHA256: DigestOf([]byte(name + version))}
	}
	lock := func(edit ...func(*Lock)) Lock {
		l := Lock{Image: "debian-12", Definition: "sha256:d", Tools: map[string]Digest{"toolbox": "sha256:1"}, Roles: map[string]Digest{"common": "sha256:2"},
			Platforms: []LockedPlatform{{amd, []Package{pkg("bash", "1"), pkg("openssl", "3.0.15")}}, {arm, []Package{pkg("bash", "1"), pkg("openssl", "3.0.15")}}}}
		for _, e := range edit {
			e(&l)
		}
		return l
	}
	packages := func(p ...Package) func(*Lock) {
		return func(l *Lock) { l.Platforms = []LockedPlatform{{amd, p}, {arm, p}} }
	}
	replaced := pkg("bash", "1")
	replaced.SHA256 = "sha256:other"
	for name, c := range map[string]struct {
		now  Lock
		want LockChange
	}{
		"nothing": {lock(), LockChange{}},
		"newer, once for all platforms": {lock(packages(pkg("bash", "1"), pkg("openssl", "3.0.16"))),
			LockChange{Packages: []PackageChange{{Name: "openssl", Old: "3.0.15", New: "3.0.16"}}}},
		"added and removed": {lock(packages(pkg("openssl", "3.0.15"), pkg("zlib1g", "2"))),
			LockChange{Packages: []PackageChange{{Name: "bash", Old: "1"}, {Name: "zlib1g", New: "2"}}}},
		"same version, other bytes": {lock(packages(replaced, pkg("openssl", "3.0.15"))),
			LockChange{Packages: []PackageChange{{Name: "bash", Old: "1", New: "1"}}}},
		"platform gone": {lock(func(l *Lock) { l.Platforms = l.Platforms[:1] }), LockChange{Other: []string{"platform linux/arm64"}}},
		"the rest": {lock(func(l *Lock) {
			l.Definition, l.Tools, l.Roles = "sha256:e", map[string]Digest{"toolbox": "sha256:9"}, map[string]Digest{"cis": "sha256:3"}
		}), LockChange{Other: []string{"definition", "role cis", "role common", "toolbox"}}},
	} {
		t.Run(name, func(t *testing.T) {
			old := lock()
			c.want.Image = "debian-12"
			if got := c.now.Since(&old); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
	if c := lock().Since(nil); !c.First || c.Empty() {
		t.Error(fmt.Sprint("a first lock is not told as one: ", c))
	}
	old := lock(func(l *Lock) { l.Platforms = l.Platforms[:1] })
	if c := lock().Since(&old); !reflect.DeepEqual(c.Other, []string{"platform linux/arm64"}) {
		t.Errorf("a new platform: %+v", c)
	}
}

// What is known of a move is taken for the same move, and an advisory where what it is about moved at all.
func TestLockChangeCredit(t *testing.T) {
	c := LockChange{Packages: []PackageChange{{Name: "openssl", Old: "1", New: "2"}, {Name: "bash", Old: "1", New: "3"}}}
	c.Credit(LockChange{Packages: []PackageChange{{Name: "openssl", Old: "1", New: "2", CVEs: []string{"CVE-1"}}, {Name: "bash", Old: "1", New: "2", CVEs: []string{"CVE-2"}}},
		Advisories: []Advisory{{ID: "a", Source: "openssl"}, {ID: "b", Source: "zlib"}}})
	if len(c.Packages[0].CVEs) != 1 || c.Packages[1].CVEs != nil || len(c.Advisories) != 1 || c.Advisories[0].ID != "a" {
		t.Errorf("%+v", c)
	}
}
