package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/scanner"
	"github.com/imagefactory/imagefactory/factory/store"
	"github.com/imagefactory/imagefactory/factory/upstream"
)

// answer is who has a vulnerability, and whether there is a fix.
type answer struct {
	Vulnerability string           `json:"vulnerability"`
	Package       string           `json:"package,omitempty"`
	Known         bool             `json:"known"` // the data, or an earlier finding, knows the id
	Database      factory.Database `json:"database"`
	Asked         time.Time        `json:"asked"`
	Releases      int              `json:"releases"` // that were looked at
	Packages      int              `json:"packages"` // in them
	NotLookedAt   []unseen         `json:"notLookedAt"`
	Affected      []sufferer       `json:"affected"`

	errs []error
}

// unseen is what an answer says nothing about.
type unseen struct {
	Ref      string   `json:"ref"`
	Packages []string `json:"packages,omitempty"` // empty = none of the release was looked at
	Why      string   `json:"why"`
}

// sufferer is one package of a release in force that has the vulnerability.
type sufferer struct {
	Image   string         `json:"image"`
	Env     factory.Env    `json:"env"`
	Release string         `json:"release"`
	Ref     string         `json:"ref"`
	Digest  factory.Digest `json:"digest"`
	Package string         `json:"package"`
	Source  string         `json:"source,omitempty"`
	Version string         `json:"version"`
	Fixed   string         `json:"fixed,omitempty"`   // version that the data names as fixed
	Offered string         `json:"offered,omitempty"` // by the archive now
	From    string         `json:"from,omitempty"`    // the image that it has the package from; empty = it is its own
	Fix     bool           `json:"fix"`               // what is offered has it
	Why     string         `json:"why"`               // how that is known

	err error // of asking the archive
}

// inForce is a release with the environments that it is in force in.
type inForce struct {
	release factory.Release
	entries []factory.Entry
	scan    factory.Scan
	err     error
}

// ask answers the question with the newest data that can be had.
func (e *emergency) ask(ctx context.Context) error {
	set, err := e.definitions()
	if err != nil {
		return err
	}
	e.told = answer{Vulnerability: e.ID, Package: e.Package, NotLookedAt: []unseen{}, Affected: []sufferer{}}
	var all []*inForce
	if err := e.timed("question", func() (err error) { all, err = e.look(ctx); return err }); err != nil {
		return err
	}
	if !e.told.Known && e.Package == "" {
		return &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("nobody knows %s: neither %s nor any earlier scan, so whether something has it cannot be said", e.ID, e.told.Database),
			Hint: fmt.Sprintf("check the id; when it is too new for the data, name the package: factory emergency %s --package NAME", e.ID)}
	}
	if e.told.Known {
		e.byFindings(all)
	} else if err := e.byPackage(ctx, all); err != nil {
		return err
	}
	err = e.timed("archive", func() error { return e.offers(ctx, set) })
	slices.SortStableFunc(e.told.Affected, func(a, b sufferer) int {
		return cmp.Or(cmp.Compare(a.Image, b.Image), factory.Tag{Env: a.Env}.Compare(factory.Tag{Env: b.Env}), cmp.Compare(a.Package, b.Package))
	})
	return err
}

// look matches everything in force with the newest data, and says whether the id is known at all. It records nothing.
func (e *emergency) look(ctx context.Context) ([]*inForce, error) {
	e.newestData(ctx)
	group, data, err := e.scanner(ctx)
	if err != nil {
		return nil, err
	}
	e.told.Database, e.told.Asked = data, e.w.Now().UTC()
	db, err := e.store(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := db.Standing(ctx)
	if err != nil {
		return nil, err
	}
	var all []*inForce
	for _, entry := range entries {
		i := slices.IndexFunc(all, func(f *inForce) bool { return f.release.ID == entry.Release })
		if i < 0 {
			r, err := db.Release(ctx, entry.Release)
			if err != nil {
				return nil, err
			}
			i, all = len(all), append(all, &inForce{release: r})
		}
		all[i].entries = append(all[i].entries, entry)
	}
	var work sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	for _, f := range all {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			var sboms []factory.Document
			if sboms, f.err = e.documentsOf(ctx, f.release.ID, factory.CycloneDX); f.err == nil && len(sboms) == 0 {
				f.err = errNoSBOM
			}
			if f.err == nil {
				f.scan, f.err = group.Match(ctx, sboms)
			}
		})
	}
	work.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	e.count(all)
	before, err := db.Findings(ctx, store.FindingQuery{Vulnerability: e.ID, Limit: 1})
	if err != nil {
		return nil, err
	}
	if e.told.Known = e.told.Known || len(before) > 0; !e.told.Known {
		e.told.Known, err = e.knows(ctx)
	}
	return all, err
}

