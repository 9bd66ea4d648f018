package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/imagefactory/imagefactory/factory"

	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
)

// family is what is to be known of a distribution to find its advisories in a database of Trivy's form.
type family struct {
	name   ftypes.OSType
	bucket string // with %s for the release; without = one for all releases
	major  bool   // advisories are by major release
	rpm    bool   // its packages are RPMs, whose advisories are of binary packages
	build  bool   // advisories from archives can be written in its form
}

var families = []family{
	{name: ftypes.Debian, bucket: "debian %s", major: true, build: true},
	{name: ftypes.Ubuntu, bucket: "ubuntu %s", build: true},
	{name: ftypes.Amazon, bucket: "amazon linux %s", major: true, rpm: true, build: true},
	{name: ftypes.RedHat, bucket: redHat, major: true, rpm: true, build: true},
	{name: ftypes.CentOS, bucket: redHat, major: true, rpm: true},
	{name: ftypes.Alma, bucket: "alma %s", major: true, rpm: true},
	{name: ftypes.Rocky, bucket: "rocky %s", major: true, rpm: true},
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

// titleOf names the part for one release: the bucket, and the release too where all have one bucket.
func (f *family) titleOf(release string) string {
	if bucket := f.bucketOf(release); bucket != f.bucket {
		return bucket
	}
	return f.bucket + " " + release
}

// key is the name that a package is known by.
func (f *family) key(p ftypes.Package) string {
	if f.rpm {
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

// buildable returns the family and the release that advisories of a distribution are written for.
func buildable(d factory.Distro) (f *family, release string, err error) {
	f = familyOf(ftypes.OSType(d.Family))
	if f == nil || !f.build || d.Release == "" {
		return nil, "", &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("no database can be made for the distribution %.40q %.40q", d.Family, d.Release)}
	}
	release = f.release(d.Release)
	if _, bad := strconv.Atoi(release); f.bucket == redHat && bad != nil {
		return nil, "", &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%.40q is no release of Red Hat", d.Release)}
	}
	return f, release, nil
}
