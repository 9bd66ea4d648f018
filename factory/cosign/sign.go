package cosign

import (
	"bytes"
	"context"
	"encoding/base64"
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

// Sign returns a signature for the index and for each platform's manifest of a, and the attestations of the index: its
// provenance, the SBOMs of each platform, the vulnerability report, compliance, VEX and the gate's decision. repository is
// where the image will be published, without tag. Nothing is sent to the registry. The provenance is the same for the same
// a, apart from its times.
//
// ErrBlocked when the gate did not let a pass, ErrInvalid when a document is missing: what is signed here can be verified.
func (s *Signer) Sign(ctx context.Context, repository string, a factory.Approved) ([]factory.Signature, error) {
	if !a.Valid() {
		return nil, &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("%s was not approved, so it is not signed", a.Artifact.Digest.Short())}
	}
	repo, err := s.Remote.repository(repository)
	if err != nil {
		return nil, err
	}
	drafts, err := s.evidence(repository, a)
	if err != nil {
		return nil, err
	}
	key, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	var work []func() (factory.Signature, error)
	for _, r := range subjects(repository, a.Artifact.Digest, platforms(a.Artifact)...) {
		work = append(work, func() (factory.Signature, error) {
			return key.sign(ctx, repo, "sha256:"+factory.Digest(r.Digest["sha256"]))
		})
	}
	for _, d := range drafts {
		work = append(work, func() (factory.Signature, error) { return key.attest(ctx, d) })
	}
	all, err := together(work)
	if err != nil {
		return nil, err
	}
	decision, err := s.decisionOf(repository, subjects(repository, a.Artifact.Digest, platforms(a.Artifact)...), tagOf(a), a.Decision, all)
	if err != nil {
		return nil, err
	}
	last, err := key.attest(ctx, decision)
	return append(all, last), err
}

// evidence is everything that is attested of an image but the gate's decision, which refers to it.
func (s *Signer) evidence(repository string, a factory.Approved) ([]draft, error) {
	about := subjects(repository, a.Artifact.Digest, platforms(a.Artifact)...)
	all, err := sboms(repository, a)
	if err != nil {
		return nil, err
	}
	vex, err := document(a.Documents(), factory.OpenVEX, factory.Platform{})
	if err != nil {
		return nil, err
	}
	origin := s.provenanceOf
	if a.Job.Rebase != nil {
		d, err := s.rebaseOf(about, *a.Job.Rebase)
		if err != nil {
			return nil, err
		}
		all, origin = append(all, d), s.rebasedFrom
	}
	for _, f := range []func() (draft, error){
		func() (draft, error) { return origin(about, a) },
		func() (draft, error) { return s.reportOf(about, a.Scanned.Scan) },
		func() (draft, error) { return complianceOf(about, a) },
		func() (draft, error) { return vexOf(about, vex.Data) },
	} {
		d, err := f()
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
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

// attest wraps a statement in a signed DSSE envelope.
func (k *signer) attest(ctx context.Context, d draft) (factory.Signature, error) {
	envelope, err := dsse.WrapSigner(k.SignerVerifier, types.IntotoPayloadType).SignMessage(bytes.NewReader(d.text), options.WithContext(ctx))
	if err != nil {
		return factory.Signature{}, unsigned(d.subject, err)
	}
	sig := factory.Signature{Subject: d.subject, Predicate: d.predicate, Payload: envelope, Cert: k.cert, Chain: k.chain}
	if k.log != "" {
		sig.Bundle, err = k.enter(ctx, func(l *logClient, pem []byte) (entry, error) { return l.envelope(ctx, envelope, pem) })
	}
	return sig, err
}

func unsigned(d factory.Digest, err error) error {
	return &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("signing %s", d), Hint: "check that the key service answers and that this key may sign", Cause: err}
}

var _ signature.SignerVerifier = (*signer)(nil)
