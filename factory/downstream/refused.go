package downstream

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// unsent is why there was no answer, in words of our own: those of net/http hold the address.
func (c *call) unsent(ctx context.Context, err error, timeout time.Duration) error {
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return c.problem(factory.ErrUnavailable, "interrupted", "", context.Cause(ctx))
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return c.problem(factory.ErrUnverified, "its certificate is not trusted on this machine", "install its CA", nil)
	}
	return c.problem(factory.ErrUnavailable, broke(err, timeout), "check servers: … url in factory.yaml, and the network", nil)
}

func broke(err error, timeout time.Duration) string {
	var dns *net.DNSError
	var network net.Error
	switch {
	case errors.As(err, &dns):
		return "its host is not known"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return fmt.Sprintf("no answer within %s", timeout)
	}
	return "the connection broke"
}

// judge makes an error of an answer that is no success. It must be called for what is returned only: it notes how long the server
// asked to be left alone.
func (c *call) judge(a answer) error {
	said := ""
	if m := c.message(a); m != "" {
		said = ": " + m
	}
	answers := fmt.Sprintf("it answers %d%s", a.status, said)
	switch {
	case a.status/100 == 2:
		return nil
	case a.status/100 == 3:
		return c.redirected(a)
	case a.status == http.StatusTooManyRequests, a.status == http.StatusForbidden && limited(a, said):
		if c.after = c.wait(a); c.after == 0 {
			c.after = time.Minute
		}
		return c.problem(factory.ErrUnavailable, answers, fmt.Sprintf("too many requests: it asks for %s of peace", c.after), nil)
	case a.status == http.StatusUnauthorized:
		return c.problem(factory.ErrUnverified, answers, "it does not take the token: has it expired? "+c.need, nil)
	case a.status == http.StatusForbidden:
		return c.problem(factory.ErrUnverified, answers, "the token may not do that: "+c.need, nil)
	case a.status == http.StatusNotFound, a.status == http.StatusGone:
		return c.problem(factory.ErrNotFound, answers, c.what+" is gone, or the token may not see it", nil)
	case a.status == http.StatusConflict:
		return c.problem(factory.ErrConflict, answers, "", nil)
	case a.status >= 500, a.status == http.StatusRequestTimeout, a.status == http.StatusTooEarly:
		c.after = c.wait(a)
		return c.problem(factory.ErrUnavailable, answers, "", nil)
	}
	return c.problem(factory.ErrInvalid, answers, "", nil)
}

// redirected refuses a redirect that was not followed.
func (c *call) redirected(a answer) error {
	to := a.location()
	switch {
	case to == nil:
		return c.problem(factory.ErrInvalid, fmt.Sprintf("it answers %d, and says nowhere to go", a.status), "", nil)
	case to.Scheme != a.url.Scheme || to.Host != a.url.Host:
		return c.problem(factory.ErrInvalid, fmt.Sprintf("it answers %d and redirects to another host, %s, which does not get the token", a.status, c.short(to.Scheme+"://"+to.Host)),
			"if that is right make it the url of this server in factory.yaml", nil)
	}
	return c.problem(factory.ErrInvalid, fmt.Sprintf("it answers %d: moved to %s", a.status, c.short(to.Path)), "write its new name into dependents.yaml", nil)
}

// limited reports whether a 403 is about how much was asked, not about who asks.
func limited(a answer, said string) bool {
	return a.header.Get("Retry-After") != "" || a.header.Get("X-RateLimit-Remaining") == "0" || strings.Contains(strings.ToLower(said), "rate limit")
}

// wait is how long the server asked to be left alone: Retry-After in seconds or as a date, or the end of the rate limit's window.
// At most a day, 0 when it does not say.
func (c *call) wait(a answer) time.Duration {
	const most = 24 * time.Hour
	now, _ := http.ParseTime(a.header.Get("Date"))
	if c.client.Now != nil {
		now = c.client.Now()
	}
	until := func(t time.Time) time.Duration { return min(max(t.Sub(now).Round(time.Second), 0), most) }
	after := a.header.Get("Retry-After")
	if n, err := strconv.ParseUint(after, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, most)
	}
	if t, err := http.ParseTime(after); err == nil && !now.IsZero() {
		return until(t)
	}
	if reset, err := strconv.ParseUint(a.header.Get("X-RateLimit-Reset"), 10, 40); err == nil && a.header.Get("X-RateLimit-Remaining") == "0" && !now.IsZero() {
		return until(time.Unix(int64(reset), 0))
	}
	return 0
}

// message is what a server says itself of its answer, shortened; empty when it says nothing that is meant for people.
func (c *call) message(a answer) string {
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	switch {
	case a.broken != "":
		return ""
	case kind == "text/plain":
		return c.short(string(a.body))
	case kind != "application/json" && !strings.HasSuffix(kind, "+json"):
		return c.short(a.header.Get("X-Error")) // Jenkins, whose bodies are pages
	}
	var said struct {
		Message any   `json:"message"`
		Error   any   `json:"error"`
		Errors  []any `json:"errors"`
	}
	if json.Unmarshal(a.body, &said) != nil {
		return ""
	}
	var parts []string
	for _, part := range append([]any{said.Message, said.Error}, said.Errors...) {
		if text := inWords(part); text != "" {
			parts = append(parts, text)
		}
	}
	return c.short(strings.Join(parts, "; "))
}

// inWords is a piece of JSON for people. GitLab nests its messages, GitHub has errors with a message or with a field and a code.
func inWords(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case map[string]any:
		if m, ok := v["message"].(string); ok {
			return m
		}
	}
	b, _ := json.Marshal(v)
	return string(b)
}
