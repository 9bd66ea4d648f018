package rebase

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// view is what a stack of layers looks like from above, by path.
type view map[string]factory.LayerFile

// stack lays layers on each other, the lowest first.
func stack(layers ...[]factory.Content) view {
	v := view{}
	for _, some := range layers {
		for _, l := range some {
			v.lay(l)
		}
	}
	return v
}

// lay puts one layer on top. What it takes away it takes from the layers below, whatever the order of its entries.
func (v view) lay(l factory.Content) {
	var gone []string
	for _, f := range l.Files {
		switch f.Kind {
		case factory.Whiteout:
			delete(v, f.Path)
			gone = append(gone, f.Path)
		case factory.Emptied:
			gone = append(gone, parent(f.Path))
		case factory.Directory:
		default:
			if v[f.Path].Kind == factory.Directory {
				gone = append(gone, f.Path)
			}
		}
	}
	if len(gone) > 0 {
		covered := covers(gone)
		maps.DeleteFunc(v, func(p string, _ factory.LayerFile) bool { return covered(p) })
	}
	for _, f := range l.Files {
		if f.Kind != factory.Whiteout && f.Kind != factory.Emptied {
			v[f.Path] = f
		}
	}
}

// covers reports for a path whether it lies below one of those.
func covers(dirs []string) func(p string) bool {
	set := map[string]bool{}
	for _, d := range dirs {
		set[d] = true
	}
	return func(p string) bool {
		for p != "" {
			p = parent(p)
			if set[p] {
				return true
			}
		}
		return false
	}
}

func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}

// sorted returns the paths in the order of the layers: parents first.
func (v view) sorted() []string {
	return slices.SortedFunc(maps.Keys(v), func(a, b string) int {
		return cmp.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
	})
}

// at returns what an absolute path leads to, through symbolic links.
func (v view) at(p string) (factory.LayerFile, bool) {
	p = strings.Trim(path.Clean("/"+p), "/")
	for hops := 0; hops < 40; hops++ {
		next, moved := v.follow(p)
		if !moved {
			f, ok := v[p]
			return f, ok
		}
		p = next
	}
	return factory.LayerFile{}, false
}

// follow resolves the first symbolic link on the way to p.
func (v view) follow(p string) (string, bool) {
	for i := 0; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		f := v[p[:i]]
		if f.Kind != factory.SymLink {
			continue
		}
		to := f.Target
		if !path.IsAbs(to) {
			to = path.Join("/", parent(p[:i]), to)
		}
		return strings.Trim(path.Clean(to+p[i:]), "/"), true
	}
	return p, false
}

// same reports whether two paths hold the same. A path that is not there is the zero value.
func same(a, b factory.LayerFile) bool {
	return sameMeta(a, b) && a.Target == b.Target && a.Sum == b.Sum
}

func sameMeta(a, b factory.LayerFile) bool {
	return a.Kind == b.Kind && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.Attrs == b.Attrs
}
