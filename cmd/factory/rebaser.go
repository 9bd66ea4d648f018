package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/accept"
	"github.com/imagefactory/imagefactory/factory/oci"
	"github.com/imagefactory/imagefactory/factory/rebase"
)

// platform holds the rules against one platform of an image.
func (s *surgery) platform(ctx context.Context, op *operation, m factory.Manifest) error {
	c := factory.RebaseCheck{Rule: rebase.RulePlatforms, Platform: m.Platform, OK: true, Text: "it is in both bases"}
	old, inOld := of(op.old, m.Platform)
	base, inNew := of(s.base, m.Platform)
	if !inOld || !inNew {
		c.OK, c.Text = false, "a base does not have it"
	}
	op.checks = append(op.checks, c)
	if !c.OK {
		return nil
	}
	var facts [3]oci.Facts
	for i, part := range []factory.Manifest{m, old, base} {
		var err error
		if facts[i], err = oci.Read(part); err != nil {
			return err
		}
	}
	image, was, is := facts[0], facts[1], facts[2]
	layers := rebase.Layers(m.Platform, digests(image.Layers), digests(was.Layers))
	if op.checks = append(op.checks, layers); !layers.OK {
		return nil
	}
	p := rebase.Platform{Platform: m.Platform, Format: s.distro.Format(), OldPackages: op.from.Lock.For(m.Platform), NewPackages: s.onto.Lock.For(m.Platform)}
	if op.release != nil {
		p.OwnPackages = op.release.Lock.For(m.Platform)
	}
	var err error
	for _, part := range []struct {
		to         *[]factory.Content
		repository string
		layers     []oci.Sized
	}{{&p.Old, op.old.Repository, was.Layers}, {&p.New, s.base.Repository, is.Layers}, {&p.Own, op.image.Repository, image.Layers[len(was.Layers):]}} {
		if *part.to, err = s.layers.contents(ctx, part.repository, part.layers); err != nil {
			return err
		}
	}
	checks, merged := rebase.Check(p)
	op.checks, op.merged[m.Platform] = append(op.checks, checks...), merged
	op.config[m.Platform], err = rebase.Config(was.Config, is.Config, image.Config)
	return err
}

func of(p factory.Published, platform factory.Platform) (factory.Manifest, bool) {
	for _, m := range p.Platforms {
		if m.Platform == platform {
			return m, true
		}
	}
	return factory.Manifest{}, false
}

// swap writes the exchanged image to disk, with the layers that a scanner wants to see.
func (s *surgery) swap(ctx context.Context, op *operation, notes map[string]string) (factory.Artifact, error) {
	dir, err := os.MkdirTemp(s.dir, "image-")
	if err != nil {
		return factory.Artifact{}, err
	}
	var swaps []oci.Swap
	for _, m := range op.image.Platforms {
		old, _ := of(op.old, m.Platform)
		base, _ := of(s.base, m.Platform)
		swap := oci.Swap{Image: m, Old: old, New: base, Config: op.config[m.Platform]}
		for _, f := range op.merged[m.Platform] {
			swap.Top = append(swap.Top, f.LayerFile)
		}
		swaps = append(swaps, swap)
	}
	artifact, err := oci.Rebase(dir, op.image.Index, swaps, notes)
	if err != nil {
		return artifact, err
	}
	for _, p := range artifact.Platforms {
		for _, l := range p.Layers {
			if err := s.link(ctx, op, dir, oci.Sized{Digest: l.Digest, Size: l.Size}); err != nil {
				return artifact, err
			}
		}
	}
	return artifact, nil
}

