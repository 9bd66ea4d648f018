package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

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
	var all []string
	for seen := map[string]bool{}; next != nil && !seen[next.String()]; {
		seen[next.String()] = true
		var page []string
		err := s.try(ctx, "list tags", func(ctx context.Context) (err error) {
			page, next, err = s.tagPage(ctx, next)
			return err
		})
		if errors.Is(err, factory.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (s *session) tagPage(ctx context.Context, at *url.URL) (tags []string, next *url.URL, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, at, err
	}
	resp, err := s.do(req, http.StatusOK)
	if err != nil {
		return nil, at, err
	}
	defer resp.Body.Close()
	var page struct {
		Tags []string `json:"tags"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&page); err != nil {
		return nil, at, err
	}
	link, _, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	if !ok {
		return page.Tags, nil, nil
	}
	u, err := at.Parse(link)
	if err != nil || u.Host != at.Host {
		return page.Tags, nil, nil // a page elsewhere is not asked with our credentials
	}
	return page.Tags, u, nil
}

// Ping proves that the registry answers and that the credentials may push to repository, before hours of work depend on
// it. It begins an upload and takes it back.
func (c *Client) Ping(ctx context.Context, repository string) error {
	s, err := c.open(repository, transport.PushScope)
	if err != nil {
		return err
	}
	return s.try(ctx, "ask for the right to push to "+s.repo.RepositoryStr(), func(ctx context.Context) error {
		location, err := s.beginUpload(ctx)
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
