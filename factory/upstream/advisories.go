package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// LockedImage is an image and a lock of it.
type LockedImage struct {
	Image factory.Image
	Lock  factory.Lock
}

// Advisories reads what was fixed in each distribution release from the archives themselves, sorted by family and release. newest are images
// with locks as Solve makes them now. Of Debian it reads the changelogs of the packages: an older lock has older changelogs, which do not know
// the newest fixes. Of each source package one small binary package is fetched, once: s.Cache keeps its changelog. Of RPM families it reads the
// updateinfo of the images' repositories.
//
// A package whose changelog was read, or whose repository has updateinfo, is named in Known; one of which that cannot be had in Missing, and a
// warning says why. Updated is of Debian the date of the security suite, the one that fixes come by: another suite that is newer does not make
// it look fresh. Of RPM, whose releases may stay as they are for ever, it is when the repositories were read, which is now.
//
// A release that cannot be read takes no other's advisories away: all its packages are Missing then, as of now, and a warning says why. Only
// when none can be read there are errors: ErrUnavailable or ErrUnverified when a Release file, a repository, or all that a release has to say
// cannot be had, ErrInvalid when its archives are unknown; and in any case ErrInvalid when an image is of a family that the factory does not know.
func (s Solver) Advisories(ctx context.Context, newest []LockedImage) ([]factory.Advisories, error) {
	releases := map[string][]LockedImage{}
	var order []factory.Distro
	for _, l := range newest {
		d := l.Image.Distro
		if d.Format() == "" || d.Release == "" {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, Where: l.Image.Where, What: fmt.Sprintf("%s is of %q, and nothing is known of its advisories", l.Image.Name, d.Family+" "+d.Release)}
		}
		key := d.Family + " " + d.Release
		if releases[key] == nil {
			order = append(order, d)
		}
		releases[key] = append(releases[key], l)
	}
	slices.SortFunc(order, func(a, b factory.Distro) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), compareVersions(a.Release, b.Release))
	})
	all := make([]factory.Advisories, len(order))
	errs := make([]error, len(order))
	for i, d := range order {
		var err error
		all[i], err = s.adapter(d).harvest(ctx, releases[d.Family+" "+d.Release])
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			errs[i] = fmt.Errorf("advisories of %s %s: %w", d.Family, d.Release, err)
		}
	}
	if len(order) > 0 && !slices.Contains(errs, nil) {
		if len(errs) == 1 {
			return nil, errs[0]
		}
		return nil, errors.Join(errs...)
	}
	for i, d := range order {
		if errs[i] != nil {
			all[i] = s.unheard(d, releases[d.Family+" "+d.Release], errs[i])
		}
	}
	if err := (shelf{s.Cache}).prune(shelfRoom); err != nil {
		s.warn(newest[0].Image.Name, "old changelogs stay in the cache: "+err.Error())
	}
	return all, nil
}

// unheard is what is known of a release that could not be read: nothing.
func (s Solver) unheard(d factory.Distro, images []LockedImage, why error) factory.Advisories {
	a := factory.Advisories{Distro: d, Updated: s.Now().UTC().Truncate(time.Second), Missing: s.adapter(d).advised(images), List: []factory.Advisory{}}
	s.warn(images[0].Image.Name, fmt.Sprintf("nothing is known of the %d packages of %s %s: %s", len(a.Missing), d.Family, d.Release, oneLineOf(why)))
	return a
}

