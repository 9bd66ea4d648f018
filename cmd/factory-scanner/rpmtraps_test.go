package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"

	"github.com/aquasecurity/trivy-db/pkg/db"
	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	"github.com/aquasecurity/trivy/pkg/detector/ospkg/amazon"
	"github.com/aquasecurity/trivy/pkg/detector/ospkg/redhat"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	bolt "go.etcd.io/bbolt"
)

// rpmBOM makes a document of packages, each as name, version with epoch, and modularity label if any.
func rpmBOM(d factory.Distro, version string, packages ...[]string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `{"bom-ref":"os","type":"operating-system","name":%q,"version":%q}`, d.Family, version)
	for i, p := range packages {
		label := ""
		if len(p) > 2 {
			label = fmt.Sprintf(`{"name":"aquasecurity:trivy:Modularitylabel","value":%q}`, p[2])
		}
		fmt.Fprintf(&b, `,{"bom-ref":"p%d","type":"library","name":%q,"purl":%q,"properties":[%s]}`, i, p[0], factory.Package{Name: p[0], Version: p[1], Arch: "x86_64"}.Purl(d), label)
	}
	return []byte(wrap(b.String()))
}

var (
	redhat8 = factory.Distro{Family: factory.RedHat, Release: "8"}
	redhat9 = factory.Distro{Family: factory.RedHat, Release: "9"}
	amzn2   = factory.Distro{Family: factory.Amazon, Release: "2"}
	amzn23  = factory.Distro{Family: factory.Amazon, Release: "2023"}
)

// versions are of their distributions, as os-release or system-release says.
var versions = map[factory.Distro]string{redhat8: "8.10", redhat9: "9.4", amzn2: "2 (Karoo)", amzn23: "2023.9.20251110 (Amazon Linux)"}

func keys(found []factory.Finding) (all []string) {
	for _, f := range found {
		all = append(all, f.Key())
	}
	return all
}

// Versions are compared by rpm's rules, in every family.
func TestRPMVersions(t *testing.T) {
	c := converse(t)
	for _, v := range []struct {
		installed, fixed string
		found            bool
	}{
		{"1.0-1", "1.0-2", true}, {"1.0-2", "1.0-2", false}, {"1.0-10", "1.0-9", false}, {"1.0-2", "0:1.0-2", false},
		{"9.0-1", "1:1.0-1", true}, {"1:1.0-1", "9.0-1", false}, {"1:1.0-1", "1:1.1-1", true}, // epoch
		{"2.0~rc1-1", "2.0-1", true}, {"2.0-1", "2.0~rc1-1", false}, {"2.0~rc1-1", "2.0~rc2-1", true}, // before
		{"1.0^git1-1", "1.0^git2-1", true}, {"1.0-1", "1.0^git1-1", true}, {"1.0^git1-1", "1.0-1", false}, {"1.0^git1-1", "1.0.1-1", true}, // after
		{"5.1.8-9.el9", "5.1.8-9.el9_4", true}, {"5.1.8-9.el9_4", "5.1.8-9.el9", false}, {"5.1.8-9.el9_4.2", "5.1.8-9.el9_4.10", true}, // minor releases
		{"7.61.1-12.amzn2", "7.61.1-12.amzn2.0.1", true}, {"7.61.1-12.amzn2.0.1", "7.61.1-12.amzn2", false}, {"9.11.4-26.P2.amzn2.5.2", "9.11.4-26.P2.amzn2.13", true},
		{"3.0.8-1.amzn2023.0.9", "3.0.8-1.amzn2023.0.10", true},
		{"1.0_1-1", "1.0.2-1", true}, {"1.0.2-1", "1.0_1-1", false}, {"1.0.1-1", "1.0_1-1", false}, // separators are all the same
		{"r12-1", "r13-1", true}, {"1.0a-1", "1.0.1-1", true}, {"1.001-1", "1.1-1", false}, // no digit first, letters, zeros
	} {
		for d, version := range versions {
			a := factory.Advisories{Distro: d, Updated: day, Known: []string{"a"}, List: []factory.Advisory{{Source: "a", Vulnerability: "CVE-1", Fixed: v.fixed, ID: "X-1"}}}
			c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t, a)})
			got := c.must(scanner.Request{Op: scanner.SBOM, SBOM: rpmBOM(d, version, []string{"a", v.installed})}).Result
			if found := len(got.Findings) == 1; found != v.found || got.Packages != 1 || found && (got.Findings[0].Version != v.installed || got.Findings[0].Fixed != v.fixed) {
				t.Errorf("%s %s: %s is fixed in %s: %+v", d.Family, d.Release, v.installed, v.fixed, got)
			}
		}
	}
}

