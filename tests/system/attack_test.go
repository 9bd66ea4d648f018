package system_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagefactory/imagefactory/factory"
)

// evidence are the lines of verify that rest on attestations.
var evidence = []string{"SBOM of linux/amd64", "VEX", "compliance", "decision", "provenance", "vulnerability report"}

// attachments is where an image's attestations hang.
func attachments(t testing.TB, release factory.Release) name.Tag {
	t.Helper()
	tag, err := name.NewTag(release.Repository+":sha256-"+release.Digest.Hex()+".att", name.Insecure)
	must(t, err)
	return tag
}

func attached(t testing.TB, release factory.Release) v1.Image {
	t.Helper()
	img, err := remote.Image(attachments(t, release))
	must(t, err)
	return img
}

// without is a set of attestations without those of a kind; without any when kind is empty.
func without(t testing.TB, all v1.Image, kind string) v1.Image {
	t.Helper()
	layers, err := all.Layers()
	must(t, err)
	manifest, err := all.Manifest()
	must(t, err)
	left := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	for i, l := range layers {
		notes := manifest.Layers[i].Annotations
		if kind == "" || strings.Contains(notes["predicateType"], kind) {
			continue
		}
		left, err = mutate.Append(left, mutate.Addendum{Layer: l, Annotations: notes, MediaType: manifest.Layers[i].MediaType})
		must(t, err)
	}
	if n, err := left.Layers(); err != nil || len(n) == len(layers) {
		t.Fatalf("no attestation of %q among %d", kind, len(layers))
	}
	return left
}

// Whoever can write to the registry can take claims away, put others there and turn back the clock; a consumer notices.
func TestAttacksOnTheRegistry(t *testing.T) {
	p := again(t)
	p.serve(t)
	twelve, thirteen := p.release(t, "debian-12"), p.release(t, "debian-13")
	whole := attached(t, twelve)
	put := func(img v1.Image) { t.Helper(); must(t, remote.Write(attachments(t, twelve), img)) }

	t.Run("stripped", func(t *testing.T) {
		for kind, lines := range map[string][]string{
			"": evidence, "slsa.dev/provenance": {"provenance"}, "cyclonedx": {"SBOM of linux/amd64"}, "spdx": {"SBOM of linux/amd64"}, "attestation/vuln": {"vulnerability report"},
			"openvex": {"VEX"}, "compliance": {"compliance"}, "verification_summary": {"decision"},
		} {
			put(without(t, whole, kind))
			p.refused(t, lines, twelve.Tagged())
		}
		put(whole)
		p.verified(t, 0, twelve.Tagged())
	})
	t.Run("swapped", func(t *testing.T) {
		put(attached(t, thirteen))
		p.refused(t, evidence, twelve.Tagged())
		put(whole)
		p.verified(t, 0, twelve.Tagged())
	})
	t.Run("another environment's tag", func(t *testing.T) {
		for _, env := range []factory.Env{"staging", "prod"} {
			tag := twelve.Tag
			tag.Env = env
			ref := twelve.Repository + ":" + tag.String()
			byHand(t, twelve, ref)
			p.refused(t, []string{"decision", "provenance tag"}, ref)
			p.refused(t, []string{"decision", "provenance tag"}, "--env", "dev", ref)
		}
		p.refused(t, []string{"decision"}, "--env", "prod", twelve.Ref())
	})
	t.Run("replayed", func(t *testing.T) {
		p.with(p.data(t, 50*time.Hour, fixed("bash", "CVE-2026-90004", 1))).ok(t, "nightly")
		old := attached(t, twelve)
		p.refused(t, []string{"vulnerability report"}, "--max-age", "48h", twelve.Tagged())
		p.with(p.data(t, time.Minute, fixed("bash", "CVE-2026-90004", 1), fixed("dpkg", "CVE-2026-90005", 30))).ok(t, "nightly")
		p.refused(t, []string{"decision"}, "--max-age", "48h", twelve.Tagged()) // fresh, and bad
		put(old)
		p.verified(t, 0, twelve.Tagged()) // somebody once said so
		if text := p.refused(t, []string{"vulnerability report"}, "--max-age", "48h", twelve.Tagged()); !strings.Contains(text, "at most 48h0m are allowed") {
			t.Errorf("%s", text)
		}
	})
}

// byHand puts a tag on a release, as somebody with a registry's password does.
func byHand(t testing.TB, release factory.Release, ref string) {
	t.Helper()
	digest, err := name.NewDigest(release.Ref(), name.Insecure)
	must(t, err)
	d, err := remote.Get(digest)
	must(t, err)
	tag, err := name.NewTag(ref, name.Insecure)
	must(t, err)
	must(t, remote.Tag(tag, d))
}
