package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagefactory/imagefactory/factory"
)

const annotationCreated = ociPrefix + "created"

// Facts is what a manifest and its configuration say.
type Facts struct {
	Layers []Sized // lowest first
	// Config is the runtime's part of the configuration: user, environment, labels.
	Config      map[string]json.RawMessage
	Annotations map[string]string
	Created     time.Time // zero = it does not say
}

// Sized is a layer's blob.
type Sized struct {
	Digest factory.Digest
	Size   int64
}

// Base returns the digest of the base that the image names in annotations or labels; empty when it names none.
func (f Facts) Base() string {
	if d := f.Annotations[AnnotationBaseDigest]; d != "" {
		return d
	}
	var labels map[string]string
	_ = json.Unmarshal(f.Config["Labels"], &labels)
	return labels[AnnotationBaseDigest]
}

// Read says what a manifest of a registry holds.
func Read(m factory.Manifest) (Facts, error) {
	p, err := parsePart(m)
	if err != nil {
		return Facts{}, err
	}
	f := Facts{Config: p.runtime, Annotations: p.manifest.Annotations, Created: p.created()}
	for _, l := range p.manifest.Layers {
		f.Layers = append(f.Layers, Sized{factory.Digest(l.Digest.String()), l.Size})
	}
	return f, nil
}

// part is a manifest with its configuration, of which the keys that nobody here knows stay as they are.
type part struct {
	manifest *v1.Manifest
	config   map[string]json.RawMessage
	runtime  map[string]json.RawMessage
	diffIDs  []string
	history  []json.RawMessage
}

func parsePart(m factory.Manifest) (p part, err error) {
	bad := func(err error) (part, error) {
		return part{}, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("image %s for %s", m.Digest.Short(), m.Platform), Cause: err}
	}
	if p.manifest, err = v1.ParseManifest(bytes.NewReader(m.Body)); err != nil {
		return bad(err)
	}
	if err := json.Unmarshal(m.Config, &p.config); err != nil {
		return bad(err)
	}
	var root struct {
		DiffIDs []string `json:"diff_ids"`
	}
	for key, to := range map[string]any{"config": &p.runtime, "rootfs": &root, "history": &p.history} {
		if raw, ok := p.config[key]; ok {
			if err := json.Unmarshal(raw, to); err != nil {
				return bad(err)
			}
		}
	}
	if p.diffIDs = root.DiffIDs; len(p.diffIDs) != len(p.manifest.Layers) || len(p.diffIDs) == 0 {
		return bad(fmt.Errorf("%d layers, and %d in its configuration", len(p.manifest.Layers), len(p.diffIDs)))
	}
	return p, nil
}

func (p part) created() time.Time {
	var t time.Time
	_ = json.Unmarshal(p.config["created"], &t)
	return t.UTC()
}

// since is the history that an image has beyond that of the base below it.
func (p part) since(base part) []json.RawMessage {
	n := len(base.history)
	same := func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }
	if n > 0 && len(p.history) >= n && slices.EqualFunc(p.history[:n], base.history, same) {
		return p.history[n:]
	}
	n = len(base.diffIDs) // its tool wrote it anew: the lines of as many layers are the base's
	for i, raw := range p.history {
		var entry struct {
			Empty bool `json:"empty_layer"`
		}
		_ = json.Unmarshal(raw, &entry)
		if n == 0 {
			return p.history[i:]
		}
		if !entry.Empty {
			n--
		}
	}
	return nil
}

// Swap is one platform of an image whose base is exchanged.
type Swap struct {
	Image, Old, New factory.Manifest
	Config          map[string]json.RawMessage // the merged one
	Top             []factory.LayerFile        // what is laid over it; none = no layer
}

