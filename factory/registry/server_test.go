package registry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/factorytest"
)

func TestServerIsDurable(t *testing.T) {
	t.Parallel()
	s := &Server{Dir: filepath.Join(t.TempDir(), "state", "registry"), Addr: "127.0.0.1:0"}
	run, err := s.Start(t.Context())
	must(t, err)
	a, tag, c := image(t, 10_000), tagOf(t, "20261123-1a2b3c4d-dev"), &Client{}
	must(t, c.Push(t.Context(), run.Addr()+"/base/x", a))
	must(t, c.Tag(t.Context(), run.Addr()+"/base/x", a.Digest, tag))
	must(t, run.Close())
	must(t, run.Close())

	run, err = s.Start(t.Context())
	must(t, err)
	defer run.Close()
	if d, err := c.Resolve(t.Context(), run.Addr()+"/base/x:"+tag.String()); err != nil || d != a.Digest {
		t.Errorf("after a restart: %s, %v", d, err)
	}
	ref, err := name.ParseReference(run.Addr() + "/base/x@" + string(a.Digest))
	must(t, err)
	if err := remote.Delete(ref); err == nil {
		t.Error("an image could be deleted")
	}
}

// A connection on which nothing was asked is no reason to wait at the end, and one that was used is left to its client.
func TestServerHangsUp(t *testing.T) {
	t.Parallel()
	run := serve(t)
	used, err := net.Dial("tcp", run.Addr())
	must(t, err)
	defer used.Close()
	ask := func() {
		t.Helper()
		_, err := fmt.Fprintf(used, "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
		must(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(used), nil)
		must(t, err)
		must(t, resp.Body.Close())
	}
	ask()
	silent, err := net.Dial("tcp", run.Addr())
	must(t, err)
	defer silent.Close()
	for known := 0; known == 0; { // until it is accepted
		run.own.mu.Lock()
		known = len(run.own.silent)
		run.own.mu.Unlock()
		runtime.Gosched()
	}
	run.own.hangUp()
	if n, err := silent.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes on a connection on which nothing was asked", n)
	}
	ask()
}

func TestServerAddressTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run, err := (&Server{Dir: dir, Addr: "127.0.0.1:0"}).Start(t.Context())
	must(t, err)
	defer run.Close()

	// Our own registry on the same folder is used, and survives our Close.
	same, err := (&Server{Dir: dir, Addr: run.Addr()}).Start(t.Context())
	must(t, err)
	if !same.Shared() || run.Shared() || same.Addr() != run.Addr() {
		t.Errorf("shared %v at %s", same.Shared(), same.Addr())
	}
	must(t, same.Close())
	must(t, (&Client{}).Ping(t.Context(), run.Addr()+"/base/x"))

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	go func() {
		for conn, err := silent.Accept(); err == nil; conn, err = silent.Accept() {
			conn.Close()
		}
	}()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for what, addr := range map[string]string{"another folder": run.Addr(), "another program": strings.TrimPrefix(web.URL, "http://"), "no http": silent.Addr().String()} {
		_, err := (&Server{Dir: t.TempDir(), Addr: addr}).Start(t.Context())
		var p *factory.Problem
		if !errors.As(err, &p) || !errors.Is(err, factory.ErrUnavailable) || p.Hint == "" || !strings.Contains(err.Error(), addr) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = (&Server{Dir: dir, Addr: "127.0.0.1:0"}).Start(t.Context())
	if !errors.Is(err, factory.ErrBusy) || !strings.Contains(err.Error(), run.Addr()) {
		t.Errorf("the same folder at another address: %v", err)
	}
}

func TestServerCannotStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o644))
	blocked := t.TempDir()
	must(t, os.Mkdir(filepath.Join(blocked, "serving"), 0o755))
	for _, s := range []Server{{Dir: file, Addr: "127.0.0.1:0"}, {Dir: blocked, Addr: "127.0.0.1:0"}, {Dir: t.TempDir(), Addr: "203.0.113.1:80"}} {
		if _, err := s.Start(t.Context()); !errors.Is(err, factory.ErrUnavailable) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestOnlyThisMachineWrites(t *testing.T) {
	t.Parallel()
	h, err := (&Server{Dir: t.TempDir()}).handler(t.Context(), "id")
	must(t, err)
	for _, tc := range []struct {
		method, from string
		want         int
	}{
		{"POST", "127.0.0.1:4000", 202}, {"POST", "[::1]:4000", 202}, {"POST", "203.0.113.9:4000", 403}, {"POST", "", 403},
		{"DELETE", "203.0.113.9:4000", 403},
	} {
		r := httptest.NewRequest(tc.method, "/v2/base/x/blobs/uploads/", nil)
		r.RemoteAddr = tc.from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("%s from %q: %d, want %d", tc.method, tc.from, w.Code, tc.want)
		}
	}
	r := httptest.NewRequest("GET", "/v2/", nil)
	r.RemoteAddr = "203.0.113.9:4000"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 200 || w.Header().Get(Header) != "id" {
		t.Errorf("reading from elsewhere: %d, header %q", w.Code, w.Header().Get(Header))
	}
}

// Not parallel: the log of distribution is global.
func TestServerLogsToSlogOnly(t *testing.T) {
	var log factorytest.Output
	s := &Server{Dir: t.TempDir(), Addr: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	run, err := s.Start(t.Context())
	must(t, err)
	if _, err := (&Client{}).Resolve(t.Context(), run.Addr()+"/base/x:none"); !errors.Is(err, factory.ErrNotFound) {
		t.Error(err)
	}
	must(t, run.Close())
	if !strings.Contains(log.String(), "manifest unknown") || !strings.Contains(log.String(), "/v2/base/x/manifests/none") || strings.Contains(log.String(), "level=INFO") {
		t.Errorf("log:\n%s", log.String())
	}
}

// A registry process is killed with SIGKILL at one request after another. Whatever was cut, the next start serves only
// whole content, and the same push completes.
func TestKilledWhileServing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	a, tag := image(t, 400_000), tagOf(t, "20261123-1a2b3c4d-dev")
	for _, at := range []int32{3, 6, 9, 14, 22, 26, 33} {
		dir := t.TempDir()
		addr, kill := child(t, dir, "127.0.0.1:0")
		var n atomic.Int32
		c := &Client{Jobs: 2, Retry: Retry{Attempts: 1}, Transport: tripper(func(r *http.Request) (*http.Response, error) {
			if n.Add(1) == at {
				kill()
			}
			return http.DefaultTransport.RoundTrip(r)
		})}
		err := c.Push(t.Context(), addr+"/base/x", a)
		if err == nil {
			err = c.Tag(t.Context(), addr+"/base/x", a.Digest, tag)
		}
		kill()
		if err != nil && !errors.Is(err, factory.ErrUnavailable) {
			t.Errorf("killed at request %d: %v", at, err)
		}

		run, err := (&Server{Dir: dir, Addr: "127.0.0.1:0"}).Start(t.Context())
		must(t, err)
		repo := run.Addr() + "/base/x"
		if d, err := (&Client{}).Resolve(t.Context(), repo+":"+tag.String()); err == nil && d != a.Digest || err != nil && !errors.Is(err, factory.ErrNotFound) {
			t.Errorf("killed at request %d: the tag is %s, %v", at, d, err)
		}
		must(t, (&Client{}).Push(t.Context(), repo, a))
		must(t, (&Client{}).Tag(t.Context(), repo, a.Digest, tag))
		whole(t, repo+":"+tag.String())
		if left, _ := filepath.Glob(filepath.Join(dir, "docker/registry/v2/repositories/base/x/_uploads/*")); len(left) > 0 {
			t.Errorf("killed at request %d: uploads remain: %v", at, left)
		}
		must(t, run.Close())
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// child serves dir at an address in a process of its own; kill ends it with SIGKILL and waits.
func child(t *testing.T, dir, at string) (addr string, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0])
	cmd.Env = append(os.Environ(), "REGISTRY_TEST_SERVE="+dir, "REGISTRY_TEST_ADDR="+at)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	return strings.TrimSpace(line), kill
}
