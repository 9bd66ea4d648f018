package definition

import (
	"errors"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// faults returns what is wrong with each of the broken images: its own problems, then those that are no image's, so that together
// they are all. What cannot be told apart is all of them. Owners is what is wrong with the lines about images in CODEOWNERS.
func (l *loader) faults(set Set, owners map[string]problems) map[string]error {
	at := map[string]problems{} // by input: an image's folder, or a file beside
	for _, p := range l.problems {
		at[l.input(p.Where.File)] = append(at[l.input(p.Where.File)], p)
	}
	own, claimed := map[string]error{}, map[string]bool{}
	for _, name := range set.Broken {
		if set.Behind[name] != "" {
			continue
		}
		own[name] = l.images[name].faults(at, owners)
		for _, p := range factory.Problems(own[name]) {
			claimed[p.Error()] = true
		}
	}
	all := slices.Clone(l.problems).err()
	var nobodys []error
	for _, p := range factory.Problems(all) {
		if !claimed[p.Error()] {
			nobodys = append(nobodys, p)
		}
	}
	for name, err := range own {
		if own[name] = errors.Join(append([]error{err}, nobodys...)...); err == nil {
			own[name] = all
		}
	}
	return own
}

// input names the input of images that a file belongs to.
func (l *loader) input(file string) string {
	if rest, inside := strings.CutPrefix(file, folder+"/"); inside {
		if name, _, deeper := strings.Cut(rest, "/"); deeper && l.images[name] != nil {
			return folder + "/" + name
		}
	}
	return file
}

// faults is what is wrong where an image's inputs are, what was found while it was read, and what is wrong with its owner.
func (r *read) faults(at, owners map[string]problems) error {
	own := slices.Clone(r.wrong)
	for _, input := range r.image.Inputs {
		own = append(own, at[input]...)
		own = append(own, owners[strings.TrimPrefix(input, folder+"/")]...)
	}
	if len(own) == 0 && r.image.Owner.Team == "" {
		own = append(own, at[ownersPath]...) // its team is none, or has no contact that can be used
	}
	return own.err()
}
