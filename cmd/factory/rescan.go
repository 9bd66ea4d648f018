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

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/scanner"
	"github.com/imagefactory/imagefactory/factory/store"
)

func newRescan(mk maker) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "rescan [REF...]", Short: "look stored SBOMs up in today's vulnerability data", Args: cobra.ArbitraryArgs,
		Long: `rescan matches the SBOMs that were kept with releases against the newest vulnerability data; it pulls no image. Without REF it takes every
release that is in force in an environment, with --all every release there ever was. What it finds in releases in force is attested
next to them when it differs in data from what was attested last, or that is a day old.

` + exitHelp,
		Example: "  factory rescan\n  factory rescan debian-12 --json\n  factory rescan --all",
	}
	c.Flags().BoolVar(&all, "all", false, "every release, also superseded ones")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		if all && len(args) > 0 {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "--all and a REF", Hint: "leave out one of them"}
		}
		return c.leased(ctx, "rescan", func(ctx context.Context, run string) error { return c.rescan(ctx, run, args, all) })
	})
}

// rescanned is what a rescan found in one release.
type rescanned struct {
	Image    string `json:"image"`
	Release  string `json:"release"`
	Ref      string `json:"ref"`
	Packages int    `json:"packages"` // that were looked at
	// NotLookedAt are packages that the data knows nothing about.
	NotLookedAt []string                 `json:"notLookedAt,omitempty"`
	Findings    map[factory.Severity]int `json:"findings"`
	Note        string                   `json:"note,omitempty"`
	Error       string                   `json:"error,omitempty"`
}

// errNoSBOM is about releases that were made before there were SBOMs.
var errNoSBOM = errors.New("it was released without an SBOM")

func (c *command) rescan(ctx context.Context, run string, refs []string, all bool) error {
	releases, err := c.releasesToScan(ctx, refs, all)
	if err != nil {
		return err
	}
	var named []string
	for _, r := range releases {
		if len(refs) > 0 {
			named = append(named, r.ID)
		}
	}
	began := c.w.Now()
	_, data, err := c.scanner(ctx)
	if err != nil {
		return err
	}
	rows, errs := c.rescanAll(ctx, releases)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = errors.Join(errs...)
	took := c.w.Now().Sub(began)
	if errors.Is(err, scanner.ErrBadDatabase) {
		return errors.Join(err, c.printRescan(rows, data, took))
	}
	if len(errs) > 0 && len(errs) < len(rows) {
		err = errors.Join(errPartial, err)
	}
	set, problems := definition.Load(c.cfg.Dir)
	if problems != nil && len(set.Images) == 0 {
		return errors.Join(err, problems, c.printRescan(rows, data, took))
	}
	return errors.Join(err, c.refreshStanding(ctx, run, set, named), c.printRescan(rows, data, took))
}

