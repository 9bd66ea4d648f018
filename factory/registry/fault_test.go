package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// patient is a client that waits without waiting.
func patient(w *waits) *Client {
	return &Client{Retry: Retry{Sleep: w.sleep, Jitter: func() float64 { return 0 }}, Jobs: 1}
}

func status(w http.ResponseWriter, code int) bool {
	w.WriteHeader(code)
	return true
}

// first lets a fault happen for the first n matching requests.
func first(n int32, match func(*http.Request) bool, fault func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	var count atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) bool {
		return match(r) && count.Add(1) <= n && fault(w, r)
	}
}

func method(m, part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == m && strings.Contains(r.URL.Path, part) }
}

func cutConnection(w http.ResponseWriter, r *http.Request) bool {
	_, _ = io.CopyN(io.Discard, r.Body, 1000)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
	return true
}

// Each fault passes, and the push comes through with waits that are bounded and never zero.
func TestPassingFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault func(http.ResponseWriter, *http.Request) bool
		wait  time.Duration // the first
	}{
		"500 at the ping":             {first(2, method("GET", "/v2/"), func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 500) }), 500 * time.Millisecond},
		"503 at a new upload":         {first(3, method("POST", "/blobs/uploads"), func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 503) }), 500 * time.Millisecond},
		"502 at a manifest":           {first(1, method("PUT", "/manifests/"), func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 502) }), 500 * time.Millisecond},
		"500 when it is read back":    {first(1, method("GET", "/manifests/"), func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 500) }), 500 * time.Millisecond},
		"connection cut in an upload": {first(2, method("PUT", "/blobs/uploads"), cutConnection), 500 * time.Millisecond},
		"connection cut in a HEAD":    {first(3, method("HEAD", "/blobs/"), cutConnection), 500 * time.Millisecond},
		"the upload session is gone": {first(1, method("PUT", "/blobs/uploads"), func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(404)
			_, _ = w.Write([]byte(`{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown to registry"}]}`))
			return true
		}), 500 * time.Millisecond},
		"429 in seconds": {first(1, method("PUT", "/manifests/"), func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "7")
			return status(w, 429)
		}), 7 * time.Second},
		"429 until a date": {first(1, method("HEAD", "/blobs/"), func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Date", "Mon, 23 Nov 2026 10:00:00 GMT")
			w.Header().Set("Retry-After", "Mon, 23 Nov 2026 10:00:42 GMT")
			return status(w, 429)
		}), 42 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := front(t)
			f.set(tc.fault)
			var slept waits
			var seen events
			a := image(t, 100_000)
			c := patient(&slept)
			c.Events = seen.add
			must(t, c.Push(t.Context(), f.host+"/base/x", a))
			all := slept.list()
			if len(all) == 0 || all[0] != tc.wait {
				t.Errorf("waits %v, want %s first", all, tc.wait)
			}
			warned := 0
			for _, e := range seen.all {
				if e.Kind == factory.Warned && strings.Contains(e.Message, f.host) {
					warned++
				}
			}
			if warned != len(all) {
				t.Errorf("%d waits, %d of them told", len(all), warned)
			}
			f.set(nil)
			whole(t, f.host+"/base/x@"+string(a.Digest))
		})
	}
}

// Each fault stays: the push ends in bounded time with an error that names the host, and nothing is tagged.
func TestLastingFaults(t *testing.T) {
	t.Parallel()
	always := int32(1 << 30)
	for name, tc := range map[string]struct {
		fault func(http.ResponseWriter, *http.Request) bool
		kind  error
		says  string
	}{
		"500 always":        {first(always, method("", ""), nil), nil, ""},
		"500 for manifests": {first(always, method("PUT", "/manifests/"), func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 500) }), factory.ErrUnavailable, "tried 8 times"},
		"429 for an hour": {first(always, method("POST", "/blobs/"), func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "3600")
			return status(w, 429)
		}), factory.ErrUnavailable, "asks for 1h0m0s more"},
		"refused as too large": {first(always, method("PUT", "/blobs/uploads"), func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			return status(w, 413)
		}), factory.ErrInvalid, "413"},
		"another digest is claimed": {first(always, method("HEAD", "/blobs/"), func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Docker-Content-Digest", string(factory.DigestOf(nil)))
			return status(w, 200)
		}), factory.ErrUnverified, "is answered with"},
		"another manifest is served": {first(always, method("GET", "/manifests/sha256"), func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write([]byte(`{"schemaVersion":2}`))
			return true
		}), factory.ErrUnverified, "got bytes of"},
		"a manifest without end": {first(always, method("GET", "/manifests/sha256"), func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write(make([]byte, maxManifest+2))
			return true
		}), factory.ErrUnverified, "larger than"},
		"a manifest is swallowed": {first(always, method("PUT", "/manifests/"), func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 201) }), factory.ErrUnverified, "not there after the push"},
		"a blob is swallowed": {func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case method("PUT", "/blobs/uploads")(r):
				_, _ = io.Copy(io.Discard, r.Body)
				return status(w, 201)
			case method("PUT", "/manifests/")(r):
				return status(w, 201)
			}
			return false
		}, factory.ErrUnverified, "not there after the push"},
		"no place for an upload": {first(always, method("POST", "/blobs/"), func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 202) }), factory.ErrUnavailable, "names no place"},
	} {
		if tc.kind == nil {
			tc.fault = func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 500) }
			tc.kind, tc.says = factory.ErrUnavailable, "tried 8 times, waited 1m1.5s"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := front(t)
			f.set(tc.fault)
			var slept waits
			err := patient(&slept).Push(t.Context(), f.host+"/base/x", image(t, 1000))
			if !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), f.host) {
				t.Errorf("push: %v", err)
			}
			var sum time.Duration
			for _, d := range slept.list() {
				sum += d
			}
			if sum > 3*time.Minute {
				t.Errorf("slept %s", sum)
			}
		})
	}
}

