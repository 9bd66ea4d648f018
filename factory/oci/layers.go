package oci

import (
	"archive/tar"
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Layers are cut so that a later pull costs little: an update changes the layer that its package lies in and the
// configuration, so a package should share its layer with few bytes. Every layer costs a request, and some clients (a
// Docker without containerd's store) fetch all layers above a changed one again. Hence: large sources have a layer of
// their own, the many small ones share two, and what changes often for its size lies on top.
const (
	ownLayer  = 4 << 20 // unpacked bytes of one source's files from which on it has a layer of its own
	maxOwn    = 16      // such layers; a runtime stacks about 120 and children need some
	maxUpdate = 1000    // more updates than any release had
)

// The names of the layers; those of large sources are called "source perl".
const (
	release       = "release"       // packages as the release shipped them
	updates       = "updates"       // packages updated since
	configuration = "configuration" // what the build itself made
	filesystem    = "filesystem"    // all of it, when nothing says which package a file came from
)

var histories = map[string]string{
	release:       "factory: packages as released",
	updates:       "factory: packages updated since the release",
	configuration: "factory: configuration and state",
	filesystem:    "factory: root filesystem",
}

// group is what becomes one layer: its paths in order, parents included.
type group struct {
	name    string
	history string // empty = that of the name
	paths   []string
	size    int64 // bytes of its files
	weight  int64 // how often it is expected to change, compared with others
}

// local reports whether p lies where an installation keeps its own: such files are configuration, whoever ships them.
func local(p string) bool {
	top, _, _ := strings.Cut(p, "/")
	return slices.Contains([]string{"etc", "var", "home", "root"}, top)
}

// packageDirectory is the time of every directory in a package layer. It must be the same in all of them and change
// with none, so nothing in the directory can decide it.
var packageDirectory = time.Unix(0, 0).UTC()

// split decides every path's layer and gives every inode its final time. After it, times depend on package contents
// alone in the package layers, and on the timestamp alone in the configuration. The lowest layer comes first.
func (t *tree) split(db *packages, timestamp time.Time) []group {
	paths := append(t.root(), t.sorted()...)
	if db == nil {
		for _, n := range t.nodes {
			if n.mtime.After(timestamp) {
				n.mtime = timestamp
			}
		}
		return []group{{name: filesystem, paths: paths}}
	}
	owners := t.owners(paths, db, timestamp)
	t.date(owners, timestamp)
	groups := t.groups(owners)
	holders := map[string]map[*group]bool{} // of directories that are not empty
	for p := range owners {
		g := groups[owners[p]]
		for d := p; d != ""; {
			d = parent(d)
			if holders[d][g] {
				break // and so have those above
			}
			if holders[d] == nil {
				holders[d] = map[*group]bool{}
			}
			holders[d][g] = true
		}
	}
	for _, p := range paths {
		if pkg, leaf := owners[p]; leaf {
			groups[pkg].paths = append(groups[pkg].paths, p)
			continue
		}
		t.nodes[p].mtime = timestamp
		for g := range holders[p] {
			g.paths = append(g.paths, p)
			if g.name != configuration {
				t.nodes[p].mtime = packageDirectory
			}
		}
	}
	return stack(groups)
}

// root returns the root's own entry, only when it is not what every runtime assumes.
func (t *tree) root() []string {
	n := t.nodes[""]
	if n == nil || n.mode == 0o755 && n.uid == 0 && n.gid == 0 && len(n.xattrs) == 0 {
		return nil
	}
	return []string{""}
}

// owners returns the package of everything but directories that hold something; nil is configuration. All names of one
// inode have the same, or the image would hold it twice.
func (t *tree) owners(paths []string, db *packages, timestamp time.Time) map[string]*installed {
	full := map[string]bool{"": true}
	for _, p := range paths {
		full[parent(p)] = true
	}
	owners, shared := map[string]*installed{}, map[*inode]*installed{}
	for _, p := range paths {
		if full[p] {
			continue
		}
		n, pkg := t.nodes[p], (*installed)(nil)
		if !local(p) {
			pkg = db.owner(p, n, timestamp)
		}
		owners[p] = pkg
		if other, seen := shared[n]; !seen || other != nil && (pkg == nil || pkg.name < other.name) {
			shared[n] = pkg
		}
	}
	for p := range owners {
		owners[p] = shared[t.nodes[p]]
	}
	return owners
}

// date sets the times of what owners has, and adds up each source's files.
func (t *tree) date(owners map[string]*installed, timestamp time.Time) {
	counted := map[*inode]bool{}
	for p, pkg := range owners {
		n := t.nodes[p]
		if pkg == nil || n.kind != tar.TypeReg || counted[n] {
			continue
		}
		counted[n] = true
		pkg.source.size += n.size
		if n.mtime.Before(timestamp) && n.mtime.After(pkg.date) {
			pkg.date = n.mtime
		}
	}
	for p, pkg := range owners {
		switch n := t.nodes[p]; {
		case pkg == nil:
			n.mtime = timestamp
		case n.kind != tar.TypeReg || !n.mtime.Before(timestamp):
			// Links and empty directories are made by the installation; their package's time stands in.
			n.mtime = pkg.date
		}
	}
}

// groups returns each package's group; that of nil is the configuration.
func (t *tree) groups(owners map[string]*installed) map[*installed]*group {
	all := map[*source]bool{}
	for _, pkg := range owners {
		if pkg != nil {
			all[pkg.source] = true
		}
	}
	sources := slices.SortedFunc(maps.Keys(all), func(a, b *source) int {
		return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.name, b.name))
	})
	byName, bySource := map[string]*group{}, map[*source]*group{}
	for i, s := range sources {
		name := release
		switch {
		case i < maxOwn && s.size >= ownLayer:
			name = "source " + s.name
		case s.updates > 0:
			name = updates
		}
		g := byName[name]
		if g == nil {
			g = &group{name: name}
			byName[name] = g
		}
		bySource[s] = g
		g.size += s.size
		// What was never updated may be some day: a quarter of an update.
		g.weight += 4*int64(s.updates) + 1
	}
	groups := map[*installed]*group{nil: {name: configuration}}
	for _, pkg := range owners {
		if pkg != nil {
			groups[pkg] = bySource[pkg.source]
		}
	}
	return groups
}

// stack orders layers by how often a byte of them is expected to change, the configuration last. It leaves empty ones out.
func stack(groups map[*installed]*group) []group {
	all := map[*group]bool{}
	for _, g := range groups {
		all[g] = len(g.paths) > 0
	}
	maps.DeleteFunc(all, func(_ *group, used bool) bool { return !used })
	ordered := slices.SortedFunc(maps.Keys(all), func(a, b *group) int {
		switch {
		case a.name == configuration:
			return 1
		case b.name == configuration:
			return -1
		}
		return cmp.Or(cmp.Compare(a.weight*max(b.size, 1), b.weight*max(a.size, 1)), cmp.Compare(a.name, b.name))
	})
	stacked := make([]group, len(ordered))
	for i, g := range ordered {
		stacked[i] = *g
	}
	return stacked
}
