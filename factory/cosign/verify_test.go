package cosign

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagefactory/imagefactory/factory"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	for kind, referrers := range map[string]bool{"with referrers": true, "without referrers": false} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			repository := serve(t, referrers) + "/base/debian-12"
			s, pub := newSigner(t)
			a, _ := release(t, s, repository, nil)
			for _, ref := range []string{":20261123-1a2b3c4d-prod", "@" + string(a.Digest), ":20261123-1a2b3c4d-prod@" + string(a.Digest)} {
				checks, err := Verify(t.Context(), repository+ref, VerifyOptions{Key: pub, Builder: builderID})
				if err != nil {
					t.Errorf("%s: %v", ref, err)
				}
				var names []string
				for _, c := range checks {
					names = append(names, c.Name)
					if !c.OK || c.Detail == "" || strings.Contains(c.Detail, "\n") {
						t.Errorf("%s: %+v", ref, c)
					}
				}
				want := []string{"digest", "signature of the index", "signature of linux/amd64", "signature of linux/arm64", "provenance", "provenance subject", "provenance image", "builder", "source", "labels",
					"SBOM of linux/amd64", "SBOM of linux/arm64", "vulnerability report", "compliance", "VEX", "decision", "revocation"}
				if strings.HasPrefix(ref, ":") {
					want = slices.Concat([]string{"tag", "tag grammar"}, want[:7], []string{"provenance tag"}, want[7:])
				}
				if !slices.Equal(names, want) {
					t.Errorf("%s: checks %v", ref, names)
				}
			}
		})
	}
}

// everyStatement is what fails when nothing that is attested can be believed.
var everyStatement = []string{"provenance", "SBOM of linux/amd64", "SBOM of linux/arm64", "vulnerability report", "compliance", "VEX", "decision"}

