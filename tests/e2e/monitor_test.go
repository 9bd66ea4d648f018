package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// monitor takes heartbeats: it writes each as a line, path and document, to a file.
func monitor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: monitor FILE STATUS")
	}
	status, err := strconv.Atoi(args[1])
	ts.Check(err)
	file := ts.MkAbs(args[0])
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		beat, err := io.ReadAll(r.Body)
		if err == nil {
			err = os.WriteFile(file, beat, 0o600)
		}
		if err == nil {
			err = os.WriteFile(file+".path", []byte(r.Method+" "+r.URL.Path+"\n"), 0o600)
		}
		if err != nil {
			w.WriteHeader(http.StatusInsufficientStorage)
			return
		}
		w.WriteHeader(status)
	}))
	ts.Defer(server.Close)
	ts.Setenv("MONITOR", server.URL)
}