// knows asks each scanner whether its data has the id. One that cannot say is an error, unless another knows it.
func (e *emergency) knows(ctx context.Context) (bool, error) {
	first, others := e.scannerClients()
	var errs []error
	for _, s := range append([]*scanner.Client{first}, others...) {
		known, err := s.Knows(ctx, e.ID)
		if known {
			return true, nil
		}
		errs = append(errs, err)
	}
	return false, errors.Join(errs...)
}

// count notes what was looked at and what was not.
func (e *emergency) count(all []*inForce) {
	for _, f := range all {
		ref := f.release.Tagged()
		switch {
		case errors.Is(f.err, errNoSBOM):
			e.told.NotLookedAt = append(e.told.NotLookedAt, unseen{Ref: ref, Why: f.err.Error()})
			continue
		case f.err != nil:
			e.told.NotLookedAt = append(e.told.NotLookedAt, unseen{Ref: ref, Why: firstLine(f.err.Error())})
			e.told.errs = append(e.told.errs, fmt.Errorf("look at %s: %w", ref, f.err))
			continue
		case len(f.scan.NotLookedAt) > 0:
			e.told.NotLookedAt = append(e.told.NotLookedAt, unseen{ref, f.scan.NotLookedAt, "the data knows nothing about them"})
		}
		e.told.Releases++
		e.told.Packages += f.scan.Packages
		e.told.Known = e.told.Known || slices.ContainsFunc(f.scan.Findings, func(x factory.Finding) bool { return x.Vulnerability == e.ID })
	}
}

// suffers adds a package of a release, for each environment.
func (e *emergency) suffers(f *inForce, s sufferer) {
	for _, entry := range f.entries {
		s.Image, s.Env, s.Release, s.Digest = f.release.Image, entry.Env, f.release.ID, f.release.Digest
		s.Ref = entry.Repository + ":" + entry.Tag.String()
		e.told.Affected = append(e.told.Affected, s)
	}
}

func (e *emergency) byFindings(all []*inForce) {
	for _, f := range all {
		for _, x := range f.scan.Findings {
			if x.Vulnerability == e.ID && (e.Package == "" || e.Package == x.Package || e.Package == x.Source) {
				e.suffers(f, sufferer{Package: x.Package, Source: cmp.Or(x.Source, x.Package), Version: x.Version, Fixed: x.Fixed, Why: x.Status})
			}
		}
	}
}

// byPackage takes every release that holds the package for affected; what the archive offers tells later.
func (e *emergency) byPackage(ctx context.Context, all []*inForce) error {
	db, err := e.store(ctx)
	if err != nil {
		return err
	}
	held, err := db.Holding(ctx, e.Package)
	if err != nil {
		return err
	}
	for _, f := range all {
		seen := map[string]bool{}
		for _, h := range held {
			if h.Release == f.release.ID && !seen[h.Name+" "+h.Version] {
				seen[h.Name+" "+h.Version] = true
				e.suffers(f, sufferer{Package: h.Name, Source: h.Source, Version: h.Version})
			}
		}
	}
	return nil
}

// offers asks the archives what they have now, without writing a lock, and decides whether that is the fix.
func (e *emergency) offers(ctx context.Context, set definition.Set) error {
	var names []string
	for _, s := range e.told.Affected {
		names = append(names, s.Image)
	}
	slices.Sort(names)
	locks := (&locking{app: e.app, set: set}).run(ctx, slices.Compact(names))
	e.asked = locks
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e.told.Asked = e.w.Now().UTC()
	for i := range e.told.Affected {
		s := &e.told.Affected[i]
		res := locks[s.Image]
		if s.err = res.Err; s.err != nil {
			s.Why = "the archive cannot be asked: " + firstLine(s.err.Error())
			continue
		}
		img, err := set.Image(s.Image)
		if err != nil {
			return err
		}
		s.judge(e.ID, e.told.Known, img.Distro.Format(), res)
		if s.From = comesFrom(set, locks, s.Image, s.Package); s.From != "" {
			s.Why += "; it comes with " + s.From
		}
	}
	if !e.told.Known {
		e.dropCurrent()
	}
	return nil
}

