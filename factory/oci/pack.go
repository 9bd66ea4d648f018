package oci

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/imagefactory/imagefactory/factory"
	"golang.org/x/sync/errgroup"
)

// Exporter streams a root filesystem as a tar. Entries may come in any order, with the extensions of PAX (xattrs as
// SCHILY.xattr records) or GNU; the two empty blocks at the end are required.
type Exporter interface {
	Export(ctx context.Context, r factory.Root, w io.Writer) error
}

// Packer makes OCI images. It is safe for concurrent use.
type Packer struct {
	Exporter Exporter
	// Dir is the work folder: layouts appear in it as <image>-<something>, and stay until the caller removes them. It is
	// made when missing; empty means the system's folder for temporary files.
	Dir         string
	Compression Compression // the zero value is Gzip
	// Parents is the folder of the layouts that children are built on, each named by the digest of its index, in hex.
	Parents string
	// Read remembers parents that were read, where several children of one are packed; nil means that each is read anew.
	Read *ParentCache
	// Limit is the most bytes that the files of one root may have; 0 means 32 GiB.
	Limit  int64
	Events factory.Events // may be nil
}

const defaultLimit = 32 << 30

// Pack exports every root of h and writes one image with all of them. The layout's index.json has one entry, the image's
// index: Artifact.Digest. Errors: ErrUnavailable when the export breaks off or the disk is full, ErrInvalid when the
// stream is no root filesystem, ErrUnverified when other packages are installed than those of the lock. After an error, or when ctx ends, nothing is left in Dir.
func (p Packer) Pack(ctx context.Context, h factory.Hardened) (factory.Packed, error) {
	if err := p.check(h); err != nil {
		return factory.Packed{}, err
	}
	if p.Dir != "" {
		if err := os.MkdirAll(p.Dir, 0o755); err != nil {
			return factory.Packed{}, diskProblem(err)
		}
	}
	dir, err := os.MkdirTemp(p.Dir, h.Job.Image.Name+"-")
	if err != nil {
		return factory.Packed{}, diskProblem(err)
	}
	artifact, err := p.pack(ctx, h, dir)
	if err != nil {
		return factory.Packed{}, errors.Join(err, os.RemoveAll(dir))
	}
	return factory.Packed{Hardened: h, Artifact: artifact}, nil
}

// check refuses what would make an image of nothing, or one whose bytes are not decided.
func (p Packer) check(h factory.Hardened) error {
	what := ""
	seen := map[factory.Platform]bool{}
	for _, r := range h.Roots {
		if r.Platform == (factory.Platform{}) || seen[r.Platform] {
			what = fmt.Sprintf("platform %q is empty or twice", r.Platform)
		}
		seen[r.Platform] = true
	}
	switch {
	case len(h.Roots) == 0:
		what = "no root filesystem"
	case h.Lock.Timestamp.Unix() <= 0:
		what = "the lock has no timestamp"
	default:
		what = cmp.Or(what, checkChild(h))
	}
	if what != "" {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "pack " + h.Job.Image.Name + ": " + what}
	}
	_, _, err := p.Compression.writer(io.Discard)
	return err
}

