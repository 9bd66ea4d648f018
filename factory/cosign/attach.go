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

// Attach writes signatures next to the digests in repository that they are about, where cosign looks for them, with one
// write for each digest. A signature that this key made over the same payload before is kept as it is, and an attestation
// of the same purpose by this key is replaced, so that lists stay short; revocations and whatever others attached are kept.
// It is read back. ErrBlocked when the registry lets nobody add to what is attached.
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
	var work []func() (struct{}, error)
	for _, at := range order {
		work = append(work, func() (struct{}, error) {
			return struct{}{}, s.attach(ctx, repo, at.subject, at.kind, places[at])
		})
	}
	_, err = together(work)
	return err
}

func (s *Signer) attach(ctx context.Context, repo name.Repository, d factory.Digest, kind string, add []factory.Signature) error {
	mine, err := s.mine(ctx, kind == attestations, add[0].Cert)
	if err != nil {
		return err
	}
	there, err := s.Remote.attached(ctx, repo, d, kind)
	if err != nil {
		return err
	}
	next, err := merge(there, add, mine)
	if err != nil || next == nil {
		return err
	}
	image, err := mutate.AppendSignatures(empty.Signatures(), false, next...)
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

// merge adds signatures to what is there, as Attach says. It returns nil when nothing is to be added.
func merge(there []oci.Signature, add []factory.Signature, mine func(oci.Signature) bool) ([]oci.Signature, error) {
	replaced := map[string]bool{}
	for _, sig := range add {
		if p := purpose(sig.Payload, sig.Predicate != ""); p != "" {
			replaced[p] = true
		}
	}
	same := map[string]bool{} // payloads that are there already and stay
	var keep, fresh []oci.Signature
	for _, old := range there {
		text, err := old.Payload()
		if err == nil && mine(old) {
			if replaced[purpose(text, add[0].Predicate != "")] {
				continue
			}
			same[string(text)] = true
		}
		keep = append(keep, old)
	}
	for _, sig := range add {
		if same[string(sig.Payload)] {
			continue
		}
		next, err := layer(sig)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, next)
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	return append(keep, fresh...), nil
}

// purpose is what makes a payload replace another one; empty when nothing does.
func purpose(text []byte, attestation bool) string {
	if !attestation {
		return ""
	}
	c, err := claimOf(text)
	if err != nil {
		return ""
	}
	return purposeOf(c)
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

// mine returns a function that tells whether this signer made what is attached; cert is what a keyless one signs with.
func (s *Signer) mine(ctx context.Context, attestation bool, cert []byte) (func(old oci.Signature) bool, error) {
	if s.Key == "" {
		return func(old oci.Signature) bool { return sameIdentity(old, cert, attestation) }, nil
	}
	private, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	key, err := local(private)
	if err != nil {
		return nil, err
	}
	return func(old oci.Signature) bool { return made(key, old, attestation) }, nil
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
func sameIdentity(old oci.Signature, mine []byte, attestation bool) bool {
	cert, err := old.Cert()
	if err != nil || cert == nil {
		return false
	}
	ours, err := cryptoutils.UnmarshalCertificatesFromPEM(mine)
	if err != nil || len(ours) == 0 || !slices.Equal(cryptoutils.GetSubjectAlternateNames(cert), cryptoutils.GetSubjectAlternateNames(ours[0])) {
		return false
	}
	key, err := signature.LoadVerifier(cert.PublicKey, crypto.SHA256)
	return err == nil && made(key, old, attestation)
}
