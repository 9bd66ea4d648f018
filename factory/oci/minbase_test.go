package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/imagefactory/imagefactory/factory"
)

// tarFile is an exporter whose roots lie in a file.
type tarFile string

func (f tarFile) Export(_ context.Context, _ factory.Root, w io.Writer) error {
	r, err := os.Open(string(f))
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

// fromStatus makes a lock's packages of dpkg's status file.
func fromStatus(status string) (all []factory.Package) {
	for stanza := range strings.SplitSeq(status, "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(stanza) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(line, " ") {
				fields[k] = v
			}
		}
		if fields["Package"] != "" {
			from, _, _ := strings.Cut(fields["Source"], " ")
			all = append(all, factory.Package{Name: fields["Package"], Version: fields["Version"], Arch: fields["Architecture"], Source: from, Archive: "debian"})
		}
	}
	return all
}

// A real root, made by somebody else's tool: packed twice the same, valid, complete, and nearly all of it in layers
// that a nightly leaves alone.
func TestMinbase(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a whole root filesystem")
	}
	name := filepath.Join(t.TempDir(), "root.tar")
	cmd := exec.CommandContext(t.Context(), "mmdebstrap", "--quiet", "--variant=minbase", "bookworm", name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("mmdebstrap: %v: %.500s", err, out)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	original := describe(t, bytes.NewReader(b), func(*tar.Header) {})
	h := hardened(amd64)
	_, status, _ := strings.Cut(original["./var/lib/dpkg/status"], "Package: ")
	h.Lock.Platforms[0].Packages = fromStatus("Package: " + status)
	h.Lock.Timestamp = time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	var packed []factory.Packed
	for _, cores := range []int{1, 2} {
		was := runtime.GOMAXPROCS(cores)
		p, err := Packer{Exporter: tarFile(name), Dir: t.TempDir()}.Pack(t.Context(), h)
		runtime.GOMAXPROCS(was)
		if err != nil {
			t.Fatal(err)
		}
		packed = append(packed, p)
	}
	if a, b := packed[0].Artifact, packed[1].Artifact; a.Digest != b.Digest {
		what, err := Diff(t.Context(), a.Layout, b.Layout)
		t.Errorf("packed twice: %s %v", what, err)
	}
	outer, err := layout.ImageIndexFromPath(packed[0].Artifact.Layout)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(outer); err != nil {
		t.Error(err)
	}
	var conf, all int64
	for _, l := range packed[0].Artifact.Platforms[0].Layers {
		t.Logf("%-20s %9d bytes", l.Name, l.Size)
		if all += l.Size; l.Name == configuration {
			conf = l.Size
		}
	}
	if conf > all/20 {
		t.Errorf("the configuration has %d of %d bytes: package files are not recognised", conf, all)
	}
	missing := map[string]string{}
	got := flat(t, packed[0])
	for p, s := range original {
		p = strings.Trim(strings.TrimPrefix(p, "./"), "/")
		if p != "" && strings.Join(strings.Fields(got[p])[:min(3, len(strings.Fields(got[p])))], " ") != strings.Join(strings.Fields(s)[:3], " ") && !ruled(p) {
			missing[p] = s
		}
		delete(got, p)
	}
	for _, p := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("%s was %.200q", p, missing[p])
	}
	for p := range got {
		t.Errorf("%s was not in the root", p)
	}
}

// ruled reports whether a rule is about p or something above it.
func ruled(p string) bool {
	for d := p; d != ""; d = parent(d) {
		for _, r := range rules {
			if r.matches(d, &inode{kind: tar.TypeReg}, &packages{}) {
				return true
			}
		}
	}
	return false
}
