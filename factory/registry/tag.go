package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagefactory/imagefactory/factory"
)

// Tag lets tag stand for digest d, which must be in repository already. A tag that stands for d is left alone; one that
// stands for another digest is never moved: ErrUnverified and ErrConflict. The tag is read back.
//
// Registries have no compare-and-set: between two factories that tag at once only the run's lease decides.
func (c *Client) Tag(ctx context.Context, repository string, d factory.Digest, tag factory.Tag) error {
	return c.TagAs(ctx, repository, d, tag.String())
}

// TagAs is Tag for a tag of any grammar. It never moves one either.
func (c *Client) TagAs(ctx context.Context, repository string, d factory.Digest, tag string) error {
	s, err := c.open(repository, transport.PushScope)
	if err != nil {
		return err
	}
	switch held, _, err := s.get(ctx, tag); {
	case err == nil:
		return s.agree(tag, factory.DigestOf(held), d)
	case !errors.Is(err, factory.ErrNotFound):
		return err
	}
	body, mediaType, err := s.get(ctx, string(d))
	if err != nil {
		return err
	}
	if err := s.put(ctx, tag, mediaType, body); err != nil {
		return err
	}
	held, _, err := s.get(ctx, tag)
	if err != nil {
		return err
	}
	return s.agree(tag, factory.DigestOf(held), d)
}

func (s *session) agree(tag string, held, want factory.Digest) error {
	if held == want {
		return nil
	}
	return &factory.Problem{
		Kind:  factory.ErrUnverified,
		What:  fmt.Sprintf("%s:%s stands for %s already, not for %s", s.repo, tag, held, want),
		Hint:  "tags never move; find out who pushed the other image before anything else",
		Cause: factory.ErrConflict,
	}
}
