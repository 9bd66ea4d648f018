package registry

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagefactory/imagefactory/factory"
)

// Fetch copies the image d of repository into a new OCI layout in dir, which must not exist. Everything is checked
// against its digest on the way. After an error dir is gone again.
func (c *Client) Fetch(ctx context.Context, repository string, d factory.Digest, dir string) error {
	repo, err := c.repository(repository)
	if err != nil {
		return err
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(c.RoundTripper()), remote.WithAuthFromKeychain(c.keychain())}
	return c.Retry.Do(ctx, repo.RegistryStr(), "fetch "+d.Short(), func(ctx context.Context) error {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return &factory.Problem{Kind: factory.ErrConflict, What: "fetch image", Cause: err}
		}
		index, err := remote.Index(repo.Digest(string(d)), options...)
		if err == nil {
			var to layout.Path
			if to, err = layout.Write(dir, empty.Index); err == nil {
				err = to.AppendIndex(index)
			}
		}
		if err != nil {
			return errors.Join(fmt.Errorf("fetch %s: %w", d.Short(), err), os.RemoveAll(dir))
		}
		return nil
	})
}
