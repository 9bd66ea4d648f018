package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"

	"github.com/aquasecurity/trivy-db/pkg/db"
	bolt "go.etcd.io/bbolt"
)

// remark changes what the database in dir says of itself; an empty value takes it away.
func remark(t *testing.T, dir, key, value string) string {
	t.Helper()
	b, err := bolt.Open(db.Path(dir), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = b.Update(func(tx *bolt.Tx) error {
		if value == "" {
			return tx.Bucket([]byte(own)).Delete([]byte(key))
		}
		return tx.Bucket([]byte(own)).Put([]byte(key), []byte(value))
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// What nobody read the changelog of is not clean, it was not looked at: in the image and in its SBOM.
func TestNotLookedAt(t *testing.T) {
	c := converse(t)
	a := advisories()
	a.Known, a.Missing = []string{"glibc", "zlib"}, []string{"openssl"}
	a.List = a.List[:2]
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t, a)})
	files := debianFiles(t)
	for name := range files {
		if strings.HasPrefix(name, "srv/") || strings.HasPrefix(name, "opt/") || strings.HasSuffix(name, ".jar") {
			delete(files, name)
		}
	}
	// A package that another source has now, one of whose packages is known by its own name, and one of nobody.
	files["var/lib/dpkg/status"] += "\nPackage: zlib\nStatus: install ok installed\nArchitecture: amd64\nSource: zlib-ng\nVersion: 2\n\n" +
		"Package: abandoned\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n"
	image := c.must(makeImage(t, files)).Result
	want := []string{"abandoned", "openssl", "zlib"}
	if image.Packages != 3 || !reflect.DeepEqual(image.NotLookedAt, want) || len(image.Findings) != 2 {
		t.Errorf("%d looked at, %q not, found %+v", image.Packages, image.NotLookedAt, image.Findings)
	}
	for _, p := range want {
		if !strings.Contains(string(image.CycloneDX), "pkg:deb/debian/"+p+"@") {
			t.Errorf("the SBOM is without %s", p)
		}
	}
	sbom := c.must(scanner.Request{Op: scanner.SBOM, SBOM: image.CycloneDX}).Result
	if sbom.Packages != 3 || !reflect.DeepEqual(sbom.NotLookedAt, want) {
		t.Errorf("%d looked at, %q not", sbom.Packages, sbom.NotLookedAt)
	}

	// One that was built before there was a list of what it knows knows nothing.
	c.must(scanner.Request{Op: scanner.Open, Dir: remark(t, makeDatabase(t), ownKnown, "")})
	if old := c.must(scanner.Request{Op: scanner.SBOM, SBOM: image.CycloneDX}).Result; old.Packages != 0 || len(old.NotLookedAt) != 6 {
		t.Errorf("%d looked at, %q not", old.Packages, old.NotLookedAt)
	}
	// Where Trivy's own has no advisory, there is none.
	kind, err := json.Marshal(factory.TrivyDatabase)
	if err != nil {
		t.Fatal(err)
	}
	public := remark(t, remark(t, makeDatabase(t, a), ownKnown, ""), ownKind, string(kind))
	if got := c.must(scanner.Request{Op: scanner.Open, Dir: public}).Database; got.Kind != factory.TrivyDatabase {
		t.Errorf("opened %+v", got)
	}
	if all := c.must(scanner.Request{Op: scanner.SBOM, SBOM: image.CycloneDX}).Result; all.Packages != 6 || all.NotLookedAt != nil {
		t.Errorf("%d looked at, %q not", all.Packages, all.NotLookedAt)
	}
	for _, bad := range []string{"3", `{"debian 12":"glibc"}`} {
		dir := remark(t, makeDatabase(t), ownKnown, bad)
		c.refused(scanner.Request{Op: scanner.Open, Dir: dir}, "unverified", update)
		c.refused(scanner.Request{Op: scanner.Check, Dir: dir}, "unverified", update)
	}
}

// In a new release of the distribution nothing was fixed yet: that is known, and no reason to refuse its images.
func TestReleaseWithoutAdvisories(t *testing.T) {
	c := converse(t)
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t, advisories(),
		factory.Advisories{Distro: factory.Distro{Family: "debian", Release: "14"}, Updated: day, Known: []string{"glibc", "openssl"}})})
	files := debianFiles(t)
	files["etc/os-release"], files["etc/debian_version"] = osRelease("debian", "14"), "14.0\n"
	got := c.must(makeImage(t, files)).Result
	if got.Distro != "debian 14" || got.Packages != 3 || len(got.Findings) != 0 || !reflect.DeepEqual(got.NotLookedAt, []string{"left", "org.example:thing", "x", "zlib1g"}) {
		t.Errorf("got %q, %d, %q, %+v", got.Distro, got.Packages, got.NotLookedAt, got.Findings)
	}
}
