package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// errStalled: no byte went either way for as long as the guard allows.
var errStalled error = stalled{}

// stalled is a net.Error, so that other clients on this transport see a fault of the network.
type stalled struct{}

func (stalled) Error() string   { return "nothing moved" }
func (stalled) Timeout() bool   { return true }
func (stalled) Temporary() bool { return true }

// guard cuts a request on which nothing moves, however long the whole may take, and notes how long a busy registry
// asks to be left alone.
type guard struct {
	next  http.RoundTripper
	stall time.Duration
}

// hint carries a Retry-After from the transport up to the loop that waits.
type hint struct {
	mu    sync.Mutex
	after time.Duration
}

type hintKey struct{}

func (h *hint) set(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.after = max(h.after, d)
}

func (h *hint) get() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.after
}

// RoundTrip implements http.RoundTripper.
func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	watch := time.AfterFunc(g.stall, func() { cancel(errStalled) })
	alive := func() { watch.Reset(g.stall) }
	end := func() { watch.Stop(); cancel(nil) }

	out := req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		out.Body = &watched{ReadCloser: req.Body, ctx: ctx, alive: alive}
	}
	resp, err := g.next.RoundTrip(out)
	if err != nil {
		defer end()
		if c := context.Cause(ctx); errors.Is(c, errStalled) {
			return nil, errStalled
		}
		return nil, err
	}
	if h, ok := req.Context().Value(hintKey{}).(*hint); ok && resp.StatusCode >= 400 {
		h.set(retryAfter(resp.Header))
	}
	alive()
	resp.Body = &watched{ReadCloser: resp.Body, ctx: ctx, alive: alive, end: end}
	return resp, nil
}

// watched reports every read; the end is called once, on Close.
type watched struct {
	io.ReadCloser
	ctx   context.Context
	alive func()
	end   func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && err != io.EOF && errors.Is(context.Cause(w.ctx), errStalled) {
		return n, errStalled
	}
	if n > 0 {
		w.alive()
	}
	return n, err
}

func (w *watched) Close() error {
	err := w.ReadCloser.Close()
	if w.end != nil {
		w.end()
	}
	return err
}

// retryAfter reads both forms of the header. The date form is measured against the registry's own Date, so that no
// clock of ours takes part.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s > 0 && s < 1<<30 {
		return time.Duration(s) * time.Second
	}
	until, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return max(0, until.Sub(now))
}
