package oci

import (
	"archive/tar"
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// inode is what hard links share: everything but the name.
type inode struct {
	kind   byte // tar.TypeReg, TypeDir, TypeSymlink, TypeFifo, TypeChar (any device)
	mode   int64
	uid    int
	gid    int
	mtime  time.Time // UTC, whole seconds
	target string    // symbolic links
	xattrs map[string]string

	size   int64
	offset int64  // of the content in the spool
	data   []byte // replaces the spool's content when not nil
	sum    sum    // of the content as it came, as the format sums files up; only where packages ship files
}

// tree is a root filesystem: clean paths without a leading slash ("" is the root itself) and what lies there.
type tree struct {
	nodes map[string]*inode
	links map[string]string // hard links whose target has not come yet
}

func newTree() *tree {
	return &tree{nodes: map[string]*inode{}, links: map[string]string{}}
}

// cleanName returns the path below the root that a tar entry names.
func cleanName(name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("entry without a name")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%.120q leaves the root", name)
		}
		// In a layer these names delete what lies below: a consumer would not see the file but lose another.
		if strings.HasPrefix(part, ".wh.") {
			return "", fmt.Errorf("%.120q would be a whiteout in a layer", name)
		}
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

// put sets what lies at p; a later entry replaces an earlier one, as unpacking would.
func (t *tree) put(p string, n *inode) {
	delete(t.links, p)
	t.nodes[p] = n
}

// link makes p another name of target, now or once target came.
func (t *tree) link(p, target string) {
	if n := t.nodes[target]; n != nil && p != target {
		t.put(p, n)
		return
	}
	delete(t.nodes, p)
	t.links[p] = target
}

// finish resolves what is pending, adds parents that the stream left out, and refuses what no filesystem could hold.
func (t *tree) finish() error {
	for _, p := range slices.Sorted(maps.Keys(t.links)) {
		target, seen := p, 0
		for t.nodes[target] == nil {
			next, ok := t.links[target]
			if seen++; !ok || seen > len(t.links) {
				return fmt.Errorf("%.120q is a hard link to %.120q, which is not there", p, t.links[p])
			}
			target = next
		}
		t.nodes[p] = t.nodes[target]
		delete(t.links, p)
	}
	for p, n := range t.nodes {
		if p == "" && n.kind != tar.TypeDir {
			return fmt.Errorf("the root is not a directory")
		}
	}
	for _, p := range slices.Sorted(maps.Keys(t.nodes)) {
		for d := parent(p); d != ""; d = parent(d) {
			switch n := t.nodes[d]; {
			case n == nil:
				t.nodes[d] = &inode{kind: tar.TypeDir, mode: 0o755, mtime: time.Unix(0, 0).UTC()}
			case n.kind != tar.TypeDir:
				return fmt.Errorf("%.120q lies below %.120q, which is not a directory", p, d)
			}
		}
	}
	return nil
}

// sorted returns every path below the root in the order of the layers: a directory before what it holds, siblings by
// their bytes.
func (t *tree) sorted() []string {
	paths := slices.Collect(maps.Keys(t.nodes))
	paths = slices.DeleteFunc(paths, func(p string) bool { return p == "" })
	slices.SortFunc(paths, comparePaths)
	return paths
}

// comparePaths orders as a walk does: "a/b" comes before "a-b", because "a" does.
func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == b[i]:
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		default:
			return cmp.Compare(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b))
}

// resolve returns where p really lies: the directories on the way are followed through symbolic links (/bin is usr/bin
// on a merged root), the last part is not.
func (t *tree) resolve(p string) string {
	dir, parts := "", strings.Split(strings.Trim(path.Clean("/"+p), "/"), "/")
	for hops := 0; len(parts) > 1; {
		next := path.Join(dir, parts[0])
		parts = parts[1:]
		n := t.nodes[next]
		if n == nil || n.kind != tar.TypeSymlink || hops > 40 {
			dir = next
			continue
		}
		hops++
		to := n.target
		if !path.IsAbs(to) {
			to = path.Join("/", dir, to)
		}
		if to = strings.Trim(path.Clean(to), "/"); to != "" {
			parts = append(strings.Split(to, "/"), parts...)
		}
		dir = ""
	}
	return path.Join(dir, parts[0])
}

func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}
