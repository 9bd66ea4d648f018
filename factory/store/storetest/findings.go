package storetest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

// scannedRelease is the nth release of an image, that day's scan of which found this.
func scannedRelease(image string, n int, findings ...factory.Finding) factory.Release {
	r := Release(image, n)
	r.Scan = Scan(n, findings...)
	return r
}

// days says what is remembered of findings: "CVE-1 openssl: seen 1, fix 2, fixed 3", in days.
func days(findings []factory.Finding) string {
	on := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return fmt.Sprint(int(t.Sub(day(0)) / (24 * time.Hour)))
	}
	var all []string
	for _, f := range findings {
		all = append(all, fmt.Sprintf("%s: seen %s, fix %s, fixed %s", f.Key(), on(f.FirstSeen), on(f.FixSeen), on(f.FixedSince)))
	}
	return strings.Join(all, "; ")
}

// expect checks what is remembered of everything that a query finds.
func expect(t *testing.T, s *store.Store, q store.FindingQuery, want string) {
	t.Helper()
	found, err := s.Findings(t.Context(), q)
	must(t, err)
	var all []factory.Finding
	for _, f := range found {
		all = append(all, f.Finding)
	}
	if got := days(all); got != want {
		t.Errorf("%+v:\n%s\nwant\n%s", q, got, want)
	}
}

func save(t *testing.T, s *store.Store, r factory.Release, scan factory.Scan) factory.Scan {
	t.Helper()
	got, err := s.SaveScan(t.Context(), r.ID, scan)
	must(t, err)
	return got
}

func findingsRemembered(t *testing.T, s *store.Store) {
	ctx := t.Context()
	cve1, cve2 := Finding("CVE-1", "openssl", ""), Finding("CVE-2", "zlib1g", "2")
	remember := func(n int, want string, findings ...factory.Finding) {
		t.Helper()
		got, err := s.Remember(ctx, "debian-12", Scan(n, findings...))
		must(t, err)
		if days(got.Findings) != want {
			t.Errorf("remembered %s, want %s", days(got.Findings), want)
		}
	}
	remember(1, "CVE-1 openssl: seen 1, fix -, fixed -; CVE-2 zlib1g: seen 1, fix 1, fixed -", cve2, cve1) // sorted
	expect(t, s, store.FindingQuery{}, "")                                                                 // nothing was recorded
	add(t, s, scannedRelease("debian-12", 1, cve1))
	cve1.Fixed, cve1.Version = "3.0.16", "3.0.15" // another version and a fix make no other finding
	remember(2, "CVE-1 openssl: seen 1, fix 2, fixed -", cve1)
	expect(t, s, store.FindingQuery{}, "CVE-1 openssl: seen 1, fix -, fixed -")

	second := scannedRelease("debian-12", 2, cve1, cve2)
	second.Scan.Findings[0].FirstSeen = night.AddDate(5, 0, 0) // what the caller believes is not asked
	add(t, s, second)
	expect(t, s, store.FindingQuery{}, "CVE-1 openssl: seen 1, fix 2, fixed -; CVE-2 zlib1g: seen 2, fix 2, fixed -")
	cve1.Fixed = "" // withdrawn: the first fix is remembered
	remember(3, "CVE-1 openssl: seen 1, fix 2, fixed -", cve1)

	other := scannedRelease("debian-13", 3, cve1)
	add(t, s, other)
	expect(t, s, store.FindingQuery{Image: "debian-13"}, "CVE-1 openssl: seen 3, fix -, fixed -") // by image
	found, err := s.Findings(ctx, store.FindingQuery{Image: "debian-12", Vulnerability: "CVE-1"})
	must(t, err)
	f := found[0]
	if f.Version != "3.0.15" || f.Image != "debian-12" || !f.LastSeen.Equal(day(2)) || f.Title != cve1.Title || len(f.Platforms) != 1 ||
		!reflect.DeepEqual(f.Releases, []string{second.ID, Release("debian-12", 1).ID}) {
		t.Errorf("found %+v", f)
	}
}

