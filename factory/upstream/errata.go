package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// reading is what came of a repository's updateinfo.
type reading struct {
	has bool // it has one, and it was read
	// What could not be read in it: how many advisories, the packages that they are about, and whether these cannot be told.
	unread int
	names  map[string]bool
	opaque bool
}

// errata calls each with every security advisory of the repositories that have updateinfo, and reports what was read.
func errata(output map[string][]byte, repos []yum, each func(erratum)) (all []reading, err error) {
	all = make([]reading, len(repos))
	for i, y := range repos {
		b, ok := output["updateinfo/"+fileOf(repos, i)]
		if !ok {
			continue
		}
		r := &all[i]
		if bad := parseUpdateinfo(b, updateinfoLimits, func(e erratum) { r.note(e); each(e) }); bad != nil {
			err = errors.Join(err, &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("archive %s: its updateinfo cannot be read", y), Cause: bad})
			continue
		}
		r.has = true
	}
	return all, err
}

// unreadNames is how many names are kept apart; with more, it may be any package.
const unreadNames = 10_000

func (r *reading) note(e erratum) {
	if len(e.unread) == 0 && !e.opaque {
		return
	}
	r.unread++
	r.opaque = r.opaque || e.opaque
	if r.names == nil {
		r.names = map[string]bool{}
	}
	for _, name := range e.unread {
		if len(r.names) == unreadNames && !r.names[name] {
			r.opaque = true
			return
		}
		r.names[name] = true
	}
}

func unreadErrata(y yum, n int) error {
	return &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("archive %s: %d security advisories in its updateinfo cannot be read", y, n)}
}

// ledger collects what fixes what, in the packages of some images.
type ledger struct {
	streams map[string][]string // package → module streams that images with it have enabled
	fixed   map[ledgerKey]factory.Advisory
	room    int
	over    bool // there was more than room for
}

// ledgerRoom is how many advisories of one release are kept.
const ledgerRoom = 1 << 20

type ledgerKey struct{ name, module, vulnerability string }

func newLedger(images []LockedImage) *ledger {
	l := &ledger{streams: map[string][]string{}, fixed: map[ledgerKey]factory.Advisory{}, room: ledgerRoom}
	for _, i := range images {
		for _, lp := range i.Lock.Platforms {
			for _, p := range lp.Packages {
				l.streams[p.Name] = append(l.streams[p.Name], i.Image.Packages.Modules...)
			}
		}
	}
	return l
}

// add takes an erratum. Of several that fix the same, the highest version counts: a second fix says that the first was not whole. Its
// date is the first's, for whoever is bound to a time has known since then.
func (l *ledger) add(e erratum) {
	for _, f := range e.fixes {
		streams, wanted := l.streams[f.name]
		if !wanted || f.module != "" && !slices.Contains(streams, f.module) {
			continue
		}
		for _, a := range e.brings(f) {
			key := ledgerKey{f.name, f.module, a.Vulnerability}
			old, ok := l.fixed[key]
			if !ok && len(l.fixed) == l.room {
				l.over = true
				return
			}
			since := oldest(old.Date, a.Date)
			if ok && cmp.Or(compareEVR(a.Fixed, old.Fixed), cmp.Compare(old.ID, a.ID)) <= 0 {
				a = old
			}
			a.Date = since
			l.fixed[key] = a
		}
	}
}

// advisories returns what was added, sorted.
func (l *ledger) advisories() []factory.Advisory {
	all := slices.AppendSeq([]factory.Advisory{}, maps.Values(l.fixed))
	slices.SortFunc(all, compareAdvisories)
	return all
}

// oldest is the earlier of two times, as far as they are known.
func oldest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
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
	readings, err := errata(output, repos, func(e erratum) {
		for _, f := range e.fixes {
			for _, i := range moved[f.name] {
				c := &change.Packages[i]
				if f.module != "" && !slices.Contains(streams, f.module) || compareEVR(f.evr, c.Old) <= 0 || compareEVR(f.evr, c.New) > 0 || len(change.Advisories) >= ledgerRoom {
					continue
				}
				c.CVEs = append(c.CVEs, e.cves...)
				change.Advisories = append(change.Advisories, e.brings(f)...)
			}
		}
	})
	for i, r := range readings {
		if r.unread > 0 {
			err = errors.Join(err, unreadErrata(repos[i], r.unread))
		}
	}
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
