package cosign

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagefactory/imagefactory/factory"
)

// VerifyOptions says whom to trust. Either Key or Identity and Issuer are required.
type VerifyOptions struct {
	// Key is a public key's PEM file or a key service's URI.
	Key string
	// Identity and Issuer are the exact name in a keyless certificate and who vouched for it.
	Identity, Issuer string
	// TrustedRoot is a file in Sigstore's trusted_root.json form that names the certificate authorities and logs of
	// keyless signing. Empty fetches that of Sigstore's public service.
	TrustedRoot string
	// RequireLog demands an entry in a transparency log of TrustedRoot from key signatures too.
	RequireLog bool
	// Builder is the builder id that the provenance must name; empty accepts any.
	Builder string
	Remote  Remote
}

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"` // signature of the index
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Verify looks at everything that makes an image trustworthy: its digest, the signatures of the index and of every
// platform, the provenance and what it says. It needs nothing but ref, the registry and the public key. The checks are
// returned in their order, also with an error, which is ErrUnverified when one of them failed, ErrNotFound when there
// is no such image, and otherwise what kept it from looking.
func Verify(ctx context.Context, ref string, o VerifyOptions) ([]Check, error) {
	v := &verification{options: o}
	if err := v.parse(ref); err != nil {
		return nil, err
	}
	trust, err := o.trust(ctx)
	if err != nil {
		return nil, err
	}
	v.trust = trust
	for _, step := range []func(context.Context) error{v.image, v.signatures, v.provenance} {
		if err := step(ctx); err != nil {
			return v.checks, err
		}
	}
	v.statements()
	var failed []string
	for _, c := range v.checks {
		if !c.OK {
			failed = append(failed, c.Name)
		}
	}
	if len(failed) > 0 {
		return v.checks, &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s: %s", ref, strings.Join(failed, ", ")),
			Hint: "do not use this image until it is known why"}
	}
	return v.checks, nil
}

// verification is one image under examination.
type verification struct {
	options VerifyOptions
	trust   *trust
	repo    name.Repository
	ref     factory.Ref
	digest  factory.Digest // what ref stands for
	parts   []part         // the index first, then its platforms
	claim   *statement     // verified provenance; nil = none
	checks  []Check
}

func (v *verification) add(name string, ok bool, format string, args ...any) {
	line := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ") // some causes have line breaks
	v.checks = append(v.checks, Check{Name: name, OK: ok, Detail: line})
}

func (v *verification) parse(ref string) error {
	r, err := factory.ParseRef(ref)
	if err != nil {
		return err
	}
	v.ref, v.digest = r, r.Digest
	v.repo, err = v.options.Remote.repository(r.Repository)
	return err
}

// read returns a manifest and whether there is one.
func (v *verification) read(ctx context.Context, ref name.Reference) (body []byte, found bool, err error) {
	err = v.options.Remote.try(ctx, v.repo, "read "+ref.Identifier(), func(ctx context.Context) error {
		d, err := remote.Get(ref, v.options.Remote.options(ctx)...)
		var answer *transport.Error
		switch {
		case errors.As(err, &answer) && answer.StatusCode == 404:
			return nil
		case err != nil && strings.Contains(err.Error(), "does not match requested digest"):
			body, found = nil, true // the bytes of something else: the caller's hash tells
			return nil
		case err != nil:
			return err
		}
		body, found = d.Manifest, true
		return nil
	})
	return body, found, err
}

// image resolves the reference and reads the index and its manifests, each by its hash.
func (v *verification) image(ctx context.Context) error {
	if v.ref.Tag != "" {
		body, found, err := v.read(ctx, v.repo.Tag(v.ref.Tag))
		if err != nil {
			return err
		}
		if !found {
			return &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("no tag %s in %s", v.ref.Tag, v.repo), Hint: "look at what was released: factory releases"}
		}
		at := factory.DigestOf(body)
		if v.digest == "" {
			v.digest = at
		}
		v.add("tag", at == v.digest, "%s stands for %s", v.ref.Tag, at)
		_, err = factory.ParseTag(v.ref.Tag)
		v.add("tag grammar", err == nil, "%s", orText(err, "date, commit and environment are readable"))
	}
	body, found, err := v.read(ctx, v.repo.Digest(string(v.digest)))
	if err != nil {
		return err
	}
	if !found {
		return &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("no image %s in %s", v.digest, v.repo), Hint: "look at what was released: factory releases"}
	}
	if factory.DigestOf(body) != v.digest {
		v.add("digest", false, "the registry serves other bytes for %s", v.digest)
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s serves other bytes for %s", v.repo, v.digest)}
	}
	v.add("digest", true, "%s", v.digest)
	return v.readParts(ctx, body)
}

func orText(err error, text string) string {
	if err != nil {
		return err.Error()
	}
	return text
}

// signatures checks the index and every manifest that it names.
func (v *verification) signatures(ctx context.Context) error {
	for _, p := range v.parts {
		all, err := v.options.Remote.attached(ctx, v.repo, p.digest, signatures)
		if errors.Is(err, factory.ErrUnverified) {
			v.add("signature of "+p.name, false, "%v", err)
			continue
		}
		if err != nil {
			return err
		}
		good, why := v.trust.signature(ctx, all, p.digest)
		if good == nil {
			v.add("signature of "+p.name, false, "%s", why)
		} else {
			v.add("signature of "+p.name, true, "%s signed %s", v.trust.who, p.digest)
		}
	}
	return nil
}

// provenance finds what the trusted key says of this digest: about the tag when there is such, and the newest otherwise.
func (v *verification) provenance(ctx context.Context) error {
	all, err := v.options.Remote.attached(ctx, v.repo, v.digest, attestations)
	if errors.Is(err, factory.ErrUnverified) {
		v.add("provenance", false, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	claims, why := v.trust.provenance(ctx, all, v.digest)
	if len(claims) == 0 {
		v.add("provenance", false, "%s", why)
		return nil
	}
	if about := slices.DeleteFunc(slices.Clone(claims), func(c statement) bool { return c.tag().String() != v.ref.Tag }); len(about) > 0 {
		claims = about
	}
	newest := slices.MaxFunc(claims, func(a, b statement) int { return a.finished().Compare(b.finished()) })
	v.claim = &newest
	run := newest.Predicate.RunDetails.Metadata
	v.add("provenance", true, "%s attests a run%s that began %s, with %d dependencies", v.trust.who, prefixed(" ", run.InvocationID),
		run.StartedOn.UTC().Format("2006-01-02 15:04"), len(newest.Predicate.BuildDefinition.ResolvedDependencies))
	return nil
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
