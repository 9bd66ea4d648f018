package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/imagefactory/imagefactory/factory"
)

var amd = factory.Platform{OS: "linux", Architecture: "amd64"}

// published is a manifest with layers of these names and a history line of each.
func published(t *testing.T, media types.MediaType, created, config string, layers ...string) factory.Manifest {
	t.Helper()
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Annotations: map[string]string{"title": "t", annotationCreated: "2020-01-01T00:00:00Z"}}
	file := map[string]any{"architecture": "amd64", "os": "linux", "author": "somebody", "config": json.RawMessage(config)}
	if created != "" {
		file["created"] = created
	}
	var ids []string
	var history []map[string]any
	for _, l := range layers {
		d, err := descriptor(media, factory.DigestOf([]byte(l)), int64(len(l)))
		if err != nil {
			t.Fatal(err)
		}
		m.Layers = append(m.Layers, d)
		ids = append(ids, string(factory.DigestOf([]byte("plain "+l))))
		history = append(history, map[string]any{"created_by": l}, map[string]any{"created_by": "after " + l, "empty_layer": true})
	}
	file["rootfs"], file["history"] = map[string]any{"type": "layers", "diff_ids": ids}, history
	var err error
	out := factory.Manifest{Platform: amd}
	if out.Config, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	if m.Config, err = descriptor(types.OCIConfigJSON, factory.DigestOf(out.Config), int64(len(out.Config))); err != nil {
		t.Fatal(err)
	}
	if out.Body, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	out.Digest = factory.DigestOf(out.Body)
	return out
}

