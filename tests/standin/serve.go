package standin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Handler serves the archive, below any prefix (http.StripPrefix). A mirror list names the host and the prefix that were asked.
// While the archive changes requests wait.
func (a *Archive) Handler() http.Handler {
	static := http.FileServer(http.Dir(a.Dir))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.RLock()
		defer a.mu.RUnlock()
		name := strings.TrimPrefix(r.URL.Path, "/")
		if folder, ok := a.lists[name]; ok {
			w.Header().Set("Content-Type", "text/plain")
			scheme := "http"
			if r.TLS != nil {
				scheme = "https"
			}
			asked, _, _ := strings.Cut(r.RequestURI, "?")
			fmt.Fprintf(w, "%s://%s%s/%s\n", scheme, r.Host, strings.TrimSuffix(asked, "/"+name), folder)
			return
		}
		if strings.Contains("/"+name, "/.") {
			http.NotFound(w, r)
			return
		}
		static.ServeHTTP(w, r)
	})
}

// Serve serves the archive on loopback until the test ends, and returns its root URL, without a slash at the end.
func (a *Archive) Serve(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(a.Handler())
	t.Cleanup(server.Close)
	return server.URL
}
