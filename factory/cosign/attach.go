package cosign

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci"
	"github.com/sigstore/cosign/v2/pkg/oci/empty"
	"github.com/sigstore/cosign/v2/pkg/oci/mutate"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/cosign/v2/pkg/types"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"

	"github.com/imagefactory/imagefactory/factory"
)

// Attach writes signatures next to the digests in repository that they are about, where cosign looks for them. A
// signature that this key made over the same payload before is kept as it is, and an attestation of the same kind about
// the same tag by this key is replaced, so that lists stay short; whatever others attached is kept. It is read back.
// ErrBlocked when the registry lets nobody add to what is attached.
func (s *Signer) Attach(ctx context.Context, repository string, sigs []factory.Signature) error {
	repo, err := s.Remote.repository(repository)
	if err != nil {
		return err
	}
	type place struct {
		subject factory.Digest
		kind    string
	}
	places := map[place][]factory.Signature{}
	for _, sig := range sigs {
		at := place{sig.Subject, signatures}
		if sig.Predicate != "" {
			at.kind = attestations
		}
		places[at] = append(places[at], sig)
	}
	order := slices.SortedFunc(maps.Keys(places), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.subject, b.subject), cmp.Compare(b.kind, a.kind))
	})
	for _, at := range order {
		if err := s.attach(ctx, repo, at.subject, at.kind, places[at]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Signer) attach(ctx context.Context, repo name.Repository, d factory.Digest, kind string, add []factory.Signature) error {
	mine, err := s.mine(ctx)
	if err != nil {
		return err
	}
	there, err := s.Remote.attached(ctx, repo, d, kind)
	if err != nil {
		return err
	}
	keep, fresh := there, []oci.Signature(nil)
	for _, sig := range add {
		next, err := layer(sig)
		if err != nil {
			return err
		}
		if kind == attestations {
			keep = slices.DeleteFunc(slices.Clone(keep), func(old oci.Signature) bool { return mine(old, sig) })
		} else if slices.ContainsFunc(there, func(old oci.Signature) bool { return mine(old, sig) }) {
			continue
		}
		fresh = append(fresh, next)
	}
	if len(fresh) == 0 {
		return nil
	}
	image, err := mutate.AppendSignatures(empty.Signatures(), false, append(slices.Clone(keep), fresh...)...)
	if err != nil {
		return fmt.Errorf("attach to %s: %w", d, err)
	}
	want, err := image.Digest()
	if err != nil {
		return fmt.Errorf("attach to %s: %w", d, err)
	}
	tag := attachmentTag(repo, d, kind)
	return s.Remote.try(ctx, repo, "attach "+kind+" to sha256:"+d.Short(), func(ctx context.Context) error {
		if err := remote.Write(tag, image, s.Remote.options(ctx)...); err != nil {
			if len(there) > 0 {
				return frozen(tag, err)
			}
			return err
		}
		got, err := remote.Get(tag, s.Remote.options(ctx)...)
		if err != nil {
			return err
		}
		if factory.DigestOf(got.Manifest) != factory.Digest(want.String()) {
			return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("registry %s: %s holds other signatures than were written", repo.RegistryStr(), tag)}
		}
		return nil
	})
}

// layer turns a signature into what hangs in the registry.
func layer(sig factory.Signature) (oci.Signature, error) {
	var opts []static.Option
	if sig.Predicate != "" {
		opts = append(opts, static.WithLayerMediaType(types.DssePayloadType), static.WithAnnotations(map[string]string{"predicateType": sig.Predicate}))
	}
	if sig.Cert != nil {
		opts = append(opts, static.WithCertChain(sig.Cert, sig.Chain))
	}
	if sig.Bundle != nil {
		b := new(bundle.RekorBundle)
		if err := json.Unmarshal(sig.Bundle, b); err != nil {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("log bundle of a signature of %s", sig.Subject), Cause: err}
		}
		opts = append(opts, static.WithBundle(b))
	}
	return static.NewSignature(sig.Payload, sig.Base64, opts...)
}

// mine returns a function that tells whether an attached signature was made by this signer for the same purpose as
// another one.
func (s *Signer) mine(ctx context.Context) (func(old oci.Signature, new factory.Signature) bool, error) {
	if s.Key == "" {
		return sameIdentity, nil
	}
	private, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	key, err := local(private)
	if err != nil {
		return nil, err
	}
	return func(old oci.Signature, new factory.Signature) bool {
		return samePurpose(old, new) && made(key, old, new.Predicate != "")
	}, nil
}

// samePurpose compares payloads of signatures, and predicate types and tags of attestations: of two releases of one
// digest, each has its own provenance.
func samePurpose(old oci.Signature, new factory.Signature) bool {
	text, err := old.Payload()
	if err != nil {
		return false
	}
	if new.Predicate == "" {
		return bytes.Equal(text, new.Payload)
	}
	before, err := statementOf(text)
	if err != nil {
		return false
	}
	now, err := statementOf(new.Payload)
	return err == nil && before.PredicateType == now.PredicateType && before.tag() == now.tag()
}

// made reports whether key signed what is attached.
func made(key signature.Verifier, old oci.Signature, attestation bool) bool {
	text, err := old.Payload()
	if err != nil {
		return false
	}
	if attestation {
		return dsse.WrapVerifier(key).VerifySignature(bytes.NewReader(text), nil) == nil
	}
	b64, err := old.Base64Signature()
	if err != nil {
		return false
	}
	raw, err := base64.StdEncoding.DecodeString(b64)
	return err == nil && key.VerifySignature(bytes.NewReader(raw), bytes.NewReader(text)) == nil
}

// sameIdentity compares the names in two certificates. A forged one only makes room for the genuine.
func sameIdentity(old oci.Signature, new factory.Signature) bool {
	cert, err := old.Cert()
	if err != nil || cert == nil || !samePurpose(old, new) {
		return false
	}
	ours, err := cryptoutils.UnmarshalCertificatesFromPEM(new.Cert)
	if err != nil || len(ours) == 0 || !slices.Equal(cryptoutils.GetSubjectAlternateNames(cert), cryptoutils.GetSubjectAlternateNames(ours[0])) {
		return false
	}
	key, err := signature.LoadVerifier(cert.PublicKey, crypto.SHA256)
	return err == nil && made(key, old, new.Predicate != "")
}
