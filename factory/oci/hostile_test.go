package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// raw writes headers as they are, for what no filesystem would give.
func raw(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var r root
	for _, h := range headers {
		r.add(h, "")
	}
	return r.tar(t)
}

// refused packs a stream that must not become an image, and checks that nothing stays on disk.
func refused(t *testing.T, p Packer, ctx context.Context, h factory.Hardened) error {
	t.Helper()
	p.Dir = t.TempDir()
	got, err := p.Pack(ctx, h)
	if err == nil {
		t.Fatalf("packed %+v", got.Artifact)
	}
	if entries, readErr := os.ReadDir(p.Dir); readErr != nil || len(entries) > 0 {
		t.Errorf("left behind: %v %v", entries, readErr)
	}
	return err
}

func TestHostileStreams(t *testing.T) {
	t.Parallel()
	whole := debian().tar(t)
	end := len(whole) - 1024
	for name, c := range map[string]struct {
		stream []byte
		kind   error
		says   string
	}{
		"leaves the root":        {raw(t, tar.Header{Name: "usr/../../etc/passwd"}), factory.ErrInvalid, "leaves the root"},
		"link leaves the root":   {raw(t, tar.Header{Name: "x", Typeflag: tar.TypeLink, Linkname: "../etc/shadow"}), factory.ErrInvalid, "leaves the root"},
		"whiteout":               {raw(t, tar.Header{Name: "etc/.wh.passwd"}), factory.ErrInvalid, "whiteout"},
		"opaque whiteout":        {raw(t, tar.Header{Name: "etc/.wh..wh..opq"}), factory.ErrInvalid, "whiteout"},
		"below a link":           {raw(t, tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, tar.Header{Name: "a/passwd"}), factory.ErrInvalid, `"a/passwd" lies below "a"`},
		"below a file":           {raw(t, tar.Header{Name: "a/b/c"}, tar.Header{Name: "a"}), factory.ErrInvalid, "not a directory"},
		"the root is a file":     {raw(t, tar.Header{Name: ".", Typeflag: tar.TypeFifo}), factory.ErrInvalid, "the root is not a directory"},
		"hard link to nothing":   {raw(t, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "b"}), factory.ErrInvalid, "not there"},
		"hard links in a circle": {raw(t, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "b"}, tar.Header{Name: "b", Typeflag: tar.TypeLink, Linkname: "a"}), factory.ErrInvalid, "not there"},
		"hard link to itself":    {raw(t, tar.Header{Name: "a"}, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "a"}), factory.ErrInvalid, "not there"},
		"hard link to directory": {raw(t, tar.Header{Name: "a", Typeflag: tar.TypeDir}, tar.Header{Name: "b", Typeflag: tar.TypeLink, Linkname: "a"}), factory.ErrInvalid, "link to a directory"},
		"link to nothing":        {raw(t, tar.Header{Name: "a", Typeflag: tar.TypeSymlink}), factory.ErrInvalid, "symbolic link to nothing"},
		"unknown type":           {raw(t, tar.Header{Name: "a", Typeflag: 'Z'}), factory.ErrInvalid, "unknown type"},
		"negative owner":         {raw(t, tar.Header{Name: "a", Uid: -5}), factory.ErrInvalid, "owner"},
		"nothing but the end":    {raw(t), factory.ErrInvalid, "empty"},
		"nothing that stays":     {raw(t, tar.Header{Name: "./", Typeflag: tar.TypeDir}, tar.Header{Name: "null", Typeflag: tar.TypeChar}, tar.Header{Name: ".dockerenv"}), factory.ErrInvalid, "empty"},
		"not a tar":              {bytes.Repeat([]byte("no tar"), 1000), factory.ErrInvalid, "header"},
		"cut between entries":    {whole[:end], factory.ErrUnavailable, "too early"},
		"cut in the end mark":    {whole[:end+512], factory.ErrUnavailable, "too early"},
		"cut in an entry":        {whole[:end-5000], factory.ErrUnavailable, "too early"},
		"nothing":                {nil, factory.ErrUnavailable, "too early"},
		"too long a line":        {debian().with(func(r *root) { r.file("var/lib/dpkg/info/x.list", strings.Repeat("x", 2<<20), made) }).tar(t), factory.ErrInvalid, "x.list"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := refused(t, Packer{Exporter: streams{amd64: c.stream}}, t.Context(), hardened(amd64))
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "pack debian-12 linux/amd64: ") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Odd, but a root all the same.
func TestOddStreams(t *testing.T) {
	t.Parallel()
	r := debian()
	r.file("/usr/absolute", "a", made)
	r.file("usr//./slashes", "b", made)
	r.file("usr/twice", "first", made)
	r.hardlink("usr/of-first", "usr/twice")
	r.file("usr/twice", "last", made)
	r.file("usr/ünïcode \xff\n", "c", made)
	r.file("usr/"+strings.Repeat("long/", 60)+"name", "d", time.Unix(-5, 0))
	r.add(tar.Header{Name: "usr/big-owner", Uid: 1 << 30, Gid: 1 << 30, Mode: 0o106755, ModTime: made}, "e")
	r.add(tar.Header{Name: "usr/marks", ModTime: made, PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.opaque": "y",
		"SCHILY.xattr.security.ima": "i", "SCHILY.xattr.system.posix_acl_access": "acl"}}, "f")
	stream := r.tar(t)
	early := append(root{{Name: "usr/early", Typeflag: tar.TypeLink, Linkname: "usr/early2", Mode: 0o644}, {Name: "usr/early2", Typeflag: tar.TypeLink, Linkname: "usr/bin/bash", Mode: 0o644}}, r...)
	want := map[string]string{
		"usr/absolute": "a", "usr/slashes": "b", "usr/twice": "last", "usr/of-first": "first", "usr/ünïcode \xff\n": "c", "usr/" + strings.Repeat("long/", 60) + "name": "d",
		"usr/big-owner": "SCHILY", "usr/marks": "f",
	}
	all := flat(t, packTar(t, stream, hardened(amd64)))
	for p, content := range want {
		if !strings.HasSuffix(all[p], " "+content) && content != "SCHILY" {
			t.Errorf("%s is %q", p, all[p])
		}
	}
	if s := all["usr/big-owner"]; !strings.HasPrefix(s, "0 6755 1073741824:1073741824") {
		t.Errorf("owner and mode are %q", s)
	}
	if s := all["usr/marks"]; strings.Contains(s, "overlay") || strings.Contains(s, "ima") || !strings.Contains(s, "system.posix_acl_access=61636c") {
		t.Errorf("attributes are %q", s)
	}
	all = flat(t, packTar(t, early.tar(t), hardened(amd64)))
	if !strings.HasSuffix(all["usr/early"], "-> usr/bin/bash ") || !strings.HasSuffix(all["usr/early2"], "-> usr/bin/bash ") {
		t.Errorf("links that came early: %q %q", all["usr/early"], all["usr/early2"])
	}
	// The two blocks at the end may be followed by padding.
	packTar(t, append(stream, make([]byte, 10240)...), hardened(amd64))
	// A global header says nothing about a file.
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	packTar(t, append(b.Bytes()[:b.Len():b.Len()], stream...), hardened(amd64))
}

