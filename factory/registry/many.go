package registry

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagefactory/imagefactory/factory"
)

// Answer is what a registry says of one reference.
type Answer struct {
	Digest factory.Digest // that it stands for
	Err    error          // as of Resolve
	// Unasked is set when the registry had stopped answering before it was this one's turn. Err says since when.
	Unasked bool
}

// ResolveAll is Resolve of many references of one registry, several at a time. The answers are in the order of the references. A registry
// that leaves several of them in a row unanswered is not asked about the rest.
func (c *Client) ResolveAll(ctx context.Context, refs []string) []Answer {
	asking := *c
	asking.Transport = &greeted{next: c.Transport, heard: map[string]*greeting{}}
	answers := make([]Answer, len(refs))
	silent := &silence{}
	turns := make(chan int)
	var work sync.WaitGroup
	for range min(cmp.Or(c.Jobs, 4), len(refs)) {
		work.Go(func() {
			for i := range turns {
				if err := cmp.Or(context.Cause(ctx), silent.gone()); err != nil {
					answers[i] = Answer{Err: err, Unasked: true}
					continue
				}
				a := &answers[i]
				a.Digest, a.Err = asking.Resolve(ctx, refs[i])
				silent.note(a.Err)
			}
		})
	}
	for i := range refs {
		turns <- i
	}
	close(turns)
	work.Wait()
	return answers
}

// greeted remembers how a registry greets, which is the same for all of its repositories: clients ask that anew for each of them.
type greeted struct {
	next  http.RoundTripper // nil = ggcr's default
	mu    sync.Mutex
	heard map[string]*greeting // by scheme and host
}

// greeting is the answer of a registry to the question whether it is one.
type greeting struct {
	status int
	header http.Header
	body   []byte
}

// errPlain: the registry was greeted by plain HTTP already, after it could not be by TLS.
var errPlain = errors.New("it speaks plain HTTP")

// RoundTrip implements http.RoundTripper.
func (g *greeted) RoundTrip(req *http.Request) (*http.Response, error) {
	next := g.next
	if next == nil {
		next = remote.DefaultTransport
	}
	if req.URL.Path != "/v2/" || req.Method != http.MethodGet || req.Header.Get("Authorization") != "" {
		return next.RoundTrip(req)
	}
	at := req.URL.Scheme + "://" + req.URL.Host
	switch known, plain := g.known(at), g.known("http://"+req.URL.Host); {
	case known != nil:
		return known.response(req), nil
	case plain != nil:
		return nil, errPlain
	}
	resp, err := next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest))
	if err != nil {
		return nil, err
	}
	heard := &greeting{resp.StatusCode, resp.Header, body}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heard[at] = heard
	return heard.response(req), nil
}

func (g *greeted) known(at string) *greeting {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heard[at]
}

func (g *greeting) response(req *http.Request) *http.Response {
	return &http.Response{Status: http.StatusText(g.status), StatusCode: g.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: g.header.Clone(),
		Body: io.NopCloser(bytes.NewReader(g.body)), ContentLength: int64(len(g.body)), Request: req}
}
