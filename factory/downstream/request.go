package downstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	agent   = "imagefactory"
	maxHops = 5
	// maxAnswer is what an answer may have in bytes where nobody says otherwise.
	maxAnswer = 1 << 20
)

// request is one request below the server's URL.
type request struct {
	method string
	path   string // escaped, with a slash before it
	query  url.Values
	header http.Header
	body   []byte
	tells  bool  // it is the telling itself, and carries the idempotency key
	limit  int64 // of the answer; 0 = maxAnswer
}

// answer is what a server said.
type answer struct {
	url    *url.URL // that said it
	status int
	header http.Header
	body   []byte
	broken string // why the body is not whole; empty = it is
}

// send sends a request and follows what redirects it may. Any status is an answer; only none at all is an error.
func (c *call) send(ctx context.Context, r request) (answer, error) {
	address, err := url.Parse(c.root.String() + r.path)
	if err != nil {
		return answer{}, c.problem(factory.ErrInvalid, "no URL can be made of "+r.path, "", nil)
	}
	address.RawQuery = r.query.Encode()
	for hop := 0; ; hop++ {
		a, err := c.once(ctx, r, address)
		if err != nil {
			return answer{}, err
		}
		next := a.next(r.method)
		if next == nil {
			return a, nil
		}
		if hop == maxHops {
			return answer{}, c.problem(factory.ErrUnavailable, fmt.Sprintf("it redirects more than %d times", maxHops), "", nil)
		}
		address = next
	}
}

func (c *call) once(ctx context.Context, r request, address *url.URL) (answer, error) {
	timeout := c.client.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(within, r.method, address.String(), bytes.NewReader(r.body))
	if err != nil {
		return answer{}, c.problem(factory.ErrInvalid, "no request can be made of "+r.path, "", nil)
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", agent)
	if r.tells {
		req.Header.Set("Idempotency-Key", c.notice.Trigger.Key)
		req.GetBody = nil // or net/http would send it again by itself when a connection breaks, because of that header
	}
	transport := c.client.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	resp, err := transport.RoundTrip(req) // no http.Client: it would follow redirects, or refuse odd ones in words of its own
	if err != nil {
		return answer{}, c.unsent(ctx, err, timeout)
	}
	defer resp.Body.Close()
	a := answer{url: address, status: resp.StatusCode, header: resp.Header}
	limit := r.limit
	if limit == 0 {
		limit = maxAnswer
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case int64(len(a.body)) > limit:
		a.body, a.broken = a.body[:limit], fmt.Sprintf("its answer has more than %d bytes", limit)
	case err != nil:
		a.broken = "its answer broke off: " + broke(err, timeout)
	}
	return a, nil
}

// next is where a redirect may be followed to: to the same host, and what is not GET only when the same request is asked for again.
// nil when there is none, or it may not.
func (a answer) next(method string) *url.URL {
	switch a.status {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if method != http.MethodGet {
			return nil
		}
	default:
		return nil
	}
	to := a.location()
	if to == nil || to.Scheme != a.url.Scheme || to.Host != a.url.Host {
		return nil
	}
	to.User, to.Fragment = nil, ""
	return to
}

// location is where the answer points to, or nil.
func (a answer) location() *url.URL {
	l := a.header.Get("Location")
	if l == "" {
		return nil
	}
	to, err := a.url.Parse(l)
	if err != nil {
		return nil
	}
	return to
}

// ask sends a request whose answer must be a success, and reads the answer into v unless that is nil.
func (c *call) ask(ctx context.Context, r request, v any) (answer, error) {
	a, err := c.send(ctx, r)
	if err != nil {
		return a, err
	}
	if err := c.judge(a); err != nil {
		return a, err
	}
	if v == nil {
		return a, nil
	}
	return a, c.read(a, v)
}

// read reads an answer that nothing can go on without.
func (c *call) read(a answer, v any) error {
	if a.broken != "" {
		return c.problem(factory.ErrUnavailable, a.broken, "", nil)
	}
	if json.Unmarshal(a.body, v) != nil {
		return c.problem(factory.ErrUnavailable, fmt.Sprintf("its answer %d is not the JSON that was expected", a.status), "is servers: … url in factory.yaml the API's?", nil)
	}
	return nil
}
