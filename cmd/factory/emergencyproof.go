package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/cosign"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/pipeline"
)

// proof is what became of one image: what it had, what it has, and who says so.
type proof struct {
	Image    string        `json:"image"`
	Before   []place       `json:"before"` // affected
	After    []place       `json:"after"`  // of the release that mends it
	Release  string        `json:"release,omitempty"`
	Packages []packageMove `json:"packages"`
	Gone     bool          `json:"gone"` // the release's own SBOM, looked up in the data, does not have it
	GoneBy   string        `json:"goneBy,omitempty"`
	Steps    []phase       `json:"steps"` // seconds
	Refused  []refusal     `json:"refused,omitempty"`
	Verified []verifiedAs  `json:"verified"`
	Error    string        `json:"error,omitempty"`
}

func newProof(image string, before []place) proof {
	return proof{Image: image, Before: before, After: []place{}, Packages: []packageMove{}, Steps: []phase{}, Verified: []verifiedAs{}}
}

// failed is the proof of an image that could not be mended.
func (p proof) failed(err error) proof {
	p.Error = firstLine(err.Error())
	return p
}

// place is a digest in an environment.
type place struct {
	Env    factory.Env    `json:"env"`
	Ref    string         `json:"ref"`
	Digest factory.Digest `json:"digest"`
}

// packageMove is a package before and after.
type packageMove struct {
	Package string `json:"package"`
	Before  string `json:"before"`
	After   string `json:"after"` // empty = it is not there any more
}

// refusal is a gate that did not let the release in, with every reason.
type refusal struct {
	Env     factory.Env      `json:"env"`
	Reasons []factory.Reason `json:"reasons"`
}

// verifiedAs is a reference as a consumer would verify it.
type verifiedAs struct {
	Ref    string   `json:"ref"`
	OK     bool     `json:"ok"`
	Checks int      `json:"checks"`
	Failed []string `json:"failed,omitempty"`
}

// act mends images under the lease, which a night that runs is asked for.
func (e *emergency) act(ctx context.Context, images []string) error {
	asked := e.w.Now()
	return e.leasedPatiently(ctx, "emergency", "emergency "+e.ID, func(ctx context.Context, run string) error {
		if waited := e.w.Now().Sub(asked); waited.Seconds() >= 0.5 {
			e.phases = append(e.phases, phase{"waited for the lease", waited.Seconds()})
		}
		first := len(e.proofs)
		err := e.mend(ctx, run, images)
		state := factory.Succeeded
		if err != nil {
			if state = ended(err); slices.ContainsFunc(e.proofs[first:], func(p proof) bool { return p.Error == "" }) && state == factory.Broken {
				state = factory.Partial
			}
		}
		return &verdict{err, state, e.sentence()}
	})
}

// mend rebuilds, promotes and proves. The error is what went wrong with images; each is told in its proof as well.
func (e *emergency) mend(ctx context.Context, run string, images []string) error {
	set, problems := definition.Load(e.cfg.Dir)
	out, err := e.rebuild(ctx, run, set, problems, images)
	if err != nil && out.Jobs == nil {
		for _, image := range images {
			e.done[image] = true
			e.proofs = append(e.proofs, newProof(image, e.before(image)).failed(err))
		}
		return err
	}
	var errs []error
	for _, name := range sortedKeys(out.Errors) { // what they are built on
		if !slices.Contains(images, name) {
			errs = append(errs, out.Errors[name])
		}
	}
	for _, image := range parentsFirst(set, images) {
		p := newProof(image, e.before(image))
		err := out.Errors[image]
		i := slices.IndexFunc(out.Jobs, func(j factory.RunJob) bool { return j.Image == image })
		if i >= 0 {
			for _, s := range out.Jobs[i].Steps {
				p.Steps = append(p.Steps, phase{string(s.Step), s.Seconds})
			}
			if j := out.Jobs[i]; j.Action == factory.Hold {
				err = &factory.Problem{Kind: factory.ErrBlocked, What: image + " is held back: " + j.Reason}
			}
		}
		if err == nil {
			err = e.prove(ctx, run, &p)
		}
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), errors.Join(errs...))
		}
		if err != nil {
			p = p.failed(err)
			errs = append(errs, err)
		}
		e.done[image] = true
		e.proofs = append(e.proofs, p)
	}
	return errors.Join(err, errors.Join(errs...))
}

// rebuild makes those of the images whose newest release is affected, or that have none where releases begin: where that one is well
// already, only what was promoted before it needs mending.
func (e *emergency) rebuild(ctx context.Context, run string, set definition.Set, problems error, images []string) (pipeline.Outcome, error) {
	todo := slices.DeleteFunc(slices.Clone(images), func(image string) bool {
		sick := slices.ContainsFunc(e.told.Affected, func(s sufferer) bool { return s.Image == image && s.Env == e.cfg.Env })
		_, err := e.newest(ctx, image)
		return !sick && err == nil
	})
	if len(todo) == 0 {
		return pipeline.Outcome{Jobs: []factory.RunJob{}}, nil
	}
	o := nightOptions{Command: "emergency", Why: "emergency " + e.ID, Images: todo, Lock: true, Commit: e.Commit, Push: e.Push, Asked: e.asked}
	var jobs planned
	if err := e.timed("lock", func() (err error) { jobs, err = e.nightPlan(ctx, set, problems, o); return err }); err != nil {
		return pipeline.Outcome{}, err
	}
	var out pipeline.Outcome
	err := e.timed("build", func() (err error) { out, err = e.nightWork(ctx, run, set, jobs, o); return err })
	return out, err
}