func TestLimits(t *testing.T) {
	t.Parallel()
	r := debian()
	r.file("usr/huge", strings.Repeat("x", 1<<20), made)
	if err := refused(t, Packer{Exporter: streams{amd64: r.tar(t)}, Limit: 1 << 20}, t.Context(), hardened(amd64)); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("got %v", err)
	}
	endless := exporter(func(_ context.Context, _ factory.Root, w io.Writer) error {
		if _, err := w.Write(debian().tar(t)); err != nil {
			return err
		}
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return err
			}
		}
	})
	if err := refused(t, Packer{Exporter: endless, Limit: 1 << 20}, t.Context(), hardened(amd64)); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "too long") {
		t.Errorf("got %v", err)
	}
}

type exporter func(context.Context, factory.Root, io.Writer) error

func (f exporter) Export(ctx context.Context, r factory.Root, w io.Writer) error { return f(ctx, r, w) }

func TestExporterFails(t *testing.T) {
	t.Parallel()
	gone := &factory.Problem{Kind: factory.ErrUnavailable, What: "build service gone"}
	whole := debian().tar(t)
	for _, n := range []int{0, 100, 5000, len(whole)} {
		half := exporter(func(_ context.Context, _ factory.Root, w io.Writer) error {
			_, err := w.Write(whole[:n])
			return errors.Join(err, gone)
		})
		if err := refused(t, Packer{Exporter: half}, t.Context(), hardened(amd64)); !errors.Is(err, gone) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	// An exporter that was refused has an error of its own: the reason is the stream.
	rude := exporter(func(_ context.Context, _ factory.Root, w io.Writer) error {
		_, err := w.Write(raw(t, tar.Header{Name: "../x"}, tar.Header{Name: "y"}))
		return fmt.Errorf("rpc: %v", err)
	})
	if err := refused(t, Packer{Exporter: rude}, t.Context(), hardened(amd64)); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "leaves the root") {
		t.Errorf("got %v", err)
	}
	// One platform fails: nothing of the other stays.
	if err := refused(t, Packer{Exporter: streams{amd64: whole}}, t.Context(), hardened(amd64, arm64)); !strings.Contains(err.Error(), "linux/arm64: export: no root for linux/arm64") {
		t.Errorf("got %v", err)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	why := errors.New("interrupted")
	whole := debian().tar(t)
	for name, f := range map[string]func(context.Context, io.Writer, func()) error{
		"silent exporter": func(ctx context.Context, _ io.Writer, stop func()) error { stop(); <-ctx.Done(); return ctx.Err() },
		"busy exporter": func(_ context.Context, w io.Writer, stop func()) error {
			for {
				if _, err := w.Write(whole[:512]); err != nil {
					return err
				}
				stop()
			}
		},
		"after the end": func(_ context.Context, w io.Writer, stop func()) error {
			_, err := w.Write(whole)
			stop()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			e := exporter(func(ctx context.Context, _ factory.Root, w io.Writer) error { return f(ctx, w, func() { cancel(why) }) })
			if err := refused(t, Packer{Exporter: e}, ctx, hardened(amd64)); !errors.Is(err, why) {
				t.Errorf("got %v", err)
			}
		})
	}
	// While layers are written.
	s, tr := spoolWith(t, "content")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := writeTar(ctx, io.Discard, tr, s, []string{"a"}); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

// spoolWith returns a spool and a tree with one file, a.
func spoolWith(t *testing.T, content string) (*spool, *tree) {
	t.Helper()
	s, err := newSpool(t.TempDir(), 1<<20, md5.New)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	tr := newTree()
	tr.put("a", &inode{kind: tar.TypeReg, data: []byte(content), size: int64(len(content)), mtime: made})
	return s, tr
}

func TestInvalidJobs(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]func(h *factory.Hardened, p *Packer){
		"no root filesystem":        func(h *factory.Hardened, _ *Packer) { h.Roots = nil },
		"is empty or twice":         func(h *factory.Hardened, _ *Packer) { h.Roots = append(h.Roots, h.Roots[0]) },
		`"" is empty`:               func(h *factory.Hardened, _ *Packer) { h.Roots[0].Platform = factory.Platform{} },
		"no timestamp":              func(h *factory.Hardened, _ *Packer) { h.Lock.Timestamp = time.Time{} },
		`"xz" is not a compression`: func(_ *factory.Hardened, p *Packer) { p.Compression = "xz" },
	} {
		h, p := hardened(amd64), Packer{Exporter: streams{amd64: debian().tar(t)}}
		change(&h, &p)
		if err := refused(t, p, t.Context(), h); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
	}
}

