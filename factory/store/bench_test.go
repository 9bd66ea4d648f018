package store_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
	"github.com/imagefactory/imagefactory/factory/store/storetest"
)

// BenchmarkStore measures a database of 10 images with 100 releases each (-short: 10), of 100 findings and 300 packages each.
func BenchmarkStore(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmark(b, filepath.Join(b.TempDir(), "factory.db")) })
	b.Run("postgres", func(b *testing.B) { benchmark(b, postgres(b).Database(b)) })
}

func benchmark(b *testing.B, url string) {
	ctx := b.Context()
	s, err := store.Open(ctx, url, store.Options{Now: time.Now})
	must(b, err)
	defer s.Close()
	began := time.Now()
	var r factory.Release
	each := 100
	if testing.Short() {
		each = 10
	}
	for n := range each {
		for i := range 10 {
			r = many(fmt.Sprintf("image-%d", i), n)
			must(b, storetest.Add(ctx, s, r))
		}
	}
	b.Logf("%v to add a release", time.Since(began)/time.Duration(10*each))
	size := func(n int, err error) int {
		must(b, err)
		return n
	}
	found := func(q store.FindingQuery) func() int {
		return func() int { all, err := s.Findings(ctx, q); return size(len(all), err) }
	}
	for _, c := range []struct {
		name string
		do   func() int
	}{
		{"findings, all", found(store.FindingQuery{})},
		{"findings, worst 20", found(store.FindingQuery{Limit: 20})},
		{"findings, one id", found(store.FindingQuery{Vulnerability: "CVE-2026-150"})},
		{"findings, open of an image", found(store.FindingQuery{Image: r.Image, Open: true})},
		{"findings, of a release", found(store.FindingQuery{Release: r.ID})},
		{"findings, in prod", found(store.FindingQuery{Env: factory.Prod})},
		{"last scan", func() int { scan, err := s.LatestScan(ctx, r.ID); return size(len(scan.Findings), err) }},
		{"remember", func() int { scan, err := s.Remember(ctx, r.Image, r.Scan); return size(len(scan.Findings), err) }},
		{"rescan", func() int { scan, err := s.SaveScan(ctx, r.ID, r.Scan); return size(len(scan.Findings), err) }},
		{"holding", func() int { all, err := s.Holding(ctx, "package-7"); return size(len(all), err) }},
		{"standing", func() int { all, err := s.Standing(ctx); return size(len(all), err) }},
		{"releases", func() int { all, err := s.Releases(ctx, store.Query{Env: factory.Prod}); return size(len(all), err) }},
		{"newest release", func() int {
			all, err := s.Releases(ctx, store.Query{Image: r.Image, Env: factory.Prod, Limit: 1})
			return size(len(all), err)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = c.do()
			}
			b.ReportMetric(float64(n), "rows")
		})
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// many is a release with much in it, a tenth of which is new.
func many(image string, n int) factory.Release {
	r := storetest.Release(image, n)
	r.ID = fmt.Sprintf("%s-%03d", r.ID, n)
	r.Scan.Findings = nil
	for i := range 100 {
		f := storetest.Finding(fmt.Sprintf("CVE-2026-%d", i+n/10*10), fmt.Sprintf("package-%d", i), "2")
		f.References = []string{"https://example.invalid/advisory/1", "https://example.invalid/advisory/2"}
		r.Scan.Findings = append(r.Scan.Findings, f)
	}
	for i := range 300 {
		r.Lock.Platforms[0].Packages = append(r.Lock.Platforms[0].Packages, factory.Package{Name: fmt.Sprintf("package-%d", i), Version: "1", Arch: "amd64"})
	}
	return r
}
