package heartbeat_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/heartbeat"
)

const token = "s3cr3t-t0ken"

var night = heartbeat.Beat{Run: "20261123-020000-abcdef", State: factory.Partial, Verdict: "1 kept (a), 1 failed (b)", Exit: 4, Seconds: 12.5}

// monitor answers with each status in turn, the last one for ever.
func monitor(t *testing.T, statuses ...int) (m heartbeat.Monitor, asked *atomic.Int32, last *atomic.Pointer[http.Request], bodies chan heartbeat.Beat) {
	t.Helper()
	asked, last, bodies = &atomic.Int32{}, &atomic.Pointer[http.Request]{}, make(chan heartbeat.Beat, 9)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1))
		last.Store(r)
		var b heartbeat.Beat
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
			t.Error(err)
		}
		bodies <- b
		w.Header().Set("Location", "http://elsewhere.invalid/"+token)
		w.WriteHeader(statuses[min(n, len(statuses))-1])
	}))
	t.Cleanup(server.Close)
	return heartbeat.Monitor{URL: server.URL + "/" + token, Wait: func(context.Context, time.Duration) error { return nil }}, asked, last, bodies
}

func TestTell(t *testing.T) {
	t.Parallel()
	m, _, last, bodies := monitor(t, 204)
	m.URL += "/{exit}?state={state}"
	if err := m.Tell(t.Context(), night); err != nil {
		t.Fatal(err)
	}
	r := last.Load()
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.URL.Path != "/"+token+"/4" || r.URL.RawQuery != "state=partial" {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	if got := <-bodies; got != night {
		t.Errorf("%+v", got)
	}
}

func TestTries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		statuses []int
		asked    int32
		cause    string // empty = told
	}{
		{"well", []int{200}, 1, ""},
		{"down for a moment", []int{503, 429, 200}, 3, ""},
		{"down", []int{500}, 3, "tried 3 times: it answers 500"},
		{"slow to take it", []int{408, 200}, 2, ""},
		{"not wanted", []int{401}, 1, "tried once: it answers 401"},
		{"gone", []int{404, 200}, 1, "it answers 404"},
		{"elsewhere", []int{302}, 1, "it answers 302, and redirects are not followed"},
	} {
		m, asked, _, _ := monitor(t, c.statuses...)
		err := m.Tell(t.Context(), night)
		if (err == nil) != (c.cause == "") || asked.Load() != c.asked {
			t.Errorf("%s: asked %d times: %v", c.name, asked.Load(), err)
		}
		if err != nil && (!errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), c.cause) || strings.Contains(err.Error(), token)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Whatever goes wrong, the address is not said.
func TestTheAddressIsNotSaid(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	_ = listener.Close()
	quiet, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = quiet.Close() })
	hangup := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(hangup.Close)
	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(stranger.Close)
	stranger.Config.ErrorLog = nil
	unknown := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", Name: token + ".invalid"}
	}}
	for cause, m := range map[string]heartbeat.Monitor{
		"connection refused":             {URL: "http://" + closed + "/" + token},
		"no answer within 20ms":          {URL: "http://" + quiet.Addr().String() + "/" + token, Timeout: 20 * time.Millisecond},
		"the connection broke":           {URL: hangup.URL + "/" + token},
		"its certificate is not trusted": {URL: stranger.URL + "/" + token},
		"its host is not known":          {URL: "https://" + token + ".invalid", Transport: unknown},
		"its address is not a URL":       {URL: "ftp://" + token},
	} {
		m.Wait = func(context.Context, time.Duration) error { return nil }
		err := m.Tell(t.Context(), night)
		if err == nil || !strings.Contains(err.Error(), cause) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", cause, err)
		}
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	m, asked, _, _ := monitor(t, 503)
	ctx, cancel := context.WithCancel(t.Context())
	m.Wait = nil
	cancel()
	if err := m.Tell(ctx, night); err == nil || !strings.Contains(err.Error(), "interrupted") || asked.Load() != 0 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

func TestValid(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"https://monitor.example.com/" + token: true, "http://127.0.0.1:9/x": true, "https://m.example.com/{exit}": true,
		"": false, "monitor.example.com": false, "ftp://h/x": false, "https://": false, "http://h\x7f/": false, "env:NAME": false,
	} {
		if heartbeat.Valid(address) != want {
			t.Errorf("%q: want %v", address, want)
		}
	}
}
