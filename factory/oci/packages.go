package oci

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	infoDir    = "var/lib/dpkg/info/"
	diversions = "var/lib/dpkg/diversions"
	// maxDatabase bounds one file of the package database, in bytes.
	maxDatabase = 64 << 20
)

// updated is the mark of a version made after the release: 1.2-3+deb12u1, 1.2-3~deb13u2.
var updated = regexp.MustCompile(`[+~]deb[0-9]+u([0-9]+)`)

// source is a source package: its binary packages are updated together.
type source struct {
	name    string
	updates int   // since the release, as far as versions tell
	size    int64 // bytes of its files in the root
}

// installed is one package of the root.
type installed struct {
	name   string
	source *source             // nil when the lock does not know the package
	sums   map[string][16]byte // of its files' contents, by resolved path
	date   time.Time           // newest of its files as shipped; 1970 when it has none
}

// packages says which package ships which path. Paths are resolved.
type packages struct {
	owners map[string][]*installed // sorted by name
}

func (db *packages) owns(p string) bool { return len(db.owners[p]) > 0 }

// readPackages reads dpkg's own records out of the root. It returns nil when there are none.
func readPackages(t *tree, s *spool, h factory.Hardened, platform factory.Platform) (*packages, error) {
	var lists []string
	for p, n := range t.nodes {
		if strings.HasPrefix(p, infoDir) && strings.HasSuffix(p, ".list") && n.kind == tar.TypeReg {
			lists = append(lists, p)
		}
	}
	if len(lists) == 0 {
		return nil, nil
	}
	slices.Sort(lists)
	moved, err := readDiversions(t, s)
	if err != nil {
		return nil, err
	}
	locked := map[string]factory.Package{}
	for _, p := range slices.Backward(h.Lock.For(platform)) {
		locked[p.Name] = p
		locked[p.Name+":"+p.Arch] = p
	}
	db, sources := &packages{owners: map[string][]*installed{}}, map[string]*source{}
	for _, list := range lists {
		full := strings.TrimSuffix(path.Base(list), ".list")
		name, _, _ := strings.Cut(full, ":")
		pkg := &installed{name: name, sums: map[string][16]byte{}, date: time.Unix(0, 0).UTC()}
		if l, ok := locked[full]; ok {
			from := cmp.Or(l.Source, l.Name)
			if sources[from] == nil {
				sources[from] = &source{name: from}
			}
			pkg.source = sources[from]
			pkg.source.updates = max(pkg.source.updates, updatesOf(l, h.Job.Image.Archives))
		}
		if err := db.add(t, s, strings.TrimSuffix(list, ".list"), pkg, moved); err != nil {
			return nil, err
		}
	}
	return db, nil
}

// add reads one package's files and their sums.
func (db *packages) add(t *tree, s *spool, base string, pkg *installed, moved map[string]diversion) error {
	where := func(p string) string {
		p = path.Clean("/" + p)
		if d, ok := moved[p]; ok && d.by != pkg.name {
			p = d.to
		}
		return t.resolve(p)
	}
	err := eachLine(t, s, base+".list", func(line string) {
		p := where(line)
		if t.nodes[p] != nil && !slices.Contains(db.owners[p], pkg) {
			db.owners[p] = append(db.owners[p], pkg)
		}
	})
	if err != nil {
		return err
	}
	return eachLine(t, s, base+".md5sums", func(line string) {
		sum, p, ok := strings.Cut(line, "  ")
		b, err := hex.DecodeString(sum)
		if ok && err == nil && len(b) == 16 {
			pkg.sums[where(p)] = [16]byte(b)
		}
	})
}

// owner returns the package that p came from as it is: nil when none ships it, when the build changed it since, or when
// the lock does not know the package. Of several the first by name, whatever their versions: a directory or link that
// many share must not change its layer because another of them is updated.
func (db *packages) owner(p string, n *inode, timestamp time.Time) *installed {
	var likely *installed
	for _, pkg := range db.owners[p] {
		if pkg.source == nil {
			continue
		}
		sum, known := pkg.sums[p]
		switch {
		case n.kind == tar.TypeReg && known && sum == n.md5:
			return pkg
		case n.kind == tar.TypeReg && (known || !n.mtime.Before(timestamp)):
		case likely == nil:
			likely = pkg
		}
	}
	return likely
}

// updatesOf says how often a package was updated since the release; 0 means it is as shipped. Kernels and the like carry
// no mark in their version, so an archive that offers nothing but updates tells too.
func updatesOf(p factory.Package, archives []factory.Archive) int {
	if m := updated.FindAllStringSubmatch(p.Version, -1); m != nil {
		n, err := strconv.Atoi(m[len(m)-1][1])
		if err != nil {
			return maxUpdate
		}
		return min(max(n, 1), maxUpdate)
	}
	from := slices.DeleteFunc(slices.Clone(archives), func(a factory.Archive) bool { return a.ID != p.Archive })
	if len(from) > 0 && !slices.ContainsFunc(from, func(a factory.Archive) bool {
		return !strings.HasSuffix(a.Suite, "-security") && !strings.HasSuffix(a.Suite, "-updates")
	}) {
		return 1
	}
	return 0
}

// diversion is a file of one package that gave way to another package's.
type diversion struct{ to, by string }

// readDiversions reads dpkg's list of files that lie elsewhere than their package says: lines of from, to, by whom.
func readDiversions(t *tree, s *spool) (map[string]diversion, error) {
	var lines []string
	if err := eachLine(t, s, diversions, func(l string) { lines = append(lines, l) }); err != nil {
		return nil, err
	}
	moved := map[string]diversion{}
	for triple := range slices.Chunk(lines, 3) {
		if len(triple) == 3 {
			moved[path.Clean("/"+triple[0])] = diversion{path.Clean("/" + triple[1]), triple[2]}
		}
	}
	return moved, nil
}

// eachLine calls f with every line that is not empty. A file that is not there has none.
func eachLine(t *tree, s *spool, p string, f func(string)) error {
	b, err := content(t, s, p)
	if err != nil {
		return err
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if sc.Text() != "" {
			f(sc.Text())
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	return nil
}

// content returns a small file's bytes, nil when it is not there.
func content(t *tree, s *spool, p string) ([]byte, error) {
	n := t.nodes[p]
	if n == nil || n.kind != tar.TypeReg {
		return nil, nil
	}
	if n.size > maxDatabase {
		return nil, fmt.Errorf("%s: %d bytes are too many", p, n.size)
	}
	b, err := io.ReadAll(s.open(n))
	return b, diskProblem(err)
}