// Each attack is made by somebody who can write to the registry but has no key.
func TestAttacks(t *testing.T) {
	t.Parallel()
	const tag = "20261123-1a2b3c4d-prod"
	everySignature := []string{"signature of the index", "signature of linux/amd64", "signature of linux/arm64"}
	for what, tc := range map[string]struct {
		attack func(t *testing.T, repo string, s *Signer, victim factory.Artifact) (ref string)
		failed []string
	}{
		"unsigned image under a good tag": {func(t *testing.T, repo string, _ *Signer, _ factory.Artifact) string {
			retag(t, repo, tag, publish(t, repo, commit).Digest)
			return ":" + tag
		}, slices.Concat(everySignature, everyStatement)},
		"signed by another key": {func(t *testing.T, repo string, _ *Signer, _ factory.Artifact) string {
			mallory, _ := stranger(t)
			release(t, mallory, repo, nil)
			return ":" + tag
		}, slices.Concat(everySignature, everyStatement)},
		"signatures moved from another digest": {func(t *testing.T, repo string, _ *Signer, victim factory.Artifact) string {
			evil := publish(t, repo, commit)
			move(t, repo, victim.Digest, evil.Digest, signatures)
			move(t, repo, victim.Digest, evil.Digest, attestations)
			for i := range evil.Platforms {
				move(t, repo, victim.Platforms[i].Digest, evil.Platforms[i].Digest, signatures)
			}
			return "@" + string(evil.Digest)
		}, slices.Concat(everySignature, everyStatement)},
		"attestations of two images swapped": {func(t *testing.T, repo string, s *Signer, victim factory.Artifact) string {
			second, _ := release(t, s, repo, nil)
			move(t, repo, second.Digest, victim.Digest, attestations)
			return "@" + string(victim.Digest)
		}, everyStatement},
		"attestation stripped": {func(t *testing.T, repo string, _ *Signer, victim factory.Artifact) string {
			hang(t, repo, victim.Digest, attestations, nil)
			return "@" + string(victim.Digest)
		}, everyStatement},
		"one platform's signature stripped": {func(t *testing.T, repo string, _ *Signer, victim factory.Artifact) string {
			hang(t, repo, victim.Platforms[1].Digest, signatures, nil)
			return "@" + string(victim.Digest)
		}, []string{"signature of linux/arm64"}},
		"garbage payloads": {func(t *testing.T, repo string, _ *Signer, victim factory.Artifact) string {
			for kind, d := range map[string]factory.Digest{signatures: victim.Platforms[0].Digest, attestations: victim.Digest} {
				hang(t, repo, d, kind, [][]byte{nil, []byte("{}"), []byte("null"), []byte(`{"payload":5}`), []byte(strings.Repeat("[", 10000))})
			}
			return "@" + string(victim.Digest)
		}, slices.Concat([]string{"signature of linux/amd64"}, everyStatement)},
		"an index and a text where signatures belong": {func(t *testing.T, repo string, _ *Signer, victim factory.Artifact) string {
			retag(t, repo, "sha256-"+victim.Digest.Hex()+".sig", victim.Digest)
			r, err := name.NewRepository(repo)
			must(t, err)
			must(t, remote.Put(attachmentTag(r, victim.Digest, attestations), raw{[]byte(`{"layers":"none"}`), types.OCIManifestSchema1}))
			return "@" + string(victim.Digest)
		}, slices.Concat([]string{"signature of the index"}, everyStatement)},
		"promoted by hand": {func(t *testing.T, repo string, s *Signer, _ factory.Artifact) string {
			dev, _ := release(t, s, repo, func(r *factory.Examined) { r.Job.Env = factory.Dev })
			retag(t, repo, "20261124-1a2b3c4d-prod", dev.Digest)
			return ":20261124-1a2b3c4d-prod"
		}, []string{"provenance tag", "decision"}},
		"promoted by hand, on its own day": {func(t *testing.T, repo string, _ *Signer, victim factory.Artifact) string {
			retag(t, repo, "20261123-1a2b3c4d-dev", victim.Digest)
			return ":20261123-1a2b3c4d-dev"
		}, []string{"provenance tag", "decision"}},
		"an old image as a new release": {func(t *testing.T, repo string, _ *Signer, victim factory.Artifact) string {
			retag(t, repo, "20991231-1a2b3c4d-prod", victim.Digest)
			return ":20991231-1a2b3c4d-prod"
		}, []string{"provenance tag", "decision"}},
		"a tag with another commit": {func(t *testing.T, repo string, _ *Signer, victim factory.Artifact) string {
			retag(t, repo, "20261124-99999999-prod", victim.Digest)
			return ":20261124-99999999-prod"
		}, []string{"provenance tag", "decision"}},
		"a tag that is none of ours": {func(t *testing.T, repo string, _ *Signer, victim factory.Artifact) string {
			retag(t, repo, "latest", victim.Digest)
			return ":latest"
		}, []string{"tag grammar", "provenance tag", "decision"}},
		"tag and digest disagree": {func(t *testing.T, repo string, s *Signer, victim factory.Artifact) string {
			release(t, s, repo, nil) // moves the tag
			return ":" + tag + "@" + string(victim.Digest)
		}, []string{"tag"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			repository := serve(t, true) + "/base/debian-12"
			s, pub := newSigner(t)
			victim, _ := release(t, s, repository, nil)
			ref := tc.attack(t, repository, s, victim)
			checks, err := Verify(t.Context(), repository+ref, VerifyOptions{Key: pub})
			if !errors.Is(err, factory.ErrUnverified) {
				t.Errorf("error %v", err)
			}
			if !slices.Equal(failed(checks), tc.failed) {
				t.Errorf("failed %q, want %q\n%+v", failed(checks), tc.failed, checks)
			}
		})
	}
}

