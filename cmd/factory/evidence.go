package main

import (
	"context"
	"fmt"
	"os/user"
	"slices"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/gate"
	"github.com/imagefactory/imagefactory/factory/store"
)

// scanning gives a scan of a packed image the history of its findings. It is the Scanner of the production line.
type scanning struct{ c *command }

// Scan makes the SBOMs and looks every package up in the vulnerability data of this run.
func (s scanning) Scan(ctx context.Context, p factory.Packed) (factory.Scanned, error) {
	scanner, _, err := s.c.scanner(ctx)
	if err != nil {
		return factory.Scanned{}, err
	}
	out, err := scanner.Scan(ctx, p.Job.Image.Name, p.Artifact)
	if err != nil {
		return out, err
	}
	db, err := s.c.store(ctx)
	if err != nil {
		return out, err
	}
	if out.Scan, err = db.Remember(ctx, p.Job.Image.Name, out.Scan); err != nil {
		return out, err
	}
	out.Own, err = s.c.own(ctx, p.Job, p.Lock, out.Scan, func() ([]factory.Document, error) { return only(out.Documents, factory.CycloneDX), nil })
	return out, err
}

// gating is the gate of the production line.
type gating struct{ c *command }

// Decide judges by the policy of the environment, as it lies in the repository now.
func (g gating) Decide(ctx context.Context, e factory.Evidence) (factory.Decision, []factory.Document, error) {
	policies, err := definition.Policies(g.c.cfg.Dir)
	if err != nil {
		return factory.Decision{}, nil, err
	}
	db, err := g.c.store(ctx)
	if err != nil {
		return factory.Decision{}, nil, err
	}
	// The same inputs make the same digest, and that may have been revoked.
	revoked, err := db.Revoked(ctx, g.c.repository(e.Image.Name), e.Digest)
	if err != nil {
		return factory.Decision{}, nil, err
	}
	if revoked != nil {
		e.Revoked = revoked.Reason
	}
	// What it is built on may have been revoked since the run began.
	if err := g.c.beneath(ctx, &e); err != nil {
		return factory.Decision{}, nil, err
	}
	decision := gate.Decide(policies[e.Env], e)
	vex, err := g.c.vex(ctx, e, decision)
	if err != nil {
		return decision, nil, err
	}
	return decision, []factory.Document{vex}, nil
}

// vex says of each finding what the decision makes of it, for other people's tools, and what earlier releases had and this one has
// not.
func (a *app) vex(ctx context.Context, e factory.Evidence, d factory.Decision) (factory.Document, error) {
	db, err := a.store(ctx)
	if err != nil {
		return factory.Document{}, err
	}
	meta := gate.VEXMeta{Version: version, Repository: a.repository(e.Image.Name)}
	// What is fixed is known of the newest release, and of one that is being made.
	newest, err := db.Latest(ctx, e.Image.Name)
	if err != nil {
		return factory.Document{}, err
	}
	var gone []store.Found
	if recorded, err := db.Releases(ctx, store.Query{Image: e.Image.Name}); err != nil {
		return factory.Document{}, err
	} else if newest != nil && (newest.Digest == e.Digest || !slices.ContainsFunc(recorded, func(r factory.Release) bool { return r.Digest == e.Digest })) {
		if gone, err = db.Findings(ctx, store.FindingQuery{Image: e.Image.Name, Fixed: true}); err != nil {
			return factory.Document{}, err
		}
	}
	for _, f := range gone {
		meta.Fixed = append(meta.Fixed, f.Finding)
	}
	b, err := gate.VEX(e, d, meta)
	return factory.NewDocument(factory.OpenVEX, string(e.Env), factory.Platform{}, "application/json", b), err
}

// standing is a release with what is known of it today.
type standing struct {
	Release  factory.Release
	Entry    factory.Entry // how it came into its environment
	Scan     factory.Scan  // the newest
	Decision factory.Decision
	Evidence factory.Evidence
}

// judge decides about a release and an environment by what is known now.
func (c *command) judge(ctx context.Context, set definition.Set, r factory.Release, env factory.Env) (standing, error) {
	return c.judgeBy(ctx, c.policies, set, r, env)
}

// policies reads those of each environment, as they lie in the repository.
func (c *command) policies() (map[factory.Env]factory.Policy, error) {
	return definition.Policies(c.cfg.Dir)
}