func findingsClosed(t *testing.T, s *store.Store) {
	cve1, cve2 := Finding("CVE-1", "openssl", ""), Finding("CVE-2", "zlib1g", "2")
	add(t, s, scannedRelease("debian-12", 1, cve1, cve2))
	second := scannedRelease("debian-12", 2, cve2)
	add(t, s, second)
	expect(t, s, store.FindingQuery{}, "CVE-1 openssl: seen 1, fix -, fixed 2; CVE-2 zlib1g: seen 1, fix 1, fixed -")
	save(t, s, second, Scan(3))
	want := "CVE-1 openssl: seen 1, fix -, fixed 2; CVE-2 zlib1g: seen 1, fix 1, fixed 3"
	expect(t, s, store.FindingQuery{}, want)
	save(t, s, second, Scan(4)) // still fixed since then
	expect(t, s, store.FindingQuery{Fixed: true}, want)
	expect(t, s, store.FindingQuery{Open: true}, "")

	cve1.Fixed = "3.0.16"
	add(t, s, scannedRelease("debian-12", 5, cve1)) // it is back
	expect(t, s, store.FindingQuery{Open: true}, "CVE-1 openssl: seen 1, fix 5, fixed -")

	unscanned := Release("debian-12", 6)
	unscanned.Scan = factory.Scan{}
	add(t, s, unscanned) // says nothing
	expect(t, s, store.FindingQuery{Open: true}, "CVE-1 openssl: seen 1, fix 5, fixed -")
}

// Data that may not know a finding does not close it.
func findingsByWeaker(t *testing.T, s *store.Store) {
	cves := []factory.Finding{Finding("CVE-1", "bash", ""), Finding("CVE-2", "gone", ""), Finding("CVE-3", "openssl", "3.0.16-1"), Finding("CVE-4", "zlib1g", "2"),
		Finding("CVE-5", "stdlib", "")}
	cves[4].Purl = "pkg:golang/stdlib" // of no lock
	add(t, s, scannedRelease("debian-12", 1, cves...))
	r := scannedRelease("debian-12", 2)
	r.Scan.Database = Database(factory.ArchiveDatabase, 2)
	r.Lock.Platforms[0].Packages = []factory.Package{
		{Name: "bash", Version: "9", Arch: "amd64"},
		{Name: "openssl", Version: "3.0.16-1~deb12u1", Arch: "amd64", SourceVersion: "1:3.0.16-1"}, // the source's version counts
		{Name: "zlib1g", Version: "3", Arch: "amd64", SourceVersion: "1.9"},
	}
	add(t, s, r)
	expect(t, s, store.FindingQuery{Fixed: true}, "CVE-2 gone: seen 1, fix -, fixed 2; CVE-3 openssl: seen 1, fix 1, fixed 2")
	expect(t, s, store.FindingQuery{Open: true}, "CVE-1 bash: seen 1, fix -, fixed -; CVE-4 zlib1g: seen 1, fix 1, fixed -; CVE-5 stdlib: seen 1, fix -, fixed -")

	older := Scan(3)
	older.Database = Database(factory.TrivyDatabase, 0)
	save(t, s, r, older) // the right kind, from before the findings
	expect(t, s, store.FindingQuery{Open: true}, "CVE-1 bash: seen 1, fix -, fixed -; CVE-4 zlib1g: seen 1, fix 1, fixed -; CVE-5 stdlib: seen 1, fix -, fixed -")

	archive := Scan(4, cves[0])
	archive.Database = Database(factory.ArchiveDatabase, 4)
	save(t, s, r, archive) // the other kind knows it now
	archive = Scan(5)
	archive.Database = Database(factory.ArchiveDatabase, 5)
	save(t, s, r, archive)
	expect(t, s, store.FindingQuery{Open: true}, "CVE-4 zlib1g: seen 1, fix 1, fixed -; CVE-5 stdlib: seen 1, fix -, fixed -")
	save(t, s, r, Scan(6))
	expect(t, s, store.FindingQuery{Open: true}, "")

	rpms := []factory.Finding{Finding("CVE-1", "openssl", "1:3.0.7-28.el9"), Finding("CVE-2", "bash", "5.1.8-10.el9"), Finding("CVE-3", "zlib", "")}
	for i := range rpms {
		rpms[i].Purl = "pkg:rpm/redhat/x"
	}
	add(t, s, scannedRelease("el9", 1, rpms...))
	el9 := scannedRelease("el9", 2)
	el9.Scan.Database = Database(factory.ArchiveDatabase, 2)
	el9.Lock.Platforms[0].Packages = []factory.Package{{Name: "bash", Version: "5.1.8-9.el9", Arch: "x86_64"}, {Name: "openssl", Version: "1:3.0.7-28.el9_4", Arch: "x86_64"}, {Name: "zlib", Version: "9", Arch: "x86_64"}}
	add(t, s, el9)
	expect(t, s, store.FindingQuery{Image: "el9", Open: true}, "CVE-2 bash: seen 1, fix 1, fixed -; CVE-3 zlib: seen 1, fix -, fixed -")
	bare := scannedRelease("el9", 3)
	bare.Lock, bare.Scan.Database = factory.Lock{}, Database("another", 3)
	add(t, s, bare) // without a lock, nothing is gone
	expect(t, s, store.FindingQuery{Image: "el9", Open: true}, "CVE-2 bash: seen 1, fix 1, fixed -; CVE-3 zlib: seen 1, fix -, fixed -")
}

