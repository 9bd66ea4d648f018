package cosign

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ggcr "github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore/pkg/signature/dsse"

	"github.com/imagefactory/imagefactory/factory"
)

// again signs what sigs hold of a predicate type once more, changed; everything else stays.
func again(t *testing.T, s *Signer, sigs []factory.Signature, predicateType string, change func(*claim)) []factory.Signature {
	t.Helper()
	out := without(sigs, "")
	for i, sig := range out {
		if sig.Predicate != predicateType {
			continue
		}
		c, err := claimOf(sig.Payload)
		must(t, err)
		change(&c)
		text, err := json.Marshal(c)
		must(t, err)
		out[i] = must2(s.loaded.attest(t.Context(), draft{sig.Subject, predicateType, text}))(t)
	}
	return out
}

// predicate puts another text in place of a part of a predicate.
func predicate(old, new string) func(*claim) {
	return func(c *claim) {
		before := string(c.Predicate)
		if !strings.Contains(before, old) {
			panic("no " + old + " in " + before)
		}
		c.Predicate = json.RawMessage(strings.Replace(before, old, new, 1))
	}
}

type forgery struct {
	forge  func(t *testing.T, s *Signer, a factory.Artifact, sigs []factory.Signature) []factory.Signature
	failed []string
	says   string // of the first that failed
}

// same is a forgery by somebody who has the key, to show that each check looks for itself.
func same(predicateType string, change func(*claim), says string, failed ...string) forgery {
	return forgery{func(t *testing.T, s *Signer, _ factory.Artifact, sigs []factory.Signature) []factory.Signature {
		return again(t, s, sigs, predicateType, change)
	}, failed, says}
}

func stripped(predicateType string, failed ...string) forgery {
	return forgery{func(_ *testing.T, _ *Signer, _ factory.Artifact, sigs []factory.Signature) []factory.Signature {
		return without(sigs, "", predicateType)
	}, failed, "there is none; "}
}