// before is where an image is affected.
func (e *emergency) before(image string) (all []place) {
	for _, s := range e.told.Affected {
		if at := (place{s.Env, s.Ref, s.Digest}); s.Image == image && !slices.Contains(all, at) {
			all = append(all, at)
		}
	}
	return all
}

// prove promotes the newest release of an image as far as it is needed, and looks at everything that is claimed of it.
func (e *emergency) prove(ctx context.Context, run string, p *proof) error {
	if err := e.serveRegistry(ctx); err != nil {
		return err
	}
	r, err := e.newest(ctx, p.Image)
	if err != nil {
		return err
	}
	p.Release = r.ID
	p.After = append(p.After, place{e.cfg.Env, r.Tagged(), r.Digest})
	gone := e.timed("rescan", func() error { return e.gone(ctx, r, p) })
	if gone != nil {
		return gone // what has it is not promoted
	}
	refused := e.timed("promote", func() error { return e.promoteFix(ctx, run, r, p) })
	return errors.Join(refused, e.timed("verify", func() error { return e.verifyFix(ctx, p) }))
}

// gone matches the release's own SBOM with the data, and compares its packages with those that were affected.
func (e *emergency) gone(ctx context.Context, r factory.Release, p *proof) error {
	scan, err := e.rescanOne(ctx, r)
	if err != nil {
		return fmt.Errorf("look at the SBOM of %s: %w", r.Tagged(), err)
	}
	for _, s := range e.told.Affected {
		now := packageMove{Package: s.Package, Before: s.Version}
		for _, lp := range r.Lock.Platforms {
			for _, have := range lp.Packages {
				if have.Name == s.Package {
					now.After = have.Version
				}
			}
		}
		if s.Image == p.Image && !slices.Contains(p.Packages, now) {
			p.Packages = append(p.Packages, now)
		}
	}
	still := slices.IndexFunc(scan.Findings, func(f factory.Finding) bool {
		return f.Vulnerability == e.ID && (e.Package == "" || e.Package == f.Package || e.Package == f.Source)
	})
	same := slices.IndexFunc(p.Packages, func(c packageMove) bool { return c.After == c.Before })
	p.Gone = still < 0 && (e.told.Known || same < 0)
	switch {
	case still >= 0:
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s still has %s in %s %s, says %s", r.Tagged(), e.ID, scan.Findings[still].Package, scan.Findings[still].Version, scan.Database),
			Hint: "factory findings " + r.Image}
	case !p.Gone:
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s still has %s %s", r.Tagged(), p.Packages[same].Package, p.Packages[same].After), Hint: "factory show " + r.Image}
	case !e.told.Known:
		p.GoneBy = "its package list: the version is newer; no data knows " + e.ID
		return nil
	}
	p.GoneBy = fmt.Sprintf("its own SBOM, %d packages, with %s", scan.Packages, scan.Database)
	return nil
}

// promoteFix takes the release through each gate up to the last environment, of those asked for, that is affected.
func (e *emergency) promoteFix(ctx context.Context, run string, r factory.Release, p *proof) error {
	last := e.cfg.Env
	for _, s := range e.told.Affected {
		if s.Image == p.Image && e.inScope(s) && (factory.Tag{Env: s.Env}).Compare(factory.Tag{Env: last}) > 0 {
			last = s.Env
		}
	}
	for _, env := range []factory.Env{factory.Staging, factory.Prod} {
		if (factory.Tag{Env: env}).Compare(factory.Tag{Env: e.cfg.Env}) <= 0 || (factory.Tag{Env: env}).Compare(factory.Tag{Env: last}) > 0 {
			continue
		}
		out, err := e.letIn(ctx, run, r, env, false)
		if out.Ref != "" && err != nil {
			p.Refused = append(p.Refused, refusal{env, out.Decision.Blocking()})
		}
		if err != nil {
			return err
		}
		p.After = append(p.After, place{env, out.Ref, out.Digest})
	}
	return nil
}

// verifyFix looks at each tag as a consumer would.
func (e *emergency) verifyFix(ctx context.Context, p *proof) error {
	var errs []error
	for _, at := range p.After {
		o := e.verifyOptions()
		o.Env, o.Now = at.Env, e.w.Now
		checks, err := cosign.Verify(ctx, at.Ref, o)
		v := verifiedAs{Ref: at.Ref, OK: err == nil, Checks: len(checks)}
		for _, k := range checks {
			if !k.OK {
				v.Failed = append(v.Failed, k.Name+": "+k.Detail)
			}
		}
		p.Verified = append(p.Verified, v)
		if err != nil {
			errs = append(errs, fmt.Errorf("verify %s: %w", at.Ref, err))
		}
	}
	return errors.Join(errs...)
}

// mended are the images that were mended, and the others that were tried.
func (e *emergency) mended() (well, ill []string) {
	for _, p := range e.proofs {
		if p.Error == "" {
			well = append(well, p.Image)
		} else {
			ill = append(ill, p.Image)
		}
	}
	return well, ill
}

// elsewhere are environments that are affected and that nobody asked to mend.
func (e *emergency) elsewhere() (envs []string) {
	for _, s := range e.told.Affected {
		if !e.inScope(s) && !slices.Contains(envs, string(s.Env)) {
			envs = append(envs, string(s.Env))
		}
	}
	return envs
}

// seen is what was looked at, for a sentence.
func (a answer) seen() string {
	return fmt.Sprintf("looked at %s, %s, with %s", count(a.Releases, "release"), count(a.Packages, "package"), cmp.Or(a.Database.String(), "no data"))
}