// What an older release has is its own matter.
func findingsOfOlder(t *testing.T, s *store.Store) {
	cve1, cve2, cve3 := Finding("CVE-1", "openssl", ""), Finding("CVE-2", "zlib1g", ""), Finding("CVE-3", "bash", "")
	first, second := scannedRelease("debian-12", 1, cve1, cve2), scannedRelease("debian-12", 2, cve2)
	add(t, s, first)
	add(t, s, second)
	cve1.Fixed = "2"
	got := save(t, s, first, Scan(3, cve1)) // neither opens CVE-1 nor closes CVE-2; a fix is a fix
	if days(got.Findings) != "CVE-1 openssl: seen 1, fix 3, fixed 2" {
		t.Errorf("saved %s", days(got.Findings))
	}
	expect(t, s, store.FindingQuery{}, "CVE-1 openssl: seen 1, fix 3, fixed 2; CVE-2 zlib1g: seen 1, fix -, fixed -")
	expect(t, s, store.FindingQuery{Release: first.ID}, "CVE-1 openssl: seen 1, fix 3, fixed 2")

	// The newest was looked at before this was known: nobody can say yet whether it has it.
	save(t, s, first, Scan(4, cve1, cve3))
	expect(t, s, store.FindingQuery{Package: "bash"}, "CVE-3 bash: seen 4, fix -, fixed -")
	save(t, s, second, Scan(5, cve2))
	expect(t, s, store.FindingQuery{Package: "bash"}, "CVE-3 bash: seen 4, fix -, fixed 5")
	// The newest was looked at with the same data.
	late := Scan(5, cve1, cve3, Finding("CVE-4", "bash", ""))
	save(t, s, first, late)
	expect(t, s, store.FindingQuery{Vulnerability: "CVE-4"}, "CVE-4 bash: seen 5, fix -, fixed 5")

	unscanned := Release("debian-12", 6)
	unscanned.Scan, unscanned.Lock = factory.Scan{}, factory.Lock{}
	add(t, s, unscanned)
	save(t, s, second, Scan(7, cve2, Finding("CVE-5", "bash", "")))
	expect(t, s, store.FindingQuery{Vulnerability: "CVE-5"}, "CVE-5 bash: seen 7, fix -, fixed -")
}