// comesFrom is the first of an image's ancestors that has a package, empty when none has: what mends it there mends it here.
func comesFrom(set definition.Set, locks map[string]lockResult, image, pkg string) string {
	for _, a := range set.Ancestors(image) {
		for _, lp := range locks[a.Name].Lock.Platforms {
			if slices.ContainsFunc(lp.Packages, func(p factory.Package) bool { return p.Name == pkg }) {
				return a.Name
			}
		}
	}
	return ""
}

// judge says whether what the archive offers is the fix.
func (s *sufferer) judge(id string, known bool, format factory.Format, offer lockResult) {
	fixed, newer := true, true
	for _, lp := range offer.Lock.Platforms {
		for _, p := range lp.Packages {
			if p.Name != s.Package {
				continue
			}
			s.Offered = p.Version
			in := p.Version
			if format == factory.Deb {
				in = cmp.Or(p.SourceVersion, p.Version) // in which advisories are written
			}
			fixed = fixed && s.Fixed != "" && upstream.CompareVersions(format, in, s.Fixed) >= 0
			newer = newer && upstream.CompareVersions(format, p.Version, s.Version) > 0
		}
	}
	named := slices.ContainsFunc(offer.Change.Packages, func(c factory.PackageChange) bool { return c.Name == s.Package && slices.Contains(c.CVEs, id) })
	switch {
	case s.Offered == "":
		s.Fix, s.Why = true, "the image does not get the package any more"
	case !known && newer:
		s.Fix, s.Why = true, "the archive offers a newer version; no data knows the vulnerability"
	case !known:
		s.Why = fmt.Sprintf("no data knows it, and the archive offers no %s newer than %s", s.Package, s.Version)
	case fixed:
		s.Fix, s.Why = true, "the archive has the version that the data names"
	case named && newer:
		s.Fix, s.Why = true, "the archive says of its newer version that it fixes this"
	case s.Fixed == "":
		s.Why = fmt.Sprintf("%s %s has it, and no version is known to fix it", s.Package, s.Version) + cmp.Or(map[bool]string{true: " (" + s.Why + ")"}[s.Why != ""], "")
	default:
		s.Why = fmt.Sprintf("%s %s fixes it, and the archive offers %s", s.Package, s.Fixed, s.Offered)
	}
}

// dropCurrent leaves out releases that hold what the archive offers, when others hold less: of a vulnerability that no data knows, only a
// newer version tells who is behind. When nobody is, all stay, for nobody can tell that they are safe.
func (e *emergency) dropCurrent() {
	if slices.ContainsFunc(e.told.Affected, func(s sufferer) bool { return s.Fix }) {
		e.told.Affected = slices.DeleteFunc(e.told.Affected, func(s sufferer) bool { return !s.Fix && s.err == nil })
	}
}

// inScope reports whether somebody asked to mend this one.
func (e *emergency) inScope(s sufferer) bool {
	return factory.Tag{Env: s.Env}.Compare(factory.Tag{Env: e.Env}) <= 0
}

// ready are the images that there is a fix for and that were not dealt with yet; waiting those that there is none for.
func (e *emergency) ready() []string {
	return e.images(func(image string, fixed bool) bool { return fixed && !e.done[image] })
}

func (e *emergency) waiting() []string {
	return e.images(func(image string, fixed bool) bool { return !fixed && !e.done[image] })
}

// images are those in scope, sorted; one is fixed when each of its packages is.
func (e *emergency) images(want func(image string, fixed bool) bool) (names []string) {
	fixed := map[string]bool{}
	for _, s := range e.told.Affected {
		if e.inScope(s) {
			was, there := fixed[s.Image]
			fixed[s.Image] = s.Fix && (was || !there)
		}
	}
	for _, name := range sortedKeys(fixed) {
		if want(name, fixed[name]) {
			names = append(names, name)
		}
	}
	return names
}
