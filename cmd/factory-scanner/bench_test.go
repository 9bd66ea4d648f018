package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"

	"github.com/aquasecurity/trivy/pkg/cache"
	"github.com/aquasecurity/trivy/pkg/fanal/applier"
	"github.com/aquasecurity/trivy/pkg/fanal/artifact"
	imageartifact "github.com/aquasecurity/trivy/pkg/fanal/artifact/image"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
)

// One SBOM at most 10 ms, a thousand at most 15 s on two cores.
func BenchmarkSBOM(b *testing.B) {
	var s server
	if _, err := s.db.use(makeDatabase(b, manyAdvisories())); err != nil {
		b.Fatal(err)
	}
	defer s.db.close()
	doc := bomOf(96)
	for b.Loop() {
		if r := s.answer(scanner.Request{Op: scanner.SBOM, SBOM: doc}); r.Error != nil {
			b.Fatal(r.Error)
		}
	}
	if per := b.Elapsed() / time.Duration(b.N); per > 10*time.Millisecond {
		b.Errorf("%v an SBOM", per)
	}
}

// One SBOM of an RPM system of 150 packages takes at most 10 ms.
func BenchmarkRPM(b *testing.B) {
	a := factory.Advisories{Distro: redhat9, Updated: day}
	var packages [][]string
	for i := range 150 {
		name := fmt.Sprintf("p%d", i)
		packages, a.Known = append(packages, []string{name, "1-1.el9"}), append(a.Known, name)
		for j := range 10 { // of which the last update is missing
			a.List = append(a.List, factory.Advisory{Source: name, Vulnerability: fmt.Sprintf("CVE-2026-%d", i*10+j), Fixed: fmt.Sprintf("1-%d.el9", j/9+1), ID: fmt.Sprintf("RHSA-2026:%d", i*5+j/2), Date: day, Severity: factory.Low})
		}
	}
	var s server
	if _, err := s.db.use(makeDatabase(b, a)); err != nil {
		b.Fatal(err)
	}
	defer s.db.close()
	doc := rpmBOM(redhat9, "9.4", packages...)
	for b.Loop() {
		if r := s.answer(scanner.Request{Op: scanner.SBOM, SBOM: doc}); r.Error != nil {
			b.Fatal(r.Error)
		}
	}
	if per := b.Elapsed() / time.Duration(b.N); per > 10*time.Millisecond {
		b.Errorf("%v an SBOM", per)
	}
}

// BenchmarkImage compares a scan, with its SBOMs, to Trivy's library called directly, without any: at most 1.5 times as long.
// FACTORY_BENCH_LAYOUT and FACTORY_BENCH_DIGEST name an image in an OCI layout; otherwise it is a tiny one.
func BenchmarkImage(b *testing.B) {
	req := makeImage(b, debianFiles(b))
	if dir := os.Getenv("FACTORY_BENCH_LAYOUT"); dir != "" {
		req.Layout, req.Digest = dir, factory.Digest(os.Getenv("FACTORY_BENCH_DIGEST"))
	}
	var s server
	if _, err := s.db.use(makeDatabase(b, manyAdvisories())); err != nil {
		b.Fatal(err)
	}
	defer s.db.close()
	b.Run("factory", func(b *testing.B) {
		for b.Loop() {
			if r := s.answer(req); r.Error != nil {
				b.Fatal(r.Error)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			if err := directly(b.Context(), req); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func directly(ctx context.Context, req scanner.Request) error {
	img, err := findImage(req.Layout, req.Digest)
	if err != nil {
		return err
	}
	memory := cache.NewMemoryCache()
	a, err := imageartifact.NewArtifact(named{img, req.Name}, memory, artifact.Option{Type: ftypes.TypeContainerImage, Parallel: 5, Offline: true, DisabledAnalyzers: unwanted()})
	if err != nil {
		return err
	}
	ref, err := a.Inspect(ctx)
	if err != nil {
		return err
	}
	_, err = trivy(applier.NewApplier(memory)).Scan(ctx, ref.Name, ref.ID, ref.BlobIDs, options())
	return err
}
