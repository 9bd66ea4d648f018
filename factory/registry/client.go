package registry

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagefactory/imagefactory/factory"
)

// Resolve returns the digest that ref (repository:tag, repository@digest, or both) stands for. A digest is looked up too,
// and its bytes are checked. ErrNotFound when there is no such image.
func (c *Client) Resolve(ctx context.Context, ref string) (factory.Digest, error) {
	r, err := factory.ParseRef(ref)
	if err != nil {
		return "", err
	}
	s, err := c.open(r.Repository, transport.PullScope)
	if err != nil {
		return "", err
	}
	body, _, err := s.get(ctx, cmp.Or(string(r.Digest), r.Tag))
	if err != nil {
		return "", err
	}
	return factory.DigestOf(body), nil
}

// Tags returns every tag of repository, sorted. A repository that does not exist yet has none.
func (c *Client) Tags(ctx context.Context, repository string) ([]string, error) {
	s, err := c.open(repository, transport.PullScope)
	if err != nil {
		return nil, err
	}
	next := s.url("tags/list")
	next.RawQuery = "n=1000"
	all, _, err := s.names(ctx, "list tags", next)
	if errors.Is(err, factory.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(all)
	return all, nil
}

// Ping proves that the registry answers and that the credentials may push to repository, before hours of work depend on
// it. It begins an upload and takes it back.
func (c *Client) Ping(ctx context.Context, repository string) error {
	s, err := c.open(repository, transport.PushScope)
	if err != nil {
		return err
	}
	return s.try(ctx, "ask for the right to push to "+s.repo.RepositoryStr(), func(ctx context.Context) error {
		location, err := s.beginUpload(ctx, "")
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, location.String(), nil)
		if err != nil {
			return err
		}
		// Registries may forget uploads by themselves; taking it back is a courtesy.
		if resp, err := s.do(req, http.StatusNoContent, http.StatusAccepted, http.StatusOK); err == nil {
			resp.Body.Close()
		}
		return nil
	})
}
