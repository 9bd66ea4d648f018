package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"

	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
)

// family is what is to be known of a distribution to find its advisories in a database of Trivy's form.
type family struct {
	name   ftypes.OSType
	bucket string // with %s for the release; without = one for all releases
	major  bool   // advisories are by major release
	binary bool   // advisories are looked up by binary package
	build  bool   // advisories from changelogs can be written in its form: by package, one fixed version each
}

var families = []family{
	{name: ftypes.Debian, bucket: "debian %s", major: true, build: true},
	{name: ftypes.Ubuntu, bucket: "ubuntu %s", build: true},
	{name: ftypes.Amazon, bucket: "amazon linux %s", major: true, binary: true, build: true},
	{name: ftypes.RedHat, bucket: "Red Hat", major: true},
	{name: ftypes.CentOS, bucket: "Red Hat", major: true},
	{name: ftypes.Alma, bucket: "alma %s", major: true},
	{name: ftypes.Rocky, bucket: "rocky %s", major: true},
}

// familyOf returns nil for a distribution that the table does not have.
func familyOf(name ftypes.OSType) *family {
	i := slices.IndexFunc(families, func(f family) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return &families[i]
}

// release is the part of an image's own version that advisories go by: 12 of 12.8, 2023 of "2023.9.20250929 (Amazon Linux)".
func (f *family) release(version string) string {
	version, _, _ = strings.Cut(version, " ")
	if f.major {
		version, _, _ = strings.Cut(version, ".")
	}
	return version
}

func (f *family) bucketOf(release string) string {
	if !strings.Contains(f.bucket, "%s") {
		return f.bucket
	}
	return fmt.Sprintf(f.bucket, release)
}

// key is the name that the advisories of a package are under.
func (f *family) key(p ftypes.Package) string {
	if f.binary {
		return p.Name
	}
	return cmp.Or(p.SrcName, p.Name)
}

// distroOf names what was recognised: debian 12. Empty = nothing.
func distroOf(os ftypes.OS) string {
	release := os.Name
	if f := familyOf(os.Family); f != nil {
		release = f.release(os.Name)
	}
	return strings.TrimSpace(string(os.Family) + " " + release)
}

// buildBucket is where advisories of a distribution are written to.
func buildBucket(d factory.Distro) (string, error) {
	f := familyOf(ftypes.OSType(d.Family))
	if f == nil || !f.build || d.Release == "" {
		return "", &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("no database can be made for the distribution %.40q %.40q", d.Family, d.Release)}
	}
	return f.bucketOf(f.release(d.Release)), nil
}
