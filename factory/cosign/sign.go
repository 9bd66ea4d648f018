package cosign

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/sigstore/cosign/v2/pkg/types"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"github.com/sigstore/sigstore/pkg/signature/payload"

	"github.com/imagefactory/imagefactory/factory"
)

// Signer makes signatures and attestations, and attaches them to images in a registry.
type Signer struct {
	// Key is a private key's file or a key service's URI (awskms://, azurekms://, gcpkms://, hashivault://). Empty asks
	// for Keyless.
	Key      string
	Password func() ([]byte, error) // of the key's file; nil = the empty one
	Keyless  *Keyless               // used when Key is empty
	// Log is the URL of a transparency log (Rekor) that every signature is entered in. Empty means none, or Sigstore's
	// public one for keyless signing, which cannot do without.
	Log string

	Builder string           // who builds, as a URI: the builder id of the provenance
	Version string           // of the factory
	Run     string           // id of the run
	Now     func() time.Time // when the build was finished; nil = when it began

	Remote Remote // used by Attach

	mu     sync.Mutex
	loaded *signer // a key of a file or service, read once: decrypting is slow by design
}

// Sign returns a signature for the index and for each platform's manifest of t, and the index's provenance. repository
// is where the image will be published, without tag. Nothing is sent to the registry. The provenance is the same for
// the same t, apart from its times.
func (s *Signer) Sign(ctx context.Context, repository string, t factory.Tested) ([]factory.Signature, error) {
	repo, err := s.Remote.repository(repository)
	if err != nil {
		return nil, err
	}
	key, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	subjects := []factory.Digest{t.Artifact.Digest}
	for _, p := range platforms(t.Artifact) {
		subjects = append(subjects, p.Digest)
	}
	var all []factory.Signature
	for _, d := range subjects {
		sig, err := key.sign(ctx, repo, d)
		if err != nil {
			return nil, err
		}
		all = append(all, sig)
	}
	text, err := s.provenanceOf(repository, t)
	if err != nil {
		return nil, err
	}
	att, err := key.attest(ctx, t.Artifact.Digest, ProvenanceType, text)
	if err != nil {
		return nil, err
	}
	return append(all, att), nil
}

// open returns the key. A keyless one is new every time.
func (s *Signer) open(ctx context.Context) (*signer, error) {
	if s.Key == "" {
		if s.Keyless == nil {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "nothing to sign with", Hint: "configure a key file, a key service's URI, or keyless signing"}
		}
		key, err := s.Keyless.signer(ctx)
		if err != nil {
			return nil, err
		}
		key.log = s.Log
		if key.log == "" {
			key.log = publicLog
		}
		return key, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded == nil {
		sv, err := loadSigner(ctx, s.Key, s.Password)
		if err != nil {
			return nil, err
		}
		s.loaded = &signer{SignerVerifier: sv, log: s.Log}
	}
	return s.loaded, nil
}

// sign makes a simple-signing signature.
func (k *signer) sign(ctx context.Context, repo name.Repository, d factory.Digest) (factory.Signature, error) {
	text, err := payload.Cosign{Image: repo.Digest(string(d))}.MarshalJSON()
	if err != nil {
		return factory.Signature{}, fmt.Errorf("signature of %s: %w", d, err)
	}
	raw, err := k.SignMessage(bytes.NewReader(text), options.WithContext(ctx))
	if err != nil {
		return factory.Signature{}, unsigned(d, err)
	}
	sig := factory.Signature{Subject: d, Payload: text, Base64: base64.StdEncoding.EncodeToString(raw), Cert: k.cert, Chain: k.chain}
	if k.log != "" {
		sig.Bundle, err = k.enter(ctx, func(l *logClient, pem []byte) (entry, error) { return l.signature(ctx, raw, text, pem) })
	}
	return sig, err
}

// attest wraps an in-toto statement in a signed DSSE envelope.
func (k *signer) attest(ctx context.Context, d factory.Digest, predicate string, text []byte) (factory.Signature, error) {
	envelope, err := dsse.WrapSigner(k.SignerVerifier, types.IntotoPayloadType).SignMessage(bytes.NewReader(text), options.WithContext(ctx))
	if err != nil {
		return factory.Signature{}, unsigned(d, err)
	}
	sig := factory.Signature{Subject: d, Predicate: predicate, Payload: envelope, Cert: k.cert, Chain: k.chain}
	if k.log != "" {
		sig.Bundle, err = k.enter(ctx, func(l *logClient, pem []byte) (entry, error) { return l.envelope(ctx, envelope, pem) })
	}
	return sig, err
}

func unsigned(d factory.Digest, err error) error {
	return &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("signing %s", d), Hint: "check that the key service answers and that this key may sign", Cause: err}
}

// statementOf reads the in-toto statement in a DSSE envelope. It verifies nothing.
func statementOf(envelope []byte) (statement, error) {
	var e struct {
		PayloadType string `json:"payloadType"`
		Payload     []byte `json:"payload"`
	}
	var st statement
	if err := json.Unmarshal(envelope, &e); err != nil {
		return st, err
	}
	if e.PayloadType != types.IntotoPayloadType {
		return st, fmt.Errorf("payload type %.80q", e.PayloadType)
	}
	err := json.Unmarshal(e.Payload, &st)
	return st, err
}

var _ signature.SignerVerifier = (*signer)(nil)
