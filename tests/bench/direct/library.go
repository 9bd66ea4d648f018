package main

import (
	"context"
	"slices"

	trivydb "github.com/aquasecurity/trivy-db/pkg/db"
	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	"github.com/aquasecurity/trivy/pkg/cache"
	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	"github.com/aquasecurity/trivy/pkg/fanal/applier"
	"github.com/aquasecurity/trivy/pkg/fanal/artifact"
	imageartifact "github.com/aquasecurity/trivy/pkg/fanal/artifact/image"
	"github.com/aquasecurity/trivy/pkg/fanal/image"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/scan/langpkg"
	"github.com/aquasecurity/trivy/pkg/scan/local"
	"github.com/aquasecurity/trivy/pkg/scan/ospkg"
	"github.com/aquasecurity/trivy/pkg/types"
	"github.com/aquasecurity/trivy/pkg/vulnerability"
)

// found is how much the library found.
type found struct{ packages, findings int }

// library scans the image in a layout with nothing cached, as Trivy's program does for "trivy image --input DIR --scanners vuln".
func library(ctx context.Context, layout string) (f found, err error) {
	img, err := image.NewArchiveImage(layout)
	if err != nil {
		return f, err
	}
	layers := cache.NewMemoryCache()
	a, err := imageartifact.NewArtifact(img, layers, artifact.Option{Type: ftypes.TypeContainerImage, DisabledAnalyzers: leftOut(), Parallel: 5, Offline: true, NoProgress: true})
	if err != nil {
		return f, err
	}
	content, err := a.Inspect(ctx)
	if err != nil {
		return f, err
	}
	backend := local.NewService(applier.NewApplier(layers), ospkg.NewScanner(), langpkg.NewScanner(), vulnerability.NewClient(trivydb.Config{}))
	report, err := backend.Scan(ctx, content.Name, content.ID, content.BlobIDs, types.ScanOptions{
		PkgTypes: types.PkgTypes, PkgRelationships: ftypes.Relationships, Scanners: types.Scanners{types.VulnerabilityScanner},
		VulnSeveritySources: []dbtypes.SourceID{"auto"},
	})
	for _, r := range report.Results {
		f.packages += len(r.Packages)
		f.findings += len(r.Vulnerabilities)
	}
	return f, err
}

// leftOut are the analyzers that Trivy's program does not use when it looks for vulnerabilities only.
func leftOut() []analyzer.Type {
	return slices.Concat(analyzer.TypeLockfiles, analyzer.TypeConfigFiles, []analyzer.Type{
		analyzer.TypeApkCommand, analyzer.TypeSecret, analyzer.TypeLicenseFile, analyzer.TypeHistoryDockerfile, analyzer.TypeExecutable, analyzer.TypeRpmArchive,
	})
}
