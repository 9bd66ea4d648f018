// Package pipeline is the order of the night: which step follows which, and what each may rely on.
//
// Read Make, and finish below it, from top to bottom: each step takes the result of the step before it, so a step in the wrong place does not
// compile. The package touches nothing itself. Who builds, hardens or signs is decided by whoever fills in a Line;
// retries and limits are put around those, not in here.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// What the pipeline needs from the world: each a verb.
type (
	// Resolver finds the exact inputs of a job.
	Resolver interface {
		Resolve(context.Context, factory.Job) (factory.Locked, error)
	}
	// Builder makes root filesystems from locked packages, without network.
	Builder interface {
		Build(context.Context, factory.Locked) (factory.Built, error)
	}
	// Hardener applies the hardening profile.
	Hardener interface {
		Harden(context.Context, factory.Built) (factory.Hardened, error)
	}
	// Packer writes the OCI image to this machine's disk.
	Packer interface {
		Pack(context.Context, factory.Hardened) (factory.Packed, error)
	}
	// Tester runs the acceptance tests. It returns ErrBlocked when one failed.
	Tester interface {
		Test(context.Context, factory.Packed) (factory.Tested, error)
	}
	// Prover has somebody else's benchmark look at the hardened filesystem.
	Prover interface {
		Prove(context.Context, factory.Hardened) (factory.Proven, error)
	}
	// Scanner lists what is in the packed image, and which vulnerabilities are known of it, with their history.
	Scanner interface {
		Scan(context.Context, factory.Packed) (factory.Scanned, error)
	}
	// Gate decides whether an image may go into its environment. The documents tell others what it decided about.
	Gate interface {
		Decide(context.Context, factory.Evidence) (factory.Decision, []factory.Document, error)
	}
	// Signer makes signatures and attestations; it publishes nothing.
	Signer interface {
		Sign(ctx context.Context, repository string, a factory.Approved) ([]factory.Signature, error)
	}
	// Attacher publishes signatures next to a digest.
	Attacher interface {
		Attach(ctx context.Context, repository string, sigs []factory.Signature) error
	}
	// Publisher puts an image into a registry by digest and checks it there; a tag is put on it later.
	Publisher interface {
		Push(ctx context.Context, repository string, a factory.Artifact) error
		Tag(ctx context.Context, repository string, d factory.Digest, t factory.Tag) error
	}
	// Verifier checks a published digest as a consumer would.
	Verifier interface {
		Verify(ctx context.Context, repository string, d factory.Digest) error
	}
	// Rebaser exchanges the base below a job's image, and writes what comes of it to this machine's disk.
	Rebaser interface {
		Rebase(context.Context, factory.Job) (factory.Packed, error)
	}
	// Recorder keeps the release. It returns the one that stands: of the same digest under the same tag, that is the first.
	Recorder interface {
		AddRelease(context.Context, factory.Release) (factory.Release, error)
	}
)

// Line is a production line: one implementation for each step. All fields but Events and Cleanup are required.
type Line struct {
	Resolver  Resolver
	Builder   Builder
	Hardener  Hardener
	Packer    Packer
	Tester    Tester
	Prover    Prover
	Scanner   Scanner
	Gate      Gate
	Signer    Signer
	Attacher  Attacher
	Publisher Publisher
	Verifier  Verifier
	Recorder  Recorder

	// Rebaser exchanges bases; only Rebase needs it.
	Rebaser Rebaser

	// Repository returns where an image is published: registry host and path, no tag.
	Repository func(image string) string
	// Cause names the trigger that this run was asked for by; empty = none. Its releases say so.
	Cause string
	// NewID returns a new unique release id.
	NewID func() string
	// Now is the clock.
	Now func() time.Time
	// Cleanup removes what Pack left on disk; nil keeps it.
	Cleanup func(factory.Artifact)
	// Events receives progress; nil discards.
	Events factory.Events
}

// Make takes one job from its definition to a published, recorded release. Nothing is visible to a consumer before the
// last act of publish, the tag. On an error the times of the steps that ran are returned all the same.
func (l Line) Make(ctx context.Context, run string, job factory.Job) (factory.Release, []factory.StepTime, error) {
	w := walk{ctx: ctx, line: l, run: run, job: job}

	locked := do(&w, factory.StepResolve, l.Resolver.Resolve, job)
	built := do(&w, factory.StepBuild, l.Builder.Build, locked)
	hardened := do(&w, factory.StepHarden, l.Hardener.Harden, built)
	packed := do(&w, factory.StepPack, l.pack, hardened)

	return w.finish(packed)
}

