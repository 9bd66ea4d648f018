package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy/pkg/detector/ospkg/redhat"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/goccy/go-yaml"
	bolt "go.etcd.io/bbolt"
)

// trivyFixtures makes a database of the extracts of real advisories that Trivy tests itself with.
func trivyFixtures(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	b, err := bolt.Open(db.Path(dir), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = b.Update(func(tx *bolt.Tx) error {
		var errs []error
		for _, name := range names {
			text, err := os.ReadFile(fixture(t, name))
			if err != nil {
				return err
			}
			var all []map[string]any
			errs = append(errs, yaml.Unmarshal(text, &all))
			for _, one := range all {
				root, err := tx.CreateBucketIfNotExists([]byte(fmt.Sprint(one["bucket"])))
				errs = append(errs, err, fill(root, one["pairs"]))
			}
		}
		return errors.Join(errs...)
	})
	meta := []byte(`{"Version":2,"UpdatedAt":"2026-11-20T12:00:00Z"}`)
	if err := errors.Join(err, b.Close(), os.WriteFile(filepath.Join(dir, "metadata.json"), meta, 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func fill(b *bolt.Bucket, pairs any) error {
	var errs []error
	list, _ := pairs.([]any)
	for _, p := range list {
		pair, _ := p.(map[string]any)
		if name, ok := pair["bucket"]; ok {
			below, err := b.CreateBucketIfNotExists([]byte(fmt.Sprint(name)))
			errs = append(errs, err, fill(below, pair["pairs"]))
			continue
		}
		v, err := json.Marshal(pair["value"])
		errs = append(errs, err, b.Put([]byte(fmt.Sprint(pair["key"])), v))
	}
	return errors.Join(errs...)
}

// Advisories of the public database are found, in the packages of a real one of rpm's; and the same as Trivy's own detector finds.
func TestPublicDatabase(t *testing.T) {
	c := converse(t)
	dir := trivyFixtures(t, "redhat.yaml", "cpe.yaml", "amazon.yaml", "data-source.yaml", "vulnerability.yaml")
	if got := c.must(scanner.Request{Op: scanner.Open, Dir: dir}).Database; got.Kind != factory.TrivyDatabase {
		t.Errorf("opened %+v", got)
	}
	s := rpmSystem{database: []string{"centos7-plain", "Packages"}, at: "var/lib/rpm/Packages", release: map[string]string{"etc/redhat-release": "Red Hat Enterprise Linux Server release 7.5 (Maipo)\n"}}
	got := c.must(makeImage(t, s.files(t))).Result
	want := []string{"CVE-2019-1559 openssl-libs", "CVE-2018-0734 openssl-libs", "CVE-2019-18276 bash"}
	if !slices.Equal(keys(got.Findings), want) || got.Packages != len(s.installed(t)) || got.NotLookedAt != nil || got.Distro != "redhat 7" {
		t.Fatalf("%q %d %q: found %+v", got.Distro, got.Packages, got.NotLookedAt, got.Findings)
	}
	if f := got.Findings[0]; f.Severity != factory.Moderate || f.SeverityBy != "redhat" || f.Fixed != "1:1.0.2k-19.el7" || f.Version != "1:1.0.2k-12.el7" || f.Advisory != "RHSA-2019:2304" || f.Source != "openssl" || !f.FixedOn.IsZero() {
		t.Errorf("got %+v", f)
	}
	if f := got.Findings[2]; f.Severity != factory.Low || f.Status != "will_not_fix" || f.Fixed != "" || f.Advisory != "" {
		t.Errorf("got %+v", f)
	}
	if matched := c.must(scanner.Request{Op: scanner.SBOM, SBOM: got.CycloneDX}).Result; !reflect.DeepEqual(matched.Findings, got.Findings) {
		t.Errorf("the SBOM gives\n%+v\nthe image\n%+v", matched.Findings, got.Findings)
	}
	var packages []ftypes.Package
	for _, p := range s.installed(t) {
		packages = append(packages, ftypes.Package{Name: p.Name, Version: p.Version, Release: p.Release, Epoch: p.EpochNum(), Arch: p.Arch})
	}
	theirs, err := redhat.NewScanner().Detect(t.Context(), "7.5", nil, packages)
	if err != nil || len(theirs) != len(want) {
		t.Fatal(theirs, err)
	}
	for _, v := range theirs {
		if !slices.Contains(want, v.VulnerabilityID+" "+v.PkgName) {
			t.Errorf("Trivy finds %+v", v)
		}
	}

	s.release = amazon2
	if got = c.must(makeImage(t, s.files(t))).Result; !slices.Equal(keys(got.Findings), []string{"CVE-2019-5481 curl", "CVE-2019-5436 curl"}) {
		t.Fatalf("found %+v", got.Findings)
	}
	if f := got.Findings[0]; f.Severity != factory.Moderate || f.SeverityBy != "amazon" || f.Fixed != "7.61.1-12.amzn2.0.1" || f.Data != "Amazon Linux Security Center" {
		t.Errorf("got %+v", f)
	}
}