// judgeBy is judge by these policies.
func (c *command) judgeBy(ctx context.Context, read func() (map[factory.Env]factory.Policy, error), set definition.Set, r factory.Release, env factory.Env) (standing, error) {
	s := standing{Release: r, Scan: r.Scan}
	db, err := c.store(ctx)
	if err != nil {
		return s, err
	}
	latest, err := db.LatestScan(ctx, r.ID)
	if err != nil {
		return s, err
	}
	if latest != nil {
		s.Scan = *latest
	}
	revoked, err := db.Revoked(ctx, r.Repository, r.Digest)
	if err != nil {
		return s, err
	}
	policies, err := read()
	if err != nil {
		return s, err
	}
	img, err := set.Image(r.Image)
	if err != nil {
		// It is published and nobody defines it any more: without waivers, and with what the release itself knows.
		img = factory.Image{Name: r.Image, Owner: factory.Owner{Team: r.Owner}}
		for _, p := range r.Artifact.Platforms {
			img.Platforms = append(img.Platforms, p.Platform)
		}
	}
	s.Evidence = factory.Evidence{Image: img, Env: env, Digest: r.Digest, Source: r.Source, Tests: r.Tests, Controls: r.Controls,
		Compliance: r.Compliance, Scan: s.Scan, Parent: r.Parent, At: c.w.Now().UTC()}
	if revoked != nil {
		s.Evidence.Revoked = revoked.Reason
	}
	if err := c.beneath(ctx, &s.Evidence); err != nil {
		return s, err
	}
	sboms := func() ([]factory.Document, error) { return c.documentsOf(ctx, r.ID, factory.CycloneDX) }
	if s.Evidence.Own, err = c.own(ctx, factory.Job{Image: img, Parent: r.Parent}, r.Lock, s.Scan, sboms); err != nil {
		return s, err
	}
	if r.Rebased != nil {
		s.Evidence.Carried = r.Rebased.Carried
	}
	s.Decision = gate.Decide(policies[env], s.Evidence)
	if slices.Contains(set.Broken, r.Image) {
		// Its waivers, platforms and end of life are not known, so nothing that was decided without them counts.
		s.Decision.Pass = false
		s.Decision.Reasons = slices.Insert(s.Decision.Reasons, 0, factory.Reason{Rule: "policy", Subject: r.Image, Blocks: true,
			Text: "the definition of " + r.Image + " is not valid, so nobody knows its waivers and its end of life", Hint: "factory check"})
	}
	return s, nil
}

// standings are the newest releases of each image and environment that are in force, judged now. Empty names mean all images.
func (c *command) standings(ctx context.Context, set definition.Set, image string, env factory.Env) ([]standing, error) {
	db, err := c.store(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := db.Standing(ctx)
	if err != nil {
		return nil, err
	}
	policies := sync.OnceValues(c.policies) // of all of them the same
	var all []standing
	for _, e := range entries {
		if image != "" && e.Image != image || env != "" && e.Env != env {
			continue
		}
		r, err := db.Release(ctx, e.Release)
		if err != nil {
			return nil, err
		}
		s, err := c.judgeBy(ctx, policies, set, r, e.Env)
		if err != nil {
			return nil, err
		}
		s.Entry = e
		all = append(all, s)
	}
	return all, nil
}

// who is who does what a person does, for the ledger.
func (c *command) who() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return name + "@" + hostname()
}

// waivedCompliance is a release's compliance with the waivers of today.
func (s standing) waivedCompliance() factory.Compliance {
	return s.Release.Compliance.Waive(s.Evidence.Image.Waivers, factory.DateOf(s.Evidence.At))
}

// severities writes counts, the worst first; nothing when there are none.
func severities(counts map[factory.Severity]int) string {
	text := ""
	for _, s := range factory.Severities() {
		if counts[s] > 0 {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%d %s", counts[s], s)
		}
	}
	return text
}

// drift is the age of the oldest fix that there is and that the release does not have; zero when there is none.
func (s standing) drift(now time.Time) time.Duration {
	var oldest time.Duration
	for _, f := range s.Scan.Findings {
		if f.Fixed == "" {
			continue
		}
		since := f.FixedOn
		if since.IsZero() {
			since = f.FixSeen
		}
		if !since.IsZero() {
			oldest = max(oldest, now.Sub(since))
		}
	}
	return oldest
}

// only are the documents of one kind.
func only(all []factory.Document, kind factory.DocumentKind) []factory.Document {
	return slices.DeleteFunc(slices.Clone(all), func(d factory.Document) bool { return d.Kind != kind })
}

// documentsOf returns the documents of one kind, with their content.
func (c *command) documentsOf(ctx context.Context, release string, kind factory.DocumentKind) ([]factory.Document, error) {
	db, err := c.store(ctx)
	if err != nil {
		return nil, err
	}
	all, err := db.Documents(ctx, release)
	if err != nil {
		return nil, err
	}
	all = only(all, kind)
	for i, d := range all {
		if all[i], err = db.Document(ctx, release, kind, d.Name); err != nil {
			return nil, err
		}
	}
	return all, nil
}
