// Package heartbeat tells a monitor how a run ended, so that a run that never was is noticed by the monitor's silence.
//
// Rules: one POST with a small JSON document, tried a few times within a minute; redirects are not followed; the address may
// hold a token, so no error says it, nor anything that was made from it.
package heartbeat

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Beat is what a monitor is told.
type Beat struct {
	// Run is the run's id; empty when it ended before it was recorded: another one held the lease, a definition was wrong.
	Run     string           `json:"run"`
	State   factory.RunState `json:"state"`
	Verdict string           `json:"verdict"`
	Exit    int              `json:"exit"` // the process's exit code; 0 = all is well
	Seconds float64          `json:"seconds"`
}

// Monitor is who is told.
type Monitor struct {
	// URL is where to POST to, http or https. {exit} and {state} in it stand for the beat's own.
	URL string
	// Transport is nil for the usual one, with the environment's proxy.
	Transport http.RoundTripper
	// Timeout is for one try; 0 means 10 seconds.
	Timeout time.Duration
	// Wait waits between tries; nil waits for real.
	Wait func(ctx context.Context, d time.Duration) error
}

// pauses are between tries; there is one try more than pauses.
var pauses = []time.Duration{time.Second, 5 * time.Second}

// Valid reports whether a monitor could be at this URL.
func Valid(address string) bool {
	u, err := url.Parse(filled(address, Beat{}))
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// Tell returns nil once the monitor has taken the beat (2xx). Otherwise the error is ErrUnavailable, or ErrInvalid for an address
// that is none.
func (m Monitor) Tell(ctx context.Context, b Beat) error {
	if !Valid(m.URL) {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "heartbeat: its address is not a URL", Hint: "expected https://…"}
	}
	body, err := json.Marshal(b)
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		cause, again := m.once(ctx, filled(m.URL, b), body)
		if cause == "" {
			return nil
		}
		if !again || try == len(pauses) || m.wait(ctx, pauses[try]) != nil {
			return &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("heartbeat: the monitor was not told, tried %s: %s", times(try+1), cause)}
		}
	}
}

// once is one try. It returns why it was none, and whether another one may do better.
func (m Monitor) once(ctx context.Context, address string, body []byte) (cause string, again bool) {
	timeout := m.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return "its address is not a URL", false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "imagefactory")
	client := http.Client{Transport: m.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return unsaid(err, timeout), true
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return "", false
	case code/100 == 3:
		return fmt.Sprintf("it answers %d, and redirects are not followed", code), false
	default:
		return fmt.Sprintf("it answers %d", code), code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout
	}
}

func (m Monitor) wait(ctx context.Context, d time.Duration) error {
	if m.Wait != nil {
		return m.Wait(ctx, d)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func filled(address string, b Beat) string {
	return strings.NewReplacer("{exit}", strconv.Itoa(b.Exit), "{state}", url.PathEscape(string(b.State))).Replace(address)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