func merged(t *testing.T, text string) (m map[string]json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func blobOf(t *testing.T, dir string, d factory.Digest, to any) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "blobs", "sha256", d.Hex()))
	if err != nil {
		t.Fatal(err)
	}
	if to != nil {
		if err := json.Unmarshal(b, to); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// The new base's layers, the image's own, and what was merged on top: with an honest history, dated by the later of both, and the same
// bytes every time.
func TestRebase(t *testing.T) {
	t.Parallel()
	index := &factory.Manifest{Body: []byte(`{"schemaVersion":2,"manifests":[],"annotations":{"title":"t","org.opencontainers.image.created":"2020-01-01T00:00:00Z"}}`)}
	swap := Swap{
		Image: published(t, types.DockerLayer, "2026-11-20T00:00:00Z", `{}`, "b1", "b2", "own"), Old: published(t, types.OCILayer, "2026-11-19T00:00:00Z", `{}`, "b1", "b2"),
		New: published(t, types.OCILayer, "2026-11-22T10:00:00.5Z", `{}`, "b1", "n2", "n3"), Config: merged(t, `{"User":"1","Labels":{"title":"t","org.opencontainers.image.base.digest":"old"}}`),
		Top: []factory.LayerFile{{Path: "srv", Kind: factory.Directory, Mode: 0o700}, {Path: "var/lib/dpkg/status", Kind: factory.PlainFile, Mode: 0o640, UID: 3, Data: []byte("merged"), Xattrs: map[string]string{"user.x": "1"}}},
	}
	notes := map[string]string{AnnotationBaseDigest: "sha256:new", "title": "t2", "absent": "x"}
	dir := t.TempDir()
	a, err := Rebase(dir, index, []Swap{swap}, notes)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Rebase(t.TempDir(), index, []Swap{swap}, notes)
	if err != nil || again.Digest != a.Digest || a.Digest == a.Platforms[0].Digest {
		t.Errorf("%s and %s, %v", a.Digest, again.Digest, err)
	}
	var i v1.IndexManifest
	blobOf(t, dir, a.Digest, &i)
	var m v1.Manifest
	blobOf(t, dir, a.Platforms[0].Digest, &m)
	var config struct {
		Author  string
		Created time.Time
		Config  struct {
			User   string
			Labels map[string]string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
		History []map[string]any
	}
	blobOf(t, dir, factory.Digest(m.Config.Digest.String()), &config)
	var names, by []string
	for _, l := range m.Layers[:4] {
		names = append(names, l.Digest.String())
		if l.MediaType != types.OCILayer {
			t.Errorf("a layer is %s", l.MediaType)
		}
	}
	for _, h := range config.History {
		by = append(by, h["created_by"].(string))
	}
	want := []string{}
	for _, l := range []string{"b1", "n2", "n3", "own"} {
		want = append(want, string(factory.DigestOf([]byte(l))))
	}
	line := strings.Join(by, ",")
	if !slices.Equal(names, want) || len(m.Layers) != 5 || len(config.RootFS.DiffIDs) != 5 || line != "b1,after b1,n2,after n2,n3,after n3,own,after own,factory: base exchanged, nothing built; databases merged" {
		t.Errorf("%q, %s", names, line)
	}
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	if config.Author != "somebody" || !config.Created.Equal(at) || config.Config.User != "1" || config.Config.Labels[AnnotationBaseDigest] != "sha256:new" || config.Config.Labels["title"] != "t2" || config.Config.Labels["absent"] != "" {
		t.Errorf("%+v", config)
	}
	if m.Annotations[AnnotationBaseDigest] != "sha256:new" || i.Annotations[annotationCreated] != "2026-11-22T10:00:00Z" || i.Annotations["title"] != "t2" || len(i.Manifests) != 1 {
		t.Errorf("%+v %+v", m.Annotations, i)
	}
	topIs(t, blobOf(t, dir, factory.Digest(m.Layers[4].Digest.String()), nil), at)
	facts, err := Read(factory.Manifest{Body: blobOf(t, dir, a.Platforms[0].Digest, nil), Config: blobOf(t, dir, factory.Digest(m.Config.Digest.String()), nil)})
	if err != nil || facts.Base() != "sha256:new" || len(facts.Layers) != 5 || !facts.Created.Equal(at) {
		t.Errorf("%+v, %v", facts, err)
	}
	delete(facts.Annotations, AnnotationBaseDigest)
	if facts.Base() != "sha256:new" { // of the labels
		t.Error("labels name no base")
	}
}

func topIs(t *testing.T, layer []byte, at time.Time) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	in := tar.NewReader(z)
	d, err := in.Next()
	if err != nil || d.Name != "srv/" || d.Mode != 0o700 || !d.ModTime.Equal(at) {
		t.Errorf("%+v, %v", d, err)
	}
	h, err := in.Next()
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(in); string(b) != "merged" || h.Mode != 0o640 || h.Uid != 3 || h.PAXRecords["SCHILY.xattr.user.x"] != "1" {
		t.Errorf("%q %+v", b, h)
	}
}

// A single manifest stays one; whatever does not fit is refused.
func TestRebaseSingle(t *testing.T) {
	t.Parallel()
	image, old, is := published(t, types.OCILayer, "", `{}`, "b1", "own"), published(t, types.OCILayer, "", `{}`, "b1"), published(t, types.OCILayer, "", `{}`, "n1")
	old.Config = bytes.ReplaceAll(old.Config, []byte("after"), []byte("other")) // its history was written anew
	dir := t.TempDir()
	a, err := Rebase(dir, nil, []Swap{{Image: image, Old: old, New: is, Config: merged(t, `{}`)}}, nil)
	if err != nil || a.Digest != a.Platforms[0].Digest || len(a.Platforms[0].Layers) != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	// A scanner finds the image as in any layout.
	if l, err := layout.ImageIndexFromPath(dir); err != nil {
		t.Error(err)
	} else if m, err := l.IndexManifest(); err != nil || len(m.Manifests) != 1 || m.Manifests[0].Digest.String() != string(a.Digest) {
		t.Errorf("%+v, %v", m, err)
	}
	var m v1.Manifest
	blobOf(t, dir, a.Digest, &m)
	if text := string(blobOf(t, dir, factory.Digest(m.Config.Digest.String()), nil)); !strings.Contains(text, `"empty_layer":true`) || !strings.Contains(text, "base exchanged, nothing built") || strings.Contains(text, "databases merged") {
		t.Errorf("%s", text)
	}
	short := published(t, types.OCILayer, "", `{}`, "b1", "b2", "b3")
	broken := image
	broken.Config = []byte("{}")
	worse := image
	worse.Config = []byte(`{"rootfs":1}`)
	no := image
	no.Config = []byte("x")
	for name, s := range map[string]Swap{"fewer layers": {Image: image, Old: short, New: is}, "no layers told": {Image: broken, Old: old, New: is}, "no configuration": {Image: image, Old: no, New: is},
		"no manifest": {Image: image, Old: old, New: factory.Manifest{Body: []byte("x")}}, "strange": {Image: worse, Old: old, New: is}, "labels": {Image: image, Old: old, New: is, Config: map[string]json.RawMessage{"Labels": json.RawMessage("1")}}} {
		if _, err := Rebase(t.TempDir(), nil, []Swap{s}, nil); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Rebase(t.TempDir(), &factory.Manifest{Body: []byte("x")}, []Swap{{Image: image, Old: old, New: is}}, nil); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("%v", err)
	}
	if _, err := Rebase(t.TempDir(), nil, nil, nil); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("%v", err)
	}
	if _, err := Read(broken); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("%v", err)
	}
}
