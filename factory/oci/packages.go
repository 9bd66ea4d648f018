package oci

import (
	"archive/tar"
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// maxDatabase bounds one file of dpkg's database, in bytes.
const maxDatabase = 64 << 20

// source is a source package: its binary packages are updated together.
type source struct {
	name    string
	updates int   // since the release, as far as versions tell
	size    int64 // bytes of its files in the root
}

// installed is one package of the root.
type installed struct {
	name   string
	source *source        // nil when the lock does not know the package
	sums   map[string]sum // of its files' contents, by resolved path
	date   time.Time      // newest of its files as shipped; 1970 when it has none
}

// packages says which package ships which path. Paths are resolved.
type packages struct {
	owners map[string][]*installed // sorted by name
	listed map[string]state        // what is installed, where one database says both; RPM only
}

func (db *packages) owns(p string) bool { return len(db.owners[p]) > 0 }

// lockedPackages are the lock's packages of a platform by name and by name:architecture, with their sources.
type lockedPackages struct {
	packages map[string]factory.Package
	sources  map[string]*source
	updates  func(factory.Package) int
}

func (f format) locked(h factory.Hardened, platform factory.Platform) lockedPackages {
	l := lockedPackages{packages: map[string]factory.Package{}, sources: map[string]*source{}}
	l.updates = func(p factory.Package) int { return f.updates(p, h.Job.Image.Archives) }
	for _, p := range slices.Backward(h.Lock.For(platform)) {
		l.packages[p.Name] = p
		l.packages[p.Name+":"+p.Arch] = p
	}
	return l
}

// source returns the source package of an installed one, nil when the lock does not know it.
func (l lockedPackages) source(full string) *source {
	p, ok := l.packages[full]
	if !ok {
		return nil
	}
	from := cmp.Or(p.Source, p.Name)
	if l.sources[from] == nil {
		l.sources[from] = &source{name: from}
	}
	l.sources[from].updates = max(l.sources[from].updates, l.updates(p))
	return l.sources[from]
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
		case n.kind == tar.TypeReg && known && sum == n.sum:
			return pkg
		case n.kind == tar.TypeReg && (known || !n.mtime.Before(timestamp)):
		case likely == nil:
			likely = pkg
		}
	}
	return likely
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
