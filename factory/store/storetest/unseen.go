package storetest

import (
	"reflect"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

// A scan that did not look at a package says nothing about it, whatever else is known of the package.
func findingsNotLookedAt(t *testing.T, s *store.Store) {
	cves := []factory.Finding{Finding("CVE-1", "bash", "5.2.15-2+b1"), Finding("CVE-2", "tar", ""), Finding("CVE-3", "zlib1g", "2")}
	add(t, s, scannedRelease("debian-12", 1, cves...))
	r := scannedRelease("debian-12", 2)
	r.Scan.NotLookedAt = []string{"tar", "bash", "tar"} // whose version fixes CVE-1, if anybody looked
	add(t, s, r)
	open := "CVE-1 bash: seen 1, fix 1, fixed -; CVE-2 tar: seen 1, fix -, fixed -"
	expect(t, s, store.FindingQuery{Open: true}, open)
	expect(t, s, store.FindingQuery{Fixed: true}, "CVE-3 zlib1g: seen 1, fix 1, fixed 2")
	last, err := s.LatestScan(t.Context(), r.ID)
	must(t, err)
	if !reflect.DeepEqual(last.NotLookedAt, []string{"bash", "tar"}) {
		t.Errorf("not looked at %q", last.NotLookedAt)
	}
	whole, err := s.Release(t.Context(), r.ID)
	must(t, err)
	if !reflect.DeepEqual(whole.Scan.NotLookedAt, last.NotLookedAt) {
		t.Errorf("the release has %q", whole.Scan.NotLookedAt)
	}

	// What an older release turns out to have is not fixed in the newest one merely because that was scanned.
	save(t, s, Release("debian-12", 1), Scan(2, append(cves, Finding("CVE-4", "tar", ""), Finding("CVE-5", "zlib1g", ""))...))
	expect(t, s, store.FindingQuery{Package: "tar", Open: true}, "CVE-2 tar: seen 1, fix -, fixed -; CVE-4 tar: seen 2, fix -, fixed -")
	expect(t, s, store.FindingQuery{Vulnerability: "CVE-5"}, "CVE-5 zlib1g: seen 2, fix -, fixed 2")

	same := Scan(3) // another scan, even if it differs in nothing else
	same.NotLookedAt = []string{"bash"}
	save(t, s, r, same)
	expect(t, s, store.FindingQuery{Open: true}, "CVE-1 bash: seen 1, fix 1, fixed -")
	same.NotLookedAt = nil
	save(t, s, r, same)
	expect(t, s, store.FindingQuery{Open: true}, "")
	if last, err = s.LatestScan(t.Context(), r.ID); err != nil || last.NotLookedAt != nil {
		t.Errorf("not looked at %q, %v", last.NotLookedAt, err)
	}
	hostile := Scan(4)
	hostile.NotLookedAt = []string{"a\x00b\xff'; DROP TABLE scans --"}
	save(t, s, r, hostile)
	if last, err = s.LatestScan(t.Context(), r.ID); err != nil || !reflect.DeepEqual(last.NotLookedAt, []string{"a\uFFFDb\uFFFD'; DROP TABLE scans --"}) {
		t.Errorf("not looked at %q, %v", last.NotLookedAt, err)
	}
}