// link puts a layer that a registry has into a layout.
func (s *surgery) link(ctx context.Context, op *operation, dir string, l oci.Sized) error {
	at := filepath.Join(dir, "blobs", "sha256", l.Digest.Hex())
	if _, err := os.Stat(at); err == nil {
		return nil
	}
	from := op.image.Repository
	for _, m := range s.base.Platforms {
		if f, err := oci.Read(m); err == nil && slices.Contains(digests(f.Layers), l.Digest) {
			from = s.base.Repository
		}
	}
	blob, err := s.layers.blob(ctx, from, l)
	if err != nil {
		return err
	}
	if err := os.Link(blob, at); !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func releaseBase(r factory.Release) factory.Base {
	return factory.Base{Image: r.Image, Release: r.ID, Repository: r.Repository, Digest: r.Digest, Tag: r.Tag}
}

// own takes a release of ours through the rest of the line.
func (s *surgery) own(ctx context.Context, run string, op *operation, r rebased) rebased {
	fail := func(err error) rebased {
		r.err, r.Error = err, err.Error()
		return r
	}
	img, err := s.set.Image(op.release.Image)
	if err != nil {
		return fail(err)
	}
	onto := releaseBase(s.onto)
	// The first release under a tag stands, whatever it says of itself: what is in force already is not made again.
	job := factory.Job{Image: img, Action: factory.Rebuild, Reason: fmt.Sprintf("rebased from %s onto %s", op.from.Tag, s.onto.Tag), Env: op.env, Source: op.release.Source,
		Parent: &onto, Supersedes: op.release.ID, Rebase: &factory.Rebase{Before: releaseBase(*op.release), From: releaseBase(op.from), Onto: onto, Checks: op.checks}}
	line := s.line
	line.Rebaser = rebaser{s, op}
	if !s.o.Prove {
		line.Tester, line.Prover = carrying{s, op}, carrying{s, op}
	} else {
		line.Tester = accept.Tester{Runner: s.c.build(), Opener: s.c.build(), Events: s.c.events}
	}
	release, _, err := line.Rebase(ctx, run, job)
	if err != nil {
		return fail(err)
	}
	r.Result, r.Ref, r.Digest, r.Carried = "rebased", release.Tagged(), release.Digest, job.Rebase.Carried
	r.Found = cmp.Or(severities(release.Scan.Counts()), "no findings")
	if n := len(release.Scan.NotLookedAt); n > 0 {
		r.Found += fmt.Sprintf(", %d packages NOT looked at", n)
	}
	return r
}

// rebaser is the first step of the line when nothing is built.
type rebaser struct {
	s  *surgery
	op *operation
}

// Rebase writes the image with the lock that it has now.
func (b rebaser) Rebase(ctx context.Context, job factory.Job) (p factory.Packed, err error) {
	s, op := b.s, b.op
	before := *op.release
	lock, err := s.lock(before, op.from)
	if err != nil {
		return p, err
	}
	text, err := lock.Encode()
	if err != nil {
		return p, err
	}
	p.Job, p.Lock, p.Inputs, p.At, p.Controls = job, lock, before.Inputs, s.c.app.began, before.Controls
	notes := map[string]string{oci.AnnotationLock: string(factory.DigestOf(text)), oci.AnnotationBaseName: s.onto.Tagged(), oci.AnnotationBaseDigest: string(s.onto.Digest)}
	if p.Artifact, err = s.swap(ctx, op, notes); err != nil {
		return p, err
	}
	p.Configs = map[factory.Platform]factory.Config{}
	for _, platform := range p.Artifact.Platforms {
		p.Configs[platform.Platform] = *platform.Config
	}
	if !s.o.Prove {
		job.Rebase.Carried = []string{
			fmt.Sprintf("%s and %s are those of %s, the image before the rebase: nothing was run in this one", count(len(before.Tests), "acceptance test"), count(len(before.Controls), "control"), before.Tag),
			fmt.Sprintf("OpenSCAP looked at %s and at the new base %s, not at this image: of each rule the worse result counts", before.Tag, s.onto.Tag),
		}
		return p, nil
	}
	job.Rebase.Carried = []string{fmt.Sprintf("%s are those of %s, the image before the rebase", count(len(before.Controls), "control"), before.Tag)}
	for _, platform := range p.Artifact.Platforms {
		root, err := s.c.build().Open(ctx, p.Artifact, platform.Platform)
		if err != nil {
			return p, err
		}
		p.Roots = append(p.Roots, root)
	}
	return p, nil
}

// lock is the image's lock with the packages of the new base.
func (s *surgery) lock(before, from factory.Release) (factory.Lock, error) {
	lock := before.Lock
	lock.Release = s.onto.Lock.Release
	if s.onto.Lock.Timestamp.After(lock.Timestamp) {
		lock.Timestamp = s.onto.Lock.Timestamp
	}
	text, err := s.onto.Lock.Encode()
	if err != nil {
		return lock, err
	}
	lock.Parent = &factory.LockedParent{Image: s.onto.Image, Lock: factory.DigestOf(text)}
	lock.Platforms = slices.Clone(lock.Platforms)
	for i, p := range lock.Platforms {
		packages, clash := rebase.Packages(from.Lock.For(p.Platform), s.onto.Lock.For(p.Platform), p.Packages)
		if clash != "" {
			return lock, &factory.Problem{Kind: factory.ErrBlocked, What: clash}
		}
		lock.Platforms[i].Packages = packages
	}
	return lock, nil
}

// carrying stands in for tests and proof: it says what they said of the images that this one is made of.
type carrying struct {
	s  *surgery
	op *operation
}

// Test returns what the tests said before.
func (k carrying) Test(_ context.Context, p factory.Packed) (factory.Tested, error) {
	return factory.Tested{Packed: p, Results: k.op.release.Tests}, nil
}

// Prove returns what can be said without looking, and no documents: those are of other images.
func (k carrying) Prove(context.Context, factory.Hardened) (factory.Proven, error) {
	return factory.Proven{Compliance: rebase.Carry(k.op.release.Compliance, k.s.onto.Compliance, k.op.release.Ref(), k.s.onto.Ref())}, nil
}

// foreign puts somebody else's image on the new base. It gets a tag that did not exist, and an attestation of what was done.
func (s *surgery) foreign(ctx context.Context, run string, op *operation, r rebased) rebased {
	fail := func(err error) rebased {
		r.err, r.Error = err, err.Error()
		return r
	}
	to := cmp.Or(s.o.To, op.image.Repository)
	if s.o.Tag == "" {
		return fail(&factory.Problem{Kind: factory.ErrInvalid, What: op.ref + " is not ours, so its rebased image needs a new tag of its own",
			Hint: "--tag TAG; no tag that exists is moved. --to REPOSITORY writes elsewhere"})
	}
	target, err := factory.ParseRef(to + ":" + s.o.Tag)
	if err != nil {
		return fail(fmt.Errorf("--to and --tag: %w", err))
	}
	if i := slices.IndexFunc(s.set.Images, func(img factory.Image) bool { return s.c.repository(img.Name) == target.Repository }); i >= 0 {
		return fail(&factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("%s is where releases of %s are, and no gate judges an image that is not ours", target.Repository, s.set.Images[i].Name),
			Hint: "write it elsewhere: --to REPOSITORY"})
	}
	notes := map[string]string{oci.AnnotationBaseName: s.onto.Tagged(), oci.AnnotationBaseDigest: string(s.onto.Digest)}
	artifact, err := s.swap(ctx, op, notes)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(artifact.Layout) }()
	scanner, _, err := s.c.scanner(ctx)
	if err != nil {
		return fail(err)
	}
	scanned, err := scanner.Scan(ctx, target.Name(), artifact)
	if err != nil {
		return fail(err)
	}
	r.Found = cmp.Or(severities(scanned.Scan.Counts()), "no findings")
	r.Carried = []string{"no gate judged it, and it is not signed: it is not ours"}
	for _, other := range op.image.Others {
		r.Carried = append(r.Carried, "left out of the index: "+other)
	}
	if err := s.publishForeign(ctx, run, op, target, artifact, r.Carried); err != nil {
		return fail(err)
	}
	r.Result, r.Ref, r.Digest = "rebased", target.String(), artifact.Digest
	return r
}

