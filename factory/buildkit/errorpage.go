package buildkit

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// errorPage tells an archive that answers with an error from one that sends something else: BuildKit takes the body of any
// answer for the file when the checksum is pinned, so that a 404 looks like other content.
func (c *Client) errorPage(ctx context.Context, pkgs []factory.Package, err error) error {
	var p *factory.Problem
	if !errors.Is(err, factory.ErrUnverified) || !errors.As(err, &p) {
		return err
	}
	for _, pkg := range pkgs {
		if !strings.HasPrefix(p.What, label(pkg)+": ") || c.Entitlements[pkg.Archive] != (factory.Entitlement{}) {
			continue
		}
		if status := ask(ctx, c.url(pkg)); status != "" {
			return undelivered(label(pkg), "status "+status)
		}
	}
	return err
}

// ask returns the status of an answer that is an error, and nothing when the file is there.
func ask(ctx context.Context, url string) string {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return ""
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 400 {
		return ""
	}
	return resp.Status
}
