package cosign

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// vault speaks as much of the transit engine's protocol as signing needs, with a real key that never leaves it.
func vault(t *testing.T) (server *httptest.Server, sealed *bool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	pub, err := publicPEM(key.Public())
	must(t, err)
	sealed = new(bool)
	reply := func(w http.ResponseWriter, data map[string]any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
	}
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Vault-Token") != "token" || *sealed:
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
		case r.URL.Path == "/v1/transit/keys/factory":
			reply(w, map[string]any{"latest_version": 1, "keys": map[string]any{"1": map[string]any{"name": "P-256", "public_key": string(pub)}}})
		case strings.HasPrefix(r.URL.Path, "/v1/transit/sign/factory"):
			var in struct{ Input []byte }
			_ = json.NewDecoder(r.Body).Decode(&in)
			sig, err := ecdsa.SignASN1(rand.Reader, key, in.Input)
			if err != nil {
				t.Error(err)
			}
			reply(w, map[string]any{"signature": "vault:v1:" + base64.StdEncoding.EncodeToString(sig)})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server, sealed
}

// Not parallel: the key service's address comes from the environment, as its own tools have it.
func TestKeyService(t *testing.T) {
	server, sealed := vault(t)
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_TOKEN", "token")
	repository := serve(t, true) + "/base/debian-12"
	s := &Signer{Key: "hashivault://factory", Builder: builderID}
	a, sigs := release(t, s, repository, nil)
	must(t, s.Attach(t.Context(), repository, sigs)) // again is harmless
	if n := count(t, repository, a.Digest, attestations); n != 9 {
		t.Errorf("%d attestations", n)
	}
	checks, err := Verify(t.Context(), repository+"@"+string(a.Digest), VerifyOptions{Key: "hashivault://factory"})
	if err != nil {
		t.Errorf("verify with the service: %v\n%+v", err, checks)
	}
	// Others verify with the exported public key alone.
	v, err := loadVerifier(t.Context(), "hashivault://factory")
	must(t, err)
	pub, err := v.PublicKey()
	must(t, err)
	text, err := publicPEM(pub)
	must(t, err)
	if checks, err := Verify(t.Context(), repository+"@"+string(a.Digest), VerifyOptions{Key: write(t, "vault.pub", string(text))}); err != nil {
		t.Errorf("verify with the public key: %v\n%+v", err, checks)
	}

	*sealed = true
	if _, err := s.Sign(t.Context(), repository, approved(t, examined(a))); !errors.Is(err, factory.ErrUnavailable) {
		t.Errorf("signing with a sealed service: %v", err)
	}
	if err := (&Signer{Key: s.Key}).Attach(t.Context(), repository, sigs); !errors.Is(err, factory.ErrUnavailable) {
		t.Errorf("attaching with a sealed service: %v", err)
	}
	if _, err := Verify(t.Context(), repository+"@"+string(a.Digest), VerifyOptions{Key: s.Key}); !errors.Is(err, factory.ErrUnavailable) {
		t.Errorf("verifying with a sealed service: %v", err)
	}
	t.Setenv("VAULT_ADDR", "")
	if _, err := Verify(t.Context(), repository+"@"+string(a.Digest), VerifyOptions{Key: s.Key}); !errors.Is(err, factory.ErrUnavailable) {
		t.Errorf("no address: %v", err)
	}
}
