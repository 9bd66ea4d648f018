package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// receiver takes webhooks. It keeps the newest in FILE and a line for each, with its path and whether it was signed, in FILE.log. It
// answers the status that stands in FILE.status, or 202. CONFIG names it as a server.
func receiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: receiver FILE CONFIG")
	}
	file := ts.MkAbs(args[0])
	var mu sync.Mutex
	take := func(r *http.Request) (status int, err error) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return 0, err
		}
		log, err := os.OpenFile(file+".log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return 0, err
		}
		defer log.Close()
		status = http.StatusAccepted
		if text, err := os.ReadFile(file + ".status"); err == nil {
			status, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		_, err = fmt.Fprintf(log, "%s %s signed=%t\n", r.Method, r.URL.Path, r.Header.Get("Webhook-Signature") != "")
		if err == nil {
			err = os.WriteFile(file, body, 0o600)
		}
		return status, err
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := take(r)
		if err != nil {
			status = http.StatusInsufficientStorage
		}
		w.WriteHeader(status)
	}))
	ts.Defer(server.Close)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte("servers:\n  hooks: {url: "+server.URL+"/in, token: \"env:HOOK_SECRET\", per-minute: 6000}\n"), 0o600))
}
