package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"

	xos "github.com/aquasecurity/trivy/pkg/x/os"
)

func TestImage(t *testing.T) {
	c := converse(t)
	if got := c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t)}).Database; got.Kind != factory.ArchiveDatabase || got.Advisories != 4 || !got.Updated.Equal(day) || got.Schema != 2 {
		t.Errorf("opened %+v", got)
	}
	req := makeImage(t, debianFiles(t))
	got := c.must(req).Result
	if got.Distro != "debian 12" || got.Packages != 4 || !reflect.DeepEqual(got.NotLookedAt, []string{"left", "org.example:thing", "x"}) {
		t.Errorf("%q with %d packages and %q", got.Distro, got.Packages, got.NotLookedAt)
	}
	want := []string{
		"CVE-2026-0002 libc-bin", "CVE-2026-0002 libc6", "CVE-2026-0003 zlib1g", "DEBSEC-openssl-3.0.99-1 openssl",
	}
	var keys []string
	for _, f := range got.Findings {
		keys = append(keys, f.Key())
	}
	if !reflect.DeepEqual(keys, want) {
		t.Fatalf("found %v", keys)
	}
	if f, want := got.Findings[1], (factory.Finding{
		Vulnerability: "CVE-2026-0002", Package: "libc6", Source: "glibc", Version: "2.36-9+deb12u10", Fixed: "2.36-9+deb12u13", Status: "fixed",
		Severity: factory.Unknown, Data: "changelogs of the archive's packages, debian 12", URL: got.Findings[1].URL, FixedOn: day.AddDate(0, -1, 0),
		Purl: "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12.8",
	}); !reflect.DeepEqual(f, want) {
		t.Errorf("got  %+v\nwant %+v", f, want)
	}
	if f := got.Findings[3]; f.Title != "update" || f.Source != "" {
		t.Errorf("got %+v", f)
	}
	if left, err := os.ReadDir(xos.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	papersAreRight(t, got)
	again := c.must(req).Result
	if !bytes.Equal(again.CycloneDX, got.CycloneDX) || !bytes.Equal(again.SPDX, got.SPDX) {
		t.Error("another scan of the image gives other SBOMs")
	}
	matched := c.must(scanner.Request{Op: scanner.SBOM, SBOM: got.CycloneDX}).Result
	if !reflect.DeepEqual(matched.Findings, got.Findings) || matched.Distro != got.Distro || matched.Packages != got.Packages || !reflect.DeepEqual(matched.NotLookedAt, got.NotLookedAt) || matched.CycloneDX != nil {
		t.Errorf("the SBOM gives\n%+v\nthe image\n%+v", matched, got)
	}
}

// papersAreRight: both SBOMs list every package, no vulnerability and no time but the image's.
func papersAreRight(t *testing.T, r *scanner.Result) {
	t.Helper()
	for name, doc := range map[string][]byte{"CycloneDX": r.CycloneDX, "SPDX": r.SPDX} {
		if !json.Valid(doc) || strings.Contains(string(doc), "CVE-") {
			t.Errorf("%s: %s", name, doc)
		}
		for _, s := range []string{"libc6@2.36", "zlib1g@", "pkg:npm/left@1.0.0", "pkg:pypi/x@1.0", "pkg:maven/org.example/thing@1.2.3", "2026-11-20T12:00:00", "Apache-2.0", "debian-12"} {
			if !strings.Contains(string(doc), s) {
				t.Errorf("%s lacks %s", name, s)
			}
		}
		for _, s := range []string{"right", "PRIVATE KEY"} {
			if strings.Contains(string(doc), s) {
				t.Errorf("%s has %s", name, s)
			}
		}
	}
}

// Layers in the order of a walk through a map, and the same again, thirty times: nothing random shows.
func TestSBOMsAreTheSameEveryTime(t *testing.T) {
	c := converse(t)
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t)})
	req := makeImage(t, debianFiles(t), map[string]string{"srv/c/node_modules/left/package.json": `{"name":"left","version":"1.0.0"}`})
	first := c.must(req).Result
	for range 10 {
		if got := c.must(req).Result; !reflect.DeepEqual(got, first) {
			t.Fatalf("got\n%s\nthen\n%s", first.CycloneDX, got.CycloneDX)
		}
	}
	req.Name = "other"
	if got := c.must(req).Result; bytes.Equal(got.CycloneDX, first.CycloneDX) {
		t.Error("another image has the same SBOM")
	}
}

func TestImageRefusals(t *testing.T) {
	c := converse(t)
	good := makeImage(t, debianFiles(t))
	c.refused(good, "unavailable", "no vulnerability database is open")
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t)})

	change := func(f func(*scanner.Request)) scanner.Request {
		r := good
		f(&r)
		return r
	}
	c.refused(change(func(r *scanner.Request) { r.Layout = t.TempDir() }), "not found", "no OCI layout")
	c.refused(change(func(r *scanner.Request) { r.Digest = "" }), "invalid", "digest")
	c.refused(change(func(r *scanner.Request) { r.Digest = factory.DigestOf(nil) }), "not found", "no manifest")
	c.refused(change(func(r *scanner.Request) { r.Platform = &factory.Platform{OS: "linux", Architecture: "arm64"} }), "invalid", "linux/amd64, not linux/arm64")
	garbage := t.TempDir()
	if err := os.WriteFile(filepath.Join(garbage, "index.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.refused(change(func(r *scanner.Request) { r.Layout = garbage }), "invalid", "OCI layout")

	// A layer that is cut short.
	cut := makeImage(t, debianFiles(t))
	blobs, err := filepath.Glob(filepath.Join(cut.Layout, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		if data, _ := os.ReadFile(b); bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
			if err := os.Truncate(b, int64(len(data)/2)); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.refused(cut, "invalid", "cannot be read")

	// A release that the database does not cover is not an image without findings.
	files := debianFiles(t)
	files["etc/os-release"], files["etc/debian_version"] = osRelease("debian", "13"), "13.1\n"
	c.refused(makeImage(t, files), "unavailable", "knows nothing about debian 13")

	// Nothing of a distribution, nothing to find.
	if got := c.must(makeImage(t, map[string]string{"hello": "world"})).Result; got.Distro != "" || got.Packages != 0 || len(got.Findings) != 0 {
		t.Errorf("got %+v", got)
	}
}