// Rebase takes a job from a release to one on another base, without a build. From the packed image on it is the same line: what
// tests and proves may carry evidence and must say so; scan, gate and signatures are of the new image.
func (l Line) Rebase(ctx context.Context, run string, job factory.Job) (factory.Release, []factory.StepTime, error) {
	w := walk{ctx: ctx, line: l, run: run, job: job}

	packed := do(&w, factory.StepRebase, l.Rebaser.Rebase, job)

	return w.finish(packed)
}

// finish is the rest of the line, from a packed image on, however that came to be.
func (w *walk) finish(packed factory.Packed) (factory.Release, []factory.StepTime, error) {
	l := w.line
	defer l.cleanup(packed.Artifact)
	examined := w.examine(packed)
	approved := do(w, factory.StepGate, l.approve, examined)
	sealed := do(w, factory.StepSign, l.sign, approved)
	release := do(w, factory.StepPublish, w.publish, sealed)
	recorded := do(w, factory.StepRecord, l.Recorder.AddRelease, release)

	return recorded, w.times, w.err
}

// examine tests, proves and scans at once: each looks at the same image, and none needs another's result. All three finish
// whatever the others say, so that one night tells everything that is wrong.
func (w *walk) examine(p factory.Packed) (e factory.Examined) {
	if w.err != nil {
		return e
	}
	tested, proven, scanned := w.branch(), w.branch(), w.branch()
	var group sync.WaitGroup
	group.Go(func() { e.Tested = do(tested, factory.StepTest, guarded(w.line.Tester.Test), p) })
	group.Go(func() { e.Proven = do(proven, factory.StepProve, guarded(w.line.Prover.Prove), p.Hardened) })
	group.Go(func() { e.Scanned = do(scanned, factory.StepScan, guarded(w.line.Scanner.Scan), p) })
	group.Wait()
	for _, b := range []*walk{tested, proven, scanned} {
		w.times = append(w.times, b.times...)
		w.err = errors.Join(w.err, b.err)
	}
	return e
}

// guarded makes a panic beside the walk an error, as it is one on the walk itself.
func guarded[In, Out any](f func(context.Context, In) (Out, error)) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (out Out, err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("the factory itself failed: %v", r)
			}
		}()
		return f(ctx, in)
	}
}

// branch is a walk beside w, with times and an error of its own.
func (w *walk) branch() *walk {
	return &walk{ctx: w.ctx, line: w.line, run: w.run, job: w.job}
}

// walk is one job on its way down the line.
type walk struct {
	ctx   context.Context
	line  Line
	run   string
	job   factory.Job
	times []factory.StepTime
	err   error
}

// do runs one step: it times it, tells who watches, and says in an error which step and image it was. After an error every
// later step is passed over.
func do[In, Out any](w *walk, step factory.StepName, f func(context.Context, In) (Out, error), in In) (out Out) {
	if w.err != nil {
		return out
	}
	name, events := w.job.Image.Name, w.line.Events
	began := w.line.Now()
	events.Emit(factory.Event{Time: began, Kind: factory.Began, Image: name, Step: step})
	out, err := f(w.ctx, in)
	if err == nil && w.ctx.Err() != nil {
		err = context.Cause(w.ctx)
	}
	ended := w.line.Now()
	took := max(0, ended.Sub(began).Seconds())
	w.times = append(w.times, factory.StepTime{Step: step, Seconds: took})
	e := factory.Event{Time: ended, Kind: factory.Finished, Image: name, Step: step, Seconds: took}
	if err != nil {
		w.err = fmt.Errorf("%s %s: %w", step, name, err)
		e.Kind, e.Message = factory.Broke, err.Error()
	}
	events.Emit(e)
	return out
}

