package git

import (
	"context"
	"errors"

	"github.com/imagefactory/imagefactory/factory"
)

// Committed returns what HEAD holds at a path. It returns false when HEAD does not have it, or there is no commit.
func (r Repo) Committed(ctx context.Context, path string) ([]byte, bool, error) {
	out, err := r.run(ctx, call{args: []string{"ls-tree", "-z", "--name-only", "HEAD", "--", path}})
	if err != nil || out == "" {
		if errors.Is(err, factory.ErrUnavailable) {
			return nil, false, err
		}
		return nil, false, nil
	}
	out, err = r.run(ctx, call{args: []string{"cat-file", "blob", "HEAD:./" + path}})
	return []byte(out), err == nil, err
}