// fixes is an advisory of the package a, with a severity of its own.
func fixes(cve, fixed, id string, severity factory.Severity, days int) factory.Advisory {
	return factory.Advisory{Source: "a", Vulnerability: cve, Fixed: fixed, ID: id, Severity: severity, Date: day.AddDate(0, 0, days), Title: "update of " + id}
}

// manyReleases are of one database. Those of one release are not found in another, and each has its own severity and number.
func manyReleases() []factory.Advisories {
	list := func(d factory.Distro, all ...factory.Advisory) factory.Advisories {
		return factory.Advisories{Distro: d, Updated: day, Known: []string{"a", "kernel"}, List: all}
	}
	other := advisories()
	other.List = append(other.List, factory.Advisory{Source: "glibc", Vulnerability: "CVE-1", Fixed: "9", Date: day, Title: "what it is"})
	return []factory.Advisories{
		list(redhat8, fixes("CVE-1", "1-8.el8", "RHSA-2026:8", factory.Low, 0), fixes("CVE-8", "1-8.el8", "RHSA-2026:8", factory.Moderate, 0)),
		list(redhat9, fixes("CVE-1", "1-9.el9", "RHSA-2026:9", factory.Critical, -9), fixes("CVE-1", "1-9.el9_4", "RHSA-2026:99", factory.High, -1), fixes("CVE-9", "1-7.el9", "", "", 0)),
		list(amzn2, fixes("CVE-1", "1-2.amzn2", "ALAS2-2026-2", factory.Moderate, 0), fixes("CVE-1", "1-1.amzn2", "ALAS2-2026-1", factory.Critical, -5)),
		list(amzn23, fixes("CVE-1", "1-2.amzn2023", "ALAS2023-2026-1", factory.High, 0), fixes("ALAS2023-2026-7", "1-3.amzn2023", "ALAS2023-2026-7", factory.Low, 0)),
		list(amzn23, factory.Advisory{Source: "kernel", Vulnerability: "CVE-2", Fixed: "7", ID: "ALAS2023-2026-2"}),
		other,
	}
}