// Rebase writes what becomes of an image into a layout in dir, which must exist and be empty: manifests, configurations, and a layer with
// what was merged. Layers that are in a registry already are not written; whoever needs the layout whole puts them there. Notes are
// annotations, and labels where the image has labels of that name, that take the place of others. Everything that it writes is dated with
// the later of the image's and the new base's time, so that the same inputs make the same digest. An image that was a single manifest
// stays one.
func Rebase(dir string, index *factory.Manifest, swaps []Swap, notes map[string]string) (factory.Artifact, error) {
	b, err := makeLayout(dir)
	if err != nil {
		return factory.Artifact{}, err
	}
	a := factory.Artifact{Layout: dir}
	var manifests []v1.Descriptor
	var created time.Time
	for _, s := range swaps {
		d, image, at, err := b.swap(s, notes)
		if err != nil {
			return a, err
		}
		manifests, a.Platforms = append(manifests, d), append(a.Platforms, image)
		if at.After(created) {
			created = at
		}
	}
	if index == nil {
		if len(manifests) != 1 {
			return a, &factory.Problem{Kind: factory.ErrInvalid, What: "an image without an index has one platform"}
		}
		a.Digest = a.Platforms[0].Digest
		return a, enter(dir, manifests[0])
	}
	old, err := v1.ParseIndexManifest(bytes.NewReader(index.Body))
	if err != nil {
		return a, &factory.Problem{Kind: factory.ErrInvalid, What: "index " + index.Digest.Short(), Cause: err}
	}
	a.Digest, err = b.index(dir, manifests, note(old.Annotations, notes, created))
	return a, err
}

// note lays notes over annotations, and dates them where they have a date.
func note(have, notes map[string]string, created time.Time) map[string]string {
	all := maps.Clone(have)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, notes)
	if _, dated := all[annotationCreated]; dated && !created.IsZero() {
		all[annotationCreated] = created.Format("2006-01-02T15:04:05Z")
	}
	maps.DeleteFunc(all, func(_, v string) bool { return v == "" })
	return all
}

func (dir blobs) swap(s Swap, notes map[string]string) (d v1.Descriptor, image factory.PlatformImage, created time.Time, err error) {
	var parts [3]part
	for i, m := range []factory.Manifest{s.Image, s.Old, s.New} {
		if parts[i], err = parsePart(m); err != nil {
			return d, image, created, err
		}
	}
	own, old, base := parts[0], parts[1], parts[2]
	n := len(old.manifest.Layers)
	if n > len(own.manifest.Layers) {
		return d, image, created, &factory.Problem{Kind: factory.ErrInvalid, What: "the image has fewer layers than its base"}
	}
	if created = base.created(); own.created().After(created) {
		created = own.created()
	}
	created = created.Truncate(time.Second)
	layers := slices.Concat(base.manifest.Layers, own.manifest.Layers[n:])
	diffIDs := slices.Concat(base.diffIDs, own.diffIDs[n:])
	history := slices.Concat(base.history, own.since(old))
	last := v1.History{Created: v1.Time{Time: created}, CreatedBy: "factory: base exchanged, nothing built", EmptyLayer: true}
	for i := range layers {
		layers[i].MediaType = modern(layers[i].MediaType)
	}
	if len(s.Top) > 0 {
		l, err := dir.top(s.Top, created)
		if err != nil {
			return d, image, created, err
		}
		top, err := descriptor(l.media, l.Digest, l.Size)
		if err != nil {
			return d, image, created, err
		}
		top.Annotations = map[string]string{AnnotationLayer: l.Name}
		layers, diffIDs = append(layers, top), append(diffIDs, string(l.DiffID))
		last.CreatedBy, last.EmptyLayer = "factory: base exchanged, nothing built; databases merged", false
	}
	config, err := own.rewritten(s.Config, diffIDs, history, last, notes, created)
	if err != nil {
		return d, image, created, err
	}
	return dir.put(s.Image.Platform, own.manifest.Annotations, config, layers, diffIDs, notes, created)
}

// modern is the OCI type of what older tools call otherwise; the bytes are the same.
func modern(t types.MediaType) types.MediaType {
	switch t {
	case types.DockerLayer:
		return types.OCILayer
	case types.DockerUncompressedLayer:
		return types.OCIUncompressedLayer
	}
	return t
}