// rescanAll matches releases, several at once, until there are no more or the data turns out to be no good. The rows are in the order
// of the releases.
func (c *command) rescanAll(ctx context.Context, releases []factory.Release) (rows []rescanned, errs []error) {
	rows = make([]rescanned, len(releases))
	var group sync.WaitGroup
	var mu sync.Mutex
	done, useless := 0, false
	slots := make(chan struct{}, runtime.NumCPU())
	for i, r := range releases {
		slots <- struct{}{}
		mu.Lock()
		stop := useless || ctx.Err() != nil
		if stop {
			rows = rows[:i]
		}
		mu.Unlock()
		if stop {
			break
		}
		group.Go(func() {
			defer func() { <-slots }()
			scan, err := c.rescanOne(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			rows[i] = rescanned{Image: r.Image, Release: r.ID, Ref: r.Tagged(), Packages: scan.Packages, NotLookedAt: scan.NotLookedAt, Findings: scan.Counts()}
			switch {
			case errors.Is(err, errNoSBOM):
				rows[i].Note = "not looked at: " + errNoSBOM.Error()
			case err != nil:
				rows[i].Error = err.Error()
				errs = append(errs, fmt.Errorf("rescan %s: %w", r.Tagged(), err))
			}
			useless = useless || errors.Is(err, scanner.ErrBadDatabase) // all others would end alike
			done++
			c.events.Emit(factory.Event{Kind: factory.Advanced, Image: r.Image, Step: factory.StepScan, Current: int64(done), Total: int64(len(releases)), Unit: "releases"})
		})
	}
	group.Wait()
	return rows, errs
}

func (c *command) printRescan(rows []rescanned, data factory.Database, took time.Duration) error {
	if c.JSON {
		return c.printJSON(map[string]any{"database": data, "seconds": took.Seconds(), "releases": rows})
	}
	var text [][]string
	looked := 0
	for _, r := range rows {
		found := cmp.Or(firstLine(r.Error), r.Note, severities(r.Findings), "none")
		if r.Error == "" && r.Note == "" {
			looked++
		}
		if n := len(r.NotLookedAt); n > 0 {
			found += fmt.Sprintf("; %d packages NOT looked at", n)
		}
		text = append(text, []string{r.Image, r.Ref, fmt.Sprint(r.Packages), found})
	}
	if err := c.table([]string{"IMAGE", "REFERENCE", "PACKAGES", "FINDINGS"}, text); err != nil {
		return err
	}
	fmt.Fprintf(c.w.Stderr, "%s of %d rescanned with %s in %.1f s\n", count(looked, "release"), len(rows), data, took.Seconds())
	return nil
}

// releasesToScan are those that are named, those that are in force, or all.
func (c *command) releasesToScan(ctx context.Context, refs []string, all bool) ([]factory.Release, error) {
	db, err := c.store(ctx)
	if err != nil {
		return nil, err
	}
	if all {
		return db.Releases(ctx, store.Query{})
	}
	if len(refs) == 0 {
		entries, err := db.Standing(ctx)
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		for _, e := range entries {
			if !seen[e.Release] {
				seen[e.Release] = true
				refs = append(refs, e.Release)
			}
		}
	}
	var releases []factory.Release
	for _, ref := range refs {
		r, err := db.Release(ctx, ref)
		if err != nil {
			return nil, err
		}
		releases = append(releases, r)
	}
	return releases, nil
}

// rescanOne matches a release's SBOMs anew and remembers what came of it.
func (c *command) rescanOne(ctx context.Context, r factory.Release) (factory.Scan, error) {
	sboms, err := c.documentsOf(ctx, r.ID, factory.CycloneDX)
	if err != nil {
		return factory.Scan{}, err
	}
	if len(sboms) == 0 {
		return factory.Scan{}, &factory.Problem{Kind: factory.ErrNotFound, What: r.Tagged() + " cannot be rescanned", Cause: errNoSBOM, Hint: "factory build " + r.Image}
	}
	scanner, _, err := c.scanner(ctx)
	if err != nil {
		return factory.Scan{}, err
	}
	scan, err := scanner.Match(ctx, sboms)
	if err != nil {
		return scan, err
	}
	db, err := c.store(ctx)
	if err != nil {
		return scan, err
	}
	return db.SaveScan(ctx, r.ID, scan)
}

// rescanJobs makes kept images ones to rescan when there is newer vulnerability data than their last scan used, or when that is
// a day old. A release without an SBOM stays as it is.
func (c *command) rescanJobs(ctx context.Context, jobs []factory.Job) ([]factory.Job, error) {
	db, err := c.store(ctx)
	if err != nil {
		return nil, err
	}
	for i, j := range jobs {
		if j.Action != factory.Keep {
			continue
		}
		r, err := c.newest(ctx, j.Image.Name)
		if err != nil {
			return nil, err
		}
		revoked, err := db.Revoked(ctx, r.Repository, r.Digest)
		if err != nil {
			return nil, err
		}
		if revoked != nil {
			jobs[i].Barred = fmt.Sprintf("%s is revoked: %s", r.Tag, revoked.Reason)
			jobs[i].Reason += fmt.Sprintf("; but %s is revoked (%s), and the same inputs would make the same digest: change them", r.Tag, revoked.Reason)
			continue
		}
		scan, err := db.LatestScan(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		if scan == nil {
			jobs[i].Reason += "; not rescanned: it was released without an SBOM"
			continue
		}
		data, _, err := c.dataOfRun(ctx)
		if err != nil { // this image's failure, not the night's: another one may still have to be rebuilt
			jobs[i].Action, jobs[i].Reason, jobs[i].Err = factory.Rescan, "kept, but it cannot be rescanned: "+err.Error(), err
			continue
		}
		if c.stale(*scan, data) || c.attestedLast(r).due(*scan) {
			jobs[i].Action = factory.Rescan
		}
	}
	return jobs, nil
}

// newest is the newest release of an image in the environment of this run. ErrNotFound when there is none.
func (c *command) newest(ctx context.Context, image string) (factory.Release, error) {
	db, err := c.store(ctx)
	if err != nil {
		return factory.Release{}, err
	}
	last, err := db.Releases(ctx, store.Query{Image: image, Repository: c.repository(image), Env: c.cfg.Env, Limit: 1})
	if err != nil {
		return factory.Release{}, err
	}
	if len(last) == 0 {
		return factory.Release{}, &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("no release of %s in %s", image, c.cfg.Env), Hint: "factory build " + image}
	}
	return db.Release(ctx, last[0].ID) // a list has not all that the gate looks at
}

// stale reports whether a scan used other data than there is now, or is too old to be attested as fresh.
func (c *command) stale(s factory.Scan, data factory.Database) bool {
	return s.Database.Digest != data.Digest || c.w.Now().Sub(s.At) >= attestEvery
}

// rescanning looks at kept images in a night.
type rescanning struct {
	c   *command
	set definition.Set
	run string
}

// Rescan matches the newest release of the job's image, and attests what came of it when the last attestation has grown old. What the
// gate would not let in today is nothing to build on.
func (n rescanning) Rescan(ctx context.Context, job factory.Job) (found, barred string, err error) {
	c := n.c
	r, err := c.newest(ctx, job.Image.Name)
	if err != nil {
		return "", "", err
	}
	s, err := c.refresh(ctx, n.run, n.set, r, c.cfg.Env)
	if blocking := s.Decision.Blocking(); len(blocking) > 0 {
		barred = fmt.Sprintf("%s would not be let into %s today: %s", r.Tag, c.cfg.Env, blocking[0].Text)
	}
	if err != nil {
		return "", barred, err
	}
	return fmt.Sprintf("rescanned with %s: %s", s.Scan.Database, cmp.Or(severities(s.Scan.Counts()), "no findings")), barred, nil
}

// refresh matches a release anew when its last scan is stale, judges it, warns when the gate would not let it in any more, and attests
// what was not attested yet.
func (c *command) refresh(ctx context.Context, run string, set definition.Set, r factory.Release, env factory.Env) (standing, error) {
	db, err := c.store(ctx)
	if err != nil {
		return standing{}, err
	}
	data, _, err := c.dataOfRun(ctx)
	if err != nil {
		return standing{}, err
	}
	last, err := db.LatestScan(ctx, r.ID)
	if err != nil {
		return standing{}, err
	}
	if last == nil || c.stale(*last, data) {
		if _, err := c.rescanOne(ctx, r); err != nil {
			return standing{}, err
		}
	}
	s, err := c.judge(ctx, set, r, env)
	if err != nil {
		return s, err
	}
	for _, reason := range s.Decision.Blocking() {
		c.events.Emit(factory.Event{Kind: factory.Warned, Image: r.Image, Step: factory.StepGate, Message: fmt.Sprintf("%s would not be let into %s today: %s", r.Tag, env, reason.Text)})
	}
	return s, c.attestIfDue(ctx, run, set, r, s.Scan)
}

// refreshStanding looks again at every release that is in force somewhere, beside those that a night looked at already: what is in
// prod is often not the newest. One that fails does not stop another one. Only names releases by id; empty means all.
func (c *command) refreshStanding(ctx context.Context, run string, set definition.Set, only []string) error {
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	entries, err := db.Standing(ctx)
	if err != nil {
		return err
	}
	var errs []error
	seen := map[string]bool{}
	for _, e := range entries {
		if seen[e.Release] || ctx.Err() != nil || len(only) > 0 && !slices.Contains(only, e.Release) {
			continue
		}
		seen[e.Release] = true
		r, err := db.Release(ctx, e.Release)
		if err != nil {
			return err
		}
		if last, err := db.LatestScan(ctx, r.ID); err != nil {
			return err
		} else if last == nil {
			continue // it was released without an SBOM
		}
		if _, _, err := c.dataOfRun(ctx); err != nil {
			return errors.Join(append(errs, err)...) // of all of them the same
		}
		if _, err := c.refresh(ctx, run, set, r, e.Env); err != nil {
			errs = append(errs, fmt.Errorf("rescan %s in %s: %w", e.Tag, e.Env, err))
		}
	}
	return errors.Join(errs...)
}
