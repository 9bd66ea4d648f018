package oci

import (
	"archive/tar"
	"path"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// above leaves of a child's tree what it does not have from its parent: every path that differs in anything but its time, with all
// names of the file and the folders above it, and a whiteout for every path of the parent that is gone. A file keeps the time
// that it has in the parent's layer when nothing else of it changed.
func (t *tree) above(i *parentImage, s *spool) error {
	own, names := map[string]bool{}, map[*inode][]string{}
	for p, n := range t.nodes {
		names[n] = append(names[n], p)
		same, err := i.holds(p, n, s)
		if err != nil {
			return err
		}
		if !same && p != "" {
			own[p] = true
		}
		if same && p == "" {
			delete(t.nodes, "")
		}
	}
	for p := range own {
		for _, other := range names[t.nodes[p]] {
			own[other] = true
		}
	}
	for p := range i.files {
		if up := parent(p); t.nodes[p] == nil && p != "" && (up == "" || t.nodes[up] != nil && t.nodes[up].kind == tar.TypeDir) {
			at := path.Join(up, whiteout+path.Base(p))
			t.nodes[at] = &inode{kind: tar.TypeReg, mode: 0o644, data: []byte{}}
			own[at] = true
		}
	}
	for p := range own {
		for up := parent(p); up != "" && !own[up]; up = parent(up) {
			own[up] = true
		}
	}
	for p := range t.nodes {
		if p != "" && !own[p] {
			delete(t.nodes, p)
		}
	}
	return nil
}

// ownLayers makes of the groups of a child's own tree at most two layers: its packages, and the rest.
func ownLayers(groups []group, image string) (layers []group) {
	packages := group{name: image + " packages", history: "factory: packages of " + image}
	var rest []group
	for _, g := range groups {
		if g.name == configuration || g.name == filesystem {
			rest = append(rest, group{name: image + " " + g.name, history: "factory: " + g.name + " of " + image, paths: g.paths})
			continue
		}
		packages.paths = append(packages.paths, g.paths...)
	}
	slices.SortFunc(packages.paths, comparePaths)
	packages.paths = slices.Compact(packages.paths)
	if len(packages.paths) > 0 {
		layers = append(layers, packages)
	}
	return append(layers, rest...)
}

// checkChild refuses a child of which nobody says what it is built on.
func checkChild(h factory.Hardened) string {
	switch base := h.Job.Parent; {
	case h.Job.Image.From == "":
		return ""
	case base == nil:
		return "nothing says which release of " + h.Job.Image.From + " it is built on"
	case base.Image != h.Job.Image.From || base.Digest == "" || base.Repository == "":
		return "it is built on a release of " + base.Image + ", not of " + h.Job.Image.From
	}
	return ""
}
