package buildkit

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/session/secrets"

	"github.com/imagefactory/imagefactory/factory"
)

// entitlement makes a client certificate that asks for its own check, as files, and what a server knows it by.
func entitlement(t testing.TB) (factory.Entitlement, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	self := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "subscriber"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	dir := t.TempDir()
	return factory.Entitlement{Cert: pemFile(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", der), Key: pemFile(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", private)}, pool
}

func pemFile(t testing.TB, name, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// subscribers serves over TLS whoever has the certificate, and returns what is needed to be served.
func subscribers(t testing.TB, h http.Handler) (string, factory.Entitlement) {
	t.Helper()
	e, pool := entitlement(t)
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	e.CA = pemFile(t, filepath.Join(t.TempDir(), "ca.pem"), "CERTIFICATE", s.Certificate().Raw)
	return s.URL, e
}

func TestFetchWithACertificate(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	const content = "a package"
	url, e := subscribers(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bash.rpm":
			_, _ = w.Write([]byte(content))
		case "/cut.rpm":
			w.Header().Set("Content-Length", "9")
			_, _ = w.Write([]byte("a"))
		case "/endless.rpm":
			for range 1000 {
				_, _ = w.Write([]byte(content))
			}
		case "/ended.rpm":
			w.WriteHeader(http.StatusForbidden)
		case "/moved.rpm":
			http.Redirect(w, r, "/bash.rpm", http.StatusFound)
		case "/plain.rpm":
			http.Redirect(w, r, "http://archive.invalid/bash.rpm", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	stranger, _ := entitlement(t)
	for name, c := range map[string]struct {
		file, says string
		change     func(e *factory.Entitlement)
	}{
		"as locked":       {file: "bash.rpm"},
		"moved":           {file: "moved.rpm"},
		"not encrypted":   {file: "plain.rpm", says: "a redirect to where nothing is encrypted"},
		"gone":            {file: "gone.rpm", says: "status 404"},
		"ended":           {file: "ended.rpm", says: "status 403"},
		"cut":             {file: "cut.rpm", says: "unexpected EOF"},
		"endless":         {file: "endless.rpm", says: "digest mismatch"},
		"somebody else's": {file: "bash.rpm", says: "TLS: ", change: func(e *factory.Entitlement) { e.Cert, e.Key = stranger.Cert, stranger.Key }},
		"unknown archive": {file: "bash.rpm", says: "TLS: ", change: func(e *factory.Entitlement) { e.CA = stranger.Cert }},
		"nobody there":    {file: ":1/bash.rpm", says: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mine := e
			if c.change != nil {
				c.change(&mine)
			}
			dir := t.TempDir()
			for at, from := range map[string]string{"cert.pem": mine.Cert, "key.pem": mine.Key, "ca.pem": mine.CA} {
				if err := os.Symlink(from, filepath.Join(dir, at)); err != nil {
					t.Fatal(err)
				}
			}
			script := filepath.Join(dir, "fetch.py")
			if err := os.WriteFile(script, fetchScript, 0o600); err != nil {
				t.Fatal(err)
			}
			from := url + "/" + c.file
			if strings.HasPrefix(c.file, ":") {
				from = "https://127.0.0.1" + c.file
			}
			out := filepath.Join(dir, "out")
			cmd := exec.Command("python3", "-s", script, from, factory.DigestOf([]byte(content)).Hex(), fmt.Sprint(len(content)), out)
			cmd.Env = append(os.Environ(), "SECRETS="+dir)
			said, err := cmd.CombinedOutput()
			got, _ := os.ReadFile(out)
			switch {
			case c.says == "" && (err != nil || string(got) != content):
				t.Errorf("%v %s: %q", err, said, got)
			case c.says != "" && (err == nil || !strings.HasPrefix(string(said), c.says) || strings.Contains(string(said), "127.0.0.1") || strings.Contains(string(said), "Traceback")):
				t.Errorf("%v: %s", err, said)
			case len(got) > len(content)+1:
				t.Errorf("%d bytes were kept", len(got))
			}
		})
	}
}

// Only the archive that asks for a certificate is fetched with one, and nothing of it is in the definition.
func TestEntitledArchive(t *testing.T) {
	t.Parallel()
	c := withToolbox(t)
	e, _ := entitlement(t)
	c.Entitlements = map[string]factory.Entitlement{"debian": e}
	l := locked("")
	st, err := c.rootfs(l, l.Lock.Platforms[0])
	if err != nil {
		t.Fatal(err)
	}
	all := ops(t, st)
	var fetches int
	for _, x := range execs(all) {
		if len(x.Secretenv) > 0 {
			t.Error("a secret is in the environment")
		}
		for _, m := range x.Mounts {
			if m.SecretOpt != nil {
				fetches++
				if !strings.HasPrefix(m.SecretOpt.ID, "entitlement/debian/") || m.SecretOpt.Mode != 0o400 {
					t.Errorf("secret %v", m.SecretOpt)
				}
			}
		}
	}
	if fetches != 2 {
		t.Errorf("%d secrets are mounted", fetches)
	}
	key, err := os.ReadFile(e.Key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := marshal(t.Context(), st, amd64)
	if err != nil || strings.Contains(string(root.State), e.Key) || strings.Contains(string(root.State), string(key[30:60])) {
		t.Errorf("the key or its path is in the definition: %v", err)
	}
	got, err := c.secrets.GetSecret(t.Context(), &secrets.GetSecretRequest{ID: "entitlement/debian/key.pem"})
	if err != nil || string(got.Data) != string(key) {
		t.Errorf("%v", err)
	}
	c.Entitlements = map[string]factory.Entitlement{"debian": {Cert: filepath.Join(t.TempDir(), "gone")}}
	if _, err := c.rootfs(l, l.Lock.Platforms[0]); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "entitlements.debian in factory.yaml") {
		t.Error(err)
	}
}

func TestSecretsAreReadWhenAskedFor(t *testing.T) {
	t.Parallel()
	c := withToolbox(t)
	file := filepath.Join(t.TempDir(), "token")
	s := factory.Step{Name: "look", Root: factory.Root{Platform: amd64}, Args: []string{"/bin/true"}, User: "7:8", Secrets: map[string]string{"/run/token": file}}
	if _, err := c.exec(t.Context(), s, ""); err == nil {
		t.Error("a step was described whose secret is not there")
	}
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	exec, err := c.exec(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	var id string
	for _, m := range execs(ops(t, exec.Root()))[0].Mounts {
		if o := m.SecretOpt; o != nil && m.Dest == "/run/token" && o.Uid == 7 && o.Gid == 8 {
			id = o.ID
		}
	}
	ask := func() string {
		got, err := c.attachable()[0].(secretFiles).GetSecret(context.Background(), &secrets.GetSecretRequest{ID: id})
		if err != nil {
			return err.Error()
		}
		return string(got.Data)
	}
	for _, want := range []string{"old", "new"} {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := ask(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if err := os.WriteFile(file, make([]byte, maxSecret+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(); !strings.Contains(got, "too large") || strings.Contains(got, file) {
		t.Errorf("too large: %s", got)
	}
	id = "other"
	if got := ask(); !strings.Contains(got, "no such secret") {
		t.Errorf("unknown: %s", got)
	}
}
