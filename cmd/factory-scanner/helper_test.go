package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// temporary is where everything in this process, and the processes that it starts, puts temporary files.
var temporary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "scanner-test-")
	if err != nil {
		panic(err)
	}
	temporary = dir
	os.Setenv("TMPDIR", dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// built returns the program, built once; FACTORY_SCANNER_BIN names one that was built before.
var built = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("FACTORY_SCANNER_BIN"); path != "" {
		return path, nil
	}
	path := filepath.Join(temporary, "factory-scanner.test-binary")
	out, err := exec.Command("go", "build", "-ldflags", "-s -w -X main.version=test", "-o", path, ".").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return path, err
})

// talk is a conversation in which one request is asked at a time.
type talk struct {
	t   testing.TB
	in  io.WriteCloser
	out io.Reader
	id  uint64
}

// converse starts a server within this process.
func converse(t testing.TB) *talk {
	t.Helper()
	requests, in := io.Pipe()
	out, replies := io.Pipe()
	ended := make(chan int)
	go func() {
		ended <- run([]string{"serve"}, requests, replies, io.Discard)
		replies.Close()
	}()
	t.Cleanup(func() {
		in.Close()
		if code := <-ended; code != exitOK {
			t.Errorf("the server ended with %d", code)
		}
	})
	return &talk{t: t, in: in, out: out}
}

func (c *talk) send(req scanner.Request) uint64 {
	c.t.Helper()
	c.id++
	req.ID = c.id
	if err := scanner.WriteFrame(c.in, req); err != nil {
		c.t.Fatal(err)
	}
	return req.ID
}

func (c *talk) receive() scanner.Reply {
	c.t.Helper()
	var r scanner.Reply
	if err := scanner.ReadFrame(c.out, &r); err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *talk) ask(req scanner.Request) scanner.Reply {
	c.t.Helper()
	id := c.send(req)
	r := c.receive()
	if r.ID != id {
		c.t.Fatalf("%s: asked %d, answered %d", req.Op, id, r.ID)
	}
	return r
}

// must asks for what has to work.
func (c *talk) must(req scanner.Request) scanner.Reply {
	c.t.Helper()
	r := c.ask(req)
	if r.Error != nil {
		c.t.Fatalf("%s: %+v", req.Op, *r.Error)
	}
	return r
}

// refused asks for what has to be refused, and returns why.
func (c *talk) refused(req scanner.Request, kind, about string) {
	c.t.Helper()
	r := c.ask(req)
	if r.Error == nil || r.Error.Kind != kind || !strings.Contains(r.Error.What+" "+r.Error.Hint, about) {
		c.t.Errorf("%s: got %+v and %v, want the fault %q about %q", req.Op, r.Error, r.Result, kind, about)
	}
}

var day = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// advisories of debian 12 that the image of debianFiles has two of.
func advisories() factory.Advisories {
	return factory.Advisories{Distro: factory.Distro{Family: "debian", Release: "12", Codename: "bookworm"}, Updated: day, Sources: 3, Known: []string{"glibc", "openssl", "zlib"}, List: []factory.Advisory{
		{Source: "glibc", Vulnerability: "CVE-2026-0001", Fixed: "2.36-9+deb12u5", Date: day.AddDate(0, -2, 0), Title: "libc: heap overflow"},
		{Source: "glibc", Vulnerability: "CVE-2026-0002", Fixed: "2.36-9+deb12u13", Date: day.AddDate(0, -1, 0)},
		{Source: "openssl", Vulnerability: "DEBSEC-openssl-3.0.99-1", Fixed: "3.0.99-1", Date: day.AddDate(0, 0, -3), Title: "update"},
		{Source: "zlib", Vulnerability: "CVE-2026-0003", Fixed: "1:1.3", Date: day},
	}}
}

// database builds one and returns its folder.
func makeDatabase(t testing.TB, lists ...factory.Advisories) string {
	t.Helper()
	dir := t.TempDir()
	if len(lists) == 0 {
		lists = []factory.Advisories{advisories()}
	}
	if _, err := build(dir, lists); err != nil {
		t.Fatal(err)
	}
	return dir
}

const dpkgStatus = `Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: glibc
Version: 2.36-9+deb12u10
Maintainer: GNU Libc Maintainers <nobody@example.com>
Depends: libgcc-s1

Package: libc-bin
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u10
Maintainer: GNU Libc Maintainers <nobody@example.com>
Depends: libc6 (>> 2.36)

Package: openssl
Status: install ok installed
Architecture: amd64
Version: 3.0.17-1~deb12u2
Maintainer: nobody <nobody@example.com>
Depends: libc6

Package: zlib1g
Status: install ok installed
Architecture: amd64
Source: zlib (1:1.2.13.dfsg-1)
Version: 1:1.2.13.dfsg-1+b1
Maintainer: nobody <nobody@example.com>
`

func osRelease(id, release string) string {
	return fmt.Sprintf("ID=%s\nVERSION_ID=%q\nPRETTY_NAME=\"for tests\"\n", id, release)
}

// debianFiles is a small root filesystem with packages of Debian, npm, Python and Java.
func debianFiles(t testing.TB) map[string]string {
	return map[string]string{
		"etc/os-release": osRelease("debian", "12"), "etc/debian_version": "12.8\n",
		"var/lib/dpkg/status":                    dpkgStatus,
		"usr/share/doc/openssl/copyright":        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: Apache-2.0\n",
		"srv/a/node_modules/left/package.json":   `{"name":"left","version":"1.0.0","license":"MIT"}`,
		"srv/b/node_modules/left/package.json":   `{"name":"left","version":"1.0.0","license":"MIT"}`,
		"opt/x-1.0.dist-info/METADATA":           "Metadata-Version: 2.1\nName: x\nVersion: 1.0\n",
		"usr/share/java/thing.jar":               jar(t),
		"home/somebody/.ssh/id_not_looked_for":   "-----BEGIN RSA PRIVATE KEY-----\n",
		"srv/package-lock.json":                  `{"name":"not looked at","lockfileVersion":3,"packages":{"node_modules/right":{"version":"2.0.0"}}}`,
		"var/lib/dpkg/info/libc6:amd64.md5sums":  "d41d8cd98f00b204e9800998ecf8427e  lib/x86_64-linux-gnu/libc.so.6\n",
		"var/lib/dpkg/info/libc6:amd64.list":     "/lib/x86_64-linux-gnu/libc.so.6\n",
		"usr/lib/x86_64-linux-gnu/empty-library": "",
	}
}

func jar(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("META-INF/maven/org.example/thing/pom.properties")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "groupId=org.example\nartifactId=thing\nversion=1.2.3\n")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func layerOf(t testing.TB, files map[string]string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// makeImage writes an image of some layers into a layout, below an index of its own as the factory does, and returns the request
// to scan it.
func makeImage(t testing.TB, layers ...map[string]string) scanner.Request {
	t.Helper()
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", "amd64", v1.Time{Time: day}
	config.Config.Labels = map[string]string{"b": "2", "a": "1"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	for _, files := range layers {
		if img, err = mutate.AppendLayers(img, layerOf(t, files)); err != nil {
			t.Fatal(err)
		}
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: img})
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendIndex(index)
	}
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return scanner.Request{
		Op: scanner.Image, Layout: dir, Digest: factory.Digest(digest.String()), Name: "debian-12", Platform: &factory.Platform{OS: "linux", Architecture: "amd64"},
	}
}
