package oci

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"time"
)

const (
	maxEntries = 1 << 21   // of one root; a large server has a tenth of it
	maxNames   = 512 << 20 // bytes of all names, link targets and attributes of one root
)

// spool holds the contents of a root's files, one after the other, in a file that has no name: it is gone when it is
// closed, even by kill -9.
type spool struct {
	file  *os.File
	w     *bufio.Writer
	size  int64
	limit int64
	sum   func() hash.Hash // of the files' contents
}

func newSpool(dir string, limit int64, sum func() hash.Hash) (*spool, error) {
	f, err := os.CreateTemp(dir, ".spool-")
	if err != nil {
		return nil, diskProblem(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, diskProblem(errors.Join(err, f.Close()))
	}
	return &spool{file: f, w: bufio.NewWriterSize(f, 1<<20), limit: limit, sum: sum}, nil
}

func (s *spool) Close() error { return s.file.Close() }

// Write appends to the spool, up to its limit.
func (s *spool) Write(b []byte) (int, error) {
	if s.size+int64(len(b)) > s.limit {
		return 0, fmt.Errorf("more than %d bytes of files", s.limit)
	}
	n, err := s.w.Write(b)
	s.size += int64(n)
	return n, diskProblem(err)
}

// open returns an inode's content.
func (s *spool) open(n *inode) io.Reader {
	if n.data != nil {
		return strings.NewReader(string(n.data))
	}
	return io.NewSectionReader(s.file, n.offset, n.size)
}

// stream watches a reader: its length, its end, and whether anybody still wants it.
type stream struct {
	ctx   context.Context
	r     io.Reader
	left  int64
	ended bool
}

func (s *stream) Read(b []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		return 0, err
	}
	if s.left <= 0 {
		return 0, errors.New("the stream is too long")
	}
	n, err := s.r.Read(b[:min(int64(len(b)), s.left)])
	s.left -= int64(n)
	s.ended = s.ended || err == io.EOF
	return n, err
}

// readTar reads a whole root: names and attributes into a tree, contents into the spool.
func readTar(ctx context.Context, r io.Reader, s *spool) (*tree, error) {
	src := &stream{ctx: ctx, r: bufio.NewReaderSize(r, 1<<18), left: 2*s.limit + 1<<20}
	in, t := tar.NewReader(src), newTree()
	buf := make([]byte, 1<<18)
	names := 0
	for entries := 0; ; entries++ {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		names += len(h.Name) + len(h.Linkname)
		for k, v := range h.PAXRecords {
			names += len(k) + len(v)
		}
		if entries >= maxEntries || names > maxNames {
			return nil, fmt.Errorf("more than %d entries or %d bytes of names", maxEntries, maxNames)
		}
		if err := readEntry(h, in, t, s, buf); err != nil {
			return nil, err
		}
	}
	// A stream that was cut between two entries looks complete but for the two empty blocks at the end.
	if src.ended {
		return nil, io.ErrUnexpectedEOF
	}
	if _, err := io.CopyBuffer(io.Discard, src, buf); err != nil {
		return nil, err
	}
	if err := s.w.Flush(); err != nil {
		return nil, diskProblem(err)
	}
	return t, t.finish()
}

func readEntry(h *tar.Header, in io.Reader, t *tree, s *spool, buf []byte) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	p, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if h.Uid < 0 || h.Gid < 0 {
		return fmt.Errorf("%.120q has the owner %d:%d", p, h.Uid, h.Gid)
	}
	n := &inode{kind: h.Typeflag, mode: h.Mode & 0o7777, uid: h.Uid, gid: h.Gid, mtime: seconds(h.ModTime), xattrs: portable(h.PAXRecords)}
	switch h.Typeflag {
	case tar.TypeLink:
		target, err := cleanName(h.Linkname)
		if err != nil {
			return err
		}
		if to := t.nodes[target]; to != nil && to.kind == tar.TypeDir {
			return fmt.Errorf("%.120q is a hard link to a directory", p)
		}
		t.link(p, target)
		return nil
	case tar.TypeSymlink:
		if n.target = h.Linkname; n.target == "" {
			return fmt.Errorf("%.120q is a symbolic link to nothing", p)
		}
		n.mode = 0o777
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		n.kind, n.offset = tar.TypeReg, s.size
		if n.size, err = s.add(n, p, in, buf); err != nil {
			return err
		}
	case tar.TypeChar, tar.TypeBlock:
		n.kind = tar.TypeChar
	case tar.TypeDir, tar.TypeFifo:
	default:
		return fmt.Errorf("%.120q is of the unknown type %q", p, h.Typeflag)
	}
	t.put(p, n)
	return nil
}

// add copies a file's content and, where packages ship files, sums it up as they do.
func (s *spool) add(n *inode, p string, in io.Reader, buf []byte) (int64, error) {
	if local(p) {
		return io.CopyBuffer(s, in, buf)
	}
	sum := s.sum()
	size, err := io.CopyBuffer(io.MultiWriter(s, sum), in, buf)
	sum.Sum(n.sum[:0])
	return size, err
}

// portable keeps the extended attributes that mean the same on every machine. SELinux labels, integrity signatures and
// overlayfs's own marks belong to the machine that built.
func portable(records map[string]string) map[string]string {
	var kept map[string]string
	for k, v := range records {
		name, ok := strings.CutPrefix(k, xattrRecord)
		switch {
		case !ok:
		case name == "security.capability", strings.HasPrefix(name, "system.posix_acl_"),
			strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay."):
			if kept == nil {
				kept = map[string]string{}
			}
			kept[name] = v
		}
	}
	return kept
}

const xattrRecord = "SCHILY.xattr."

// seconds drops fractions, and what no tar can say without an extension.
func seconds(t time.Time) time.Time {
	return time.Unix(max(t.Unix(), 0), 0).UTC()
}