// rewritten is the configuration with what a rebase changes.
func (p part) rewritten(runtime map[string]json.RawMessage, diffIDs []string, history []json.RawMessage, last v1.History, notes map[string]string, created time.Time) (map[string]json.RawMessage, error) {
	config := maps.Clone(p.config)
	runtime = maps.Clone(runtime)
	var labels map[string]string
	if raw, ok := runtime["Labels"]; ok {
		if err := json.Unmarshal(raw, &labels); err != nil {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "labels", Cause: err}
		}
		mine := maps.Clone(notes)
		maps.DeleteFunc(mine, func(k, _ string) bool {
			_, has := labels[k]
			return !has && !strings.HasPrefix(k, AnnotationBaseName[:len(AnnotationBaseName)-4])
		})
		labels = note(labels, mine, created)
		runtime["Labels"] = must(labels)
	}
	entry := map[string]any{"created": created, "created_by": last.CreatedBy}
	if last.EmptyLayer {
		entry["empty_layer"] = true
	}
	config["config"] = must(runtime)
	config["created"] = must(created)
	config["history"] = must(append(slices.Clone(history), must(entry)))
	config["rootfs"] = must(map[string]any{"type": "layers", "diff_ids": diffIDs})
	return config, nil
}

// must writes what cannot be unwritable: maps and lists of texts.
func must(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// put writes configuration and manifest of one platform.
func (dir blobs) put(p factory.Platform, have map[string]string, config map[string]json.RawMessage, layers []v1.Descriptor, diffIDs []string, notes map[string]string, created time.Time) (v1.Descriptor, factory.PlatformImage, time.Time, error) {
	image := factory.PlatformImage{Platform: p}
	run, err := factory.ParseConfig(must(config))
	if err != nil {
		return v1.Descriptor{}, image, created, &factory.Problem{Kind: factory.ErrInvalid, Cause: err}
	}
	maps.DeleteFunc(run.Labels, func(key, _ string) bool { return factory.NamesImage(key) })
	image.Config = &run
	c, err := dir.document(types.OCIConfigJSON, config)
	if err != nil {
		return c, image, created, err
	}
	d, err := dir.document(types.OCIManifestSchema1, v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: c, Layers: layers, Annotations: note(have, notes, created)})
	d.Platform = &v1.Platform{OS: p.OS, Architecture: p.Architecture}
	image.Digest = factory.Digest(d.Digest.String())
	for i, l := range layers {
		image.Size += l.Size
		image.Layers = append(image.Layers, factory.Layer{Name: l.Annotations[AnnotationLayer], Digest: factory.Digest(l.Digest.String()), DiffID: factory.Digest(diffIDs[i]), Size: l.Size})
	}
	return d, image, created, err
}

// top writes a layer of merged files, with the folders that they lie in.
func (dir blobs) top(files []factory.LayerFile, at time.Time) (l layerBlob, err error) {
	l.Name = "rebase"
	l.Digest, l.Size, err = dir.create(func(w io.Writer) error {
		z, media, err := Gzip.writer(w)
		if err != nil {
			return err
		}
		plain := count(z)
		out := tar.NewWriter(plain)
		for _, f := range files {
			h := header(f.Path, &inode{kind: tar.TypeReg, mode: f.Mode, uid: f.UID, gid: f.GID, mtime: at, size: int64(len(f.Data)), xattrs: f.Xattrs})
			if f.Kind == factory.Directory {
				h = header(f.Path, &inode{kind: tar.TypeDir, mode: f.Mode, uid: f.UID, gid: f.GID, mtime: at})
			}
			if err := out.WriteHeader(h); err != nil {
				return err
			}
			if _, err := out.Write(f.Data); err != nil {
				return err
			}
		}
		if err := out.Close(); err != nil {
			return err
		}
		l.DiffID, l.unpacked, l.media = plain.digest(), plain.n, media
		return z.Close()
	})
	return l, err
}
