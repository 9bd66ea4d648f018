// Package pipeline is the order of the night: which step follows which, and what each may rely on.
//
// Read Make from top to bottom: each step takes the result of the step before it, so a step in the wrong place does not
// compile. The package touches nothing itself. Who builds, hardens or signs is decided by whoever fills in a Line;
// retries and limits are put around those, not in here.
package pipeline

import (
	"context"
	"fmt"
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
	// Signer makes signatures and attestations; it publishes nothing.
	Signer interface {
		Sign(ctx context.Context, repository string, t factory.Tested) ([]factory.Signature, error)
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
	// Recorder keeps the release.
	Recorder interface {
		AddRelease(context.Context, factory.Release) error
	}
)

// Line is a production line: one implementation for each step. All fields but Events and Cleanup are required.
type Line struct {
	Resolver  Resolver
	Builder   Builder
	Hardener  Hardener
	Packer    Packer
	Tester    Tester
	Signer    Signer
	Attacher  Attacher
	Publisher Publisher
	Verifier  Verifier
	Recorder  Recorder

	// Repository returns where an image is published: registry host and path, no tag.
	Repository func(image string) string
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
	defer l.cleanup(packed.Artifact)
	tested := do(&w, factory.StepTest, l.Tester.Test, packed)
	sealed := do(&w, factory.StepSign, l.sign, tested)
	release := do(&w, factory.StepPublish, w.publish, sealed)
	then(&w, factory.StepRecord, l.Recorder.AddRelease, release)

	return release, w.times, w.err
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

// then is do for a step without a result.
func then[In any](w *walk, step factory.StepName, f func(context.Context, In) error, in In) {
	do(w, step, func(ctx context.Context, in In) (struct{}, error) { return struct{}{}, f(ctx, in) }, in)
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

func (l Line) sign(ctx context.Context, t factory.Tested) (factory.Sealed, error) {
	repository := l.Repository(t.Job.Image.Name)
	sigs, err := l.Signer.Sign(ctx, repository, t)
	return factory.Sealed{
		Tested: t, Repository: repository, Signatures: sigs,
		Tag: factory.Tag{Date: factory.DateOf(t.At), Hash: t.Job.Source.Hash, Env: t.Job.Env},
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
		Artifact: s.Artifact, Lock: s.Lock, Controls: s.Controls, Tests: s.Results,
		Signatures: s.Signatures, Steps: w.times, Inputs: s.Inputs,
	}
}