func TestForgedAttestations(t *testing.T) {
	t.Parallel()
	boms := []string{"SBOM of linux/amd64", "SBOM of linux/arm64"}
	twice := func(c *claim) { c.Subject = append(c.Subject, c.Subject[1]) }
	for what, tc := range map[string]forgery{
		"SBOMs stripped":       {stripped(CycloneDXType).forge, boms, "CycloneDX: there is none"},
		"report stripped":      stripped(VulnerabilityType, "vulnerability report"),
		"compliance stripped":  stripped(ComplianceType, "compliance"),
		"VEX stripped":         stripped(VEXType, "VEX"),
		"decision stripped":    stripped(DecisionType, "decision"),
		"provenance stripped":  stripped(ProvenanceType, "provenance"),
		"older statement":      same(VEXType, func(c *claim) { c.Type = olderType }, ""),
		"unknown statement":    same(VEXType, func(c *claim) { c.Type = "https://in-toto.io/Statement/v9" }, "none of 1 is by the key about this image: signed, but not readable: statement type", "VEX"),
		"about twice the same": same(VEXType, twice, "it speaks of", "VEX"),
		"SBOM about twice one": same(SPDXType, twice, "SPDX: it speaks of other manifests", boms...),
		"report about others": same(VulnerabilityType, func(c *claim) {
			c.Subject = append(c.Subject, resource{Name: "another", Digest: sha(factory.DigestOf(nil))})
		}, `it speaks of "another" too`, "vulnerability report"),
		"SBOM of another image":  same(CycloneDXType, predicate(`"name":"debian-12"`, `"name":"debian-13"`), `CycloneDX: it describes "debian-13", the image is debian-12`, boms...),
		"SPDX of another image":  same(SPDXType, predicate(`"name":"debian-12"`, `"name":"debian-12x"`), `SPDX: it describes "debian-12x"`, boms...),
		"SBOM of another digest": same(CycloneDXType, predicate(`"purl":""`, `"purl":"pkg:oci/debian-12@sha256%3A`+strings.Repeat("0", 64)+`"`), "CycloneDX: it describes sha256:000000000000", boms...),
		"SBOM with a reference":  same(CycloneDXType, predicate(`"name":"debian-12"`, `"name":"r.example.com/base/debian-12:`+prodTag+`"`), ""),
		"SBOM of nothing":        same(SPDXType, func(c *claim) { c.Predicate = json.RawMessage(`[]`) }, "SPDX: it is not readable", boms...),
		"SBOM of the index":      same(CycloneDXType, func(c *claim) { c.Subject = c.Subject[:1] }, "CycloneDX: it speaks of other manifests", boms...),
		"unreadable report":      same(VulnerabilityType, predicate(`"severity":"high"`, `"severity":"awful"`), "signed, but not readable", "vulnerability report"),
		"no OpenVEX":             same(VEXType, predicate("https://openvex.dev/ns/v0.2.0", "elsewhere"), "it is no OpenVEX document", "VEX"),
		"empty VEX":              same(VEXType, predicate(`"statements"`, `"none"`), ""),
		"nothing evaluated":      same(ComplianceType, predicate(`"evaluations"`, `"none"`), ""),
		"foreign provenance":     same(ProvenanceType, predicate(BuildType, "https://elsewhere.example.com"), "none of 1 is provenance of this factory", "provenance"),
		"decision failed":        same(DecisionType, predicate("PASSED", "FAILED"), prodTag+" was refused on 2026-11-23 02:00", "decision"),
		"decision of no word":    same(DecisionType, predicate("PASSED", "passed"), prodTag+" was refused", "decision"),
		"decision for dev":       same(DecisionType, predicate("-prod@", "-dev@"), "it speaks of ", "decision"),
		"decision elsewhere":     same(DecisionType, predicate("/debian-12:", "/debian-13:"), "it speaks of ", "decision"),
		"decision of no tag":     same(DecisionType, predicate(":"+prodTag, ":latest"), "it speaks of ", "decision"),
		"decision of no image":   same(DecisionType, predicate("@sha256:", "@"), "it speaks of ", "decision"),
		"two minds":              same(DecisionType, predicate(`"env":"prod"`, `"env":"dev"`), "it contradicts itself", "decision"),
		"another verifier":       same(DecisionType, predicate(builderID, "https://elsewhere.example.com"), "it is by https://elsewhere.example.com, expected", "decision"),
		"bare decision":          same(DecisionType, predicate(`"decision"`, `"other"`), ""),
		"failed, bare":           same(DecisionType, func(c *claim) { predicate(`"decision"`, `"other"`)(c); predicate("PASSED", "FAILED")(c) }, prodTag+" was refused on 2026-11-23 02:00, by prod:default "+factory.DigestOf([]byte("policy")).Short()+": nobody says why", "decision"),
		"passed and failed at once": {func(t *testing.T, s *Signer, _ factory.Artifact, sigs []factory.Signature) []factory.Signature {
			return append(again(t, s, sigs, DecisionType, predicate("PASSED", "FAILED")), sigs[len(sigs)-1])
		}, []string{"decision"}, prodTag + " was refused"},
		"by another key": {func(t *testing.T, _ *Signer, _ factory.Artifact, sigs []factory.Signature) []factory.Signature {
			mallory, _ := stranger(t)
			return again(t, mallory, sigs, VulnerabilityType, func(*claim) {})
		}, []string{"vulnerability report"}, "none of 1 is by the key about this image"},
		"about another image": {func(t *testing.T, s *Signer, _ factory.Artifact, sigs []factory.Signature) []factory.Signature {
			return again(t, s, sigs, CycloneDXType, func(c *claim) { c.Subject = subjects("x", factory.DigestOf([]byte("another"))) })
		}, boms, "CycloneDX: none of 2 is by the key about this image"},
		"junk payload type": {func(t *testing.T, s *Signer, a factory.Artifact, sigs []factory.Signature) []factory.Signature {
			c, err := claimOf(sigs[len(sigs)-1].Payload)
			must(t, err)
			text, err := json.Marshal(c)
			must(t, err)
			envelope, err := dsse.WrapSigner(s.loaded.SignerVerifier, "text/junk").SignMessage(bytes.NewReader(text))
			must(t, err)
			return append(without(sigs, "", DecisionType), factory.Signature{Subject: a.Digest, Predicate: DecisionType, Payload: envelope})
		}, []string{"decision"}, "none of 1 is by the key about this image"},
		"payload type changed": {func(_ *testing.T, _ *Signer, _ factory.Artifact, sigs []factory.Signature) []factory.Signature {
			out := without(sigs, "")
			last := &out[len(out)-1]
			last.Payload = bytes.Replace(last.Payload, []byte("application/vnd.in-toto+json"), []byte("application/vnd.other+json"), 1)
			return out
		}, []string{"decision"}, "none of 1 is by the key about this image"},
		"relabelled": {func(_ *testing.T, _ *Signer, _ factory.Artifact, sigs []factory.Signature) []factory.Signature {
			out := without(sigs, "", VulnerabilityType)
			for i := range out {
				out[i].Predicate = VulnerabilityType // in the annotation; what is signed stays
			}
			return out
		}, []string{"vulnerability report"}, "there is none; "},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			repository := serve(t, true) + "/base/debian-12"
			s, pub := newSigner(t)
			a, sigs := release(t, s, repository, nil)
			mirrored(t, repository, a.Digest, tc.forge(t, s, a, sigs))
			checks, err := Verify(t.Context(), repository+":"+prodTag, VerifyOptions{Key: pub, Builder: builderID})
			if !slices.Equal(failed(checks), tc.failed) || errors.Is(err, factory.ErrUnverified) != (len(tc.failed) > 0) {
				t.Fatalf("failed %q, want %q: %v\n%+v", failed(checks), tc.failed, err, checks)
			}
			if len(tc.failed) > 0 && !strings.HasPrefix(detail(t, checks, tc.failed[0]), tc.says) {
				t.Errorf("it says: %s", detail(t, checks, tc.failed[0]))
			}
		})
	}
}