// A blob that the registry has cut short is noticed.
func TestTruncatedBlob(t *testing.T) {
	t.Parallel()
	f := front(t)
	a := image(t, 100_000)
	repo := f.host + "/base/x"
	must(t, (&Client{}).Push(t.Context(), repo, a))

	var slept waits
	f.set(first(1<<30, method("HEAD", "/blobs/"), func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", "10")
		return status(w, 200)
	}))
	if err := patient(&slept).Push(t.Context(), repo, a); !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), "has 10 bytes instead of") {
		t.Errorf("other size: %v", err)
	}
}

// hold takes a connection and says nothing on it until the test ends.
func hold(t *testing.T) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return true
		}
		t.Cleanup(func() { conn.Close() })
		if strings.Contains(r.URL.Path, "/manifests/") {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
		}
		return true
	}
}

// A registry that takes the connection and then says nothing does not hold the factory for ever.
func TestStall(t *testing.T) {
	t.Parallel()
	for name, match := range map[string]func(*http.Request) bool{
		"upload": method("PUT", "/blobs/uploads"), "answer": method("GET", "/manifests/"), "ping": method("GET", "/v2/"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := front(t)
			f.set(first(1, match, hold(t)))
			var slept waits
			c := patient(&slept)
			c.Stall = 100 * time.Millisecond
			must(t, c.Push(t.Context(), f.host+"/base/x", image(t, 3_000_000)))
			if len(slept.list()) == 0 {
				t.Error("the stall went unnoticed")
			}
		})
	}
	f := front(t)
	f.set(hold(t))
	var slept waits
	c := patient(&slept)
	c.Stall, c.Retry.Attempts = 20*time.Millisecond, 2
	if err := c.Ping(t.Context(), f.host+"/base/x"); !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "nothing moved") {
		t.Errorf("ping: %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	f := front(t)
	f.set(func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 500) })
	stop := errors.New("the user pressed Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := &Client{Retry: Retry{First: time.Hour, Max: time.Hour, Budget: 24 * time.Hour}, Events: func(e factory.Event) {
		if e.Kind == factory.Warned {
			cancel(stop)
		}
	}}
	if err := c.Push(ctx, f.host+"/base/x", image(t, 1000)); !errors.Is(err, stop) {
		t.Errorf("push: %v", err)
	}
	if err := c.Ping(ctx, f.host+"/base/x"); !errors.Is(err, stop) {
		t.Errorf("ping with a context that ended: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	var slept waits
	c := patient(&slept)
	err := c.Ping(t.Context(), "127.0.0.1:1/base/x")
	if !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") || len(slept.list()) != 7 {
		t.Errorf("after %d waits: %v", len(slept.list()), err)
	}
	err = c.Ping(t.Context(), "no-such-host.invalid/base/x")
	if !errors.Is(err, factory.ErrUnavailable) {
		t.Errorf("unknown host: %v", err)
	}
}

func TestRetryDelays(t *testing.T) {
	t.Parallel()
	r := Retry{Jitter: func() float64 { return 0.999 }}
	var last time.Duration
	for try := 1; try < 12; try++ {
		d := r.delay(try)
		if d < last || d > 38*time.Second {
			t.Errorf("wait %d is %s after %s", try, d, last)
		}
		last = d
	}
	if err := (Retry{First: time.Microsecond}).sleep(t.Context(), time.Microsecond); err != nil {
		t.Errorf("a real wait: %v", err)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("7", "")
	f.Add("Mon, 23 Nov 2026 10:00:42 GMT", "Mon, 23 Nov 2026 10:00:00 GMT")
	f.Add("-1", "soon")
	f.Add("99999999999999999999", "")
	f.Fuzz(func(t *testing.T, after, date string) {
		if d := retryAfter(http.Header{"Retry-After": {after}, "Date": {date}}); d < 0 {
			t.Errorf("a wait of %s", d)
		}
	})
}
