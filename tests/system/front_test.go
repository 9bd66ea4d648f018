package system_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// front is a server in front of another one, which can be made to misbehave.
type front struct {
	URL, Addr string
	server    *httptest.Server

	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request) bool
}

// newFront passes everything on to the server at target until set says otherwise.
func newFront(t testing.TB, target string) *front {
	t.Helper()
	to, err := url.Parse(target)
	must(t, err)
	f := &front{}
	proxy := &httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		if strings.HasPrefix(r.In.URL.Path, "/v2/") {
			r.Out.Host = r.In.Host // registries send clients to wherever they were asked at
		}
	}}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		fault := f.fault
		f.mu.Unlock()
		if fault == nil || !fault(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { f.server.CloseClientConnections(); f.server.Close() })
	f.URL, f.Addr = f.server.URL, strings.TrimPrefix(f.server.URL, "http://")
	return f
}

// set chooses the fault: a handler that returns true when it has answered. Nil = none.
func (f *front) set(fault func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// cut ends the connection without an answer.
func cut() { panic(http.ErrAbortHandler) }
