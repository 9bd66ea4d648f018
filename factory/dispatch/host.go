package dispatch

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// host is a machine that servers are on, with the room that it has for calls.
type host struct {
	perMinute float64
	tokens    float64
	at        time.Time // when tokens were counted
	flying    int
	failures  int // in a row, of the kind that says that it is down
	paused    time.Time
}

// host returns a server's. Two servers on one host share its room, and the smaller rate counts.
func (d *Dispatcher) host(s factory.Server) (*host, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("server %s has no URL", s.ID)
	}
	name, rate := strings.ToLower(u.Host), float64(cmp.Or(s.PerMinute, 60))
	h := d.hosts[name]
	if h == nil {
		h = &host{perMinute: rate, at: d.Now()}
		h.tokens = h.most()
		d.hosts[name] = h
	}
	h.perMinute = min(h.perMinute, rate)
	return h, nil
}

// most is how many calls may come at once after a rest: those of ten seconds.
func (h *host) most() float64 { return max(1, h.perMinute/6) }

// fill adds what came with time. A clock that ran back brings nothing, and takes nothing.
func (h *host) fill(now time.Time) {
	if passed := now.Sub(h.at); passed > 0 {
		h.tokens += passed.Minutes() * h.perMinute
	}
	h.tokens, h.at = min(h.tokens, h.most()), now
}

// has reports whether there is room for n calls.
func (h *host) has(now time.Time, n int) bool {
	h.fill(now)
	return h.tokens >= float64(n)-1e-9 // sums of parts of a token are never quite a whole one
}

func (h *host) take(now time.Time) {
	h.fill(now)
	h.tokens--
}

// turn is when there is room for a call.
func (h *host) turn(now time.Time) time.Time {
	h.fill(now)
	if h.tokens >= 1-1e-9 {
		return now
	}
	return now.Add(time.Duration((1 - h.tokens) / h.perMinute * float64(time.Minute)))
}
