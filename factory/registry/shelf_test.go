package registry

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagefactory/imagefactory/factory"
)

// What is read off the folder is what distribution says, and what is not plain is left to distribution.
func TestShelf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := &Server{Dir: dir, Addr: "127.0.0.1:0"}
	run, err := s.Start(t.Context())
	must(t, err)
	defer run.Close()
	repo, a, tag := run.Addr()+"/base/debian-12", image(t, 1000), tagOf(t, "20261123-1a2b3c4d-dev")
	must(t, (&Client{}).Push(t.Context(), repo, a))
	must(t, (&Client{}).Push(t.Context(), run.Addr()+"/other", image(t, 1000)))
	must(t, (&Client{}).Tag(t.Context(), repo, a.Digest, tag))

	asks := func(path string, accept ...string) *http.Request {
		req := httptest.NewRequest(http.MethodGet, "http://"+run.Addr()+path, nil)
		req.Header["Accept"] = accept
		return req
	}
	index, manifest := string(types.OCIImageIndex), string(types.DockerManifestSchema2)
	tagged, part := "/v2/base/debian-12/manifests/"+tag.String(), "/v2/base/debian-12/manifests/"+string(a.Platforms[0].Digest)
	for _, plain := range []*http.Request{asks(tagged, index, manifest), asks("/v2/base/debian-12/manifests/"+string(a.Digest), index), asks(part, manifest)} {
		got := shelf{dir}.answer(plain)
		if got == nil {
			t.Fatalf("%s: no answer", plain.URL)
		}
		plain.RequestURI = ""
		want, err := http.DefaultTransport.RoundTrip(with(plain, "If-None-Match", `"other"`)) // distribution answers that
		must(t, err)
		ours, err := io.ReadAll(got.Body)
		must(t, err)
		theirs, err := io.ReadAll(want.Body)
		must(t, err)
		must(t, want.Body.Close())
		for _, ours := range []string{"Date", "X-Content-Type-Options", Header} {
			want.Header.Del(ours)
		}
		if string(ours) != string(theirs) || got.StatusCode != want.StatusCode || got.ContentLength != want.ContentLength || !maps.EqualFunc(got.Header, want.Header, slices.Equal) {
			t.Errorf("%s: %v\n%s\nexpected %v\n%s", plain.URL, got.Header, ours, want.Header, theirs)
		}
	}
	head := asks(tagged, index)
	head.Method = http.MethodHead
	for what, req := range map[string]*http.Request{
		"another method": head, "a condition": with(asks(tagged, index), "If-None-Match", "x"), "another type": asks(tagged, manifest), "no type": asks(tagged),
		"no such tag": asks("/v2/base/debian-12/manifests/latest", index), "of another repository": asks("/v2/other/manifests/"+string(a.Digest), index),
		"no manifest": asks("/v2/base/debian-12/tags/list", index), "upwards": asks("/v2/base/../other/manifests/"+string(a.Digest), index),
		"inside": asks("/v2/base/debian-12/_manifests/manifests/latest", index), "no such digest": asks("/v2/base/debian-12/manifests/sha256:"+strings.Repeat("0", 64), index),
	} {
		if got := (shelf{dir}).answer(req); got != nil {
			t.Errorf("%s: %v", what, got.Header)
		}
	}
	damage(t, filepath.Join(dir, "docker", "registry", "v2", "blobs", "sha256", a.Digest.Hex()[:2], a.Digest.Hex(), "data"))
	if got := (shelf{dir}).answer(asks(tagged, index)); got != nil {
		t.Errorf("damaged: %v", got.Header)
	}
}

// The process that serves asks itself without a connection, until it serves no more.
func TestShelfInProcess(t *testing.T) {
	t.Parallel()
	run := serve(t)
	repo, a, tag := run.Addr()+"/base/x", image(t, 1000), tagOf(t, "20261123-1a2b3c4d-dev")
	must(t, (&Client{}).Push(t.Context(), repo, a))
	must(t, (&Client{}).Tag(t.Context(), repo, a.Digest, tag))
	sent := 0
	client := &Client{Transport: run.Transport(tripper(func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			sent++
		}
		return http.DefaultTransport.RoundTrip(r)
	})), Retry: Retry{Attempts: 1}}
	if d, err := client.Resolve(t.Context(), repo+":"+tag.String()); err != nil || d != a.Digest || sent != 0 {
		t.Errorf("%s, %v, with %d requests, expected none", d, err, sent)
	}
	if _, err := client.Resolve(t.Context(), repo+":20261124-1a2b3c4d-dev"); !errors.Is(err, factory.ErrNotFound) || sent != 1 {
		t.Errorf("%v with %d requests, expected one", err, sent)
	}
	must(t, run.Close())
	if d, err := client.Resolve(t.Context(), repo+":"+tag.String()); err == nil {
		t.Errorf("after the end: %s", d)
	}
}

func with(req *http.Request, key, value string) *http.Request {
	other := req.Clone(req.Context())
	other.Header.Set(key, value)
	return other
}

func damage(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(file, b, 0o644))
}
