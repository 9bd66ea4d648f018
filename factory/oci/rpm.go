package oci

import (
	"archive/tar"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// rpmDatabases are where rpm keeps its packages, by release and by form.
var rpmDatabases = []string{
	"var/lib/rpm/rpmdb.sqlite", "var/lib/rpm/Packages.db", "var/lib/rpm/Packages",
	"usr/lib/sysimage/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/Packages.db", "usr/lib/sysimage/rpm/Packages",
}

const (
	// maxRPMDatabase bounds it, in bytes; a large server has a tenth of that.
	maxRPMDatabase = 512 << 20
	// rpmKey is the name of entries that are keys, not packages.
	rpmKey = "gpg-pubkey"

	algorithmMD5    = 1 // OpenPGP's number, which rpm leaves out
	algorithmSHA256 = 8
)

// rpmPackages reads rpm's database out of the root. It returns nil when there is none.
func rpmPackages(t *tree, s *spool, l lockedPackages) (*packages, error) {
	b, where, err := rpmDatabase(t, s)
	if err != nil || b == nil {
		return nil, err
	}
	headers, err := headersOf(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	db := &packages{owners: map[string][]*installed{}, listed: map[string]state{}}
	var all []rpmPackage
	for _, h := range headers {
		p, err := parseHeader(h)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		if p.name != rpmKey {
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b rpmPackage) int { return strings.Compare(a.name, b.name) })
	for _, p := range all {
		key := p.name + ":" + p.arch
		if _, twice := db.listed[key]; twice {
			key += ":" + p.evr() // in no lock
		}
		db.listed[key] = state{p.evr(), "installed"}
		if err := db.addRPM(t, s, p, l.source(p.name+":"+p.arch)); err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
	}
	return db, nil
}

// rpmDatabase returns the root's only database, nil when it has none.
func rpmDatabase(t *tree, s *spool) (b []byte, where string, err error) {
	found := map[string]bool{}
	for _, p := range rpmDatabases {
		at := t.resolve(p)
		n := t.nodes[at]
		if n == nil || n.kind != tar.TypeReg || found[at] {
			continue
		}
		if found[at] = true; len(found) > 1 {
			return nil, "", fmt.Errorf("two package databases: %s and %s", where, at)
		}
		if n.size > maxRPMDatabase {
			return nil, "", fmt.Errorf("%s: %d bytes are too many", at, n.size)
		}
		if b, err = io.ReadAll(s.open(n)); err != nil {
			return nil, "", diskProblem(err)
		}
		where = at
	}
	return b, where, nil
}

// addRPM adds one package's files and their sums.
func (db *packages) addRPM(t *tree, s *spool, p rpmPackage, from *source) error {
	pkg := &installed{name: p.name, source: from, sums: map[string]sum{}, date: time.Unix(0, 0).UTC()}
	files, err := p.files()
	if err != nil {
		return err
	}
	for _, f := range files {
		at := t.resolve(f.path)
		n := t.nodes[at]
		if n == nil {
			continue
		}
		if o := db.owners[at]; len(o) == 0 || o[len(o)-1] != pkg {
			db.owners[at] = append(db.owners[at], pkg)
		}
		if n.kind != tar.TypeReg || f.digest == "" || local(at) {
			continue
		}
		same, err := n.is(s, f.digest, p.algorithm)
		if err != nil {
			return err
		}
		if same {
			pkg.sums[at] = n.sum
		} else {
			pkg.sums[at] = sum{}
		}
	}
	return nil
}

// is reports whether a file has the content that a digest names. One by an algorithm that is not known never fits.
func (n *inode) is(s *spool, digest string, algorithm uint32) (bool, error) {
	want, err := hex.DecodeString(digest)
	if err != nil {
		return false, nil
	}
	switch {
	case algorithm == algorithmSHA256:
		return sumOf(want) == n.sum, nil
	case algorithm > algorithmMD5:
		return false, nil
	}
	h := md5.New() // of packages from before 2009
	if _, err := io.Copy(h, s.open(n)); err != nil {
		return false, diskProblem(err)
	}
	return string(want) == string(h.Sum(nil)), nil
}

// rpmStatus is what the database lists.
func rpmStatus(_ *tree, _ *spool, db *packages) (map[string]state, error) {
	if db == nil {
		return nil, nil
	}
	return db.listed, nil
}

// rpmUpdated are the marks of versions made after the release. Red Hat's name the minor release that an update was made for,
// and count updates of an older one: 6.el9_5, 6.el9_5.1. Amazon's count every build: 3.amzn2023.0.4.
var (
	redhatUpdated = regexp.MustCompile(`\.el[0-9]+_[0-9]+(?:\.([0-9]+))?`)
	amazonUpdated = regexp.MustCompile(`\.amzn[0-9]+\.0\.([0-9]+)`)
)

// amazonReleased is how many builds most packages had when a release of Amazon Linux came out.
const amazonReleased = 2

// rpmUpdates says how often a package was updated since the release.
func rpmUpdates(p factory.Package, _ []factory.Archive) int {
	_, release, _ := strings.Cut(p.Version, "-")
	if m := redhatUpdated.FindStringSubmatch(release); m != nil {
		return max(number(m[1]), 1)
	}
	if m := amazonUpdated.FindStringSubmatch(release); m != nil {
		return max(number(m[1])-amazonReleased, 0)
	}
	return 0
}

// number reads digits, up to maxUpdate.
func number(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil && digits != "" {
		return maxUpdate
	}
	return min(n, maxUpdate)
}
