package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagefactory/imagefactory/factory"
)

// verify proves that the registry holds what was pushed.
func (s *session) verify(ctx context.Context, parts content) error {
	for _, m := range parts.manifests {
		if _, _, err := s.get(ctx, string(m.digest)); err != nil {
			return lost(s.host(), m.digest, err)
		}
	}
	return s.each(ctx, parts.blobs, func(ctx context.Context, b blob) error {
		var size int64
		err := s.try(ctx, "check "+short(string(b.digest)), func(ctx context.Context) (err error) {
			size, err = s.head(ctx, b.digest)
			return err
		})
		if err != nil {
			return lost(s.host(), b.digest, err)
		}
		if size != b.size {
			return unlike(s.host(), b.digest, fmt.Sprintf("has %d bytes instead of %d", size, b.size))
		}
		return nil
	})
}

// head returns the size that the registry claims for a blob.
func (s *session) head(ctx context.Context, d factory.Digest) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, s.url("blobs/"+string(d)).String(), nil)
	if err != nil {
		return 0, err
	}
	resp, err := s.do(req, http.StatusOK)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if claimed := resp.Header.Get("Docker-Content-Digest"); claimed != "" && claimed != string(d) {
		return 0, unlike(s.host(), d, fmt.Sprintf("is answered with %.80q", claimed))
	}
	return resp.ContentLength, nil
}

// lost turns "not found" of something that was just pushed into what it means.
func lost(host string, d factory.Digest, err error) error {
	if errors.Is(err, factory.ErrNotFound) {
		return unlike(host, d, "is not there after the push")
	}
	return err
}

func unlike(host string, d factory.Digest, why string) error {
	return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("registry %s: %s %s", host, d, why), Hint: "nothing was tagged; the registry holds or serves a damaged copy"}
}

func absent(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}
