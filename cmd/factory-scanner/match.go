package main

import (
	"context"
	"errors"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"

	"github.com/aquasecurity/trivy-db/pkg/db"
	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	"github.com/aquasecurity/trivy/pkg/fanal/applier"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/scan/langpkg"
	"github.com/aquasecurity/trivy/pkg/scan/local"
	"github.com/aquasecurity/trivy/pkg/scan/ospkg"
	"github.com/aquasecurity/trivy/pkg/types"
	"github.com/aquasecurity/trivy/pkg/vulnerability"
	bolt "go.etcd.io/bbolt"
)

// options are how Trivy is to scan. Without PkgRelationships it would drop every package, without VulnSeveritySources every
// severity.
func options() types.ScanOptions {
	return types.ScanOptions{
		PkgTypes:            types.PkgTypes,
		PkgRelationships:    ftypes.Relationships,
		Scanners:            types.Scanners{types.VulnerabilityScanner},
		VulnSeveritySources: []dbtypes.SourceID{"auto"},
	}
}

// trivy matches what a (nil when only ScanTarget is used) has found in the layers of an image.
func trivy(a applier.Applier) local.Service {
	return local.NewService(a, ospkg.NewScanner(rpmDrivers()...), langpkg.NewScanner(), vulnerability.NewClient(db.Config{}))
}

// matched is what Trivy says of packages.
type matched struct {
	os      ftypes.OS
	results types.Results
	known   known // of the database
}

// packagesOnly takes away what rpm's database lists besides packages.
func packagesOnly(os ftypes.OS, results types.Results) types.Results {
	if f := familyOf(os.Family); f == nil || !f.rpm {
		return results
	}
	for i, part := range results {
		if part.Class == types.ClassOSPkg {
			results[i].Packages = slices.DeleteFunc(part.Packages, func(p ftypes.Package) bool { return p.Name == keyPackage })
		}
	}
	return results
}

// matchTarget matches packages against the open database.
func (s *server) matchTarget(ctx context.Context, target types.ScanTarget) (matched, error) {
	return reading(&s.db, func(d described) (matched, error) {
		if err := covered(target.OS, len(target.Packages)); err != nil {
			return matched{}, err
		}
		results, os, err := trivy(nil).ScanTarget(ctx, target, options())
		return matched{os, packagesOnly(os, results), d.known}, unreadable(err)
	})
}

// unreadable: matching in memory fails only where the database is not what it should be, or lacks what is needed.
func unreadable(err error) error {
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*factory.Problem](err); ok {
		return p
	}
	return damagedProblem(err)
}

// covered is ErrUnavailable when the open database knows nothing about the distribution that packages are of: no findings would
// look like good news.
func covered(os ftypes.OS, packages int) error {
	if packages == 0 {
		return nil
	}
	f := familyOf(os.Family)
	if f == nil {
		return nil
	}
	bucket := f.bucketOf(f.release(os.Name))
	return db.Config{}.Connection().View(func(tx *bolt.Tx) error {
		if tx.Bucket([]byte(bucket)) != nil {
			return nil
		}
		return unknownDistro(distroOf(os))
	})
}

func unknownDistro(distro string) error {
	return &factory.Problem{Kind: factory.ErrUnavailable, What: "the vulnerability database knows nothing about " + distro, Hint: "use one that does, or make one: " + update}
}

// result is m in the factory's terms.
func (m matched) result() *scanner.Result {
	r := &scanner.Result{Distro: distroOf(m.os), Findings: findings(m.results)}
	r.Packages, r.NotLookedAt = m.known.divide(m.os, m.results)
	return r
}
