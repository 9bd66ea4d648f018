package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"sync"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagefactory/imagefactory/factory"
)

// Push sends the image a from its OCI layout to repository, by digest, without a tag, and then verifies that everything
// is there: every manifest is read back and hashed, every blob has its size. What the registry has already is not sent
// again, so a Push that was cut is continued by the next. Layers of a base in the same registry are taken over from there. ErrUnverified when the image on disk or in the registry is
// damaged.
func (c *Client) Push(ctx context.Context, repository string, a factory.Artifact) error {
	s, err := c.open(repository, transport.PushScope)
	if err != nil {
		return err
	}
	parts, err := readLayout(a)
	if err != nil {
		return err
	}
	s.mount = parts.base(s)
	m := &meter{events: c.Events, image: path.Base(repository), message: "push " + repository, total: parts.size()}
	m.report()
	if err := s.each(ctx, parts.blobs, func(ctx context.Context, b blob) error { return s.upload(ctx, b, m) }); err != nil {
		return err
	}
	for _, man := range parts.manifests {
		if err := s.put(ctx, string(man.digest), man.mediaType, man.body); err != nil {
			return err
		}
	}
	return s.verify(ctx, parts)
}

// each runs f for every blob, some at once, and stops all at the first error.
func (s *session) each(ctx context.Context, blobs []blob, f func(context.Context, blob) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	slots := make(chan struct{}, cmp.Or(s.client.Jobs, 4))
	var once sync.Once
	var first error
	for _, b := range blobs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			if err := f(ctx, b); err != nil {
				once.Do(func() { first = err })
				cancel(err)
			}
		})
	}
	wg.Wait()
	if first == nil {
		return context.Cause(ctx)
	}
	return first
}

// upload sends one blob unless the registry has it.
func (s *session) upload(ctx context.Context, b blob, m *meter) error {
	return s.try(ctx, "push "+short(string(b.digest)), func(ctx context.Context) error {
		if size, err := s.head(ctx, b.digest); err == nil && size == b.size {
			m.set(b.digest, b.size)
			return nil
		} else if err != nil && !absent(err) {
			return err
		}
		location, err := s.beginUpload(ctx, b.digest)
		if err != nil {
			return err
		}
		if location == nil {
			m.set(b.digest, b.size)
			return nil
		}
		return s.sendBlob(ctx, location, b, m)
	})
}

// beginUpload returns where to send a blob; nil when the registry took it over from the base's repository. No digest asks for an
// upload in any case.
func (s *session) beginUpload(ctx context.Context, d factory.Digest) (*url.URL, error) {
	at, answers := s.url("blobs/uploads/"), []int{http.StatusAccepted}
	if d != "" && s.mount != "" {
		at.RawQuery = url.Values{"mount": {string(d)}, "from": {s.mount}}.Encode()
		answers = append(answers, http.StatusCreated)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.do(req, answers...)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusCreated {
		return nil, nil
	}
	location, err := resp.Request.URL.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" {
		return nil, fmt.Errorf("the answer to a new upload names no place for it (%.200q)", resp.Header.Get("Location"))
	}
	return location, nil
}

func (s *session) sendBlob(ctx context.Context, location *url.URL, b blob, m *meter) error {
	q := location.Query()
	q.Set("digest", string(b.digest))
	location.RawQuery = q.Encode()
	// The body is opened anew when a token expires on the way.
	open := func() (io.ReadCloser, error) {
		m.set(b.digest, 0)
		f, err := os.Open(b.file)
		return &counted{ReadCloser: f, digest: b.digest, meter: m}, err
	}
	body, err := open()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, location.String(), body)
	if err != nil {
		return errors.Join(err, body.Close())
	}
	req.GetBody = open
	req.ContentLength = b.size
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := s.do(req, http.StatusCreated)
	if err != nil {
		return err
	}
	m.set(b.digest, b.size)
	return resp.Body.Close()
}
