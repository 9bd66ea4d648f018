package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/aquasecurity/trivy-db/pkg/db"
	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	detector "github.com/aquasecurity/trivy/pkg/detector/ospkg"
	"github.com/aquasecurity/trivy/pkg/detector/ospkg/amazon"
	"github.com/aquasecurity/trivy/pkg/detector/ospkg/driver"
	"github.com/aquasecurity/trivy/pkg/detector/ospkg/redhat"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/scan/utils"
	"github.com/aquasecurity/trivy/pkg/types"
	rpm "github.com/knqyf263/go-rpm-version"
)

// keyPackage is what rpm's database calls the keys that it trusts. They are no packages, whatever they look like.
const keyPackage = "gpg-pubkey"

// rpmDrivers take the place of Trivy's own. That for Amazon Linux compares versions by Debian's rules, and passes over a package or
// an advisory whose version they do not allow, such as 1.0^git1; that for Red Hat leaves to chance which of two advisories it names.
func rpmDrivers() []detector.Option {
	return []detector.Option{
		detector.WithDriver(ftypes.Amazon, rpmDriver{Driver: amazon.NewScanner(), family: familyOf(ftypes.Amazon), advisories: amazonAdvisories}),
		detector.WithDriver(ftypes.RedHat, rpmDriver{Driver: redhat.NewScanner(), family: familyOf(ftypes.RedHat), advisories: redHatDriver{map[string][]int{}}.advisories}),
	}
}

// rpmDriver finds what is wrong with the packages of an RPM family.
type rpmDriver struct {
	driver.Driver // knows which releases are supported
	family        *family
	advisories    func(release string, p ftypes.Package) ([]dbtypes.Advisory, error)
}

// Detect returns the vulnerabilities of packages, in their order and sorted by id.
func (d rpmDriver) Detect(_ context.Context, version string, _ *ftypes.Repository, pkgs []ftypes.Package) (found []types.DetectedVulnerability, err error) {
	for _, p := range pkgs {
		all, err := d.advisories(d.family.release(version), p)
		if err != nil {
			return nil, err
		}
		installed, fixed := utils.FormatVersion(p), map[string]bool{"": false}
		for _, a := range lastFixes(all) {
			if _, known := fixed[a.FixedVersion]; !known { // comparing is slow, and one update fixes many
				fixed[a.FixedVersion] = !rpm.NewVersion(installed).LessThan(rpm.NewVersion(a.FixedVersion))
			}
			if !fixed[a.FixedVersion] {
				found = append(found, d.detected(p, installed, a))
			}
		}
	}
	return found, nil
}

func (d rpmDriver) detected(p ftypes.Package, installed string, a dbtypes.Advisory) types.DetectedVulnerability {
	fixed := rpm.NewVersion(a.FixedVersion)
	v := types.DetectedVulnerability{
		VulnerabilityID: a.VulnerabilityID, VendorIDs: a.VendorIDs, PkgID: p.ID, PkgName: p.Name, PkgIdentifier: p.Identifier, Layer: p.Layer,
		InstalledVersion: installed, FixedVersion: fixed.String(), Status: a.Status, DataSource: a.DataSource, Custom: a.Custom,
	}
	if a.Severity != dbtypes.SeverityUnknown {
		v.SeveritySource = dbtypes.SourceID(d.family.name)
		//lint:ignore SA1019 Trivy keeps what is here when SeveritySource says whose it is
		v.Severity = a.Severity.String()
	}
	return v
}

// lastFixes returns one advisory for each vulnerability, sorted: the one with the last fix, since an earlier one was not the end of it.
func lastFixes(all []dbtypes.Advisory) []dbtypes.Advisory {
	slices.SortFunc(all, func(a, b dbtypes.Advisory) int {
		if order := cmp.Compare(a.VulnerabilityID, b.VulnerabilityID); order != 0 || a.FixedVersion == b.FixedVersion {
			return cmp.Or(order, slices.Compare(a.VendorIDs, b.VendorIDs), cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Status, b.Status))
		}
		last := rpm.NewVersion(b.FixedVersion)
		return cmp.Or(last.Compare(rpm.NewVersion(a.FixedVersion)), slices.Compare(a.VendorIDs, b.VendorIDs), cmp.Compare(a.FixedVersion, b.FixedVersion))
	})
	return slices.CompactFunc(all, func(a, b dbtypes.Advisory) bool { return a.VulnerabilityID == b.VulnerabilityID })
}

func amazonAdvisories(release string, p ftypes.Package) ([]dbtypes.Advisory, error) {
	return db.Config{}.GetAdvisories(familyOf(ftypes.Amazon).bucketOf(release), p.Name)
}
