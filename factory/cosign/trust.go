package cosign

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/oci"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/imagefactory/imagefactory/factory"
)

// trust is a key or an identity, ready to judge.
type trust struct {
	who   string // for people
	check cosign.CheckOpts
}

// Check judges the options themselves, as far as this machine can tell: somebody is named, the key's file and the trusted
// root's are good. A key service and Sigstore's public root are not asked. ErrInvalid, or ErrNotFound for the key's file.
func (o VerifyOptions) Check() error {
	switch {
	case o.Key == "" && o.Identity == "" && o.Issuer == "":
		return &factory.Problem{Kind: factory.ErrInvalid, What: "nobody to trust", Hint: "name a public key, or an identity and its issuer"}
	case o.Key == "" && o.Issuer == "":
		return &factory.Problem{Kind: factory.ErrInvalid, What: "identity without issuer: " + o.Identity, Hint: "name who vouches for it, the URL of its OpenID Connect provider"}
	case o.Key == "" && o.Identity == "":
		return &factory.Problem{Kind: factory.ErrInvalid, What: "issuer without identity: " + o.Issuer, Hint: "name whom you trust of those that it vouches for"}
	case o.MaxAge > 0 && o.Now == nil:
		return &factory.Problem{Kind: factory.ErrInvalid, What: "a maximum age without a clock"}
	case o.Key != "":
		if remote, err := inService(o.Key); err != nil {
			return err
		} else if !remote {
			if _, err := loadPublic(o.Key); err != nil {
				return err
			}
		}
	}
	if o.TrustedRoot != "" {
		_, err := o.material()
		return err
	}
	return nil
}

func (o VerifyOptions) trust(ctx context.Context) (*trust, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	t := &trust{who: o.Identity, check: cosign.CheckOpts{IgnoreTlog: true, IgnoreSCT: true, Offline: true}}
	if o.Key == "" {
		t.check.Identities = []cosign.Identity{{Subject: o.Identity, Issuer: o.Issuer}}
	} else {
		v, err := loadVerifier(ctx, o.Key)
		if err != nil {
			return nil, err
		}
		t.check.SigVerifier, t.who = v, "the key"
		if !o.RequireLog {
			return t, nil
		}
	}
	material, err := o.material()
	if err != nil {
		return nil, err
	}
	t.check.TrustedMaterial = material
	// A private service may run without a certificate transparency log; its root then names none. The signatures' own log
	// can never be left out: it proves that the certificate was valid when it was used.
	t.check.IgnoreSCT = len(material.CTLogs()) == 0
	t.check.IgnoreTlog = false
	return t, nil
}

func (o VerifyOptions) material() (root.TrustedMaterial, error) {
	if o.TrustedRoot == "" {
		m, err := cosign.TrustedRoot()
		if err != nil {
			return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "Sigstore's public trusted root", Hint: "give a trusted root file to verify without it", Cause: err}
		}
		return m, nil
	}
	m, err := root.NewTrustedRootFromPath(o.TrustedRoot)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "trusted root " + o.TrustedRoot, Cause: err}
	}
	return m, nil
}

// signature returns the first good signature of d, or why there is none.
func (t *trust) signature(ctx context.Context, all []oci.Signature, d factory.Digest) (oci.Signature, string) {
	check := t.check
	check.ClaimVerifier = cosign.SimpleClaimVerifier
	why := "there is none"
	for _, sig := range all {
		err := judge(sig, d, func(sig oci.Signature, h v1.Hash) error {
			_, err := cosign.VerifyImageSignature(ctx, sig, h, &check)
			return err
		})
		if err == nil {
			return sig, ""
		}
		why = fmt.Sprintf("none of %d is by %s: %v", len(all), t.who, err)
	}
	return nil, why
}

// judge runs a verification on a copy. What hangs in a registry is anybody's data, and the libraries below are known to
// panic on some of it.
func judge(sig oci.Signature, d factory.Digest, f func(oci.Signature, v1.Hash) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("malformed")
		}
	}()
	h, err := v1.NewHash(string(d))
	if err != nil {
		return err
	}
	own, err := static.Copy(sig)
	if err != nil {
		return err
	}
	return f(own, h)
}