func TestManyReleases(t *testing.T) {
	c := converse(t)
	dir := makeDatabase(t, manyReleases()...)
	opened := c.must(scanner.Request{Op: scanner.Open, Dir: dir}).Database
	checked := c.must(scanner.Request{Op: scanner.Check, Dir: dir}).Database
	if *opened != *checked || opened.Advisories != 12 {
		t.Errorf("opened %+v, checked %+v", opened, checked)
	}
	reversed := manyReleases()
	slices.Reverse(reversed)
	for _, name := range []string{"trivy.db", "metadata.json"} {
		one, err := os.ReadFile(filepath.Join(dir, name))
		two, bad := os.ReadFile(filepath.Join(makeDatabase(t, reversed...), name))
		if err != nil || bad != nil || !bytes.Equal(one, two) {
			t.Errorf("%s is another for the same advisories: %v, %v", name, err, bad)
		}
	}
	for d, want := range map[factory.Distro][]factory.Finding{
		redhat8: {{Vulnerability: "CVE-8", Severity: factory.Moderate, Fixed: "1-8.el8", Advisory: "RHSA-2026:8", FixedOn: day}, {Vulnerability: "CVE-1", Severity: factory.Low, Fixed: "1-8.el8", Advisory: "RHSA-2026:8", FixedOn: day}},
		redhat9: {{Vulnerability: "CVE-1", Severity: factory.High, Fixed: "1-9.el9_4", Advisory: "RHSA-2026:99", FixedOn: day.AddDate(0, 0, -1)}, {Vulnerability: "CVE-9", Severity: factory.Unknown, Fixed: "1-7.el9", FixedOn: day}},
		amzn2:   {{Vulnerability: "CVE-1", Severity: factory.Moderate, Fixed: "1-2.amzn2", Advisory: "ALAS2-2026-2", FixedOn: day}},
		amzn23:  {{Vulnerability: "CVE-1", Severity: factory.High, Fixed: "1-2.amzn2023", Advisory: "ALAS2023-2026-1", FixedOn: day}, {Vulnerability: "ALAS2023-2026-7", Severity: factory.Low, Fixed: "1-3.amzn2023", Advisory: "ALAS2023-2026-7", FixedOn: day}},
	} {
		got := c.must(scanner.Request{Op: scanner.SBOM, SBOM: rpmBOM(d, versions[d], []string{"a", "1-1"}, []string{"b", "1-1"}, []string{"gpg-pubkey", "1-1"})}).Result
		if got.Distro != d.Family+" "+d.Release || got.Packages != 1 || !slices.Equal(got.NotLookedAt, []string{"b"}) {
			t.Errorf("got %+v", got)
		}
		var have []factory.Finding
		for _, f := range got.Findings {
			have = append(have, factory.Finding{Vulnerability: f.Vulnerability, Severity: f.Severity, Fixed: f.Fixed, Advisory: f.Advisory, FixedOn: f.FixedOn})
			if f.Vulnerability == "CVE-1" && f.Title != "what it is" || f.Vulnerability == "CVE-8" && f.Title != "update of RHSA-2026:8" {
				t.Errorf("got %+v", f)
			}
		}
		if !reflect.DeepEqual(have, want) {
			t.Errorf("%s\nfound %+v\nwant  %+v", got.Distro, have, want)
		}
	}
	// Trivy's own detectors read it, too.
	one := []ftypes.Package{{Name: "a", Version: "1", Release: "1", Arch: "aarch64"}}
	theirs, err := redhat.NewScanner().Detect(t.Context(), "9.4", nil, one)
	if err != nil || len(theirs) != 2 || theirs[0].VulnerabilityID != "CVE-1" || theirs[0].FixedVersion != "1-9.el9_4" || theirs[0].VendorIDs[0] != "RHSA-2026:99" {
		t.Errorf("Trivy finds %+v, %v", theirs, err)
	}
	if theirs, err = amazon.NewScanner().Detect(t.Context(), versions[amzn2], nil, one); err != nil || len(theirs) != 1 || theirs[0].FixedVersion != "1-2.amzn2" {
		t.Errorf("Trivy finds %+v, %v", theirs, err)
	}
	c.refused(scanner.Request{Op: scanner.SBOM, SBOM: rpmBOM(factory.Distro{Family: factory.RedHat, Release: "10"}, "10.0", []string{"a", "1-1"})}, "unavailable", "nothing about redhat 10 from rhel-10-for-x86_64-baseos-rpms")
	c.refused(scanner.Request{Op: scanner.SBOM, SBOM: rpmBOM(factory.Distro{Family: factory.Amazon, Release: "2027"}, "2027", []string{"a", "1-1"})}, "unavailable", "nothing about amazon 2027")
}