func (p Packer) pack(ctx context.Context, h factory.Hardened, dir string) (factory.Artifact, error) {
	b, err := makeLayout(dir)
	if err != nil {
		return factory.Artifact{}, err
	}
	notes, err := annotations(h)
	if err != nil {
		return factory.Artifact{}, err
	}
	roots := slices.SortedFunc(slices.Values(h.Roots), func(a, b factory.Root) int {
		return cmp.Compare(a.Platform.String(), b.Platform.String())
	})
	manifests, images := make([]v1.Descriptor, len(roots)), make([]factory.PlatformImage, len(roots))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for i, r := range roots {
		group.Go(func() error {
			layers, err := p.packRoot(gctx, h, r, b)
			if err != nil {
				return fmt.Errorf("pack %s %s: %w", h.Job.Image.Name, r.Platform, err)
			}
			manifests[i], err = b.image(h, r.Platform, layers, notes)
			images[i] = summary(r.Platform, manifests[i], layers, h.Config(r.Platform))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return factory.Artifact{}, err
	}
	digest, err := b.index(dir, manifests, notes)
	return factory.Artifact{Digest: digest, Layout: dir, Platforms: images}, err
}

func summary(p factory.Platform, d v1.Descriptor, layers []layerBlob, c factory.Config) factory.PlatformImage {
	image := factory.PlatformImage{Platform: p, Digest: factory.Digest(d.Digest.String()), Config: &c}
	for _, l := range layers {
		image.Layers = append(image.Layers, l.Layer)
		image.Size += l.Size
		image.Unpacked += l.unpacked
	}
	return image
}

// packRoot turns one root into the blobs of its layers.
func (p Packer) packRoot(ctx context.Context, h factory.Hardened, r factory.Root, b blobs) (_ []layerBlob, err error) {
	s, err := newSpool(p.Dir, cmp.Or(p.Limit, defaultLimit), formatOf(h).sum)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	t, err := p.export(ctx, r, s)
	if err != nil {
		return nil, err
	}
	var below *parentImage
	if shared(h) {
		var dir string
		if below, dir, err = p.parentOf(h, r.Platform); err != nil {
			return nil, err
		}
		if err := below.lend(dir, b); err != nil {
			return nil, err
		}
	}
	layers, err := normalise(t, s, h, r.Platform, below)
	if err != nil {
		return nil, badRoot(err)
	}
	written := make([]layerBlob, len(layers))
	group, gctx := errgroup.WithContext(ctx)
	// Layers are unequal: more of them at once than cores keep every core busy to the end.
	group.SetLimit(4)
	for i, l := range layers {
		group.Go(func() (err error) {
			written[i], err = b.layer(gctx, p.Compression, t, s, l)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var parts []string
	for _, l := range written {
		parts = append(parts, fmt.Sprintf("%s %.1f MB", l.Name, float64(l.Size)/1e6))
	}
	p.Events.Emit(factory.Event{Kind: factory.Noted, Image: h.Job.Image.Name, Step: factory.StepPack,
		Message: fmt.Sprintf("%s: %s", r.Platform, strings.Join(parts, ", "))})
	if below != nil {
		written = slices.Concat(below.layers, written)
	}
	return written, nil
}

// export reads a root's stream to its end. It returns after the exporter did.
func (p Packer) export(ctx context.Context, r factory.Root, s *spool) (*tree, error) {
	ectx, stop := context.WithCancel(ctx)
	defer stop()
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := p.Exporter.Export(ectx, r, pw)
		pw.CloseWithError(err)
		done <- err
	}()
	// Whoever waits for the exporter to write something must not wait longer than ctx.
	defer context.AfterFunc(ctx, func() { pr.CloseWithError(context.Cause(ctx)) })()
	t, readErr := readTar(ctx, pr, s)
	if readErr != nil {
		pr.CloseWithError(errRefused)
		stop()
	}
	exportErr := <-done
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	// An exporter that was refused fails too, in words of its own; the cause is what the reader saw.
	case exportErr != nil && (readErr == nil || errors.Is(readErr, exportErr)):
		return nil, fmt.Errorf("export: %w", exportErr)
	case errors.Is(readErr, io.ErrUnexpectedEOF):
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "export: the stream ends too early", Hint: "was the build service stopped?", Cause: readErr}
	}
	return t, badRoot(readErr)
}

var errRefused = errors.New("stream refused")

// badRoot says that the stream is no root filesystem, unless err is a problem already.
func badRoot(err error) error {
	var known *factory.Problem
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &factory.Problem{Kind: factory.ErrInvalid, What: "root filesystem", Cause: err}
}

// normalise applies the rules and cuts the layers; of a child, those that lie on its parent's.
func normalise(t *tree, s *spool, h factory.Hardened, platform factory.Platform, below *parentImage) ([]group, error) {
	timestamp := h.Lock.Timestamp.UTC().Truncate(time.Second)
	f := formatOf(h)
	db, err := f.packages(t, s, f.locked(h, platform))
	if err != nil {
		return nil, err
	}
	t.clean(db)
	shadow, err := content(t, s, "etc/shadow")
	if err != nil {
		return nil, err
	}
	if n := t.nodes["etc/shadow"]; n != nil && n.kind == tar.TypeReg {
		n.data = setLastChange(shadow, timestamp)
		n.size = int64(len(n.data))
	}
	if len(t.sorted()) == 0 {
		return nil, errors.New("it is empty")
	}
	if err := checkInstalled(t, s, db, h, platform); err != nil {
		return nil, err
	}
	if below == nil {
		return t.split(db, timestamp), nil
	}
	if err := t.above(below, s); err != nil {
		return nil, err
	}
	return ownLayers(t.split(db, timestamp), h.Job.Image.Name), nil
}
