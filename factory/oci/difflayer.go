package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	onlyCompression = "same content, compressed differently (by another version of the factory?)"
	// maxExcerpt is the largest file whose first differing line is shown, in bytes.
	maxExcerpt = 1 << 20
)

// file is an entry of a layer as Diff sees it.
type file struct {
	h    *tar.Header
	sum  [32]byte
	text []byte // content of small files, until it is too much for all
}

func (d differ) layer(a, b v1.Layer) (string, error) {
	da, errA := a.Digest()
	db, errB := b.Digest()
	if err := cmpErr(errA, errB); err != nil || da == db {
		return "", badLayout(d.a+" or "+d.b, err)
	}
	fa, orderA, err := readLayer(d.ctx, a)
	if err != nil {
		return "", badLayout(d.a, err)
	}
	fb, orderB, err := readLayer(d.ctx, b)
	if err != nil {
		return "", badLayout(d.b, err)
	}
	names := union(fa, fb)
	slices.SortFunc(names, comparePaths)
	for _, name := range names {
		x, inA := fa[name]
		y, inB := fb[name]
		if !inA || !inB {
			return "/" + name + ": " + presence(inA), nil
		}
		if what := x.differs(y); what != "" {
			return "/" + name + ": " + what, nil
		}
	}
	if !slices.Equal(orderA, orderB) {
		return "same files in another order", nil
	}
	ia, errA := a.DiffID()
	ib, errB := b.DiffID()
	if err := cmpErr(errA, errB); err != nil || ia == ib {
		return onlyCompression, badLayout(d.a+" or "+d.b, err)
	}
	return "same files, written differently", nil
}

func readLayer(ctx context.Context, l v1.Layer) (_ map[string]file, order []string, err error) {
	r, err := l.Uncompressed()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	files, in, kept := map[string]file{}, tar.NewReader(r), 0
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, nil, err
		}
		h, err := in.Next()
		if err == io.EOF {
			return files, order, nil
		}
		if err != nil {
			return nil, nil, err
		}
		name, err := cleanName(h.Name)
		if err != nil {
			return nil, nil, err
		}
		sum, text := sha256.New(), new(bytes.Buffer)
		var w io.Writer = sum
		if h.Size <= maxExcerpt && kept < 64*maxExcerpt {
			w, kept = io.MultiWriter(sum, text), kept+int(h.Size)
		}
		if _, err := io.Copy(w, in); err != nil {
			return nil, nil, err
		}
		files[name] = file{h: h, sum: [32]byte(sum.Sum(nil)), text: text.Bytes()}
		order = append(order, name)
	}
}

// differs says what is different first: what it is, whose, then what is in it, and when.
func (f file) differs(g file) string {
	x, y := f.h, g.h
	say := func(what string, a, b any) string {
		return fmt.Sprintf("%s is %v in the first, %v in the second", what, a, b)
	}
	switch {
	case x.Typeflag != y.Typeflag:
		return say("type", kindName(x.Typeflag), kindName(y.Typeflag))
	case x.Linkname != y.Linkname:
		return say("link target", x.Linkname, y.Linkname)
	case x.Mode != y.Mode:
		return say("mode", fmt.Sprintf("%04o", x.Mode), fmt.Sprintf("%04o", y.Mode))
	case x.Uid != y.Uid || x.Gid != y.Gid:
		return say("owner", fmt.Sprintf("%d:%d", x.Uid, x.Gid), fmt.Sprintf("%d:%d", y.Uid, y.Gid))
	case x.Size != y.Size:
		return say("size", x.Size, y.Size) + excerpt(f.text, g.text)
	case f.sum != g.sum:
		return fmt.Sprintf("content is sha256:%.6x in the first, sha256:%.6x in the second", f.sum, g.sum) + excerpt(f.text, g.text)
	case !maps.Equal(x.PAXRecords, y.PAXRecords):
		for _, k := range union(x.PAXRecords, y.PAXRecords) {
			if x.PAXRecords[k] != y.PAXRecords[k] {
				return say("attribute "+k, fmt.Sprintf("%.80q", x.PAXRecords[k]), fmt.Sprintf("%.80q", y.PAXRecords[k]))
			}
		}
	case !x.ModTime.Equal(y.ModTime):
		return say("modification time", x.ModTime.UTC().Format(time.RFC3339), y.ModTime.UTC().Format(time.RFC3339))
	}
	return ""
}

func kindName(flag byte) string {
	names := map[byte]string{tar.TypeReg: "file", tar.TypeDir: "directory", tar.TypeSymlink: "symbolic link", tar.TypeLink: "hard link", tar.TypeFifo: "pipe"}
	if n, ok := names[flag]; ok {
		return n
	}
	return fmt.Sprintf("type %q", flag)
}

// excerpt shows the first line in which two small texts differ, or where two binaries do.
func excerpt(a, b []byte) string {
	if a == nil || b == nil {
		return ""
	}
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	if bytes.IndexByte(a, 0) >= 0 || bytes.IndexByte(b, 0) >= 0 {
		return fmt.Sprintf(", from byte %d on", at)
	}
	line := bytes.Count(a[:at], []byte("\n"))
	return fmt.Sprintf(", line %d: %.80q, %.80q", line+1, lineAt(a, at), lineAt(b, at))
}

func lineAt(text []byte, at int) []byte {
	start := bytes.LastIndexByte(text[:at], '\n') + 1
	line, _, _ := bytes.Cut(text[start:], []byte("\n"))
	return line
}
