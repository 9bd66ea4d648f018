package registry

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagefactory/imagefactory/factory"
)

// maxConfig bounds an image's configuration, in bytes.
const maxConfig = 8 << 20

// Published reads the manifests and configurations of the image that ref (repository:tag, repository@digest) stands for, and none of its
// layers. Everything is checked against its digest. ErrNotFound when there is no such image, ErrInvalid when it has none of the
// factory's platforms.
func (c *Client) Published(ctx context.Context, ref string) (factory.Published, error) {
	r, err := factory.ParseRef(ref)
	if err != nil {
		return factory.Published{}, err
	}
	s, err := c.open(r.Repository, transport.PullScope)
	if err != nil {
		return factory.Published{}, err
	}
	body, mediaType, err := s.get(ctx, cmp.Or(string(r.Digest), r.Tag))
	if err != nil {
		return factory.Published{}, err
	}
	p := factory.Published{Repository: r.Repository, Digest: factory.DigestOf(body)}
	var index struct {
		MediaType string `json:"mediaType"`
		Manifests []struct {
			descriptor
			Platform struct {
				OS           string `json:"os"`
				Architecture string `json:"architecture"`
			} `json:"platform"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(body, &index); err != nil {
		return p, &factory.Problem{Kind: factory.ErrInvalid, What: ref + " is not a manifest", Cause: err}
	}
	mediaType = cmp.Or(index.MediaType, mediaType)
	if len(index.Manifests) == 0 {
		m, err := s.single(ctx, factory.Manifest{Digest: p.Digest, MediaType: mediaType, Body: body})
		p.Platforms = []factory.Manifest{m}
		return p, err
	}
	p.Index = &factory.Manifest{Digest: p.Digest, MediaType: mediaType, Body: body}
	for _, d := range index.Manifests {
		if _, err := factory.ParsePlatform(d.Platform.OS + "/" + d.Platform.Architecture); err != nil {
			p.Others = append(p.Others, fmt.Sprintf("%s/%s %s", d.Platform.OS, d.Platform.Architecture, d.Digest.Short()))
			continue
		}
		child, mediaType, err := s.get(ctx, string(d.Digest))
		if err != nil {
			return p, err
		}
		m, err := s.single(ctx, factory.Manifest{Digest: d.Digest, MediaType: cmp.Or(d.MediaType, mediaType), Body: child})
		if err != nil {
			return p, err
		}
		p.Platforms = append(p.Platforms, m)
	}
	if len(p.Platforms) == 0 {
		return p, &factory.Problem{Kind: factory.ErrInvalid, What: ref + " has no platform that the factory knows"}
	}
	return p, nil
}

// single adds the configuration and the platform that it names.
func (s *session) single(ctx context.Context, m factory.Manifest) (factory.Manifest, error) {
	var has struct {
		Config descriptor `json:"config"`
	}
	if err := json.Unmarshal(m.Body, &has); err != nil || has.Config.Digest == "" {
		return m, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s is not the manifest of an image", m.Digest), Cause: err}
	}
	if has.Config.Size > maxConfig {
		return m, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("the configuration of %s has %d bytes", m.Digest.Short(), has.Config.Size)}
	}
	var config bytes.Buffer
	if err := s.blob(ctx, has.Config, &config); err != nil {
		return m, err
	}
	m.Config = config.Bytes()
	var says struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	}
	if err := json.Unmarshal(m.Config, &says); err != nil {
		return m, &factory.Problem{Kind: factory.ErrInvalid, What: "the configuration of " + m.Digest.Short(), Cause: err}
	}
	var err error
	m.Platform, err = factory.ParsePlatform(says.OS + "/" + says.Architecture)
	return m, err
}

// Blob writes a blob of a repository, which must have size bytes, and checks its digest. What was written before an error is not to be
// believed.
func (c *Client) Blob(ctx context.Context, repository string, d factory.Digest, size int64, to io.Writer) error {
	s, err := c.open(repository, transport.PullScope)
	if err != nil {
		return err
	}
	return s.blob(ctx, descriptor{Digest: d, Size: size}, to)
}

func (s *session) blob(ctx context.Context, d descriptor, to io.Writer) error {
	if _, err := factory.ParseDigest(string(d.Digest)); err != nil {
		return err
	}
	p := &pull{session: s, layer: d, ref: short(string(d.Digest)), to: to, sum: sha256.New(), quiet: true}
	return p.run(ctx)
}
