package cosign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-openapi/runtime"
	"github.com/sigstore/fulcio/pkg/api"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

const (
	identity = "nightly@factory.example.com"
	issuer   = "https://issuer.example.com"
)

// sigstore is a private Sigstore in small: an authority that certifies keys for ten minutes, and a log that signs what
// it is given. Its clock stands still in the past, so certificates have expired when they are verified.
type sigstore struct {
	fulcio, rekor *httptest.Server
	caKey, logKey *ecdsa.PrivateKey
	ca            *x509.Certificate
	logID         string
	root          string // trusted_root.json
	down          bool   // the log answers 502
	mute          bool   // the log gives no promise
	entries       atomic.Int64
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func newSigstore(t *testing.T) *sigstore {
	t.Helper()
	s := &sigstore{caKey: newKey(t), logKey: newKey(t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: began.AddDate(-1, 0, 0), NotAfter: began.AddDate(9, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, s.caKey.Public(), s.caKey)
	must(t, err)
	s.ca, err = x509.ParseCertificate(der)
	must(t, err)
	spki, err := x509.MarshalPKIXPublicKey(s.logKey.Public())
	must(t, err)
	id := sha256.Sum256(spki)
	s.logID = hex.EncodeToString(id[:])
	s.fulcio = httptest.NewServer(http.HandlerFunc(s.certify))
	t.Cleanup(s.fulcio.Close)
	s.rekor = httptest.NewServer(http.HandlerFunc(s.enter))
	t.Cleanup(s.rekor.Close)
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: s.ca, ValidityPeriodStart: s.ca.NotBefore, URI: s.fulcio.URL}},
		map[string]*root.TransparencyLog{}, nil,
		map[string]*root.TransparencyLog{s.logID: {BaseURL: s.rekor.URL, ID: id[:], ValidityPeriodStart: s.ca.NotBefore, HashFunc: crypto.SHA256, PublicKey: s.logKey.Public(), SignatureHashFunc: crypto.SHA256}})
	must(t, err)
	text, err := tr.MarshalJSON()
	must(t, err)
	s.root = write(t, "trusted_root.json", string(text))
	return s
}

// certify issues a certificate to whoever proves to hold the key.
func (s *sigstore) certify(w http.ResponseWriter, r *http.Request) {
	var in api.CertificateRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.URL.Path != "/api/v1/signingCert" || r.Header.Get("Authorization") != "Bearer "+token(identity) {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(in.PublicKey.Content)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	holder, err := signature.LoadVerifier(pub, crypto.SHA256)
	if err == nil {
		err = holder.VerifySignature(bytes.NewReader(in.SignedEmailAddress), bytes.NewReader([]byte(identity)))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: began, NotAfter: began.Add(10 * time.Minute), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, EmailAddresses: []string{identity},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(issuer)}}}
	der, err := x509.CreateCertificate(rand.Reader, template, s.ca, pub, s.caKey)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
	_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: s.ca.Raw})
}

// enter verifies a signature, as the real log does, and promises to keep it.
func (s *sigstore) enter(w http.ResponseWriter, r *http.Request) {
	if s.down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	body, err := s.canonical(r.Context(), r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	entry := s.entries.Add(1)
	e := map[string]any{"body": base64.StdEncoding.EncodeToString(body), "integratedTime": began.Add(time.Minute).Unix(), "logID": s.logID, "logIndex": entry}
	text, _ := json.Marshal(e) // sorted: the canonical form
	sum := sha256.Sum256(text)
	promise, err := ecdsa.SignASN1(rand.Reader, s.logKey, sum[:])
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if !s.mute {
		e["verification"] = map[string]any{"signedEntryTimestamp": promise}
	}
	leaf := sha256.Sum256(append([]byte{0}, body...))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{hex.EncodeToString(leaf[:]): e})
}

func (s *sigstore) canonical(ctx context.Context, r io.Reader) ([]byte, error) {
	proposed, err := models.UnmarshalProposedEntry(r, runtime.JSONConsumer())
	if err != nil {
		return nil, err
	}
	e, err := types.CreateVersionedEntry(proposed)
	if err != nil {
		return nil, err
	}
	return types.CanonicalizeEntry(ctx, e)
}

// token is an identity token as a provider makes them; only its claims matter here.
func token(email string) string {
	claims, _ := json.Marshal(map[string]any{"iss": issuer, "sub": "1", "email": email, "email_verified": true, "aud": "sigstore"})
	return "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".c2ln"
}

// signer returns a keyless signer.
func (s *sigstore) signer() *Signer {
	return &Signer{Keyless: &Keyless{FulcioURL: s.fulcio.URL, IDToken: func(context.Context) (string, error) { return token(identity), nil }}, Log: s.rekor.URL, Builder: builderID}
}

func (s *sigstore) options() VerifyOptions {
	return VerifyOptions{Identity: identity, Issuer: issuer, TrustedRoot: s.root}
}
