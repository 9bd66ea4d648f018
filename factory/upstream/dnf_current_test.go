package upstream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/standin"
)

// A night in which nothing happens asks for little, and runs nothing.
func TestQuietNight(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.AmazonLinux2, standin.Options{})
	lock, _ := n.solve()
	n.req.Old = &lock
	n.s.Runner = scripted{err: errors.New("dnf is asked")}
	current := func(s Solver, r Request) bool {
		t.Helper()
		ok, err := s.Current(t.Context(), r)
		if err != nil {
			t.Error(err)
		}
		return ok
	}
	n.asked("")
	if !current(n.s, n.req) {
		t.Fatal("an unchanged archive is not current")
	}
	n.mu.Lock()
	if hits := n.hits; len(hits) != 2 || !strings.HasSuffix(hits[0], "mirror.list") || !strings.HasSuffix(hits[1], "repomd.xml") {
		t.Errorf("%q", hits)
	}
	n.mu.Unlock()
	var sent []string
	for range 2 { // the first answer's validator is remembered
		n.answer("repomd.xml", func(w http.ResponseWriter, r *http.Request) {
			sent = append(sent, r.Header.Get("If-None-Match"))
			w.Header().Set("ETag", `"one"`)
			http.ServeFile(w, r, filepath.Join(n.Dir, r.URL.Path))
		})
		if !current(n.s, n.req) {
			t.Error("not current")
		}
	}
	if !slices.Equal(sent, []string{"", `"one"`}) {
		t.Errorf("%q", sent)
	}
	n.answer("", nil)

	for name, change := range map[string]func(s *Solver, r *Request){
		"definition": func(s *Solver, r *Request) { r.Definition = factory.DigestOf(nil) },
		"tools":      func(s *Solver, r *Request) { r.Tools = map[string]factory.Digest{"toolbox": factory.DigestOf(nil)} },
		"no lock":    func(s *Solver, r *Request) { r.Old = nil },
		"no cache":   func(s *Solver, r *Request) { s.Cache = "" },
		"repository": func(s *Solver, r *Request) {
			r.Image.Archives = []factory.Archive{r.Image.Archives[0]}
			r.Image.Archives[0].Suite = "x"
		},
		"no platform": func(s *Solver, r *Request) { r.Image.Platforms = slices.Repeat(r.Image.Platforms, 2) },
	} {
		s, r := n.s, n.req
		change(&s, &r)
		if current(s, r) {
			t.Errorf("%s: still current", name)
		}
	}
	for suffix, f := range map[string]http.HandlerFunc{"mirror.list": status(503), "repomd.xml": cutOff} {
		n.answer(suffix, f)
		if ok, err := n.s.Current(t.Context(), n.req); ok || !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "archive amazonlinux core: "+suffix) || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: %v %v", suffix, ok, err)
		}
	}
	n.answer("", nil)
	n.try(n.SecurityUpdate())
	if current(n.s, n.req) {
		t.Error("still current after an update")
	}
	n.s.Archives = nil
	if _, err := n.s.Current(t.Context(), n.req); !errors.Is(err, factory.ErrInvalid) {
		t.Error(err)
	}
}

// entitlement makes a client certificate that signs itself, as files.
func entitlement(t *testing.T) (factory.Entitlement, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	like := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "subscriber"}, NotBefore: day.AddDate(-9, 0, 0), NotAfter: day.AddDate(90, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, like, like, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	e := factory.Entitlement{Cert: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem")}
	write(t, e.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, e.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return e, pool
}

// An archive for subscribers is asked with their certificate, by dnf and by the factory.
func TestEntitledArchive(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.AmazonLinux2, standin.Options{})
	e, clients := entitlement(t)
	server := httptest.NewUnstartedServer(n.Handler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of those that it turns away
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	server.StartTLS()
	defer server.Close()
	e.CA = filepath.Join(filepath.Dir(e.Cert), "ca.pem")
	write(t, e.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	n.s.Archives, n.s.HTTP = map[string]string{n.ID(): server.URL}, nil
	n.s.Entitlements = map[string]factory.Entitlement{n.ID(): e}
	lock, _ := n.solve()
	n.req.Old = &lock
	if ok, err := n.s.Current(t.Context(), n.req); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
	n.req.Old = nil

	y := &n.req.Image.Archives[0] // now dnf is the first to ask
	y.MirrorList, y.Path = "", lock.Platforms[0].Packages[0].Path[:len("2/core")]
	onlyCA := factory.Entitlement{CA: e.CA}
	n.s.Entitlements[n.ID()] = onlyCA
	n.refused(factory.ErrUnavailable, "archive amazonlinux core: repomd.xml: ")
	n.s.Entitlements = nil
	n.refused(factory.ErrUnverified, "archive amazonlinux core: repomd.xml: the archive's own certificate does not hold")

	*y = n.Image().Archives[0]
	for name, broken := range map[string]factory.Entitlement{"no key": {Cert: e.Cert}, "not a key": {Cert: e.Cert, Key: e.Cert}, "no authorities": {CA: e.Key}, "gone": {CA: e.CA + "x"}} {
		n.s.Entitlements = map[string]factory.Entitlement{n.ID(): broken}
		if _, _, err := n.s.Solve(t.Context(), n.req); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "the client certificate of archive amazonlinux cannot be used") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostConfides(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "key.pem")
	write(t, secret, []byte("hush"))
	h := Host{Dir: t.TempDir()}
	step := factory.Step{Name: "try", Args: []string{"/bin/sh", "-c", `stat -c %a "$0/a/key.pem" && cat "$0/a/key.pem"`, "/.secrets"}, Secrets: map[string]string{"/.secrets/a/key.pem": secret}}
	res, err := h.Run(t.Context(), step)
	if err != nil || string(res.Stdout) != "600\nhush" {
		t.Errorf("%+v %v", res, err)
	}
	if left, _ := os.ReadDir(h.Dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	for name, secrets := range map[string]map[string]string{"gone": {"/.secrets/x": secret + "x"}, "relative": {"x": secret}} {
		step.Secrets = secrets
		if _, err := h.Run(t.Context(), step); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
