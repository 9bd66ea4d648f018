package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/cosign"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/store"
)

// attestEvery is how old the newest attested scan of a release in force may become before a night attests it anew.
const attestEvery = 20 * time.Hour

func newRescan(mk maker) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "rescan [REF...]", Short: "look stored SBOMs up in today's vulnerability data",
		Long: `rescan matches the SBOMs that were kept with releases against the newest vulnerability data. It needs no image and no registry. Without
REF it takes every release that is in force in an environment, with --all every release there ever was.

` + exitHelp,
		Example: "  factory rescan\n  factory rescan debian-12 --json\n  factory rescan --all",
	}
	c.Flags().BoolVar(&all, "all", false, "every release, also superseded ones")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		if all && len(args) > 0 {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "--all and a REF", Hint: "leave out one of them"}
		}
		return c.leased(ctx, "rescan", func(ctx context.Context, _ string) error { return c.rescan(ctx, args, all) })
	})
}

// rescanned is what a rescan found in one release.
type rescanned struct {
	Image    string                   `json:"image"`
	Release  string                   `json:"release"`
	Ref      string                   `json:"ref"`
	Packages int                      `json:"packages"`
	Findings map[factory.Severity]int `json:"findings"`
	Error    string                   `json:"error,omitempty"`
	failed   error
}

func (c *command) rescan(ctx context.Context, refs []string, all bool) error {
	releases, err := c.releasesToScan(ctx, refs, all)
	if err != nil {
		return err
	}
	began := c.w.Now()
	_, data, err := c.scanner(ctx)
	if err != nil {
		return err
	}
	rows := []rescanned{}
	var errs []error
	for i, r := range releases {
		scan, err := c.rescanOne(ctx, r)
		row := rescanned{Image: r.Image, Release: r.ID, Ref: r.Tagged(), Packages: scan.Packages, Findings: scan.Counts(), failed: err}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			row.Error = err.Error()
			errs = append(errs, fmt.Errorf("rescan %s: %w", r.Tagged(), err))
		}
		rows = append(rows, row)
		c.events.Emit(factory.Event{Kind: factory.Advanced, Image: r.Image, Step: factory.StepScan, Current: int64(i + 1), Total: int64(len(releases)), Unit: "releases"})
	}
	err = errors.Join(errs...)
	if len(errs) > 0 && len(errs) < len(rows) {
		err = errors.Join(errPartial, err)
	}
	return errors.Join(err, c.printRescan(rows, data, c.w.Now().Sub(began)))
}

func (c *command) printRescan(rows []rescanned, data factory.Database, took time.Duration) error {
	if c.JSON {
		return c.printJSON(map[string]any{"database": data, "seconds": took.Seconds(), "releases": rows})
	}
	var text [][]string
	for _, r := range rows {
		found := severities(r.Findings)
		if found == "" {
			found = "none"
		}
		if r.failed != nil {
			found = firstLine(r.Error)
		}
		text = append(text, []string{r.Image, r.Ref, fmt.Sprint(r.Packages), found})
	}
	if err := c.table([]string{"IMAGE", "REFERENCE", "PACKAGES", "FINDINGS"}, text); err != nil {
		return err
	}
	fmt.Fprintf(c.w.Stderr, "%s rescanned with %s in %.1f s\n", count(len(rows), "release"), data, took.Seconds())
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
		return factory.Scan{}, &factory.Problem{Kind: factory.ErrNotFound, What: r.Tagged() + " was released without an SBOM", Hint: "factory build " + r.Image}
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
		last, err := db.Releases(ctx, store.Query{Image: j.Image.Name, Repository: c.repository(j.Image.Name), Env: c.cfg.Env, Limit: 1})
		if err != nil || len(last) == 0 {
			return nil, err
		}
		revoked, err := db.Revoked(ctx, last[0].Repository, last[0].Digest)
		if err != nil {
			return nil, err
		}
		if revoked != nil {
			jobs[i].Reason += fmt.Sprintf("; but %s is revoked (%s), and the same inputs would make the same digest: change them", last[0].Tag, revoked.Reason)
			continue
		}
		scan, err := db.LatestScan(ctx, last[0].ID)
		if err != nil {
			return nil, err
		}
		if scan == nil {
			jobs[i].Reason += "; not rescanned: it was released without an SBOM"
			continue
		}
		_, data, err := c.scanner(ctx)
		if err != nil { // this image's failure, not the night's: another one may still have to be rebuilt
			jobs[i].Action, jobs[i].Reason, jobs[i].Err = factory.Fail, "kept, but it cannot be rescanned: "+err.Error(), err
			continue
		}
		if scan.Database.Digest != data.Digest || c.w.Now().Sub(scan.At) >= attestEvery {
			jobs[i].Action = factory.Rescan
		}
	}
	return jobs, nil
}

