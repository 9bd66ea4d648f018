package upstream

import (
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// continued asks for the parent's packages too, by name: a solver that may choose must choose as it did for the parent.
func (req Request) continued() (Request, error) {
	if req.Parent == nil {
		return req, nil
	}
	everywhere := map[string]int{}
	for _, p := range req.Image.Platforms {
		for _, pkg := range req.Parent.For(p) {
			everywhere[pkg.Name]++
		}
	}
	include := slices.Clone(req.Image.Packages.Include)
	for name, n := range everywhere {
		if slices.Contains(req.Image.Packages.Exclude, name) {
			return req, &factory.Problem{Kind: factory.ErrInvalid, Where: req.Image.Where, What: fmt.Sprintf("%s excludes %s, which %s has", req.Image.Name, name, req.Parent.Image),
				Hint: "nothing of a parent can be left out but with only:, or where the parent is defined"}
		}
		if n >= len(req.Image.Platforms) { // one that a platform does not have cannot be asked for there
			include = append(include, name)
		}
	}
	slices.Sort(include)
	req.Image.Packages.Include = slices.Compact(include)
	return req, nil
}

// pinned reports whether the lock in force names the parent that there is now.
func (req Request) pinned() bool {
	switch {
	case req.Old == nil:
		return false
	case req.Parent == nil || req.Old.Parent == nil:
		return req.Parent == nil && req.Old.Parent == nil
	}
	pin, err := req.Parent.Pin()
	return err == nil && *req.Old.Parent == pin
}

// adopt makes a lock that of a child, and refuses one that does not hold all packages of the parent as they are.
func (req Request) adopt(lock *factory.Lock) (err error) {
	if req.Parent == nil {
		return nil
	}
	if lacks := lock.Lacks(*req.Parent); len(lacks) > 0 {
		first := lacks[0]
		what := fmt.Sprintf("%s has %s %s, and the archives offer %s now", req.Parent.Image, first.Name, first.Old, first.New)
		if first.New == "" {
			what = fmt.Sprintf("%s has %s %s, and the archives' solver leaves it out now", req.Parent.Image, first.Name, first.Old)
		}
		if n := len(lacks) - 1; n > 0 {
			what += fmt.Sprintf(", and %d more", n)
		}
		return &factory.Problem{Kind: factory.ErrConflict, What: what + ": the packages of " + req.Image.Name + " would not be those of its parent",
			Hint: strings.TrimSpace("lock both: factory lock " + req.Image.Name)}
	}
	*lock, err = lock.On(*req.Parent)
	return err
}
