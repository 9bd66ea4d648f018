package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagefactory/imagefactory/factory"
)

// What is believed of a registry's lists. A list that goes on is cut there, and that is said.
const (
	maxPage  = 16 << 20
	maxPages = 10_000
	maxNames = 200_000
)

// Catalogue is what a registry says it has.
type Catalogue struct {
	Repositories []string // with the registry's host, sorted, each once
	Odd          int      // names that are none, left out
	Cut          string   // why there may be more; empty = that is all
}

// Catalogue returns the repositories of a registry whose path is prefix or lies below it; all of them when prefix is empty. Many
// registries have no catalogue, or show it to nobody: ErrNotFound.
func (c *Client) Catalogue(ctx context.Context, registry, prefix string) (Catalogue, error) {
	s, err := c.open(registry+"/catalogue", transport.CatalogScope)
	if err != nil {
		return Catalogue{}, err
	}
	first := s.url("")
	first.Path = "/v2/_catalog" // pages as long as it likes: asked for longer ones, some refuse
	names, cut, err := s.names(ctx, "read the catalogue", first)
	var answer *transport.Error
	switch {
	case errors.As(err, &answer) && (answer.StatusCode < 500 && !busy(answer.StatusCode)) || errors.Is(err, factory.ErrNotFound):
		return Catalogue{}, &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("registry %s shows no catalogue of its repositories", registry), Cause: err,
			Hint: "list them yourself, one a line: --repositories FILE, or --repositories - to read them from stdin"}
	case err != nil:
		return Catalogue{}, err
	}
	all := Catalogue{Cut: cut}
	for _, name := range names {
		if prefix != "" && name != prefix && !strings.HasPrefix(name, prefix+"/") {
			continue
		}
		if _, err := factory.ParseRepository(registry + "/" + name); err != nil {
			all.Odd++
			continue
		}
		all.Repositories = append(all.Repositories, registry+"/"+name)
	}
	slices.Sort(all.Repositories)
	return all, nil
}

// names reads a list page by page, each name once. It stops where the list goes round or has no end, and says why it did: cut is
// empty when it was read whole. An answer of the registry that cannot be helped is returned as it came.
func (s *session) names(ctx context.Context, what string, next *url.URL) (all []string, cut string, err error) {
	seen, asked := map[string]bool{}, map[string]bool{}
	for pages := 1; next != nil; pages++ {
		asked[next.String()] = true
		at, fresh := next, 0
		var page []string
		err := s.try(ctx, what, func(ctx context.Context) (err error) {
			page, next, cut, err = s.namePage(ctx, at)
			return err
		})
		if err != nil {
			return all, "", err
		}
		for _, name := range page {
			if seen[name] {
				continue
			}
			if len(all) >= maxNames {
				return all, fmt.Sprintf("its list does not end within %d names", maxNames), nil
			}
			seen[name], all, fresh = true, append(all, name), fresh+1
		}
		switch {
		case cut != "":
			return all, cut, nil
		case next == nil:
		case asked[next.String()]:
			return all, "its list goes round: a page names one before it as the next", nil
		case fresh == 0:
			return all, "its list goes on without anything new", nil
		case pages >= maxPages:
			return all, fmt.Sprintf("its list does not end within %d names on %d pages", len(all), pages), nil
		}
	}
	return all, "", nil
}

// namePage reads one page of a catalogue or of a list of tags. cut is why the list goes on and is not followed.
func (s *session) namePage(ctx context.Context, at *url.URL) (names []string, next *url.URL, cut string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, nil, "", err
	}
	resp, err := s.do(req, http.StatusOK)
	if err != nil {
		return nil, nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
	if err != nil {
		return nil, nil, "", err
	}
	var page struct {
		Repositories []string `json:"repositories"`
		Tags         []string `json:"tags"`
	}
	if len(body) > maxPage {
		err = fmt.Errorf("it is larger than %d bytes", maxPage)
	} else {
		err = json.Unmarshal(body, &page)
	}
	if err != nil {
		return nil, nil, "", &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("registry %s: %s is no list of names", s.host(), at.Path), Cause: err}
	}
	next, cut = nextPage(at, resp.Header.Get("Link"))
	return append(page.Repositories, page.Tags...), next, cut, nil
}

// nextPage is where a list goes on; nil = nowhere, or where our credentials have no business, and then cut says so.
func nextPage(at *url.URL, link string) (next *url.URL, cut string) {
	link, _, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok {
		return nil, ""
	}
	u, err := at.Parse(link)
	if err != nil || u.Host != at.Host || u.Scheme != at.Scheme {
		return nil, "its list goes on at another address, which is not asked: a proxy may have to pass the host and scheme on"
	}
	return u, ""
}