// Of an image and all that hangs on it, copied under another name.
func TestCopiedUnderAnotherName(t *testing.T) {
	t.Parallel()
	host := serve(t, true)
	s, pub := newSigner(t)
	a, _ := release(t, s, host+"/base/debian-12", nil)
	from, err := name.NewRepository(host + "/base/debian-12")
	must(t, err)
	for repository, wrong := range map[string][]string{host + "/base/debian-13": {"provenance image", "SBOM of linux/amd64", "SBOM of linux/arm64", "decision"}, host + "/mirror/of/debian-12": nil} {
		to, err := name.NewRepository(repository)
		must(t, err)
		index, err := remote.Index(from.Digest(string(a.Digest)))
		must(t, err)
		must(t, remote.WriteIndex(to.Tag("20261123-1a2b3c4d-prod"), index))
		for _, tag := range []name.Tag{attachmentTag(to, a.Digest, signatures), attachmentTag(to, a.Digest, attestations),
			attachmentTag(to, a.Platforms[0].Digest, signatures), attachmentTag(to, a.Platforms[1].Digest, signatures)} {
			img, err := remote.Image(from.Tag(tag.TagStr()))
			must(t, err)
			must(t, remote.Write(tag, img))
		}
		for _, ref := range []string{":20261123-1a2b3c4d-prod", "@" + string(a.Digest)} {
			checks, err := Verify(t.Context(), repository+ref, VerifyOptions{Key: pub})
			if !slices.Equal(failed(checks), wrong) || (err == nil) != (wrong == nil) {
				t.Errorf("%s%s: %v\n%+v", repository, ref, err, checks)
			}
		}
	}
}

// Each is signed by the right key and says the wrong thing.
func TestHonestButWrong(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*factory.Examined)
		failed []string
	}{
		"dirty for dev": {func(r *factory.Examined) {
			r.Job.Env, r.Job.Source = factory.Dev, factory.Source{Hash: "0badc0de", Dirty: true, Inputs: factory.DigestOf(nil)}
		}, nil},
		"dirty for prod":   {func(r *factory.Examined) { r.Job.Source = factory.Source{Hash: "0badc0de", Dirty: true} }, []string{"source"}},
		"no commit":        {func(r *factory.Examined) { r.Job.Source = factory.Source{Hash: "0badc0de"} }, []string{"source"}},
		"other commit":     {func(r *factory.Examined) { r.Job.Source.Commit = strings.Repeat("f", 40) }, []string{"source", "labels"}},
		"missing platform": {func(r *factory.Examined) { r.Artifact.Platforms = r.Artifact.Platforms[:1] }, []string{"signature of linux/arm64", "provenance subject", "SBOM of linux/arm64"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repository := serve(t, true) + "/base/debian-12"
			s, pub := newSigner(t)
			a, _ := release(t, s, repository, tc.change)
			checks, err := Verify(t.Context(), repository+"@"+string(a.Digest), VerifyOptions{Key: pub})
			if !slices.Equal(failed(checks), tc.failed) || (err == nil) != (len(tc.failed) == 0) {
				t.Errorf("failed %q, want %q: %v\n%+v", failed(checks), tc.failed, err, checks)
			}
		})
	}
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	a, _ := release(t, s, repository, nil)
	if checks, _ := Verify(t.Context(), repository+"@"+string(a.Digest), VerifyOptions{Key: pub, Builder: "https://elsewhere.example.com"}); !slices.Equal(failed(checks), []string{"builder", "decision"}) {
		t.Errorf("another builder: %+v", checks)
	}
	s.Builder = ""
	b, _ := release(t, s, repository, nil)
	if checks, _ := Verify(t.Context(), repository+"@"+string(b.Digest), VerifyOptions{Key: pub}); !slices.Equal(failed(checks), []string{"builder"}) {
		t.Errorf("no builder: %+v", checks)
	}
}

func TestVerifyOddManifests(t *testing.T) {
	t.Parallel()
	host := serve(t, true)
	_, pub := newSigner(t)
	put := func(repo, text string, mediaType types.MediaType) string {
		r, err := name.NewRepository(host + repo)
		must(t, err)
		d := factory.DigestOf([]byte(text))
		must(t, remote.Put(r.Digest(string(d)), raw{[]byte(text), mediaType}))
		return host + repo + "@" + string(d)
	}
	for what, ref := range map[string]string{
		"no manifest":         put("/a", `{"manifests":"junk"}`, types.OCIManifestSchema1),
		"nameless child":      put("/b", `{"manifests":[{"digest":"sha256:77"}]}`, types.OCIManifestSchema1),
		"child that is gone":  put("/c", `{"manifests":[{"digest":"`+string(factory.DigestOf([]byte("gone")))+`"}]}`, types.OCIManifestSchema1),
		"child is not a hash": put("/d", `{"manifests":[{"digest":""}]}`, types.OCIManifestSchema1),
	} {
		checks, err := Verify(t.Context(), ref, VerifyOptions{Key: pub})
		if !errors.Is(err, factory.ErrUnverified) || len(failed(checks)) < 2 && what != "no manifest" {
			t.Errorf("%s: %v\n%+v", what, err, checks)
		}
	}
	// A single manifest, not an index.
	repo, err := name.NewRepository(host + "/single")
	must(t, err)
	img, err := random.Image(100, 1)
	must(t, err)
	d, err := img.Digest()
	must(t, err)
	must(t, remote.Write(repo.Digest(d.String()), img))
	checks, err := Verify(t.Context(), repo.String()+"@"+d.String(), VerifyOptions{Key: pub})
	if !errors.Is(err, factory.ErrUnverified) || !slices.Equal(failed(checks), []string{"signature of the image", "provenance", "SBOM of the image", "vulnerability report", "compliance", "VEX", "decision"}) {
		t.Errorf("single manifest: %v\n%+v", err, checks)
	}
}

