package upstream

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/standin"
)

// forge rewrites primary.xml of the repositories that have the old text, and repomd.xml so that all checksums fit.
func (n *standIn) forge(old, forged string) {
	n.t.Helper()
	primaries, err := filepath.Glob(filepath.Join(n.Dir, "content/public/ubi/dist/ubi9/9/x86_64/baseos/os/repodata/*primary.xml.gz"))
	if err != nil || len(primaries) != 1 {
		n.t.Fatal(primaries, err)
	}
	packed, err := os.ReadFile(primaries[0])
	n.try(err)
	r, err := gzip.NewReader(bytes.NewReader(packed))
	n.try(err)
	plain, err := io.ReadAll(r)
	n.try(err)
	if !bytes.Contains(plain, []byte(old)) {
		n.t.Fatalf("no %s", old)
	}
	plain = bytes.Replace(plain, []byte(old), []byte(forged), 1)
	again := gzText(n.t, string(plain))
	n.try(os.WriteFile(primaries[0], again, 0o644))
	repomd := filepath.Join(filepath.Dir(primaries[0]), "repomd.xml")
	b, err := os.ReadFile(repomd)
	n.try(err)
	b = regexp.MustCompile(`(?s)<data type="primary">.*?</data>`).ReplaceAllFunc(b, func(data []byte) []byte {
		for expr, with := range map[string]string{
			`<checksum type="sha256">[0-9a-f]+`: `<checksum type="sha256">` + factory.DigestOf(again).Hex(), `<open-checksum type="sha256">[0-9a-f]+`: `<open-checksum type="sha256">` + factory.DigestOf(plain).Hex(),
			`<size>[0-9]+`: fmt.Sprintf("<size>%d", len(again)), `<open-size>[0-9]+`: fmt.Sprintf("<open-size>%d", len(plain)),
		} {
			data = regexp.MustCompile(expr).ReplaceAll(data, []byte(with))
		}
		return data
	})
	n.try(os.WriteFile(repomd, b, 0o644))
}

// Whoever can change metadata that nobody signs cannot make an old package a new one, nor one a different one.
func TestSolveForgedMetadata(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.RHEL9, standin.Options{UnsignedMetadata: true})
	lock, _ := n.solve()
	const really = "bash-5.1.8-9.el9.x86_64"
	want := inBaseos + "its metadata call a package %s, and by its signed header it is " + really
	n.forge(`ver="5.1.8" rel="9.el9"/>`, `ver="9.9.9" rel="9.el9"/>`)
	n.refused(factory.ErrUnverified, fmt.Sprintf(want, "bash-9.9.9-9.el9.x86_64"))
	n.req.Old = &lock
	n.asked("")
	n.refused(factory.ErrUnverified, fmt.Sprintf(want, "bash-9.9.9-9.el9.x86_64"))
	if times := n.asked(".rpm"); times != 0 {
		t.Errorf("%d packages fetched", times)
	}
	other := lock
	other.Definition = factory.DigestOf(nil) // other keys may have vouched for it
	n.req.Old = &other
	n.refused(factory.ErrUnverified, fmt.Sprintf(want, "bash-9.9.9-9.el9.x86_64"))
	n.forge(`ver="9.9.9" rel="9.el9"/>`, `ver="5.1.8" rel="9.el9"/>`)
	n.req.Old = &lock
	if again, _ := n.solve(); !again.SamePackages(lock) {
		t.Error("not as it was")
	}
	n.req.Old = nil
	n.forge(`epoch="0" ver="5.1.8" rel="9.el9"/>`, `epoch="3" ver="5.1.8" rel="9.el9"/>`)
	n.refused(factory.ErrUnverified, fmt.Sprintf(want, "bash-3:5.1.8-9.el9.x86_64"))
}

// No error of the network names a host, whatever it is about.
func TestNameless(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	authorities := x509.NewCertPool()
	authorities.AddCert(server.Certificate())
	named := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities, ServerName: "archive.invalid"}}}
	unknown := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{}}}
	for name, c := range map[string]*http.Client{"name": named, "authority": unknown} {
		res, err := c.Get(server.URL)
		if err == nil {
			_ = res.Body.Close()
		}
		if got := nameless(err); !errors.Is(got, errBadCertificate) {
			t.Errorf("%s: %v of %v", name, got, err)
		}
	}
	if got := nameless(x509.HostnameError{Certificate: server.Certificate(), Host: "archive.invalid"}); !errors.Is(got, errBadCertificate) {
		t.Error(got)
	}
	f := dnfFault{repos: []yum{{root: "https://cdn.archive.invalid:8443/al"}, {root: "http://[::1]:80"}}}
	for text, want := range map[string]string{
		"Could not resolve host: cdn.archive.invalid":                             "Could not resolve host: (its host)",
		"does not match target host name 'CDN.archive.invalid'":                   "does not match target host name '(its host)'",
		"Failed to connect to cdn.archive.invalid port 8443 after 0 ms":           "Failed to connect to (its host) port 8443 after 0 ms",
		"https://cdn.archive.invalid:8443/al/x and cdn.archive.invalid:8443 gone": "x and (its host):8443 gone",
		"not-cdn.archive.invalid-either":                                          "not-cdn.archive.invalid-either",
	} {
		if got := f.nameless(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// Who shows a certificate does not go on where everybody could listen.
func TestEntitledRedirects(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(text("plain"))
	defer plain.Close()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/plain":
			http.Redirect(w, r, plain.URL, http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/secure":
			http.Redirect(w, r, "/", http.StatusFound)
		}
	}))
	defer server.Close()
	e, _ := entitlement(t)
	own := *server.Client()
	s := Solver{HTTP: &own, Entitlements: map[string]factory.Entitlement{"a": e}}
	get := func(path string) error {
		c, err := s.clientOf("a")
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Get(server.URL + path)
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	if err := get("/plain"); !errors.Is(err, errPlain) {
		t.Error(err)
	}
	if err := get("/secure"); err != nil {
		t.Error(err)
	}
	if err := get("/round"); err == nil || !strings.Contains(err.Error(), "redirects for ever") {
		t.Error(err)
	}
	mine := errors.New("mine")
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return mine }
	if err := get("/secure"); !errors.Is(err, mine) {
		t.Error(err)
	}
}
