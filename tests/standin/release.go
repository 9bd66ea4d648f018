package standin

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// Release is what an archive looks like.
type Release string

// The releases.
const (
	RHEL9           Release = "redhat-9"
	AmazonLinux2    Release = "amazon-2"
	AmazonLinux2023 Release = "amazon-2023"
)

// Releases are all of them.
var Releases = []Release{RHEL9, AmazonLinux2, AmazonLinux2023}

// firstVersion is the release of Amazon Linux 2023 that the archive begins with.
const firstVersion = "2023.9.20251110"

// look is how a release differs from the others, apart from its packages.
type look struct {
	distro     factory.Distro
	archive    string // its id
	dist       string // dist tag of packages made up from a name
	compressor string // of the payload; those of Amazon Linux 2 cannot be zstd
	key        string // name of the key
	vendor     string
	listEnd    string // what a mirror list has after the folder
	include    []string
}

var minimal = []string{"bash", "ca-certificates", "grep", "libpwquality", "openssl-libs", "pam", "procps", "rpm", "shadow-utils", "tzdata", "util-linux"}

var looks = map[Release]look{
	RHEL9: {
		distro: factory.Distro{Family: factory.RedHat, Release: "9"}, archive: "redhat-ubi", dist: "el9", compressor: "zstd:3",
		key: "Stand-in for Red Hat, Inc.", vendor: "Red Hat stand-in",
		include: append([]string{"coreutils-single", "glibc-minimal-langpack", "microdnf", "redhat-release"}, minimal...),
	},
	AmazonLinux2: {
		distro: factory.Distro{Family: factory.Amazon, Release: "2"}, archive: "amazonlinux", dist: "amzn2", compressor: "gzip:6",
		key: "Stand-in for Amazon Linux 2", vendor: "Amazon Linux stand-in",
		include: append([]string{"coreutils", "glibc-minimal-langpack", "system-release", "yum"}, minimal...),
	},
	AmazonLinux2023: {
		distro: factory.Distro{Family: factory.Amazon, Release: "2023", Releasever: "latest"}, archive: "amazonlinux", dist: "amzn2023", compressor: "zstd:3",
		key: "Stand-in for Amazon Linux 2023", vendor: "Amazon Linux stand-in", listEnd: "/",
		include: append([]string{"coreutils-single", "glibc-minimal-langpack", "microdnf", "system-release"}, minimal...),
	},
}

// folder is where the repository of a machine lies below the archive's root, and blobs where its packages do, empty = in the
// repository itself. The guid stands for what was published when.
func (r Release) folder(repository, machine, guid string) string {
	switch r {
	case AmazonLinux2:
		return "2/core/2.0/" + machine + "/" + guid
	case AmazonLinux2023:
		return "al2023/core/guids/" + guid + "/" + machine
	}
	return "content/public/ubi/dist/ubi9/9/" + machine + "/" + repository + "/os"
}

func (r Release) blobs() string {
	return map[Release]string{AmazonLinux2: "blobstore", AmazonLinux2023: "al2023/blobstore"}[r]
}

// lists are the mirror lists that name a repository.
func (r Release) lists(machine, version string) []string {
	switch r {
	case AmazonLinux2:
		return []string{"2/core/latest/" + machine + "/mirror.list"}
	case AmazonLinux2023:
		return []string{"al2023/core/mirrors/" + version + "/" + machine + "/mirror.list", "al2023/core/mirrors/latest/" + machine + "/mirror.list"}
	}
	return nil
}

// Tops are the folders at the root of the archive.
func (a *Archive) Tops() []string {
	return map[Release][]string{RHEL9: {"content"}, AmazonLinux2: {"2", "blobstore"}, AmazonLinux2023: {"al2023"}}[a.Release]
}

// guid is 64 hex digits, as in the real archives.
func guid(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}
