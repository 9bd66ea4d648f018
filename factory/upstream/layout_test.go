package upstream

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/imagefactory/imagefactory/factory"
)

// archived makes a tar of the headers; a regular file's content is its name.
func archived(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestNormalise(t *testing.T) {
	t.Parallel()
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	late := file("./usr/bin/ping")
	late.ModTime, late.Uname, late.Mode, late.PAXRecords = day.AddDate(1, 0, 0), "builder", 0o4755, map[string]string{"SCHILY.xattr.security.capability": "x", "VENDOR.odd": "y"}
	early := file("./usr/bin/early")
	early.ModTime = day.AddDate(-1, 0, 0).Add(time.Millisecond)
	src := archived(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "./"}, tar.Header{Typeflag: tar.TypeDir, Name: "./usr/bin/"}, late, early,
		tar.Header{Typeflag: tar.TypeLink, Name: "./usr/bin/hard", Linkname: "./usr/bin/early"}, tar.Header{Typeflag: tar.TypeSymlink, Name: "./bin", Linkname: "usr/bin"},
		tar.Header{Typeflag: tar.TypeDir, Name: "./target/"}, tar.Header{Typeflag: tar.TypeDir, Name: "./var/log/apt/"},
		file("./var/log/dpkg.log"), file("./var/lib/apt/lists/lock"), file("./etc/machine-id"), file("./etc/shadow-"), file("./etc/apt/sources.list"),
		file("./var/lib/dpkg/status-old"), file("./var/cache/debconf/config.dat-old"), file("./etc/.pwd.lock"), file("./run/x"), file("./tmp/x"), file("./dev/null"),
		file("./var/cache/ldconfig/aux-cache"), file("./etc/apt/preferences.d/p"))
	var out bytes.Buffer
	if err := normalise(&out, src, day, []extra{{"etc/machine-id", 0o444, []byte{}}, {"target", 0o755, nil}, {"opt", 0o755, nil}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for tr := tar.NewReader(&out); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name)
		if h.ModTime.After(day) || h.Uname != "" || h.ModTime.Nanosecond() != 0 || h.PAXRecords["VENDOR.odd"] != "" {
			t.Errorf("%+v", h)
		}
		if h.Name == "usr/bin/ping" && (h.Mode != 0o4755 || h.PAXRecords["SCHILY.xattr.security.capability"] != "x") {
			t.Errorf("%+v", h)
		}
		if h.Name == "usr/bin/hard" && h.Linkname != "usr/bin/early" {
			t.Errorf("%+v", h)
		}
	}
	if s := strings.Join(got, " "); s != "usr/bin/ usr/bin/ping usr/bin/early usr/bin/hard bin target/ var/log/apt/ etc/machine-id opt/" {
		t.Error(s)
	}

	dangling := archived(t, file("./tmp/x"), tar.Header{Typeflag: tar.TypeLink, Name: "./y", Linkname: "./tmp/x"})
	if err := normalise(io.Discard, dangling, day, nil); err == nil || !strings.Contains(err.Error(), "y is a link to tmp/x") {
		t.Error(err)
	}
	whole := archived(t, file("./a")).Bytes()
	for _, n := range []int{100, 512, 513} {
		if err := normalise(io.Discard, bytes.NewReader(whole[:n]), day, nil); err == nil {
			t.Errorf("a tar cut off after %d bytes is no error", n)
		}
	}
	if err := normalise(full{}, archived(t, file("./a")), day, nil); !errors.Is(err, errFull) {
		t.Error(err)
	}
	if err := normalise(full{}, archived(t), day, toolboxExtras("")); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

var errFull = errors.New("disk full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestLayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := factory.Platform{OS: "linux", Architecture: "amd64"}
	fill := func(w io.Writer) error {
		return normalise(w, archived(t, tar.Header{Typeflag: tar.TypeReg, Name: "a"}), day, nil)
	}
	d, err := writeLayout(dir, p, day, []string{"A=b"}, fill)
	if err != nil {
		t.Fatal(err)
	}
	// Somebody else's reader has to agree.
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index, validate.Fast); err != nil {
		t.Error(err)
	}
	if got, err := readLayout(dir); err != nil || got != d {
		t.Errorf("%v %v", got, err)
	}
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
	if err != nil || len(blobs) != 3 {
		t.Fatal(blobs, err)
	}
	damage := map[string]func(name string) error{
		"cut":     func(name string) error { return os.Truncate(name, 1) },
		"missing": os.Remove,
	}
	for _, name := range append(blobs, filepath.Join(dir, "index.json"), filepath.Join(dir, "oci-layout")) {
		for how, harm := range damage {
			whole, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := harm(name); err != nil {
				t.Fatal(err)
			}
			if got, err := readLayout(dir); err == nil {
				t.Errorf("%s %s is taken for whole: %v", filepath.Base(name), how, got)
			}
			write(t, name, whole)
		}
	}
	if _, err := writeLayout(t.TempDir(), p, day, nil, func(io.Writer) error { return errFull }); !errors.Is(err, errFull) {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	if _, err := writeLayout(file, p, day, nil, fill); err == nil {
		t.Error("a layout in a file")
	}
}

func TestSameInstalled(t *testing.T) {
	t.Parallel()
	pkgs := []factory.Package{{Name: "a", Version: "1"}, {Name: "b", Version: "2"}}
	const good = "Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nStatus: install ok installed\nVersion: 2\n"
	for status, want := range map[string]string{
		good: "",
		strings.Replace(good, "Version: 2", "Version: 3", 1):          "b 3 is not in the lock",
		good + "\nPackage: c\nVersion: 1\n":                           "c 1 is not in the lock",
		strings.Replace(good, "install ok installed", "half-conf", 1): `a is "half-conf"`,
		"Package: a\nStatus: install ok installed\nVersion: 1\n":      "b 2 was not installed",
	} {
		err := sameInstalled([]byte(status), pkgs)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := packRoot(t.TempDir(), factory.Platform{}, day, filepath.Join(t.TempDir(), "none"), "", nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := tarFile(archived(t), "x"); err == nil || !strings.Contains(err.Error(), "x") {
		t.Error(err)
	}
}
