package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/imagefactory/imagefactory/factory"
)

// tarOf writes a layer, plain.
func tarOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		data := h.Uname // stands for the content
		h.Uname = ""
		if h.Size == 0 {
			h.Size = int64(len(data))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func regular(name, data string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Uname: data}
}

func compressed(t *testing.T, how string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	switch how {
	case "plain":
		return b
	case "zstd":
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestContent(t *testing.T) {
	t.Parallel()
	b := tarOf(t, tar.Header{Name: "./etc/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 7}, regular("etc/passwd", "root:0\n"), tar.Header{Name: "etc/again", Typeflag: tar.TypeLink, Linkname: "etc/passwd"},
		tar.Header{Name: "lib", Typeflag: tar.TypeSymlink, Linkname: "usr/lib"}, regular("usr/.wh.gone", ""), regular("opt/.wh..wh..opq", ""), tar.Header{Name: "dev/null", Typeflag: tar.TypeChar},
		regular("etc/twice", "1"), regular("etc/twice", "2"), tar.Header{Name: "bin/ping", Typeflag: tar.TypeReg, Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"}})
	for _, how := range []string{"plain", "gzip", "zstd"} {
		got, err := Content(t.Context(), "sha256:1", bytes.NewReader(compressed(t, how, b)), func(p string) bool { return p == "etc/passwd" })
		if err != nil {
			t.Fatal(err)
		}
		byPath := map[string]factory.LayerFile{}
		for _, f := range got.Files {
			byPath[f.Path] = f
		}
		if f := byPath["etc"]; f.Kind != factory.Directory || f.Mode != 0o700 || f.UID != 7 {
			t.Errorf("%+v", f)
		}
		if f := byPath["etc/passwd"]; string(f.Data) != "root:0\n" || f.Sum != factory.DigestOf([]byte("root:0\n")) || byPath["etc/again"].Sum != f.Sum {
			t.Errorf("%+v", f)
		}
		if byPath["lib"].Target != "usr/lib" || byPath["usr/gone"].Kind != factory.Whiteout || byPath["opt/.wh..wh..opq"].Kind != factory.Emptied || byPath["dev/null"].Kind != factory.SpecialFile ||
			byPath["etc/twice"].Sum != factory.DigestOf([]byte("2")) || byPath["bin/ping"].Attrs == "" || len(got.Files) != 9 {
			t.Errorf("%+v", got.Files)
		}
	}
}

// A layer may take a path away from those below and have another one in its place, in whatever order it says so.
func TestContentWithSomethingInThePlaceOfAnother(t *testing.T) {
	t.Parallel()
	folder := tar.Header{Name: "usr/swap/", Typeflag: tar.TypeDir, Mode: 0o755}
	for _, b := range [][]byte{tarOf(t, regular("usr/.wh.swap", ""), folder), tarOf(t, folder, regular("usr/.wh.swap", ""))} {
		got, err := Content(t.Context(), "sha256:1", bytes.NewReader(b), nil)
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[factory.FileKind]bool{}
		for _, f := range got.Files {
			kinds[f.Kind] = f.Path == "usr/swap"
		}
		if len(got.Files) != 2 || !kinds[factory.Whiteout] || !kinds[factory.Directory] {
			t.Errorf("%+v", got.Files)
		}
	}
}

func TestContentRefuses(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"climbs":           tarOf(t, regular("../x", "")),
		"links to nothing": tarOf(t, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "b"}),
		"strange type":     tarOf(t, tar.Header{Name: "a", Typeflag: 'Z'}),
		"cut":              compressed(t, "gzip", tarOf(t, regular("a", strings.Repeat("x", 5000))))[:40],
		"not gzip":         append([]byte{0x1f, 0x8b}, make([]byte, 100)...),
		"no zstd":          append([]byte("\x28\xb5\x2f\xfd"), bytes.Repeat([]byte{0xff}, 100)...),
		"no tar":           bytes.Repeat([]byte("x"), 2000),
		"kept and large":   tarOf(t, tar.Header{Name: "keep", Typeflag: tar.TypeReg, Size: maxKept + 1, Uname: strings.Repeat("x", maxKept+1)}),
	} {
		if _, err := Content(t.Context(), "sha256:1", bytes.NewReader(b), func(p string) bool { return p == "keep" }); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Content(ended, "sha256:1", bytes.NewReader(tarOf(t, regular("a", "b"))), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A real program is read as readelf reads it.
func TestELF(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("/bin/ls")
	if err != nil {
		t.Skip("no /bin/ls on this machine")
	}
	c, err := Content(t.Context(), "sha256:1", bytes.NewReader(tarOf(t, regular("bin/ls", string(b)))), func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	e := c.Files[0].ELF
	if e == nil || !slices.Contains(e.Needed, "libc.so.6") || len(e.Wants["libc.so.6"]) == 0 || !strings.HasPrefix(e.Interpreter, "/lib") || e.Machine == "" || e.Broken != "" || c.Files[0].Sum != factory.DigestOf(b) || len(c.Files[0].Data) != len(b) {
		t.Errorf("%+v", e)
	}
}

// A library with versions, a program that wants one of them, and what gcc makes beside these.
func TestVersions(t *testing.T) {
	t.Parallel()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc on this machine")
	}
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	build := func(args ...string) {
		cmd := exec.Command(gcc, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("gcc %q: %v\n%s", args, err, out)
		}
	}
	read := func(name string) *factory.ELF {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return readELF(b)
	}
	write("own.c", "int own(void) { return 1; }\nint more(void) { return 2; }\n")
	write("own.map", "OWN_1 { global: own; };\nOWN_2 { global: more; local: *; } OWN_1;\n")
	write("app.c", "int own(void); int more(void);\nint main(void) { return own() + more(); }\n")
	build("-shared", "-fPIC", "-Wl,-soname,libown.so.1", "-Wl,--version-script=own.map", "-o", "libown.so.1", "own.c")
	build("-o", "app", "app.c", "libown.so.1")
	build("-c", "-o", "app.o", "app.c")
	if e := read("libown.so.1"); e.Soname != "libown.so.1" || !slices.Equal(e.Defines, []string{"OWN_1", "OWN_2"}) || e.Broken != "" {
		t.Errorf("%+v", e)
	}
	if e := read("app"); !slices.Equal(e.Wants["libown.so.1"], []string{"OWN_1", "OWN_2"}) || !slices.Contains(e.Needed, "libown.so.1") || e.Interpreter == "" {
		t.Errorf("%+v", e)
	}
	if e := read("app.o"); e.Broken != "" || e.Needed != nil {
		t.Errorf("%+v", e)
	}
	b, err := os.ReadFile(filepath.Join(dir, "app"))
	if err != nil {
		t.Fatal(err)
	}
	noSections := slices.Clone(b) // as packers leave it: e_shoff, e_shnum, e_shstrndx
	binary.LittleEndian.PutUint64(noSections[0x28:], 0)
	binary.LittleEndian.PutUint32(noSections[0x3c:], 0)
	if e := readELF(noSections); !strings.Contains(e.Broken, "no section headers") {
		t.Errorf("%+v", e)
	}
	if e := readELF(b[:200]); e.Broken == "" {
		t.Errorf("%+v", e)
	}
}

// What a hostile file says of its versions is bounded.
func TestHostileVersions(t *testing.T) {
	t.Parallel()
	le := binary.LittleEndian
	need := make([]byte, 32)
	le.PutUint16(need[2:], 0xffff) // aux entries, all of them this one
	le.PutUint32(need[8:], 16)
	for name, err := range map[string]error{
		"endless needs":  second(readNeeds(need, []byte("lib\x00"), le)),
		"short needs":    second(readNeeds(need[:8], []byte("lib\x00"), le)),
		"no name":        second(readNeeds(need, []byte("lib"), le)),
		"far needs":      second(readNeeds(put(make([]byte, 16), 12, 99), []byte("\x00"), le)),
		"short defines":  second(readDefines(make([]byte, 8), []byte("\x00"), le)),
		"far aux":        second(readDefines(put(make([]byte, 20), 12, 99), []byte("\x00"), le)),
		"defines itself": second(readDefines(put(make([]byte, 28), 16, 99), []byte("\x00"), le)),
		"nameless":       second(readDefines(make([]byte, 28), nil, le)),
	} {
		if !errors.Is(err, errVersions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func put(b []byte, at int, v uint32) []byte {
	binary.LittleEndian.PutUint32(b[at:], v)
	return b
}

func second[T any](_ T, err error) error { return err }

func FuzzELF(f *testing.F) {
	if b, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(b)
	}
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := readELF(b)
		if e == nil || e.Broken != "" && (e.Needed != nil || e.Wants != nil) {
			t.Errorf("%+v", e)
		}
	})
}

func FuzzContent(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "a/.wh.b", Typeflag: tar.TypeReg})
	_ = w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Content(context.Background(), "sha256:1", bytes.NewReader(b), nil)
		if err == nil && c.Layer != "sha256:1" {
			t.Error("another layer")
		}
		for _, file := range c.Files {
			if strings.HasPrefix(file.Path, "/") || slices.Contains(strings.Split(file.Path, "/"), "..") {
				t.Errorf("%q", file.Path)
			}
		}
	})
}
