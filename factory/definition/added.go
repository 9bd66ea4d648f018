package definition

import (
	"path"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	maxAdded  = 4 << 20  // bytes of one file that a child gets, and
	maxAddeds = 16 << 20 // of all of them
	addedDir  = "files"
)

// added reads the files that a child gets, sorted by their paths in the image.
func (l *loader) added(name string, f imageFile) (all []factory.AddedFile) {
	paths, used := map[string]text{}, map[string]bool{}
	size := 0
	for _, a := range f.Files {
		if first, twice := paths[a.Path.Value]; twice {
			l.problems.add(a.Path.At, "keep one of them", "files: %s is there twice, first in line %d", a.Path.Value, first.At.Line)
		}
		paths[a.Path.Value] = a.Path
		used[a.Source.Value] = true
		b, err := l.tree.read(l.in(name, a.Source.Value), maxAdded)
		if size += len(b); err == nil && size > maxAddeds {
			l.problems.add(a.Where, "put large files into a package", "files: more than %d bytes together", maxAddeds)
			return nil
		}
		if err != nil {
			l.problems.add(a.Source.At, nearest(a.Source.Value, l.sources(name)), "files: %s: %v", a.Source.Value, reason(err))
			continue
		}
		all = append(all, factory.AddedFile{Path: a.Path.Value, Source: a.Source.Value, Mode: permissions(a.Mode.Value), Owner: owner(a.Owner.Value), Data: b})
	}
	if f.Dockerfile.Value == "" && len(f.Files) > 0 {
		for _, s := range l.sources(name) {
			if !used[s] {
				l.problems.add(factory.Position{File: l.in(name, s)}, "name it under files: in "+imageFileName+", or remove it", "the image does not get this file")
			}
		}
	}
	if file := f.Dockerfile; file.Value != "" {
		if _, err := l.tree.stat(l.in(name, file.Value)); err != nil {
			l.problems.add(file.At, "make it, with FROM "+f.From.Value, "dockerfile: %s: %v", file.Value, reason(err))
		}
		l.sources(name) // tells what cannot be a context
	}
	slices.SortFunc(all, func(a, b factory.AddedFile) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// sources lists what lies below files/ of an image's folder; what is there and must not be is told.
func (l *loader) sources(name string) (all []string) {
	var walk func(string)
	walk = func(dir string) {
		entries, err := l.tree.list(l.in(name, dir))
		l.problems.join(err)
		for _, e := range entries {
			if p := path.Join(dir, e.Name()); e.IsDir() {
				walk(p)
			} else if _, err := l.tree.stat(l.in(name, p)); err != nil {
				l.problems.join(err)
			} else {
				all = append(all, p)
			}
		}
	}
	walk(addedDir)
	return all
}

// reason is what a file error says beyond the place, which whoever tells it knows better.
func reason(err error) string {
	if p, ok := err.(*factory.Problem); ok {
		return p.What
	}
	return "there is no such file"
}

func permissions(octal string) uint32 {
	mode := uint32(0)
	for _, d := range octal {
		mode = mode<<3 | uint32(d-'0')
	}
	if octal == "" {
		return 0o644
	}
	return mode
}

func owner(user string) string {
	switch {
	case user == "":
		return "0:0"
	case !strings.Contains(user, ":"):
		return user + ":" + user
	}
	return user
}