// pack writes the image, and raises the alarm when the same inputs gave another digest than last time.
func (l Line) pack(ctx context.Context, h factory.Hardened) (factory.Packed, error) {
	packed, err := l.Packer.Pack(ctx, h)
	if err != nil {
		return packed, err
	}
	if want := h.Job.Refresh; want != "" && packed.Artifact.Digest != want {
		return packed, &factory.Problem{Kind: factory.ErrUnverified,
			What: fmt.Sprintf("the same inputs gave %s, and %s before: the build is not reproducible, or something interfered", packed.Artifact.Digest.Short(), want.Short()),
			Hint: "find the first differing file: factory reproduce " + h.Job.Image.Name}
	}
	return packed, nil
}

func (l Line) cleanup(a factory.Artifact) {
	if l.Cleanup != nil && a.Layout != "" {
		l.Cleanup(a)
	}
}

// approve asks the gate of the job's environment.
func (l Line) approve(ctx context.Context, e factory.Examined) (factory.Approved, error) {
	var carried []string
	if e.Job.Rebase != nil {
		carried = e.Job.Rebase.Carried
	}
	d, documents, err := l.Gate.Decide(ctx, factory.Evidence{
		Image: e.Job.Image, Env: e.Job.Env, Digest: e.Artifact.Digest, Source: e.Job.Source, Tests: e.Results, Controls: e.Controls,
		Compliance: e.Proven.Compliance, Scan: e.Scanned.Scan, At: e.At, Own: e.Scanned.Own, Parent: e.Job.Parent, Carried: carried,
	})
	if err != nil {
		return factory.Approved{}, err
	}
	if !d.Pass {
		return factory.Approved{}, Blocked(d)
	}
	return factory.Approve(e, d, documents...)
}

// Blocked is a decision that blocks, as an error that gives every reason. It is nil when d passes.
func Blocked(d factory.Decision) error {
	if d.Pass {
		return nil
	}
	errs := []error{}
	for _, r := range d.Blocking() {
		errs = append(errs, &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("%s is not let into %s: %s", d.Image, d.Env, r.Text), Hint: r.Hint})
	}
	if len(errs) == 0 {
		return &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("%s is not let into %s, and nobody says why", d.Image, d.Env)}
	}
	return errors.Join(errs...)
}

func (l Line) sign(ctx context.Context, a factory.Approved) (factory.Sealed, error) {
	repository := l.Repository(a.Job.Image.Name)
	sigs, err := l.Signer.Sign(ctx, repository, a)
	return factory.Sealed{
		Approved: a, Repository: repository, Signatures: sigs,
		Tag: factory.Tag{Date: factory.DateOf(a.At), Hash: a.Job.Hash(), Env: a.Job.Env},
	}, err
}

// publish pushes by digest, attaches the signatures, checks both as a consumer would, and only then moves the tag.
func (w *walk) publish(ctx context.Context, s factory.Sealed) (factory.Release, error) {
	l, digest := w.line, s.Artifact.Digest
	if err := l.Publisher.Push(ctx, s.Repository, s.Artifact); err != nil {
		return factory.Release{}, err
	}
	if err := l.Attacher.Attach(ctx, s.Repository, s.Signatures); err != nil {
		return factory.Release{}, err
	}
	if err := l.Verifier.Verify(ctx, s.Repository, digest); err != nil {
		return factory.Release{}, err
	}
	if err := l.Publisher.Tag(ctx, s.Repository, digest, s.Tag); err != nil {
		return factory.Release{}, err
	}
	// From here on it is published: an interruption must not keep it from being recorded.
	w.ctx = context.WithoutCancel(ctx)
	return w.release(s), nil
}

func (w *walk) release(s factory.Sealed) factory.Release {
	return factory.Release{
		ID: w.line.NewID(), Image: s.Job.Image.Name, Owner: s.Job.Image.Owner.Team,
		Repository: s.Repository, Digest: s.Artifact.Digest, Tag: s.Tag,
		Source: s.Job.Source, Reason: s.Job.Reason, Created: w.line.Now().UTC(), Run: w.run, Supersedes: s.Job.Supersedes,
		Parent: s.Job.Parent, Cause: w.line.Cause, Rebased: s.Job.Rebase,
		Artifact: s.Artifact, Lock: s.Lock, Controls: s.Controls, Tests: s.Results,
		Signatures: s.Signatures, Steps: w.times, Inputs: s.Inputs,
		Compliance: s.Proven.Compliance, Scan: s.Scanned.Scan, Decision: s.Decision, Documents: s.Documents(),
	}
}
