package system_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

// A second night with nothing to do keeps every image, with a reason, and starts no build service.
func TestSecondNight(t *testing.T) {
	p := released(t)
	before := map[string]factory.Release{}
	for _, image := range images {
		before[image] = p.release(t, image)
	}
	r := p.ok(t, "nightly", "--json")
	t.Logf("nothing to do took %.2f s", r.Took.Seconds())
	n := nightOf(t, r)
	for _, image := range images {
		job := n.job(t, image)
		if job.Action != factory.Keep || !strings.HasPrefix(job.Reason, "nothing changed since "+before[image].Tag.String()) || job.Release != "" {
			t.Errorf("%+v", job)
		}
		if after := p.release(t, image); after.ID != before[image].ID || after.Digest != before[image].Digest {
			t.Errorf("%s: release %s %s", image, after.ID, after.Digest)
		}
	}
	if n.State != factory.Succeeded || !strings.HasPrefix(r.last(), "2 kept (debian-12, debian-13)") {
		t.Errorf("%s: %s", n.State, r.last())
	}
	if r.saw(func(e factory.Event) bool { return strings.Contains(e.Message, "buildkitd") }) {
		t.Error("it started a build service")
	}
	var run factory.Run
	p.json(t, &run, "runs", n.Run)
	if run.State != factory.Succeeded || len(run.Jobs) != 2 || run.Jobs[0].Reason == "" {
		t.Errorf("recorded as %+v", run)
	}
}

// only leaves one image in the repository, and its toolbox.
func (p plant) only(t testing.TB, image string) {
	t.Helper()
	must(t, drop(p.Dir, slices.DeleteFunc(slices.Clone(images), func(name string) bool { return name == image })...))
	gitIn(t, p.Dir, "commit", "-qam", "only "+image)
	p.ok(t, "check")
}

// A release that is too old is made again from nothing, and the digest is the same. What does not reproduce is an alarm that names the first difference.
func TestTheSameInputsGiveTheSameImage(t *testing.T) {
	p := newPlant(t)
	p.only(t, "debian-13")
	old := nightOf(t, p.ok(t, "nightly", "--json")).job(t, "debian-13")

	t.Run("refresh", func(t *testing.T) {
		r := p.ok(t, "nightly", "--json", "--max-age", "1ms")
		job := nightOf(t, r).job(t, "debian-13")
		if job.Action != factory.Rebuild || !strings.Contains(job.Reason, "refresh is due") || job.Digest != old.Digest {
			t.Errorf("%+v, before it was %s", job, old.Digest)
		}
		// A tag is the day and the inputs: on the same day it is the same one, which stands for the same image.
		if was, is := tagOf(t, old.Ref), tagOf(t, job.Ref); was.Hash != is.Hash || was.Date == is.Date && was != is {
			t.Errorf("the tag was %s, and is %s", was, is)
		}
		if !r.saw(func(e factory.Event) bool {
			return e.Step == factory.StepBuild && strings.HasPrefix(e.Message, "Setting up ")
		}) {
			t.Error("it came out of a cache")
		}
		// One digest is released once under one tag; the run tells that it was made again, and why.
		var all []factory.Release
		p.json(t, &all, "releases", "debian-13")
		if len(all) != 1 || all[0].Digest != job.Digest {
			t.Errorf("%d releases are recorded, the first as %s", len(all), all[0].Digest)
		}
		var run factory.Run
		p.json(t, &run, "runs", nightOf(t, r).Run)
		if len(run.Jobs) != 1 || run.Jobs[0].Reason != job.Reason || run.Jobs[0].Action != factory.Rebuild || run.Jobs[0].Ref != job.Ref {
			t.Errorf("recorded as %+v", run)
		}
		p.ok(t, "show", job.Ref)
		p.serve(t)
		p.ok(t, "verify", job.Ref)
	})
	t.Run("something else was published", func(t *testing.T) {
		p.serve(t)
		id := p.publishTampered(t, p.release(t, "debian-13"))
		r := p.exits(t, 5, "reproduce", id)
		if !strings.Contains(r.said(), "first difference: linux/amd64: ") || !strings.Contains(r.said(), "etc/planted") {
			t.Errorf("%s", r.said())
		}
	})
}

// publishTampered records a release that is not what its inputs make: it has one more file.
func (p plant) publishTampered(t *testing.T, release factory.Release) string {
	t.Helper()
	img := pull(t, release)
	layers, err := img.Layers()
	must(t, err)
	manifest, err := img.Manifest()
	must(t, err)
	config, err := img.ConfigFile()
	must(t, err)
	planted := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	for i, l := range layers {
		if i == len(layers)-1 {
			l = withFile(t, l, "etc/planted", "evil")
		}
		planted, err = mutate.Append(planted, mutate.Addendum{Layer: l, Annotations: manifest.Layers[i].Annotations})
		must(t, err)
	}
	planted, err = mutate.Config(planted, config.Config)
	must(t, err)
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: planted, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	digest, err := index.Digest()
	must(t, err)
	ref, err := name.NewDigest(release.Repository+"@"+digest.String(), name.Insecure)
	must(t, err)
	must(t, remote.WriteIndex(ref, index))
	db, err := store.Open(t.Context(), filepath.Join(p.State, "factory.db"), store.Options{Now: now})
	must(t, err)
	defer db.Close()
	release.Inputs, err = db.Inputs(t.Context(), release.ID)
	must(t, err)
	release.ID, release.Digest, release.Artifact.Digest = "20300101-000000-ffffff", factory.Digest(digest.String()), factory.Digest(digest.String())
	release.Tag.Hash, release.Created = "ffffffff", now()
	release.Documents = nil // listed without their content
	_, err = db.AddRelease(t.Context(), release)
	must(t, err)
	return release.ID
}

// tagOf reads the tag of a reference.
func tagOf(t testing.TB, ref string) factory.Tag {
	t.Helper()
	tag, err := factory.ParseTag(ref[strings.LastIndexByte(ref, ':')+1:])
	must(t, err)
	return tag
}
