package oci

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Bounds of a layer that is read for its content.
const (
	maxUnpacked = 16 << 30  // bytes of one layer
	maxELF      = 256 << 20 // of one program or library
	maxKept     = 16 << 20  // of one file whose content somebody asked for
)

// ContentSchema is the version of what Content returns; who keeps it keeps that too.
const ContentSchema = 2

// Content reads a compressed layer and returns what it holds, with the needs of every program and library in it, and with the bytes
// of the files that keep names. Names that leave the root, hard links to nothing, and streams that are too long are ErrInvalid. A
// program that cannot be read is no error: its entry says so.
func Content(ctx context.Context, layer factory.Digest, r io.Reader, keep func(path string) bool) (factory.Content, error) {
	plain, err := decompress(r)
	if err != nil {
		return factory.Content{}, badLayer(layer, err)
	}
	defer plain.Close()
	src := &stream{ctx: ctx, r: plain, left: maxUnpacked}
	reader := contentReader{in: tar.NewReader(src), keep: keep, seen: map[string]int{}, elf: make([]byte, 0, 1<<20)}
	if err := reader.all(); err != nil {
		return factory.Content{}, badLayer(layer, err)
	}
	if _, err := io.Copy(io.Discard, src); err != nil {
		return factory.Content{}, badLayer(layer, err)
	}
	return factory.Content{Layer: layer, Files: reader.files}, nil
}

func badLayer(layer factory.Digest, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var known *factory.Problem
	if errors.As(err, &known) {
		return err
	}
	return &factory.Problem{Kind: factory.ErrInvalid, What: "layer " + layer.Short(), Cause: err}
}

// decompress tells gzip, zstd and plain tar by their first bytes.
func decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 1<<18)
	magic, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case len(magic) > 1 && magic[0] == 0x1f && magic[1] == 0x8b:
		return gzip.NewReader(b)
	case string(magic) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(b), nil
}

type contentReader struct {
	in    *tar.Reader
	keep  func(string) bool
	files []factory.LayerFile
	seen  map[string]int // by path
	names int
	elf   []byte
}

func (r *contentReader) all() error {
	for {
		h, err := r.in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		r.names += len(h.Name) + len(h.Linkname)
		if len(r.files) >= maxEntries || r.names > maxNames {
			return fmt.Errorf("more than %d entries or %d bytes of names", maxEntries, maxNames)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		f, err := r.entry(h)
		if err != nil {
			return err
		}
		key := f.Path
		if f.Kind == factory.Whiteout {
			key = "\x00" + key // what it takes away lies below; the layer may have another in its place
		}
		if at, twice := r.seen[key]; twice {
			r.files[at] = f
			continue
		}
		r.seen[key] = len(r.files)
		r.files = append(r.files, f)
	}
}

const whiteoutMark, opaqueMark = ".wh.", ".wh..wh..opq"

func (r *contentReader) entry(h *tar.Header) (f factory.LayerFile, err error) {
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	if slices.Contains(strings.Split(h.Name, "/"), "..") {
		return f, fmt.Errorf("%.120q leaves the root", h.Name)
	}
	dir, base := path.Split(name)
	switch gone, marked := strings.CutPrefix(base, whiteoutMark); {
	case base == opaqueMark:
		// The directory's own entry may be there as well, so the mark has a name of its own.
		return factory.LayerFile{Path: dir + opaqueMark, Kind: factory.Emptied}, nil
	case marked && gone != "":
		return factory.LayerFile{Path: dir + gone, Kind: factory.Whiteout}, nil
	}
	f = factory.LayerFile{Path: name, Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid, Attrs: attrs(portable(h.PAXRecords))}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		f.Kind = factory.PlainFile
		return r.plain(f, h)
	case tar.TypeDir:
		f.Kind = factory.Directory
	case tar.TypeSymlink:
		f.Kind, f.Target, f.Mode = factory.SymLink, h.Linkname, 0o777
	case tar.TypeLink:
		return r.link(f, h.Linkname)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		f.Kind = factory.SpecialFile
	default:
		return f, fmt.Errorf("%.120q is of the unknown type %q", name, h.Typeflag)
	}
	return f, nil
}

// link gives a hard link what its target has: they are one file.
func (r *contentReader) link(f factory.LayerFile, to string) (factory.LayerFile, error) {
	target := strings.TrimPrefix(path.Clean("/"+to), "/")
	at, there := r.seen[target]
	if !there {
		return f, fmt.Errorf("%.120q is a hard link to %.120q, which is not in the layer before it", f.Path, target)
	}
	linked := r.files[at]
	linked.Path = f.Path
	return linked, nil
}

// plain sums a file up, and looks into programs and libraries.
func (r *contentReader) plain(f factory.LayerFile, h *tar.Header) (factory.LayerFile, error) {
	sum := sha256.New()
	head := make([]byte, 4)
	n, err := io.ReadFull(r.in, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return f, err
	}
	sum.Write(head[:n])
	kept, program := r.keep != nil && r.keep(f.Path), string(head[:n]) == "\x7fELF"
	switch {
	case kept && h.Size > maxKept:
		return f, fmt.Errorf("%s: %d bytes are too many", f.Path, h.Size)
	case program && h.Size > maxELF:
		f.ELF = &factory.ELF{Broken: fmt.Sprintf("%d bytes are too many to look into", h.Size)}
		kept, program = false, false
	}
	if kept || program {
		r.elf = append(r.elf[:0], head[:n]...)
		if err := r.rest(h.Size); err != nil {
			return f, err
		}
		sum.Write(r.elf[n:])
		if program {
			f.ELF = readELF(r.elf)
		}
		if kept {
			f.Data, f.Xattrs = slices.Clone(r.elf), portable(h.PAXRecords)
		}
	} else if _, err := io.Copy(sum, r.in); err != nil {
		return f, err
	}
	f.Sum = factory.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil)))
	return f, nil
}

// rest reads what follows the first bytes; the header's size is only a hint.
func (r *contentReader) rest(size int64) error {
	r.elf = slices.Grow(r.elf, int(min(size, 64<<20)))
	limited := io.LimitReader(r.in, maxELF)
	for {
		if len(r.elf) == cap(r.elf) {
			r.elf = slices.Grow(r.elf, cap(r.elf))
		}
		n, err := limited.Read(r.elf[len(r.elf):cap(r.elf)])
		r.elf = r.elf[:len(r.elf)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// attrs is a digest of extended attributes; empty when there are none.
func attrs(x map[string]string) string {
	if len(x) == 0 {
		return ""
	}
	var all []string
	for k, v := range x {
		all = append(all, fmt.Sprintf("%q=%q", k, v))
	}
	slices.SortFunc(all, cmp.Compare[string])
	return factory.DigestOf([]byte(strings.Join(all, "\n"))).Short()
}