func TestWorkFolder(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, file + "/below"} {
		_, err := Packer{Exporter: streams{}, Dir: dir}.Pack(t.Context(), hardened(amd64))
		if !errors.Is(err, factory.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	}
	if err := diskProblem(fmt.Errorf("write: %w", syscall.ENOSPC)); !errors.Is(err, factory.ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("got %v", err)
	}
}

// A full disk, a real one: at every size, either the image is whole or nothing is there.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("mount tmpfs:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	noise := make([]byte, 1<<20)
	x := uint32(1)
	for i := range noise {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	failed := 0
	for size := 100 << 10; size < 260<<10; size += 8 << 10 {
		r := debian()
		r.file("usr/noise", string(noise[:size]), made)
		p, err := Packer{Exporter: streams{amd64: r.tar(t)}, Dir: dir}.Pack(t.Context(), hardened(amd64))
		if err == nil {
			err = os.RemoveAll(p.Artifact.Layout)
		} else if failed++; !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "free some space") {
			t.Errorf("%d bytes: %v", size, err)
		}
		if entries, readErr := os.ReadDir(dir); readErr != nil || len(entries) > 0 {
			t.Fatalf("left behind: %v %v", entries, errors.Join(err, readErr))
		}
	}
	if failed == 0 {
		t.Error("the disk was never full")
	}
}
