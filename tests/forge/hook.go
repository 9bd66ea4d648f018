package forge

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
)

// Hook receives webhooks. What Verify does not refuse is kept, each id once.
type Hook struct {
	Log
	Verify func(header http.Header, body []byte) error // nil = everything is taken

	state  sync.Mutex
	counts map[string]int
	bodies []string
}

// Bodies are the accepted bodies, of each id the first, in the order of arrival.
func (h *Hook) Bodies() []string {
	h.state.Lock()
	defer h.state.Unlock()
	return slices.Clone(h.bodies)
}

// Counts says how often each id was accepted.
func (h *Hook) Counts() map[string]int {
	h.state.Lock()
	defer h.state.Unlock()
	return maps.Clone(h.counts)
}

// ServeHTTP implements http.Handler.
func (h *Hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.Log.taken(w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil || r.Method != http.MethodPost:
		http.Error(w, "POST a CloudEvent", http.StatusMethodNotAllowed)
		return
	case h.Verify != nil && h.Verify(r.Header, body) != nil:
		http.Error(w, "the signature is not right", http.StatusUnauthorized)
		return
	}
	h.state.Lock()
	defer h.state.Unlock()
	if h.counts == nil {
		h.counts = map[string]int{}
	}
	id := r.Header.Get("Webhook-Id")
	if h.counts[id]++; h.counts[id] == 1 {
		h.bodies = append(h.bodies, string(body))
	}
	w.WriteHeader(http.StatusAccepted)
}