// First seen never moves later, and the last scan is the one that was recorded last.
func findingsAndClocks(t *testing.T, s *store.Store) {
	cve := Finding("CVE-1", "openssl", "2")
	r := scannedRelease("debian-12", 10, cve)
	add(t, s, r)
	back := Scan(4, cve) // the clock ran back
	back.Database = r.Scan.Database
	save(t, s, r, back)
	expect(t, s, store.FindingQuery{}, "CVE-1 openssl: seen 4, fix 4, fixed -")
	last, err := s.LatestScan(t.Context(), r.ID)
	must(t, err)
	if !last.At.Equal(day(4)) {
		t.Errorf("the last scan is that of %v", last.At)
	}
	save(t, s, r, Scan(12, cve))
	expect(t, s, store.FindingQuery{}, "CVE-1 openssl: seen 4, fix 4, fixed -")
	found, err := s.Findings(t.Context(), store.FindingQuery{})
	must(t, err)
	if !found[0].LastSeen.Equal(day(12)) {
		t.Errorf("last seen %v", found[0].LastSeen)
	}
	gone := Scan(3)
	gone.Database = Database(factory.TrivyDatabase, 12)
	save(t, s, r, gone)
	expect(t, s, store.FindingQuery{}, "CVE-1 openssl: seen 4, fix 4, fixed 3")
}

func findingsAskedFor(t *testing.T, s *store.Store) {
	ctx := t.Context()
	critical, source, unknown := Finding("CVE-3", "openssl", "2"), Finding("CVE-2", "libssl3", ""), Finding("CVE-1", "bash", "")
	critical.Severity, source.Source, unknown.Severity = factory.Critical, "openssl", ""
	a, b := scannedRelease("debian-12", 1, critical, source, unknown), scannedRelease("debian-12", 2, source)
	a.Tag.Env, b.Tag.Env = factory.Dev, factory.Dev
	c := scannedRelease("debian-13", 1, critical)
	for _, r := range []factory.Release{a, b, c} {
		add(t, s, r)
	}
	must(t, s.Promote(ctx, entry(a, factory.Prod)))
	for q, want := range map[store.FindingQuery]string{
		{}:                         "CVE-3 openssl@debian-12, CVE-3 openssl@debian-13, CVE-2 libssl3@debian-12, CVE-1 bash@debian-12",
		{Limit: 2}:                 "CVE-3 openssl@debian-12, CVE-3 openssl@debian-13",
		{Limit: 1, Release: a.ID}:  "CVE-3 openssl@debian-12",
		{Image: "debian-12"}:       "CVE-3 openssl@debian-12, CVE-2 libssl3@debian-12, CVE-1 bash@debian-12",
		{Vulnerability: "CVE-3"}:   "CVE-3 openssl@debian-12, CVE-3 openssl@debian-13",
		{Package: "openssl"}:       "CVE-3 openssl@debian-12, CVE-3 openssl@debian-13, CVE-2 libssl3@debian-12",
		{Package: "libssl3"}:       "CVE-2 libssl3@debian-12",
		{Env: factory.Dev}:         "CVE-2 libssl3@debian-12",
		{Env: factory.Prod}:        "CVE-3 openssl@debian-12, CVE-3 openssl@debian-13, CVE-2 libssl3@debian-12, CVE-1 bash@debian-12",
		{Env: factory.Staging}:     "",
		{Open: true}:               "CVE-3 openssl@debian-13, CVE-2 libssl3@debian-12",
		{Fixed: true}:              "CVE-3 openssl@debian-12, CVE-1 bash@debian-12",
		{Open: true, Fixed: true}:  "CVE-3 openssl@debian-12, CVE-3 openssl@debian-13, CVE-2 libssl3@debian-12, CVE-1 bash@debian-12",
		{Release: b.ID}:            "CVE-2 libssl3@debian-12",
		{Release: a.ID, Env: "qa"}: "",
		{Release: "r-none"}:        "",
		{Image: "x\x00' OR 1=1"}:   "",
		{Env: factory.Prod, Package: "openssl", Vulnerability: "CVE-3", Image: "debian-13", Open: true, Limit: 3}: "CVE-3 openssl@debian-13",
	} {
		found, err := s.Findings(ctx, q)
		must(t, err)
		var all []string
		for _, f := range found {
			all = append(all, f.Key()+"@"+f.Image)
			if q.Release != "" && !reflect.DeepEqual(f.Releases, []string{q.Release}) {
				t.Errorf("%+v: in %q", q, f.Releases)
			}
		}
		if got := strings.Join(all, ", "); got != want {
			t.Errorf("%+v: %s, want %s", q, got, want)
		}
	}
}
