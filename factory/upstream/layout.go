package upstream

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagefactory/imagefactory/factory"
)

const layoutMarker = `{"imageLayoutVersion":"1.0.0"}`

// writeLayout writes an OCI layout with one image of one layer into dir, which must exist, and returns the digest of its
// manifest. The layer is not compressed: the layout is a local cache, and so the digest depends on no compressor's version.
func writeLayout(dir string, p factory.Platform, created time.Time, env []string, fill func(io.Writer) error) (factory.Digest, error) {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return "", err
	}
	layer, err := writeLayer(blobs, fill)
	if err != nil {
		return "", err
	}
	config, err := writeBlob(blobs, types.OCIConfigJSON, v1.ConfigFile{
		OS: p.OS, Architecture: p.Architecture, Created: v1.Time{Time: created.UTC()},
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{layer.Digest}},
		Config:  v1.Config{Env: env},
		History: []v1.History{{Created: v1.Time{Time: created.UTC()}, CreatedBy: "mmdebstrap"}},
	})
	if err != nil {
		return "", err
	}
	manifest, err := writeBlob(blobs, types.OCIManifestSchema1, v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: []v1.Descriptor{layer},
	})
	if err != nil {
		return "", err
	}
	manifest.Platform = &v1.Platform{OS: p.OS, Architecture: p.Architecture}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{manifest}})
	if err != nil {
		return "", err
	}
	if err := writeFile(filepath.Join(dir, "oci-layout"), []byte(layoutMarker)); err != nil {
		return "", err
	}
	if err := writeFile(filepath.Join(dir, "index.json"), index); err != nil {
		return "", err
	}
	return factory.Digest(manifest.Digest.String()), syncFolders(blobs, filepath.Dir(blobs), dir)
}

// syncFolders makes what was created and renamed in folders outlive a power cut.
func syncFolders(dirs ...string) error {
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func writeLayer(blobs string, fill func(io.Writer) error) (v1.Descriptor, error) {
	f, err := os.CreateTemp(blobs, ".layer-*")
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	defer f.Close()
	sum := sha256.New()
	buf := bufio.NewWriterSize(f, 1<<20)
	if err := fill(io.MultiWriter(buf, sum)); err != nil {
		return v1.Descriptor{}, err
	}
	if err := buf.Flush(); err != nil {
		return v1.Descriptor{}, err
	}
	if err := f.Sync(); err != nil {
		return v1.Descriptor{}, err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return v1.Descriptor{}, err
	}
	h := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	if err := f.Chmod(0o644); err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{MediaType: types.OCIUncompressedLayer, Size: size, Digest: h}, os.Rename(f.Name(), filepath.Join(blobs, h.Hex))
}

func writeBlob(blobs string, mt types.MediaType, v any) (v1.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return v1.Descriptor{}, err
	}
	h := v1.Hash{Algorithm: "sha256", Hex: factory.DigestOf(b).Hex()}
	return v1.Descriptor{MediaType: mt, Size: int64(len(b)), Digest: h}, writeFile(filepath.Join(blobs, h.Hex), b)
}

func writeFile(name string, b []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

// readLayout returns the digest of the one image in an OCI layout whose manifest and configuration are what their digests
// say and whose layer has its full size. Anything else is an error.
func readLayout(dir string) (factory.Digest, error) {
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return "", err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	if marker, err := os.ReadFile(filepath.Join(dir, "oci-layout")); err != nil || string(marker) != layoutMarker || len(index.Manifests) != 1 {
		return "", fmt.Errorf("%s: not a layout of one image", filepath.Base(dir))
	}
	raw, err := readBlob(dir, index.Manifests[0])
	if err != nil {
		return "", err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return "", err
	}
	if _, err := readBlob(dir, m.Config); err != nil {
		return "", err
	}
	for _, l := range m.Layers {
		info, err := os.Stat(blobPath(dir, l))
		if err != nil {
			return "", err
		}
		if info.Size() != l.Size {
			return "", fmt.Errorf("layer %s has %d bytes instead of %d", l.Digest, info.Size(), l.Size)
		}
	}
	return factory.Digest(index.Manifests[0].Digest.String()), nil
}

func readBlob(dir string, d v1.Descriptor) ([]byte, error) {
	b, err := os.ReadFile(blobPath(dir, d))
	if err != nil {
		return nil, err
	}
	if factory.DigestOf(b) != factory.Digest(d.Digest.String()) {
		return nil, fmt.Errorf("blob %s holds something else", d.Digest)
	}
	return b, nil
}

func blobPath(dir string, d v1.Descriptor) string {
	return filepath.Join(dir, "blobs", d.Digest.Algorithm, d.Digest.Hex)
}
