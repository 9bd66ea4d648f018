package cosign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/sigstore/cosign/v2/pkg/oci"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"

	"github.com/imagefactory/imagefactory/factory"
)

// Remote says how registries are reached. The zero value uses the user's docker credentials.
type Remote struct {
	Transport http.RoundTripper // nil = ggcr's default
	Keychain  authn.Keychain    // nil = those of docker and podman, credential helpers included
	Insecure  []string          // hosts that are spoken to by plain HTTP; loopback always may be
	// Retry runs one piece of work against a host until it succeeds or patience ends. Nil = ggcr's own: three attempts.
	Retry func(ctx context.Context, host, what string, f func(context.Context) error) error
}

func (r Remote) repository(s string) (name.Repository, error) {
	ref, err := factory.ParseRepository(s)
	if err != nil {
		return name.Repository{}, err
	}
	opts := []name.Option{name.StrictValidation}
	if ref.On(r.Insecure) {
		opts = append(opts, name.Insecure)
	}
	repo, err := name.NewRepository(s, opts...)
	if err != nil {
		return name.Repository{}, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("repository %.120q", s), Cause: err}
	}
	return repo, nil
}

func (r Remote) options(ctx context.Context) []remote.Option {
	opts := []remote.Option{remote.WithContext(ctx), remote.WithUserAgent("imagefactory")}
	if r.Keychain != nil {
		opts = append(opts, remote.WithAuthFromKeychain(r.Keychain))
	} else {
		opts = append(opts, remote.WithAuthFromKeychain(authn.DefaultKeychain))
	}
	if r.Transport != nil {
		opts = append(opts, remote.WithTransport(r.Transport))
	}
	if r.Retry != nil {
		opts = append(opts, remote.WithRetryBackoff(remote.Backoff{Steps: 1}), remote.WithRetryStatusCodes())
	}
	return opts
}

// try runs f under the retry rules and translates what is left of its error.
func (r Remote) try(ctx context.Context, repo name.Repository, what string, f func(context.Context) error) error {
	var err error
	if r.Retry != nil {
		err = r.Retry(ctx, repo.RegistryStr(), what, f)
	} else {
		err = f(ctx)
	}
	var ours *factory.Problem
	if err == nil || errors.As(err, &ours) || ctx.Err() != nil {
		return err
	}
	p := &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("registry %s: %s", repo.RegistryStr(), what), Cause: err}
	var answer *transport.Error
	if errors.As(err, &answer) {
		switch answer.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			p.Kind, p.Hint = factory.ErrInvalid, "docker login "+repo.RegistryStr()
		case http.StatusNotFound:
			p.Kind = factory.ErrNotFound
		}
	}
	return p
}

// frozen explains why a registry refuses to write an attachment a second time. There is no status for it: Harbor says 412,
// ECR says 400 and "immutable", others say 409 or "cannot be overwritten".
func frozen(tag name.Tag, err error) error {
	var answer *transport.Error
	if !errors.As(err, &answer) || answer.StatusCode < 400 || answer.StatusCode >= 500 {
		return err
	}
	says := strings.ToLower(answer.Error())
	if answer.StatusCode != http.StatusConflict && answer.StatusCode != http.StatusPreconditionFailed &&
		!strings.Contains(says, "immutable") && !strings.Contains(says, "overwrit") {
		return err
	}
	return &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("registry %s: %s is there already, and its tags are immutable", tag.RegistryStr(), tag),
		Hint: "exempt sha256-*.sig and sha256-*.att from that rule: what is said about an image grows; the tags of releases may stay immutable", Cause: err}
}

// kinds of attachment: the ends of their tags.
const (
	signatures   = "sig"
	attestations = "att"
)

func attachmentTag(repo name.Repository, d factory.Digest, kind string) name.Tag {
	return repo.Tag("sha256-" + d.Hex() + "." + kind)
}

// How much is read of what hangs on a digest, in bytes: anybody may have put it there. One that is larger counts as
// unreadable; that all of them together are larger is an error.
const (
	maxAttestation = 64 << 20
	maxAttached    = 256 << 20
)

// attached returns what hangs on a digest: none when there is nothing.
func (r Remote) attached(ctx context.Context, repo name.Repository, d factory.Digest, kind string) (all []oci.Signature, err error) {
	err = r.try(ctx, repo, fmt.Sprintf("read sha256:%s.%s", d.Short(), kind), func(ctx context.Context) error {
		image, err := ociremote.Signatures(attachmentTag(repo, d, kind), ociremote.WithRemoteOptions(r.options(ctx)...))
		if err != nil {
			return unreadable(err)
		}
		found, err := image.Get()
		if err != nil {
			return unreadable(err)
		}
		var work []func() (oci.Signature, error)
		var total int64
		for _, s := range found {
			size, err := s.Size()
			if err != nil {
				return unreadable(err)
			}
			if size <= maxAttestation {
				total += size
			}
			work = append(work, func() (oci.Signature, error) { return fetched(s, size) })
		}
		if total > maxAttached {
			return unreadable(fmt.Errorf("%d MB hang there", total>>20))
		}
		all, err = together(work)
		return err
	})
	return all, err
}

// unreadable tells what the network did from what somebody put into the registry: asking again for junk does not help.
func unreadable(err error) error {
	var (
		answer *transport.Error
		wire   net.Error
	)
	if errors.As(err, &answer) || errors.As(err, &wire) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return err
	}
	return &factory.Problem{Kind: factory.ErrUnverified, What: "it is not readable", Cause: err}
}

// fetched reads a signature's payload now, while a failure of the network can still be told from a bad signature.
func fetched(s oci.Signature, size int64) (oci.Signature, error) {
	if size > maxAttestation {
		return held{attachment: s, err: fmt.Errorf("%d MB are too many to read", size>>20)}, nil
	}
	text, err := s.Payload()
	if err != nil {
		if err = unreadable(err); !errors.Is(err, factory.ErrUnverified) {
			return nil, err
		}
	}
	return held{attachment: s, payload: text, err: err}, nil
}

type attachment = oci.Signature

// held is a signature whose payload is here, or cannot be.
type held struct {
	attachment
	payload []byte
	err     error
}

// Payload implements oci.Signature.
func (h held) Payload() ([]byte, error) { return h.payload, h.err }
