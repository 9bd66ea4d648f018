package cosign

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagefactory/imagefactory/factory"
)

// rebasedRelease publishes a release, and another one that was rebased from it onto a base.
func rebasedRelease(t *testing.T, s *Signer, repository string) (factory.Artifact, []factory.Signature, factory.Rebase) {
	t.Helper()
	before, _ := release(t, s, repository, nil)
	r := factory.Rebase{
		Before: factory.Base{Image: "debian-12", Repository: repository, Digest: before.Digest}, From: factory.Base{Repository: repository, Digest: factory.DigestOf([]byte("old"))},
		Onto:   factory.Base{Repository: repository, Digest: factory.DigestOf([]byte("new"))},
		Checks: []factory.RebaseCheck{{Rule: "layers", OK: true, Text: "they are"}}, Carried: []string{"the tests are those of another image"},
	}
	a := standing(t, repository, publish(t, repository, commit), r.Onto)
	e := examined(a)
	e.Job.Rebase, e.Proven.Compliance.Carried, e.Proven.Documents = &r, "of two other images", nil
	sigs, err := s.Sign(t.Context(), repository, approved(t, e))
	must(t, err)
	must(t, s.Attach(t.Context(), repository, sigs))
	tag := tagFor(e)
	tag.Hash = e.Job.Hash()
	retag(t, repository, tag.String(), a.Digest)
	return a, sigs, r
}

// standing is an image that says what it is built on.
func standing(t *testing.T, repository string, a factory.Artifact, on factory.Base) factory.Artifact {
	t.Helper()
	repo, err := name.NewRepository(repository)
	must(t, err)
	notes := map[string]string{baseDigestNote: string(on.Digest), baseNameNote: on.Repository}
	var index v1.ImageIndex = empty.Index
	for i, p := range a.Platforms {
		img, err := remote.Image(repo.Digest(string(p.Digest)))
		must(t, err)
		img, _ = mutate.Annotations(img, notes).(v1.Image)
		d, err := img.Digest()
		must(t, err)
		a.Platforms[i].Digest = factory.Digest(d.String())
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: p.Platform.Architecture}}})
	}
	index, _ = mutate.Annotations(index, notes).(v1.ImageIndex)
	d, err := index.Digest()
	must(t, err)
	a.Digest = factory.Digest(d.String())
	must(t, remote.WriteIndex(repo.Digest(d.String()), index))
	return a
}

