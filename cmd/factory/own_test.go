package main

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/e2e/fixture"
)

// holding gives a release an SBOM of these package URLs.
func holding(purls ...string) func(*factory.Release) {
	return func(r *factory.Release) {
		var components []string
		for _, p := range purls {
			components = append(components, fmt.Sprintf(`{"type":"library","name":"x","purl":%q}`, p))
		}
		bom := []byte(`{"bomFormat":"CycloneDX","components":[` + strings.Join(components, ",") + `]}`)
		r.Documents = []factory.Document{factory.NewDocument(factory.CycloneDX, fixture.Amd64.String(), fixture.Amd64, "application/json", bom)}
	}
}

// What an ancestor accepted of its wheels, jars and programs holds for these, and for nothing that somebody added above it.
func TestOwn(t *testing.T) {
	t.Parallel()
	const wheel, jar, program, moved = "pkg:pypi/setuptools@1", "pkg:maven/org.example/jar@2?type=jar", "pkg:golang/stdlib@v1.22", "pkg:pypi/requests"
	d := newDesk(t)
	d.child(t, "debian-12-app", "debian-12", "packages: {include: [perl]}\n")
	d.child(t, "debian-12-shop", "debian-12-app", "")
	d.release(t, "debian-12", 3*day, holding(wheel, moved+"@1", "pkg:deb/debian/bash@1.0-1?arch=amd64"))
	d.release(t, "debian-12-app", 2*day, holding(wheel, moved+"@1", jar))
	shop := d.release(t, "debian-12-shop", day, holding(wheel, moved+"@1", moved+"@2", jar, program))
	finding := func(name, purl string) factory.Finding {
		return factory.Finding{Vulnerability: "CVE-2026-7", Package: name, Purl: purl, Version: "1", Fixed: "9", Severity: factory.Critical}
	}
	scan := factory.Scan{Findings: []factory.Finding{finding("bash", "pkg:deb/debian/bash@1.0-1?arch=amd64"), finding("tzdata", ""), finding("setuptools", wheel),
		finding("org.example:jar", jar), finding("stdlib", program), finding("requests", moved+"@1"), finding("nobody-knows", ""), finding("unlisted", "pkg:pypi/unlisted@1")}}
	img := factory.Image{Name: "debian-12-shop", Waivers: []factory.Waiver{{ID: "CVE-2026-7", Inherited: "debian-12"}, {ID: "CVE-2026-7", Inherited: "debian-12-app"}}}
	c := d.command(t, nil)
	ask := func(job factory.Job) map[string][]string {
		t.Helper()
		own, err := c.own(t.Context(), job, shop.Lock, scan, func() ([]factory.Document, error) { return c.documentsOf(t.Context(), shop.ID, factory.CycloneDX) })
		must(t, err)
		return own
	}
	want := map[string][]string{
		"debian-12":     {"nobody-knows", "org.example:jar", "perl", "requests", "stdlib", "unlisted"},
		"debian-12-app": {"nobody-knows", "requests", "stdlib", "unlisted"},
	}
	if got := ask(factory.Job{Image: img, Parent: shop.Parent}); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	// What no waiver is about, nobody looks up.
	img.Waivers[1].ID = "CVE-2026-8"
	if got := ask(factory.Job{Image: img, Parent: shop.Parent}); len(got["debian-12-app"]) != 0 {
		t.Errorf("%q", got)
	}
	if got := ask(factory.Job{Image: img, Parent: &factory.Base{Image: "debian-12", Release: "nobody"}}); len(got) != 0 {
		t.Errorf("a release that nobody knows has %q", got)
	}
	if got := ask(factory.Job{Image: img}); got != nil {
		t.Errorf("an image of packages alone has %q", got)
	}
	broken := func() ([]factory.Document, error) {
		return []factory.Document{{Name: "linux/amd64", Data: []byte("no")}}, nil
	}
	if _, err := c.own(t.Context(), factory.Job{Image: img, Parent: shop.Parent}, shop.Lock, scan, broken); !errors.Is(err, factory.ErrUnverified) {
		t.Error(err)
	}
}

func TestSplitPurl(t *testing.T) {
	t.Parallel()
	for purl, want := range map[string]string{
		"": " ", "pkg:pypi/a@1": "pkg:pypi/a 1", "pkg:npm/@scope/a": "pkg:npm/@scope/a ", "pkg:golang/x/y@v1?type=m#sub/z": "pkg:golang/x/y v1", "pkg:npm/%40scope/a@1%2Bx": "pkg:npm/%40scope/a 1%2Bx",
	} {
		if pkg, version := splitPurl(purl); pkg+" "+version != want {
			t.Errorf("%q: %q %q", purl, pkg, version)
		}
	}
}