// A module's package is looked up by its stream. Where an advisory does not say which stream it is of, such packages were not looked at.
func TestModules(t *testing.T) {
	c := converse(t)
	label := func(stream string) string { return "nodejs:" + stream + ":9030020231122:rhel9" }
	const fixed = "1:20.9.0-1.module+el9.3.0+1+0a"
	a := factory.Advisories{Distro: redhat9, Updated: day, Known: []string{"npm", "nodejs"}, List: []factory.Advisory{
		{Source: "npm", Module: "nodejs:20", Vulnerability: "CVE-1", Fixed: fixed, ID: "RHSA-1"},
		{Source: "npm", Vulnerability: "CVE-2", Fixed: "1:8.0-1.el9", ID: "RHSA-2"},
		{Source: "nodejs", Vulnerability: "CVE-3", Fixed: fixed, ID: "RHSA-1"},
	}}
	dir := makeDatabase(t, a)
	if got := c.must(scanner.Request{Op: scanner.Open, Dir: dir}).Database; got.Advisories != 2 {
		t.Errorf("opened %+v", got)
	}
	for name, p := range map[string]struct {
		pkg         []string
		found       []string
		notLookedAt []string
	}{
		"stream":             {[]string{"npm", "1:20.1-1.module+el9", label("20")}, []string{"CVE-1 npm"}, nil},
		"stream, fixed":      {[]string{"npm", fixed, label("20")}, nil, nil},
		"another stream":     {[]string{"npm", "1:18.1-1.module+el9", label("18")}, nil, nil},
		"no module":          {[]string{"npm", "1:7.0-1.el9"}, []string{"CVE-2 npm"}, nil},
		"unknown stream":     {[]string{"nodejs", "1:18.1-1.module+el9", label("18")}, nil, []string{"nodejs"}},
		"unknown, no module": {[]string{"nodejs", "1:16.1-1.el9"}, nil, nil},
		"no label":           {[]string{"npm", "1:7.0-1.el9", "nodejs"}, []string{"CVE-2 npm"}, nil},
	} {
		got := c.must(scanner.Request{Op: scanner.SBOM, SBOM: rpmBOM(redhat9, "9.4", p.pkg)}).Result
		if !slices.Equal(keys(got.Findings), p.found) || !slices.Equal(got.NotLookedAt, p.notLookedAt) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// What an image says of its repositories counts, and is in its SBOM; one that the database does not know is no image without findings.
func TestContentSets(t *testing.T) {
	c := converse(t)
	s := rpmSystems["rhel-9, sysimage"]
	packages := s.installed(t)
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t, s.advisories(packages))})
	scan := func(sets string) scanner.Request {
		files := s.files(t)
		files["root/buildinfo/content_manifests/x.json"] = `{"content_sets":[` + sets + `]}`
		return makeImage(t, files)
	}
	got := c.must(scan(`"ubi-9-for-aarch64-appstream-rpms__9","unheard-of-rpms"`)).Result
	s.foundRight(t, packages, got.Findings)
	matched := c.must(scanner.Request{Op: scanner.SBOM, SBOM: got.CycloneDX}).Result
	if !reflect.DeepEqual(matched.Findings, got.Findings) || !strings.Contains(string(got.CycloneDX), "ubi-9-for-aarch64-appstream-rpms") {
		t.Errorf("the SBOM gives %d findings, the image %d", len(matched.Findings), len(got.Findings))
	}
	c.refused(scan(`"unheard-of-rpms"`), "unavailable", "unheard-of-rpms")

	// Red Hat's own image, known by name and version.
	files := s.files(t)
	files["root/buildinfo/Dockerfile-ubi9-9.4-1"] = "FROM scratch\nLABEL com.redhat.component=ubi9-container\nLABEL architecture=x86_64\n"
	c.refused(makeImage(t, files), "unavailable", "ubi9-container-9.4-1-x86_64")
}

