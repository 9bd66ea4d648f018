package cosign

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

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
	// Builder is the builder id that the provenance and the decision must name; empty accepts any.
	Builder string
	// Env demands that the gate of this environment let the image in; empty accepts any.
	Env factory.Env
	// MaxAge is how old the last scan, and the data that it used, may be; 0 accepts any age. It needs Now.
	MaxAge time.Duration
	Now    func() time.Time
	// Revoked returns why somebody revoked an image, empty when nobody did. It is for callers who keep a ledger: in the
	// registry, who can write there can also take a revocation away. Nil asks nobody.
	Revoked func(context.Context, factory.Digest) (string, error)
	Remote  Remote
}

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"` // signature of the index
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Verify looks at everything that makes an image trustworthy: its digest, the signatures of the index and of every
// platform, the provenance and what it says, the SBOMs, the vulnerability report and its age, compliance, VEX, the gate's
// decision, and whether it was revoked. It needs nothing but ref, the registry and the public key. The checks are
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
	for _, step := range []func(context.Context) error{v.image, v.signatures, v.attested, v.statements, v.revocation} {
		if err := step(ctx); err != nil {
			return v.checks, err
		}
	}
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
	checks  []Check

	// What hangs on the digest.
	claims     []claim // by whom is trusted
	refused    []refusal
	unreadable string                 // why it cannot even be listed
	made       *statement[provenance] // nil = none
	decided    *summary               // nil = nothing, because:
	undecided  string
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
	var work []func() (Check, error)
	for _, p := range v.parts {
		work = append(work, func() (Check, error) { return v.signature(ctx, p) })
	}
	checks, err := together(work)
	for _, c := range checks {
		v.add(c.Name, c.OK, "%s", c.Detail)
	}
	return err
}

func (v *verification) signature(ctx context.Context, p part) (Check, error) {
	name := "signature of " + p.name
	all, err := v.options.Remote.attached(ctx, v.repo, p.digest, signatures)
	if errors.Is(err, factory.ErrUnverified) {
		return Check{name, false, err.Error()}, nil
	}
	if err != nil {
		return Check{}, err
	}
	if good, why := v.trust.signature(ctx, all, p.digest); good == nil {
		return Check{name, false, why}, nil
	}
	return Check{name, true, fmt.Sprintf("%s signed %s", v.trust.who, p.digest)}, nil
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