// The provenance of a rebased image claims no build, and names what it was put together from.
func TestRebasedImage(t *testing.T) {
	t.Parallel()
	s, pub := newSigner(t)
	repository := serve(t, true) + "/debian-12"
	a, sigs, r := rebasedRelease(t, s, repository)
	made := of(t, sigs, ProvenanceType)
	for _, want := range []string{RebaseBuildType, r.Before.Ref(), r.From.Ref(), r.Onto.Ref(), `"tag":"20261123-` + r.Hash() + `-prod"`} {
		if !strings.Contains(made, want) {
			t.Errorf("%s is not in %s", want, made)
		}
	}
	if strings.Contains(made, "build-types/image") || strings.Contains(made, "pkg:deb") || strings.Contains(made, `"controls"`) {
		t.Errorf("it claims a build: %s", made)
	}
	if said := of(t, sigs, RebaseType); !strings.Contains(said, "Nothing was built.") || !strings.Contains(said, "the tests are those of another image") || !strings.Contains(said, `"rule":"layers"`) {
		t.Errorf("%s", said)
	}
	for _, ref := range []string{repository + ":20261123-" + r.Hash() + "-prod", repository + "@" + string(a.Digest)} {
		checks, err := Verify(t.Context(), ref, VerifyOptions{Key: pub, Builder: builderID})
		if err != nil {
			t.Fatalf("%v: %+v", err, checks)
		}
		for name, want := range map[string]string{"provenance": "built nothing, a rebase", "rebase": "nothing was built: " + r.Before.Digest.Short() + " was put on " + r.Onto.Digest.Short(),
			"rebased image": "attests a run run-1 that made " + r.Before.Digest.Short(), "compliance": "CARRIED: of two other images"} {
			if got := detail(t, checks, name); !strings.Contains(got, want) {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
}

func TestForgedRebase(t *testing.T) {
	t.Parallel()
	other := factory.DigestOf([]byte("other")).Hex()
	for name, c := range map[string]struct {
		change func(t *testing.T, s *Signer, sigs []factory.Signature, r factory.Rebase) []factory.Signature
		failed []string
		says   string
	}{
		"no statement": {func(_ *testing.T, _ *Signer, sigs []factory.Signature, _ factory.Rebase) []factory.Signature {
			return without(sigs, "", RebaseType)
		}, []string{"rebase"}, "there is none"},
		"of another base": {func(t *testing.T, s *Signer, sigs []factory.Signature, r factory.Rebase) []factory.Signature {
			return again(t, s, sigs, RebaseType, func(c *claim) {
				c.Predicate = []byte(strings.ReplaceAll(string(c.Predicate), r.Onto.Digest.Hex(), other))
			})
		}, []string{"rebase"}, "another image or base"},
		"of another tag": {func(t *testing.T, s *Signer, sigs []factory.Signature, r factory.Rebase) []factory.Signature {
			change := func(c *claim) {
				c.Predicate = []byte(strings.ReplaceAll(string(c.Predicate), r.Before.Digest.Hex(), other))
			}
			return again(t, s, again(t, s, sigs, RebaseType, change), ProvenanceType, change)
		}, []string{"rebase"}, "the tag's"},
		"a rule did not hold": {func(t *testing.T, s *Signer, sigs []factory.Signature, _ factory.Rebase) []factory.Signature {
			return again(t, s, sigs, RebaseType, predicate(`"ok":true`, `"ok":false`))
		}, []string{"rebase"}, "a rule did not hold: layers"},
		"no rule": {func(t *testing.T, s *Signer, sigs []factory.Signature, _ factory.Rebase) []factory.Signature {
			return again(t, s, sigs, RebaseType, predicate(`"checks":[{"rule":"layers","ok":true,"text":"they are"}]`, `"checks":[]`))
		}, []string{"rebase"}, "none was looked at"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, pub := newSigner(t)
			repository := serve(t, true) + "/debian-12"
			a, sigs, r := rebasedRelease(t, s, repository)
			mirrored(t, repository, a.Digest, c.change(t, s, sigs, r))
			checks, err := Verify(t.Context(), repository+"@"+string(a.Digest), VerifyOptions{Key: pub})
			if got := failed(checks); err == nil || !slices.Equal(got, c.failed) {
				t.Fatalf("%v: failed %q, want %q", err, got, c.failed)
			}
			if got := detail(t, checks, c.failed[0]); !strings.Contains(got, c.says) {
				t.Errorf("%s", got)
			}
		})
	}
}

// The image before may be gone, and whatever it was must have been the same one.
func TestOriginOfARebase(t *testing.T) {
	t.Parallel()
	s, pub := newSigner(t)
	repository := serve(t, true) + "/debian-12"
	_, _, r := rebasedRelease(t, s, repository)
	v := &verification{options: VerifyOptions{Key: pub}, ref: factory.Ref{Repository: repository}, trust: must2((VerifyOptions{Key: pub}).trust(t.Context()))(t)}
	v.origin(t.Context(), factory.Ref{Repository: "not a repository", Digest: factory.DigestOf([]byte("gone"))})
	if c := v.checks[0]; !c.OK || !strings.Contains(c.Detail, "not there any more") {
		t.Errorf("%+v", c)
	}
	v.ref.Repository = repository + "-copy"
	v.origin(t.Context(), factory.Ref{Repository: repository, Digest: r.Before.Digest})
	if c := v.checks[1]; c.OK || !strings.Contains(c.Detail, "of debian-12") {
		t.Errorf("%+v", c)
	}
	v.made = &statement[provenance]{}
	if got := v.dependency("image"); got != (factory.Ref{}) {
		t.Errorf("%+v", got)
	}
}

// Somebody else's image gets the statement, and no signature of ours.
func TestForeignRebase(t *testing.T) {
	t.Parallel()
	s, _ := newSigner(t)
	repository := serve(t, true) + "/api"
	a := publish(t, repository, commit)
	a.Platforms = append(a.Platforms[:1], factory.PlatformImage{Platform: a.Platforms[1].Platform, Digest: a.Digest})
	sigs, err := s.Rebase(t.Context(), repository, a, factory.Rebase{Checks: []factory.RebaseCheck{{Rule: "layers", OK: true}}})
	if err != nil || len(sigs) != 1 || sigs[0].Predicate != RebaseType || sigs[0].Subject != a.Digest {
		t.Fatalf("%+v, %v", sigs, err)
	}
	c, err := claimOf(sigs[0].Payload)
	if err != nil || len(c.Subject) != 2 {
		t.Errorf("%+v, %v", c.Subject, err)
	}
	must(t, s.Attach(t.Context(), repository, sigs))
}