// An RPM system whose database cannot be read is no image without packages.
func TestUnreadableRPM(t *testing.T) {
	c := converse(t)
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t, manyReleases()...)})
	for name, text := range map[string]string{"none": "", "garbage": strings.Repeat("garbage", 1000)} {
		files := map[string]string{"etc/system-release": amazon2["etc/system-release"], "opt/x-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: x\nVersion: 1.0\n"}
		if text != "" {
			files["var/lib/rpm/Packages"] = text
		}
		t.Run(name, func(t *testing.T) {
			c := &talk{t: t, in: c.in, out: c.out, id: c.id}
			c.refused(makeImage(t, files), "invalid", "amazon 2 and has no database of rpm")
		})
	}
}

// A database of Debian's advisories has the bytes that it had before there were others.
func TestDebianDatabaseIsTheSame(t *testing.T) {
	if os.Getpagesize() != 4096 {
		t.Skip("bbolt lays pages out by their size")
	}
	b, err := os.ReadFile(db.Path(makeDatabase(t)))
	if sum := fmt.Sprintf("%x", sha256.Sum256(b)); err != nil || sum != "0a64a47522f58cc43b5e118ef10dae94a053ee8ef93812268197f6b3b9e3be04" {
		t.Errorf("%s, %v", sum, err)
	}
}

// Which of several advisories counts, and is named, does not depend on their order.
func TestLastFixes(t *testing.T) {
	all := []dbtypes.Advisory{
		{VulnerabilityID: "CVE-1", FixedVersion: "1.0-2", VendorIDs: []string{"RHSA-2"}, Severity: dbtypes.SeverityLow},
		{VulnerabilityID: "CVE-1", FixedVersion: "1.0-2", VendorIDs: []string{"RHSA-1"}, Severity: dbtypes.SeverityLow},
		{VulnerabilityID: "CVE-1", FixedVersion: "1.0-2", VendorIDs: []string{"RHSA-1"}, Severity: dbtypes.SeverityHigh},
		{VulnerabilityID: "CVE-1", FixedVersion: "1.00-2", VendorIDs: []string{"RHSA-3"}},
		{VulnerabilityID: "CVE-1", FixedVersion: "1.0-1", VendorIDs: []string{"RHSA-0"}, Severity: dbtypes.SeverityCritical},
		{VulnerabilityID: "CVE-1", Status: dbtypes.StatusAffected},
		{VulnerabilityID: "CVE-0", Status: dbtypes.StatusWillNotFix},
		{VulnerabilityID: "CVE-0", Status: dbtypes.StatusAffected},
	}
	want := []dbtypes.Advisory{all[7], all[2]}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if got := lastFixes(slices.Clone(all)); !reflect.DeepEqual(got, want) {
			t.Fatalf("of %+v\ngot %+v", all, got)
		}
	}
}

// An advisory that is not what it should be is a damaged database, never a package without findings.
func TestDamagedAdvisories(t *testing.T) {
	c := converse(t)
	for name, bad := range map[string]struct {
		buckets []string
		key     string
		distro  factory.Distro
	}{
		"Red Hat":    {[]string{redHat, "a"}, "RHSA-2026:9", redhat9},
		"repository": {[]string{redHatCPEs, "repository"}, "rhel-9-for-x86_64-baseos-rpms", redhat9},
		"Amazon":     {[]string{"amazon linux 2", "a"}, "CVE-1", amzn2},
	} {
		dir := makeDatabase(t, manyReleases()...)
		b, err := bolt.Open(db.Path(dir), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = b.Update(func(tx *bolt.Tx) error {
			return db.Config{}.PutAdvisory(tx, bad.buckets, bad.key, "nonsense")
		})
		if err := errors.Join(err, b.Close()); err != nil {
			t.Fatal(err)
		}
		c.must(scanner.Request{Op: scanner.Open, Dir: dir})
		t.Run(name, func(t *testing.T) {
			c := &talk{t: t, in: c.in, out: c.out, id: c.id}
			c.refused(scanner.Request{Op: scanner.SBOM, SBOM: rpmBOM(bad.distro, versions[bad.distro], []string{"a", "1-1"})}, "unverified", update)
		})
	}
}
