package oci

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/imagefactory/imagefactory/factory"
)

// makeLayout makes an empty layout in dir and returns its blobs' folder.
func makeLayout(dir string) (blobs, error) {
	b := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(b, 0o755); err != nil {
		return "", diskProblem(err)
	}
	return blobs(b), diskProblem(os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
}

// document writes a JSON blob and returns what points to it.
func (dir blobs) document(media types.MediaType, v any) (v1.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d, size, err := dir.create(func(w io.Writer) error {
		_, err := w.Write(b)
		return diskProblem(err)
	})
	if err != nil {
		return v1.Descriptor{}, err
	}
	return descriptor(media, d, size)
}

func descriptor(media types.MediaType, d factory.Digest, size int64) (v1.Descriptor, error) {
	h, err := v1.NewHash(string(d))
	return v1.Descriptor{MediaType: media, Digest: h, Size: size}, err
}

// image writes the configuration and the manifest of one platform.
func (dir blobs) image(h factory.Hardened, p factory.Platform, layers []layerBlob, notes map[string]string) (v1.Descriptor, error) {
	file, err := configFile(h, p, layers, notes)
	if err != nil {
		return v1.Descriptor{}, err
	}
	config, err := dir.document(types.OCIConfigJSON, file)
	if err != nil {
		return v1.Descriptor{}, err
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Annotations: notes}
	for _, l := range layers {
		d, err := descriptor(l.media, l.Digest, l.Size)
		if err != nil {
			return v1.Descriptor{}, err
		}
		d.Annotations = map[string]string{AnnotationLayer: l.Name}
		m.Layers = append(m.Layers, d)
	}
	d, err := dir.document(types.OCIManifestSchema1, m)
	d.Platform = &v1.Platform{OS: p.OS, Architecture: p.Architecture}
	return d, err
}

// index writes the index over all platforms, and the layout's own entry to it.
func (dir blobs) index(layout string, manifests []v1.Descriptor, notes map[string]string) (factory.Digest, error) {
	d, err := dir.document(types.OCIImageIndex, v1.IndexManifest{
		SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: manifests, Annotations: notes,
	})
	if err != nil {
		return "", err
	}
	return factory.Digest(d.Digest.String()), enter(layout, d)
}

// enter makes a layout's own entry, without which nobody finds the image in it.
func enter(layout string, d v1.Descriptor) error {
	b, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{d}})
	if err != nil {
		return err
	}
	return diskProblem(os.WriteFile(filepath.Join(layout, "index.json"), b, 0o644))
}