// oneLineOf is an error for a warning.
func oneLineOf(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (s Solver) warn(image, text string) {
	s.Events.Emit(factory.Event{Kind: factory.Warned, Image: image, Step: factory.StepResolve, Message: text})
}

// harvest reads the changelogs of one release.
func (s apt) harvest(ctx context.Context, images []LockedImage) (factory.Advisories, error) {
	first := images[0].Image
	a := factory.Advisories{Distro: first.Distro}
	srcs, files, err := s.suites(images)
	if err != nil {
		return a, err
	}
	groups := newestOfSources(images)
	texts, res, err := s.changelogs(ctx, first.Name, groups, files)
	if err != nil {
		return a, err
	}
	var why error
	if res.Exit != 0 {
		why = fault{img: first, srcs: srcs, keyring: s.keyring(first)}.explain(res)
	}
	_, released := res.Output["release/"+listName(srcs[0].release())]
	if res.Exit != 0 && (res.Exit != exitFetch || !released) {
		return a, why
	}
	rels, err := releases(res.Output, srcs)
	if err != nil {
		return a, err
	}
	a.Updated = updated(srcs, rels)
	logs := readLogs(groups, texts, &a)
	if a.Sources == 0 {
		return a, cmp.Or(why, error(&factory.Problem{Kind: factory.ErrUnavailable, What: "no package has a changelog"}))
	}
	if why != nil || len(a.Missing) > 0 {
		text := fmt.Sprintf("the advisories of %s %s lack %d of %d sources (%s)", a.Distro.Family, a.Distro.Release, len(a.Missing), len(groups), strings.Join(a.Missing, ", "))
		if why != nil {
			text += ": " + why.Error()
		}
		s.warn(first.Name, text)
	}
	a.List = historyOf(first.Distro, logs).advisories(logs)
	return a, nil
}

func (s apt) advised(images []LockedImage) (names []string) {
	for _, g := range newestOfSources(images) {
		names = append(names, sourceOf(g[0]))
	}
	return names
}

// suites returns the archives of all images, once each, and what tells apt of them.
func (s Solver) suites(images []LockedImage) (all []source, files map[string]factory.File, err error) {
	files = map[string]factory.File{}
	for _, l := range images {
		srcs, err := sources(l.Image, s.Archives)
		if err != nil {
			return nil, nil, err
		}
		for _, src := range srcs {
			if !slices.ContainsFunc(all, func(b source) bool { return b.ID == src.ID && b.Suite == src.Suite }) {
				files[path.Join(inDir, "sources", src.entry(len(all), false))] = factory.File{Data: []byte(src.stanza(s.keyring(l.Image)))}
				all = append(all, src)
			}
		}
	}
	return all, files, nil
}

// updated is the date of the security suite, of the oldest when there are several. Without one it is the newest date of the suites
// that are not limited to some packages, or of all when there are no others.
func updated(srcs []source, rels []suiteState) time.Time {
	var security, general []suiteState
	for i, r := range rels {
		if len(srcs[i].Only) > 0 {
			continue
		}
		if general = append(general, r); strings.HasSuffix(srcs[i].Suite, "-security") {
			security = append(security, r)
		}
	}
	switch {
	case len(security) > 0:
		return slices.MinFunc(security, byDate).Date
	case len(general) > 0:
		return slices.MaxFunc(general, byDate).Date
	}
	return slices.MaxFunc(rels, byDate).Date
}

// newestOfSources groups the packages of the newest version of each source, sorted by source; the smallest package first.
func newestOfSources(images []LockedImage) (groups [][]factory.Package) {
	bySource := map[string][]factory.Package{}
	for _, l := range images {
		for _, lp := range l.Lock.Platforms {
			for _, p := range lp.Packages {
				g := bySource[sourceOf(p)]
				if len(g) > 0 {
					switch c := compareVersions(sourceVersionOf(p), sourceVersionOf(g[0])); {
					case c < 0:
						continue
					case c > 0:
						g = nil
					}
				}
				bySource[sourceOf(p)] = append(g, p)
			}
		}
	}
	for _, g := range bySource {
		slices.SortFunc(g, func(a, b factory.Package) int {
			return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.SHA256, b.SHA256))
		})
		groups = append(groups, slices.CompactFunc(g, func(a, b factory.Package) bool { return a.SHA256 == b.SHA256 }))
	}
	slices.SortFunc(groups, func(a, b []factory.Package) int { return cmp.Compare(sourceOf(a[0]), sourceOf(b[0])) })
	return groups
}

func sourceOf(p factory.Package) string { return cmp.Or(p.Source, p.Name) }

func sourceVersionOf(p factory.Package) string { return cmp.Or(p.SourceVersion, p.Version) }

// changelogOf is what is known of one source.
type changelogOf struct {
	source, version string // the newest
	entries         []entry
}

// readLogs parses the changelogs and notes in a which there are and which not.
func readLogs(groups [][]factory.Package, texts [][]byte, a *factory.Advisories) (logs []changelogOf) {
	for i, g := range groups {
		log := changelogOf{source: sourceOf(g[0]), version: sourceVersionOf(g[0])}
		own := false
		for e := range entries(unpackChangelog(texts[i])) {
			log.entries = append(log.entries, e)
			own = own || e.source == log.source
		}
		if own {
			a.Sources++
			a.Known = append(a.Known, log.source)
			logs = append(logs, log)
		} else {
			a.Missing = append(a.Missing, log.source)
		}
	}
	return logs
}
