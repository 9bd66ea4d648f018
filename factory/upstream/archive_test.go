package upstream

import (
	"bytes"
	"crypto"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/imagefactory/imagefactory/factory"
)

// pkg is a package of a test archive.
type pkg struct {
	name, version string
	control       string // further lines: "Depends: x\n"
	changelog     []byte // compressed; nil = none
	source        string
	tree          string // folder with its files; empty = documentation only
	post          string // script that runs after it was installed
	doc           string // the documentation folder is a link to this package's
}

// archive is a real package archive in small: packages made by dpkg-deb, indexes with checksums, signed with a real key,
// served over HTTP on loopback. Its fields may be changed between requests, under mu.
type archive struct {
	t       *testing.T
	dir     string
	keyring string // folder
	key     *openpgp.Entity
	server  *httptest.Server

	mu   sync.Mutex
	hits []string
	// meddle may answer a request itself, returning true.
	meddle func(w http.ResponseWriter, r *http.Request) bool
}

// Long ago, because apt believes this machine's clock.
var day = time.Date(2020, 11, 20, 10, 0, 0, 0, time.UTC)

func newKey(t *testing.T) *openpgp.Entity {
	t.Helper()
	key, err := openpgp.NewEntity("Test Archive", "", "archive@example.invalid", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA512, Time: func() time.Time { return day.AddDate(-1, 0, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	a := &archive{t: t, dir: t.TempDir(), keyring: t.TempDir(), key: newKey(t)}
	var public bytes.Buffer
	if err := a.key.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(a.keyring, "test.gpg"), public.Bytes())
	files := http.FileServer(http.Dir(a.dir))
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.hits = append(a.hits, r.URL.Path)
		meddle := a.meddle
		a.mu.Unlock()
		if meddle == nil || !meddle(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(a.server.Close)
	return a
}

func (a *archive) url() string { return a.server.URL + "/debian" }

// answer replaces what the archive says to a path that ends so.
func (a *archive) answer(suffix string, f http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.meddle = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		f(w, r)
		return true
	}
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// suite publishes packages under a suite's name.
type suite struct {
	name       string
	pkgs       []pkg
	date       time.Time // zero = day
	validUntil time.Time // zero = none
	arches     []string  // empty = amd64
	key        *openpgp.Entity
	unsigned   bool
}

func (a *archive) publish(s suite) {
	a.t.Helper()
	if s.date.IsZero() {
		s.date = day
	}
	if len(s.arches) == 0 {
		s.arches = []string{"amd64"}
	}
	if s.key == nil {
		s.key = a.key
	}
	rel := fmt.Sprintf("Origin: Test\nSuite: %s\nCodename: %s\nDate: %s\n", s.name, s.name, s.date.Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	if !s.validUntil.IsZero() {
		rel += "Valid-Until: " + s.validUntil.Format("Mon, 02 Jan 2006 15:04:05 UTC") + "\n"
	}
	rel += "Architectures: " + strings.Join(s.arches, " ") + "\nComponents: main\nSHA256:\n"
	for _, arch := range s.arches {
		var index bytes.Buffer
		for _, p := range s.pkgs {
			index.Write(a.deb(p, arch))
		}
		name := "main/binary-" + arch + "/Packages"
		write(a.t, filepath.Join(a.dir, "debian/dists", s.name, name), index.Bytes())
		rel += fmt.Sprintf(" %s %d %s\n", factory.DigestOf(index.Bytes()).Hex(), index.Len(), name)
	}
	var signed bytes.Buffer
	w, err := clearsign.Encode(&signed, s.key.PrivateKey, &packet.Config{DefaultHash: crypto.SHA512, Time: func() time.Time { return s.date }})
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := w.Write([]byte(rel)); err != nil {
		a.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		a.t.Fatal(err)
	}
	if s.unsigned {
		signed.Reset()
		signed.WriteString(rel)
	}
	write(a.t, filepath.Join(a.dir, "debian/dists", s.name, "InRelease"), signed.Bytes())
}

// deb makes the package, once, and returns its stanza.
func (a *archive) deb(p pkg, arch string) []byte {
	a.t.Helper()
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: T <t@example.invalid>\nDescription: test\n", p.name, p.version, arch)
	if p.source != "" {
		control += "Source: " + p.source + "\n"
	}
	control += p.control
	pool := fmt.Sprintf("pool/main/%s/%s_%s_%s.deb", p.name, p.name, strings.ReplaceAll(p.version, ":", "."), arch)
	file := filepath.Join(a.dir, "debian", pool)
	if _, err := os.Stat(file); err != nil {
		tree := a.t.TempDir()
		if p.tree != "" {
			tree = p.tree
		}
		write(a.t, filepath.Join(tree, "DEBIAN/control"), []byte(control))
		if p.post != "" {
			script := filepath.Join(tree, "DEBIAN/postinst")
			write(a.t, script, []byte(p.post))
			if err := os.Chmod(script, 0o755); err != nil {
				a.t.Fatal(err)
			}
		}
		docs := filepath.Join(tree, "usr/share/doc")
		switch {
		case p.changelog != nil:
			write(a.t, filepath.Join(docs, p.name, "changelog.Debian.gz"), p.changelog)
		case p.doc != "":
			if err := os.MkdirAll(docs, 0o755); err != nil {
				a.t.Fatal(err)
			}
			if err := os.Symlink(p.doc, filepath.Join(docs, p.name)); err != nil {
				a.t.Fatal(err)
			}
		default:
			write(a.t, filepath.Join(docs, p.name, "copyright"), []byte("free\n"))
		}
		write(a.t, file, nil)
		if out, err := exec.Command("dpkg-deb", "--root-owner-group", "-Zgzip", "-b", tree, file).CombinedOutput(); err != nil {
			a.t.Fatalf("dpkg-deb: %v\n%s", err, out)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		a.t.Fatal(err)
	}
	return fmt.Appendf([]byte(control), "Filename: %s\nSize: %d\nSHA256: %s\n\n", pool, len(b), factory.DigestOf(b).Hex())
}

// small is a definition that asks a test archive's suite "stable" for packages.
func small(include ...string) factory.Image {
	slices.Sort(include)
	return factory.Image{
		Name: "small", Keyring: "test.gpg", Where: factory.Position{File: "baseimages/small/image.yaml", Line: 3},
		Archives:  []factory.Archive{{ID: "debian", Suite: "stable", Components: []string{"main"}}},
		Packages:  factory.Packages{Include: include},
		Platforms: []factory.Platform{{OS: "linux", Architecture: "amd64"}},
	}
}

func (a *archive) solver() Solver {
	return Solver{
		Runner: testRunner, Archives: map[string]string{"debian": a.url()}, Keyrings: a.keyring,
		HTTP: a.server.Client(), Now: func() time.Time { return day.AddDate(0, 0, 1) }, Cache: a.t.TempDir(),
	}
}

var testRunner Runner = Host{}