// publishForeign pushes by digest, attests, and sets the tag last.
func (s *surgery) publishForeign(ctx context.Context, run string, op *operation, target factory.Ref, a factory.Artifact, carried []string) error {
	client := s.c.registry()
	switch held, err := client.Resolve(ctx, target.String()); {
	case err == nil && held != a.Digest:
		return &factory.Problem{Kind: factory.ErrConflict, What: fmt.Sprintf("%s stands for %s already", target, held), Hint: "choose another --tag: none is moved"}
	case err != nil && !errors.Is(err, factory.ErrNotFound):
		return err
	}
	signing, err := s.c.signing(ctx, run)
	if err != nil {
		return err
	}
	if err := client.Push(ctx, target.Repository, a); err != nil {
		return err
	}
	sigs, err := signing.signer.Rebase(ctx, target.Repository, a, factory.Rebase{
		Before: factory.Base{Repository: op.image.Repository, Digest: op.image.Digest}, From: releaseBase(op.from), Onto: releaseBase(s.onto), Checks: op.checks, Carried: carried})
	if err != nil {
		return err
	}
	if err := signing.signer.Attach(ctx, target.Repository, sigs); err != nil {
		return err
	}
	return client.TagAs(ctx, target.Repository, a.Digest, target.Tag)
}