// raw is a manifest of any text.
type raw struct {
	text      []byte
	mediaType types.MediaType
}

func (r raw) RawManifest() ([]byte, error)        { return r.text, nil }
func (r raw) MediaType() (types.MediaType, error) { return r.mediaType, nil }

func TestVerifyInputs(t *testing.T) {
	t.Parallel()
	host := serve(t, true)
	_, pub := newSigner(t)
	for ref, kind := range map[string]error{
		"debian":                           factory.ErrInvalid,
		"debian:12":                        factory.ErrInvalid,
		host + "/x":                        factory.ErrInvalid,
		host + "/x@sha256:12":              factory.ErrInvalid,
		host + "/x:a b":                    factory.ErrInvalid,
		host + "/x:20261123-1a2b3c4d-prod": factory.ErrNotFound,
		host + "/x@" + string(factory.DigestOf(nil)): factory.ErrNotFound,
	} {
		if _, err := Verify(t.Context(), ref, VerifyOptions{Key: pub}); !errors.Is(err, kind) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	ref := host + "/x:20261123-1a2b3c4d-prod"
	for what, tc := range map[string]struct {
		o    VerifyOptions
		kind error
	}{
		"nobody":       {VerifyOptions{}, factory.ErrInvalid},
		"half an id":   {VerifyOptions{Identity: "a@example.com"}, factory.ErrInvalid},
		"no such key":  {VerifyOptions{Key: "/nonexistent"}, factory.ErrNotFound},
		"no such root": {VerifyOptions{Identity: "a@example.com", Issuer: "https://i.example.com", TrustedRoot: "/nonexistent"}, factory.ErrInvalid},
	} {
		if _, err := Verify(t.Context(), ref, tc.o); !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := (Remote{}).repository("docker.io" + "/debian"); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("a name that this hub completes: %v", err)
	}
	r, err := Remote{Insecure: []string{"reg.example.com"}}.repository("reg.example.com:5000/x/y")
	must(t, err)
	if r.Scheme() != "http" {
		t.Errorf("scheme %s", r.Scheme())
	}
}

// move copies what hangs on one digest to another.
func move(t *testing.T, repository string, from, to factory.Digest, kind string) {
	t.Helper()
	repo, err := name.NewRepository(repository)
	must(t, err)
	desc, err := remote.Get(attachmentTag(repo, from, kind))
	must(t, err)
	must(t, remote.Tag(attachmentTag(repo, to, kind), desc))
}

// hang replaces what hangs on a digest with arbitrary payloads.
func hang(t *testing.T, repository string, d factory.Digest, kind string, payloads [][]byte) {
	t.Helper()
	repo, err := name.NewRepository(repository)
	must(t, err)
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	for i, p := range payloads {
		notes := map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString([]byte("garbage"))}
		if i%2 == 1 {
			notes["dev.sigstore.cosign/bundle"] = `{"SignedEntryTimestamp":"AA==","Payload":{"body":7}}`
		}
		img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer(p, "application/vnd.dsse.envelope.v1+json"), Annotations: notes})
		must(t, err)
	}
	must(t, remote.Write(attachmentTag(repo, d, kind), img))
}
