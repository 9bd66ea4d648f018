package oci

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	whiteout = ".wh."         // before a name: what lies there in the layers below is gone
	opaque   = ".wh..wh..opq" // all that the layers below have in the folder is gone
)

// parentImage is one platform of the release that a child is built on: its layers, and what they make together.
type parentImage struct {
	layers []layerBlob // from the bottom
	files  map[string]*parentFile
}

// parentFile is what lies at a path in the parent. Names of one file share it.
type parentFile struct {
	inode
	content [sha256.Size]byte
}

// shared reports whether the layers of h's parent become the lowest of its own. A cut-out child has little of its parent.
func shared(h factory.Hardened) bool {
	return h.Job.Image.From != "" && len(h.Job.Image.Only) == 0
}

// parentOf reads a platform of the parent from its layout.
func (p Packer) parentOf(h factory.Hardened, platform factory.Platform) (*parentImage, string, error) {
	base := h.Job.Parent
	dir := filepath.Join(p.Parents, base.Digest.Hex())
	index, err := openIndex(dir)
	if err != nil {
		return nil, dir, err
	}
	if d, err := index.Digest(); err != nil || d.String() != string(base.Digest) {
		return nil, dir, badLayout(dir, cmpErr(err, fmt.Errorf("it holds %s", d)))
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, dir, badLayout(dir, err)
	}
	for _, d := range m.Manifests {
		if d.Platform != nil && d.Platform.OS == platform.OS && d.Platform.Architecture == platform.Architecture {
			image, err := index.Image(d.Digest)
			if err != nil {
				return nil, dir, badLayout(dir, err)
			}
			read, err := p.Read.once(d.Digest, func() (*parentImage, error) { return readParent(image) })
			return read, dir, badLayout(dir, err)
		}
	}
	return nil, dir, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s has no %s", base.Ref(), platform), Where: h.Job.Image.Where, Hint: "take the platform out of platforms, or add it to those of " + base.Image}
}

// ParentCache keeps what a platform of a parent came to when it was read, for all the children of a night. The zero value is ready
// for use, by several packers at a time.
type ParentCache struct {
	mu   sync.Mutex
	read map[v1.Hash]*parentImage
}

// once returns what is known of a manifest, and reads it when nothing is. Whoever needs the same one meanwhile waits.
func (c *ParentCache) once(manifest v1.Hash, read func() (*parentImage, error)) (*parentImage, error) {
	if c == nil {
		return read()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.read[manifest]; ok {
		return known, nil
	}
	found, err := read()
	if err == nil {
		if c.read == nil {
			c.read = map[v1.Hash]*parentImage{}
		}
		c.read[manifest] = found
	}
	return found, err
}

// readParent applies all layers of an image, one after the other, and holds each to its DiffID.
func readParent(image v1.Image) (*parentImage, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) != len(config.RootFS.DiffIDs) || len(layers) != len(manifest.Layers) || len(layers) != len(config.History) {
		return nil, fmt.Errorf("it has %d layers, and its configuration tells of %d, with %d lines of history", len(layers), len(config.RootFS.DiffIDs), len(config.History))
	}
	all := &parentImage{files: map[string]*parentFile{}}
	for i, l := range layers {
		d := manifest.Layers[i]
		read := layerBlob{media: d.MediaType, past: &config.History[i], Layer: factory.Layer{Name: d.Annotations[AnnotationLayer],
			Digest: factory.Digest(d.Digest.String()), DiffID: factory.Digest(config.RootFS.DiffIDs[i].String()), Size: d.Size}}
		if read.unpacked, err = all.add(l, read.DiffID); err != nil {
			return nil, fmt.Errorf("layer %s: %w", read.Name, err)
		}
		all.layers = append(all.layers, read)
	}
	return all, nil
}

// add applies one layer and returns its size, unpacked.
func (i *parentImage) add(l v1.Layer, want factory.Digest) (n int64, err error) {
	r, err := l.Uncompressed()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	plain := count(io.Discard)
	tee := io.TeeReader(r, plain)
	in := tar.NewReader(tee)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = i.entry(h, in)
		}
		if err != nil {
			return 0, err
		}
	}
	if _, err := io.Copy(io.Discard, tee); err != nil {
		return 0, err
	}
	if got := plain.digest(); got != want {
		return 0, fmt.Errorf("its content is %s, the configuration has %s", got.Short(), want.Short())
	}
	return plain.n, nil
}

// entry applies one entry of a layer.
func (i *parentImage) entry(h *tar.Header, content io.Reader) error {
	at := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	folder, name := parent(at), path.Base(at)
	if name == opaque || name == whiteout {
		return fmt.Errorf("%.120q: the factory makes no such layers", h.Name)
	}
	if gone, ok := strings.CutPrefix(name, whiteout); ok {
		i.remove(path.Join(folder, gone))
		return nil
	}
	p, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeLink {
		target := i.files[strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")]
		if target == nil {
			return fmt.Errorf("%.120q is a hard link to %.120q, which is not there", p, h.Linkname)
		}
		i.files[p] = target
		return nil
	}
	f := &parentFile{inode: inode{kind: h.Typeflag, mode: h.Mode & 0o7777, uid: h.Uid, gid: h.Gid, mtime: seconds(h.ModTime), target: h.Linkname, xattrs: portable(h.PAXRecords), size: h.Size}}
	if h.Typeflag != tar.TypeDir {
		i.remove(p)
	}
	if h.Typeflag == tar.TypeReg {
		sum := sha256.New()
		if _, err := io.Copy(sum, content); err != nil {
			return err
		}
		f.content = [sha256.Size]byte(sum.Sum(nil))
	}
	i.files[p] = f
	return nil
}

// remove takes away a path and all below it.
func (i *parentImage) remove(p string) {
	if f := i.files[p]; f != nil && f.kind == tar.TypeDir {
		maps.DeleteFunc(i.files, func(q string, _ *parentFile) bool { return strings.HasPrefix(q, p+"/") })
	}
	delete(i.files, p)
}

// holds reports whether a path of the parent is what n is. Times do not count.
func (i *parentImage) holds(p string, n *inode, s *spool) (bool, error) {
	f := i.files[p]
	if f == nil || f.kind != n.kind || f.mode != n.mode || f.uid != n.uid || f.gid != n.gid || f.target != n.target || f.size != n.size || !maps.Equal(f.xattrs, n.xattrs) {
		return false, nil
	}
	if n.kind != tar.TypeReg {
		return true, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, s.open(n)); err != nil {
		return false, diskProblem(err)
	}
	return f.content == [sha256.Size]byte(sum.Sum(nil)), nil
}

// lend puts the parent's layers into a layout of its child's.
func (i *parentImage) lend(from string, to blobs) error {
	for _, l := range i.layers {
		was, at := filepath.Join(from, "blobs", "sha256", l.Digest.Hex()), filepath.Join(string(to), l.Digest.Hex())
		err := os.Link(was, at)
		if errors.Is(err, os.ErrExist) { // another platform has it too
			continue
		}
		if err != nil { // folders on two filesystems
			err = to.copy(was, l.Digest)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copy takes over a blob of another layout.
func (dir blobs) copy(file string, want factory.Digest) error {
	r, err := os.Open(file)
	if err != nil {
		return diskProblem(err)
	}
	defer func() { _ = r.Close() }()
	d, _, err := dir.create(func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return diskProblem(err)
	})
	if err == nil && d != want {
		err = &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s holds %s", file, d)}
	}
	return err
}
