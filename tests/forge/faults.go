package forge

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Serve serves on loopback until the test ends, and returns the URL.
func Serve(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// Request is one that came in.
type Request struct {
	Method, Path, Query string // Path as it was sent, escaped
	Header              http.Header
	Body                string
}

// Log keeps what came in, and answers in the server's place when it is told to.
type Log struct {
	mu       sync.Mutex
	requests []Request
	next     []http.HandlerFunc
}

// Next has the next requests answered by these, one each, instead of by the server. nil lets one through.
func (l *Log) Next(answers ...http.HandlerFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = append(l.next, answers...)
}

// Drop forgets the answers of Next that were not needed.
func (l *Log) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = nil
}

// Requests are all that came in so far, those too that were answered by Next.
func (l *Log) Requests() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Request(nil), l.requests...)
}

// taken notes a request. It reports whether it was answered already.
func (l *Log) taken(w http.ResponseWriter, r *http.Request) bool {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	path, _, _ := strings.Cut(r.RequestURI, "?")
	l.mu.Lock()
	l.requests = append(l.requests, Request{Method: r.Method, Path: path, Query: r.URL.RawQuery, Header: r.Header.Clone(), Body: string(body)})
	var answer http.HandlerFunc
	if len(l.next) > 0 {
		answer, l.next = l.next[0], l.next[1:]
	}
	l.mu.Unlock()
	if answer != nil {
		answer(w, r)
	}
	return answer != nil
}

// Status answers a status, with header names and values in turn. A body that begins with { is JSON, another one plain text.
func Status(code int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if strings.HasPrefix(body, "{") {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
		}
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// Silent accepts a request and never answers.
func Silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// Hanging answers a status and the first bytes of a body, and never ends.
func Hanging(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// Cut breaks the connection, after a part of an answer when there is one.
func Cut(code int, part string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if code > 0 {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", fmt.Sprint(len(part)+100))
			w.WriteHeader(code)
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

// Huge answers a body of so many bytes of JSON.
func Huge(code, size int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"message":"%s"}`, strings.Repeat("x", size))
	}
}

// Echo answers a status and everything that the client said, as a proxy's page for debugging would.
func Echo(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Location", "/"+r.Header.Get("Authorization"))
		w.WriteHeader(code)
		user, password, _ := r.BasicAuth()
		_, _ = fmt.Fprintf(w, "%s %s %s %s %s", r.Header.Get("Authorization"), user, password, r.URL, body)
	}
}
