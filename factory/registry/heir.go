package registry

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Transport carries requests like next (nil = ggcr's default) and belongs in Client.Transport. When the registry was of
// another process and nobody answers at its address any more, this process serves the folder from then on, until the
// Close of r; the request still fails, as one that is worth trying again. What this process serves itself and can be read off the
// folder takes no connection.
func (r *Running) Transport(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = remote.DefaultTransport
	}
	return heir{next: next, running: r}
}

type heir struct {
	next    http.RoundTripper
	running *Running
}

// RoundTrip implements http.RoundTripper.
func (h heir) RoundTrip(req *http.Request) (*http.Response, error) {
	if own := h.running.serving(); own != nil && req.URL.Host == h.running.addr && req.Context().Err() == nil {
		if resp := own.shelf.answer(req); resp != nil {
			return resp, nil
		}
	}
	resp, err := h.next.RoundTrip(req)
	if errors.Is(err, syscall.ECONNREFUSED) && req.URL.Host == h.running.addr {
		return nil, h.running.inherit(err)
	}
	return resp, err
}

// serving is the registry in this process; nil = another process serves, or nobody.
func (r *Running) serving() *serving {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.own
}

// inherit takes over the registry of a process that has ended, and says so in the error to return.
func (r *Running) inherit(refused error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own != nil || r.closed {
		return refused
	}
	own, err := r.begin()
	if err != nil { // a process that is ending may hold the folder for a moment: trying again can help
		return fmt.Errorf("%w; it cannot be served here: %v", refused, err)
	}
	r.own = own // nil when yet another process was faster
	return fmt.Errorf("%w; the process that served it has ended, and it is served anew", refused)
}
