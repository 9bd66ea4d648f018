package upstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// survey is what came of the updateinfo of a release's repositories, by "archive repository".
type survey struct {
	repos  map[string]yum
	lacks  map[string]bool // for a platform at least there is none, or it cannot be read
	unread map[string]int
	opaque map[string]bool
	names  map[string]bool // of packages with advisories that cannot be read
	why    error
}

func (v *survey) note(repos []yum, all []reading) {
	for i, y := range repos {
		key, r := y.String(), all[i]
		v.repos[key] = y
		v.lacks[key] = v.lacks[key] || !r.has
		v.unread[key] = max(v.unread[key], r.unread) // each platform has the same
		v.opaque[key] = v.opaque[key] || r.opaque
		maps.Copy(v.names, r.names)
	}
}

// none reports whether no repository has updateinfo that was read.
func (v *survey) none() bool {
	for key := range v.repos {
		if !v.lacks[key] {
			return false
		}
	}
	return true
}

// knows reports whether all that a repository says of a package was read.
func (v *survey) knows(p factory.Package) bool {
	key := p.Archive + " " + p.Repository
	_, read := v.repos[key]
	return read && !v.lacks[key] && !v.opaque[key] && !v.names[p.Name]
}

// reasons is why something is missing, for a warning.
func (v *survey) reasons() (all []string) {
	if v.why != nil {
		all = append(all, oneLineOf(v.why))
	} else if v.none() {
		all = append(all, "no repository has updateinfo")
	}
	for _, key := range slices.Sorted(maps.Keys(v.repos)) {
		if n := v.unread[key]; n > 0 {
			all = append(all, unreadErrata(v.repos[key], n).Error())
		}
	}
	return all
}

// harvest reads the updateinfo of the repositories of a release's images.
func (s dnf) harvest(ctx context.Context, images []LockedImage) (factory.Advisories, error) {
	a := factory.Advisories{Distro: images[0].Image.Distro, Updated: s.Now().UTC().Truncate(time.Second)}
	all := newLedger(images)
	v := survey{map[string]yum{}, map[string]bool{}, map[string]int{}, map[string]bool{}, map[string]bool{}, nil}
	for _, group := range alike(images) {
		repos, err := yums(group, s.Archives)
		if err == nil {
			_, err = pinnedKeys(group, s.Now())
		}
		if err == nil {
			err = s.locate(ctx, repos)
		}
		if err != nil {
			return a, err
		}
		res, err := s.ask(ctx, "advisories", group, repos, nil)
		if err != nil {
			return a, err
		}
		if _, err := repomds(res.Output, repos, s.Now()); err != nil {
			return a, err
		}
		readings, err := errata(res.Output, repos, all.add)
		v.note(repos, readings)
		v.why = errors.Join(v.why, err)
	}
	if all.over {
		return a, &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("its repositories have more than %d advisories of the packages that are locked", all.room)}
	}
	if v.why != nil && v.none() {
		return a, v.why
	}
	return s.reap(a, images, all, &v), nil
}

// reap says of which packages something is known.
func (s dnf) reap(a factory.Advisories, images []LockedImage, all *ledger, v *survey) factory.Advisories {
	known := map[string]bool{}
	for _, i := range images {
		for _, lp := range i.Lock.Platforms {
			for _, p := range lp.Packages {
				known[p.Name] = known[p.Name] || v.knows(p)
			}
		}
	}
	names := s.advised(images)
	for _, name := range names {
		if known[name] {
			a.Known = append(a.Known, name)
		} else {
			a.Missing = append(a.Missing, name)
		}
	}
	a.Sources, a.List = len(a.Known), all.advisories()
	reasons := v.reasons()
	if len(a.Missing) > 0 || len(reasons) > 0 {
		text := fmt.Sprintf("the advisories of %s %s lack %d of %d packages", a.Distro.Family, a.Distro.Release, len(a.Missing), len(names))
		if len(a.Missing) > 0 {
			text += " (" + strings.Join(a.Missing, ", ") + ")"
		}
		if len(reasons) > 0 {
			text += ": " + strings.Join(reasons, "; ")
		}
		s.warn(images[0].Image.Name, text)
	}
	return a
}

func (s dnf) advised(images []LockedImage) []string {
	names := map[string]bool{}
	for _, i := range images {
		for _, lp := range i.Lock.Platforms {
			for _, p := range lp.Packages {
				names[p.Name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// alike returns one image for each set of repositories, platforms and keys that some of the images have, so that each is read once.
func alike(images []LockedImage) (all []factory.Image) {
	for _, l := range images {
		if !slices.ContainsFunc(all, func(i factory.Image) bool {
			return i.Distro == l.Image.Distro && slices.Equal(i.Keys, l.Image.Keys) && slices.Equal(i.Platforms, l.Image.Platforms) &&
				slices.EqualFunc(i.Archives, l.Image.Archives, sameRepository)
		}) {
			all = append(all, l.Image)
		}
	}
	return all
}

func sameRepository(a, b factory.Archive) bool {
	return a.ID == b.ID && a.Suite == b.Suite && a.Path == b.Path && a.MirrorList == b.MirrorList && a.UnsignedMetadata == b.UnsignedMetadata
}