// mirrored leaves exactly sigs attached to d, whoever made them and whatever they replace.
func mirrored(t *testing.T, repository string, d factory.Digest, sigs []factory.Signature) {
	t.Helper()
	nobody, _ := stranger(t)
	hang(t, repository, d, attestations, nil)
	must(t, nobody.Attach(t.Context(), repository, sigs))
}

// All that hangs on another image, hung here; and the other image under this one's tag.
func TestSwappedBetweenImages(t *testing.T) {
	t.Parallel()
	host := serve(t, true)
	s, pub := newSigner(t)
	ours, theirs := host+"/base/debian-12", host+"/base/debian-13"
	a, _ := release(t, s, ours, nil)
	b, _ := release(t, s, theirs, func(e *factory.Examined) {
		e.Job.Image.Name = "debian-13"
		for i, d := range e.Scanned.Documents {
			e.Scanned.Documents[i].Data = bytes.ReplaceAll(d.Data, []byte("debian-12"), []byte("debian-13"))
		}
	})
	for _, ref := range []string{ours, theirs} {
		if checks, err := Verify(t.Context(), ref+":"+prodTag, VerifyOptions{Key: pub}); err != nil {
			t.Fatalf("%v\n%+v", err, checks)
		}
	}
	copyTo := func(from, to string, d factory.Digest, tags ...name.Tag) {
		source, err := name.NewRepository(from)
		must(t, err)
		for _, tag := range tags {
			img, err := remote.Image(source.Tag(tag.TagStr()))
			must(t, err)
			must(t, remote.Write(tag, img))
		}
		index, err := remote.Index(source.Digest(string(d)))
		must(t, err)
		target, err := name.NewRepository(to)
		must(t, err)
		must(t, remote.WriteIndex(target.Tag(prodTag), index))
	}
	to, err := name.NewRepository(ours)
	must(t, err)
	// Their image with its signatures and attestations under our name and tag.
	copyTo(theirs, ours, b.Digest, attachmentTag(to, b.Digest, signatures), attachmentTag(to, b.Digest, attestations),
		attachmentTag(to, b.Platforms[0].Digest, signatures), attachmentTag(to, b.Platforms[1].Digest, signatures))
	checks, err := Verify(t.Context(), ours+":"+prodTag, VerifyOptions{Key: pub})
	if want := []string{"provenance image", "SBOM of linux/amd64", "SBOM of linux/arm64", "decision"}; !errors.Is(err, factory.ErrUnverified) || !slices.Equal(failed(checks), want) {
		t.Errorf("their image as ours: %v\n%+v", err, checks)
	}
	// Their attestations on our image.
	retag(t, ours, prodTag, a.Digest)
	retag(t, ours, attachmentTag(to, a.Digest, attestations).TagStr(), digestOfTag(t, to.Tag(attachmentTag(to, b.Digest, attestations).TagStr())))
	checks, err = Verify(t.Context(), ours+":"+prodTag, VerifyOptions{Key: pub})
	if !errors.Is(err, factory.ErrUnverified) || !slices.Equal(failed(checks), everyStatement) {
		t.Errorf("their attestations on ours: %v\n%+v", err, checks)
	}
}

func digestOfTag(t *testing.T, tag name.Tag) factory.Digest {
	t.Helper()
	desc, err := remote.Get(tag)
	must(t, err)
	return factory.DigestOf(desc.Manifest)
}

// What a registry says of an attestation is not what was signed: its media type and annotations prove nothing.
func TestAnnotationsProveNothing(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	a, _ := release(t, s, repository, nil)
	repo, err := name.NewRepository(repository)
	must(t, err)
	tag := attachmentTag(repo, a.Digest, attestations)
	desc, err := remote.Get(tag)
	must(t, err)
	text := bytes.ReplaceAll(desc.Manifest, []byte(VulnerabilityType), []byte(RevocationType))
	must(t, remote.Put(tag, raw{text, ggcr.OCIManifestSchema1}))
	if checks, err := Verify(t.Context(), repository+":"+prodTag, VerifyOptions{Key: pub}); err != nil {
		t.Errorf("%v\n%+v", err, checks)
	}
}
