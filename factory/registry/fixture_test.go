package registry

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/imagefactory/imagefactory/factory"
)

// TestMain serves a registry instead of running tests when a test asks for a process that it can kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv("REGISTRY_TEST_SERVE"); dir != "" {
		run, err := (&Server{Dir: dir, Addr: os.Getenv("REGISTRY_TEST_ADDR")}).Start(context.Background())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(run.Addr())
		select {}
	}
	os.Exit(m.Run())
}

// image writes a real two-platform image as an OCI layout.
func image(t *testing.T, layerSize int64) factory.Artifact {
	t.Helper()
	a := factory.Artifact{Layout: t.TempDir()}
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := random.Image(layerSize, 2)
		must(t, err)
		config, err := img.ConfigFile()
		must(t, err)
		config.OS, config.Architecture = "linux", arch
		img, err = mutate.ConfigFile(img, config)
		must(t, err)
		d, err := img.Digest()
		must(t, err)
		a.Platforms = append(a.Platforms, factory.PlatformImage{Platform: factory.Platform{OS: "linux", Architecture: arch}, Digest: factory.Digest(d.String())})
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	p, err := layout.Write(a.Layout, empty.Index)
	must(t, err)
	must(t, p.AppendIndex(index))
	d, err := index.Digest()
	must(t, err)
	a.Digest = factory.Digest(d.String())
	return a
}

// whole checks that another tool finds all of an image, every byte of it.
func whole(t *testing.T, reference string) {
	t.Helper()
	ref, err := name.ParseReference(reference)
	must(t, err)
	index, err := remote.Index(ref)
	must(t, err)
	must(t, validate.Index(index))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve starts an embedded registry on a folder of the test's own.
func serve(t *testing.T) *Running {
	t.Helper()
	run, err := (&Server{Dir: t.TempDir(), Addr: "127.0.0.1:0"}).Start(t.Context())
	must(t, err)
	t.Cleanup(func() {
		if err := run.Close(); err != nil {
			t.Error(err)
		}
	})
	return run
}

// faulty puts a fault in front of a real embedded registry. A fault returns true when it has answered.
type faulty struct {
	host  string
	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request) bool
	seen  []string
}

func front(t *testing.T) *faulty {
	t.Helper()
	h, err := (&Server{Dir: t.TempDir()}).handler(t.Context(), "id")
	must(t, err)
	f := &faulty{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r.Method+" "+r.URL.Path)
		fault := f.fault
		f.mu.Unlock()
		if fault != nil && fault(w, r) {
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	f.host = strings.TrimPrefix(srv.URL, "http://")
	return f
}

func (f *faulty) set(fault func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// waits records what a client would have slept, without sleeping.
type waits struct {
	mu  sync.Mutex
	all []time.Duration
}

func (w *waits) sleep(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, d)
	return ctx.Err()
}

func (w *waits) list() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]time.Duration(nil), w.all...)
}

// events collects what was reported.
type events struct {
	mu  sync.Mutex
	all []factory.Event
}

func (e *events) add(ev factory.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

func tagOf(t *testing.T, s string) factory.Tag {
	t.Helper()
	tag, err := factory.ParseTag(s)
	must(t, err)
	return tag
}
