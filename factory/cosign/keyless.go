package cosign

import (
	"context"
	"crypto"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/fulcio/pkg/api"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/oauthflow"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/imagefactory/imagefactory/factory"
)

// Keyless signs with a key that lives for one signing, certified by Fulcio for an identity of the caller's provider.
// It needs a transparency log, because the certificate expires after minutes.
type Keyless struct {
	FulcioURL string // empty = Sigstore's public one
	// IDToken returns the caller's OpenID Connect token, whose audience is sigstore.
	IDToken func(context.Context) (string, error)
}

// signer is a key that is ready to sign, with the certificate that vouches for it when it is keyless.
type signer struct {
	signature.SignerVerifier
	cert, chain []byte // PEM
	log         string // URL of the transparency log; empty = none
}

func (k *Keyless) signer(ctx context.Context) (*signer, error) {
	if k.IDToken == nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "keyless signing without an identity token", Hint: "configure where the token comes from"}
	}
	token, err := k.IDToken(ctx)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "identity token", Cause: err}
	}
	subject, err := subjectOf(token)
	if err != nil {
		return nil, err
	}
	key, err := cosign.GeneratePrivateKey()
	if err != nil {
		return nil, fmt.Errorf("key for one signing: %w", err)
	}
	sv, err := signature.LoadECDSASignerVerifier(key, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("key for one signing: %w", err)
	}
	pub, err := publicPEM(key.Public())
	if err != nil {
		return nil, err
	}
	proof, err := sv.SignMessage(strings.NewReader(subject))
	if err != nil {
		return nil, fmt.Errorf("proof of possession: %w", err)
	}
	at, err := url.Parse(k.fulcio())
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "Fulcio URL", Cause: err}
	}
	cert, err := api.NewClient(at, api.WithUserAgent("imagefactory"), api.WithTimeout(time.Minute)).SigningCert(
		api.CertificateRequest{PublicKey: api.Key{Content: pub}, SignedEmailAddress: proof}, token)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "certificate from " + at.Host, Cause: err}
	}
	if _, err := cryptoutils.UnmarshalCertificatesFromPEM(cert.CertPEM); err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnverified, What: "certificate from " + at.Host, Cause: err}
	}
	return &signer{SignerVerifier: sv, cert: cert.CertPEM, chain: cert.ChainPEM}, nil
}

func (k *Keyless) fulcio() string {
	if k.FulcioURL == "" {
		return api.SigstorePublicServerURL
	}
	return k.FulcioURL
}

// subjectOf reads the name in a token, which Fulcio wants signed. Fulcio verifies the token; nothing here trusts it.
func subjectOf(token string) (string, error) {
	bad := &factory.Problem{Kind: factory.ErrInvalid, What: "the identity token is not one of OpenID Connect"}
	parts := strings.Split(strings.TrimSpace(token), ".")
	if len(parts) != 3 {
		return "", bad
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", bad
	}
	subject, err := oauthflow.SubjectFromUnverifiedToken(claims)
	if err != nil {
		bad.Cause = err
		return "", bad
	}
	return subject, nil
}
