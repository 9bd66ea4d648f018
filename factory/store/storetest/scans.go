package storetest

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

func scans(t *testing.T, s *store.Store) {
	ctx := t.Context()
	r := Release("debian-12", 1)
	r.Scan = factory.Scan{}
	add(t, s, r)
	if last, err := s.LatestScan(ctx, r.ID); err != nil || last != nil {
		t.Errorf("the last scan of none: %+v, %v", last, err)
	}
	_, err := s.LatestScan(ctx, "r-none")
	refused(t, err, factory.ErrNotFound, "r-none")
	_, err = s.SaveScan(ctx, "r-none", Scan(1))
	refused(t, err, factory.ErrNotFound, "r-none")

	amd, arm := Finding("CVE-1", "openssl", ""), Finding("CVE-1", "openssl", "2")
	arm.Platforms = []factory.Platform{{OS: "linux", Architecture: "arm64"}}
	given := Scan(2, amd, Finding("CVE-0", "bash", ""), arm)
	given.At = given.At.In(time.FixedZone("CET", 3600)).Add(789 * time.Nanosecond)
	saved := save(t, s, r, given)
	if len(saved.Findings) != 2 || len(saved.Findings[1].Platforms) != 2 || !saved.Findings[1].FixSeen.Equal(day(2)) || given.Findings[0].FirstSeen != (time.Time{}) {
		t.Errorf("saved %+v", saved)
	}
	for range 2 { // the same again changes nothing
		last, err := s.LatestScan(ctx, r.ID)
		must(t, err)
		if !reflect.DeepEqual(*last, saved) {
			t.Errorf("last scan\n%+v\nwant\n%+v", *last, saved)
		}
		save(t, s, r, given)
	}
	clean := save(t, s, r, Scan(3))
	last, err := s.LatestScan(ctx, r.ID)
	must(t, err)
	if !reflect.DeepEqual(*last, clean) || last.Findings != nil || last.Packages != 96 || last.Database != clean.Database {
		t.Errorf("clean %+v", last)
	}
	// What it was released with stays as it was.
	whole, err := s.Release(ctx, r.ID)
	must(t, err)
	if whole.Scan.Findings != nil {
		t.Errorf("the release changed: %+v", whole.Scan)
	}

	long := strings.Repeat("x", 501)
	for name, bad := range map[string]factory.Scan{
		"no time": {Scanner: "x"}, "names a finding": Scan(1, Finding("", "x", "")), "in package \"\"": Scan(1, Finding("CVE-1", "", "")),
		"xxx": Scan(1, Finding("CVE-1", long, "")), "CVE 1": Scan(1, Finding("CVE 1", "x", "")),
	} {
		_, err := s.SaveScan(ctx, r.ID, bad)
		refused(t, err, factory.ErrInvalid, name)
		_, err = s.Remember(ctx, r.Image, bad)
		refused(t, err, factory.ErrInvalid, name)
	}
	odd := Finding("CVE-1", "a\x00b\xff'; DROP TABLE scans --", "\x00")
	odd.Purl = ""
	hostile := save(t, s, r, Scan(4, odd))
	if last, err := s.LatestScan(ctx, r.ID); err != nil || !reflect.DeepEqual(*last, hostile) || last.Findings[0].Package != "a\uFFFDb\uFFFD'; DROP TABLE scans --" {
		t.Errorf("hostile: %+v, %v", last, err)
	}
	expect(t, s, store.FindingQuery{Package: "a\x00b\xff'; DROP TABLE scans --"}, "CVE-1 a\uFFFDb\uFFFD'; DROP TABLE scans --: seen 4, fix 4, fixed -")
}

// Two nights that scan the same image leave one memory.
func scansRace(t *testing.T, s *store.Store) {
	r := scannedRelease("debian-12", 1)
	add(t, s, r)
	var many []factory.Finding
	for n := range 450 { // more than one statement's worth
		many = append(many, Finding(fmt.Sprintf("CVE-%03d", n), "openssl", "2"))
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			if _, err := s.SaveScan(t.Context(), r.ID, Scan(9-n, many...)); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := Add(t.Context(), s, scannedRelease("debian-12", 20+n, many[:400]...)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	found, err := s.Findings(t.Context(), store.FindingQuery{})
	must(t, err)
	if len(found) != 450 {
		t.Errorf("%d findings of 450", len(found))
	}
	for _, f := range found {
		if want := day(2); !f.FirstSeen.Equal(want) || !f.FixSeen.Equal(want) {
			t.Fatalf("%s was first seen %v, want %v", f.Key(), f.FirstSeen, want)
		}
	}
}