// rescanning looks at kept images in a night.
type rescanning struct {
	c   *command
	set definition.Set
	run string
}

// Rescan matches the newest release of the job's image, and attests what came of it when the last attestation has grown old.
func (n rescanning) Rescan(ctx context.Context, job factory.Job) (string, error) {
	c := n.c
	db, err := c.store(ctx)
	if err != nil {
		return "", err
	}
	last, err := db.Releases(ctx, store.Query{Image: job.Image.Name, Repository: c.repository(job.Image.Name), Env: c.cfg.Env, Limit: 1})
	if err != nil || len(last) == 0 {
		return "nothing to rescan", err
	}
	r, err := db.Release(ctx, last[0].ID) // a list has not all that the gate looks at
	if err != nil {
		return "", err
	}
	before, err := db.LatestScan(ctx, r.ID)
	if err != nil {
		return "", err
	}
	scan, err := c.rescanOne(ctx, r)
	if err != nil {
		return "", err
	}
	s, err := c.judge(ctx, n.set, r, c.cfg.Env)
	if err != nil {
		return "", err
	}
	for _, reason := range s.Decision.Blocking() {
		c.events.Emit(factory.Event{Kind: factory.Warned, Image: r.Image, Step: factory.StepGate, Message: fmt.Sprintf("%s would not be let into %s today: %s", r.Tag, c.cfg.Env, reason.Text)})
	}
	if before == nil || scan.Database.Digest != before.Database.Digest || scan.At.Sub(before.At) >= attestEvery {
		if err := c.attestScan(ctx, n.run, n.set, s); err != nil {
			return "", err
		}
	}
	found := severities(scan.Counts())
	if found == "" {
		found = "no findings"
	}
	return fmt.Sprintf("rescanned with %s: %s", scan.Database, found), nil
}

// attestScan publishes what a rescan found next to the image, with what the gate of each environment that the release is in says
// now, so that whoever asks for fresh evidence gets it, also when it is bad.
func (c *command) attestScan(ctx context.Context, run string, set definition.Set, s standing) error {
	r := s.Release
	if err := c.serveRegistry(ctx); err != nil {
		return err
	}
	signing, err := c.signing(ctx, run)
	if err != nil {
		return err
	}
	vex, err := c.vex(ctx, s.Evidence, s.Decision)
	if err != nil {
		return err
	}
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	entries, err := db.Standing(ctx)
	if err != nil {
		return err
	}
	decisions := map[factory.Tag]factory.Decision{r.Tag: s.Decision}
	for _, e := range entries {
		if e.Release != r.ID || e.Tag == r.Tag {
			continue
		}
		there, err := c.judge(ctx, set, r, e.Env)
		if err != nil {
			return err
		}
		decisions[e.Tag] = there.Decision
	}
	sigs, err := signing.signer.Rescanned(ctx, r.Repository, r.Artifact, cosign.Rescan{Scan: s.Scan, VEX: vex.Data, Decisions: decisions})
	if err != nil {
		return err
	}
	return signing.signer.Attach(ctx, r.Repository, sigs)
}
