package oci

import (
	"crypto/md5"
	"crypto/sha256"
	"hash"

	"github.com/imagefactory/imagefactory/factory"
)

// format is how a package manager records what it installed.
type format struct {
	// sum is what it sums up the content of files with.
	sum func() hash.Hash
	// packages reads which package ships which file. It returns nil when the root says nothing of that.
	packages func(t *tree, s *spool, l lockedPackages) (*packages, error)
	// status reads what is installed, as name:architecture → state. Nil means that it cannot be told.
	status func(t *tree, s *spool, db *packages) (map[string]state, error)
	// updates says how often a package was updated since the release; 0 means it is as shipped.
	updates func(p factory.Package, archives []factory.Archive) int
}

var formats = map[factory.Format]format{
	factory.Deb: {md5.New, dpkgPackages, dpkgStatus, debUpdates},
	factory.RPM: {sha256.New, rpmPackages, rpmStatus, rpmUpdates},
}

// formatOf returns the format of an image's packages. A root of a family that nobody knows is not held to its lock.
func formatOf(h factory.Hardened) format {
	if f, ok := formats[h.Job.Image.Distro.Format()]; ok {
		return f
	}
	return format{md5.New, dpkgPackages, nil, debUpdates}
}

// sum is a digest of a file's content, filled up with zeros. One package manager never uses two that differ in length alone.
type sum [sha256.Size]byte

func sumOf(b []byte) (s sum) {
	copy(s[:], b)
	return s
}

// state is what the package database says of one package.
type state struct{ version, state string }

// gone reports whether nothing of the package is in use.
func (s state) gone() bool { return s.state == "not-installed" || s.state == "config-files" }
