package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// errata calls each with every security advisory of the repositories that have updateinfo, and reports which have.
func errata(output map[string][]byte, repos []yum, each func(erratum)) (has []bool, err error) {
	has = make([]bool, len(repos))
	for i, y := range repos {
		b, ok := output["updateinfo/"+fileOf(repos, i)]
		if !ok {
			continue
		}
		if bad := parseUpdateinfo(b, each); bad != nil {
			err = errors.Join(err, &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("archive %s: its updateinfo cannot be read", y), Cause: bad})
			continue
		}
		has[i] = true
	}
	return has, err
}

// ledger collects what fixes what, in the packages of some images.
type ledger struct {
	streams map[string][]string // package → module streams that images with it have enabled
	fixed   map[ledgerKey]factory.Advisory
}

type ledgerKey struct{ name, module, vulnerability string }

func newLedger(images []LockedImage) ledger {
	l := ledger{map[string][]string{}, map[ledgerKey]factory.Advisory{}}
	for _, i := range images {
		for _, lp := range i.Lock.Platforms {
			for _, p := range lp.Packages {
				l.streams[p.Name] = append(l.streams[p.Name], i.Image.Packages.Modules...)
			}
		}
	}
	return l
}

// add takes an erratum. Of several that fix the same, the highest version counts: a second fix says that the first was not whole.
func (l ledger) add(e erratum) {
	for _, f := range e.fixes {
		streams, wanted := l.streams[f.name]
		if !wanted || f.module != "" && !slices.Contains(streams, f.module) {
			continue
		}
		for _, a := range e.brings(f) {
			key := ledgerKey{f.name, f.module, a.Vulnerability}
			if old, ok := l.fixed[key]; !ok || cmp.Or(compareEVR(a.Fixed, old.Fixed), cmp.Compare(old.ID, a.ID)) > 0 {
				l.fixed[key] = a
			}
		}
	}
}

// advisories returns what was added, sorted.
func (l ledger) advisories() []factory.Advisory {
	all := slices.AppendSeq([]factory.Advisory{}, maps.Values(l.fixed))
	slices.SortFunc(all, compareAdvisories)
	return all
}

// harvest reads the updateinfo of the repositories of a release's images.
func (s dnf) harvest(ctx context.Context, images []LockedImage) (factory.Advisories, error) {
	first := images[0].Image
	a := factory.Advisories{Distro: first.Distro}
	all := newLedger(images)
	has := map[string]bool{} // "archive repository" has updateinfo
	var why error
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
		states, err := repomds(res.Output, repos)
		if err != nil {
			return a, err
		}
		found, err := errata(res.Output, repos, all.add)
		why = errors.Join(why, err)
		for i, y := range repos {
			if found[i] {
				has[y.String()] = true
				a.Updated = oldest(a.Updated, states[i].Date)
			}
		}
	}
	return s.reap(a, images, all, has, why)
}

// reap says of which packages something is known.
func (s dnf) reap(a factory.Advisories, images []LockedImage, all ledger, has map[string]bool, why error) (factory.Advisories, error) {
	known := map[string]bool{}
	for _, i := range images {
		for _, lp := range i.Lock.Platforms {
			for _, p := range lp.Packages {
				known[p.Name] = known[p.Name] || has[p.Archive+" "+p.Repository]
			}
		}
	}
	for name, ok := range known {
		if ok {
			a.Known = append(a.Known, name)
		} else {
			a.Missing = append(a.Missing, name)
		}
	}
	slices.Sort(a.Known)
	slices.Sort(a.Missing)
	a.Sources, a.List = len(a.Known), all.advisories()
	if a.Sources == 0 {
		return a, cmp.Or(why, error(&factory.Problem{Kind: factory.ErrUnavailable, What: "no repository has updateinfo"}))
	}
	if why != nil || len(a.Missing) > 0 {
		text := fmt.Sprintf("the advisories of %s %s lack %d of %d packages (%s)", a.Distro.Family, a.Distro.Release, len(a.Missing), len(known), strings.Join(a.Missing, ", "))
		if why != nil {
			text += ": " + why.Error()
		}
		s.warn(images[0].Image.Name, text)
	}
	return a, nil
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

func oldest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// nameErrata adds to each upgraded package what the advisories fix that came after the old version, up to the new one.
func nameErrata(req Request, repos []yum, output map[string][]byte, change *factory.LockChange) error {
	moved := map[string][]int{} // package → indexes of its changes
	for i, c := range change.Packages {
		if c.Old != "" && c.New != "" && c.Old != c.New {
			moved[c.Name] = append(moved[c.Name], i)
		}
	}
	if len(moved) == 0 {
		return nil
	}
	streams := req.Image.Packages.Modules
	_, err := errata(output, repos, func(e erratum) {
		for _, f := range e.fixes {
			for _, i := range moved[f.name] {
				c := &change.Packages[i]
				if f.module != "" && !slices.Contains(streams, f.module) || compareEVR(f.evr, c.Old) <= 0 || compareEVR(f.evr, c.New) > 0 {
					continue
				}
				c.CVEs = append(c.CVEs, e.cves...)
				change.Advisories = append(change.Advisories, e.brings(f)...)
			}
		}
	})
	for i := range change.Packages {
		slices.Sort(change.Packages[i].CVEs)
		change.Packages[i].CVEs = slices.Compact(change.Packages[i].CVEs)
	}
	slices.SortFunc(change.Advisories, compareAdvisories)
	change.Advisories = slices.CompactFunc(change.Advisories, func(a, b factory.Advisory) bool { return compareAdvisories(a, b) == 0 })
	return err
}

// brings is what an erratum says of a package, once for each vulnerability.
func (e erratum) brings(f fix) (all []factory.Advisory) {
	ids := e.cves
	if len(ids) == 0 {
		ids = []string{e.id}
	}
	for _, id := range ids {
		all = append(all, factory.Advisory{Source: f.name, Vulnerability: id, Fixed: f.evr, Date: e.issued, Title: e.title, Module: f.module, ID: e.id, Severity: e.severity})
	}
	return all
}

func compareAdvisories(a, b factory.Advisory) int {
	return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Vulnerability, b.Vulnerability), cmp.Compare(a.Module, b.Module), cmp.Compare(a.ID, b.ID), compareEVR(a.Fixed, b.Fixed))
}
