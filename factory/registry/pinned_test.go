package registry

import (
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagefactory/imagefactory/factory"
)

// Any program of this machine can push, and none can move the tag of a release.
func TestAReleasesTagIsPinned(t *testing.T) {
	t.Parallel()
	repo := serve(t).Addr() + "/base/debian-12"
	one, two := image(t, 1000), image(t, 1000)
	must(t, (&Client{}).Push(t.Context(), repo, one))
	must(t, (&Client{}).Push(t.Context(), repo, two))
	r, err := name.NewRepository(repo)
	must(t, err)
	retag := func(tag string, a factory.Artifact) error {
		desc, err := remote.Get(r.Digest(string(a.Digest)))
		must(t, err)
		return remote.Tag(r.Tag(tag), desc)
	}
	const tag = "20261123-1a2b3c4d-prod"
	must(t, retag(tag, one))
	must(t, retag(tag, one))
	var answer *transport.Error
	if err := retag(tag, two); !errors.As(err, &answer) || answer.StatusCode != 409 || !strings.Contains(err.Error(), "DENIED") || !strings.Contains(err.Error(), string(one.Digest)) {
		t.Errorf("moved by another program: %v", err)
	}
	s, err := (&Client{}).open(repo, transport.PushScope)
	must(t, err)
	body, mediaType, err := s.get(t.Context(), string(two.Digest))
	must(t, err)
	if err := s.put(t.Context(), tag, mediaType, body); !errors.Is(err, factory.ErrConflict) || !strings.Contains(err.Error(), "never moves") {
		t.Errorf("moved by this client: %v", err)
	}
	if d, err := (&Client{}).Resolve(t.Context(), repo+":"+tag); err != nil || d != one.Digest {
		t.Errorf("the tag stands for %s, %v", d, err)
	}
	for _, free := range []string{"latest", "sha256-" + one.Digest.Hex() + ".sig", "20261123-1a2b3c4d-prod.1"} {
		must(t, retag(free, one))
		must(t, retag(free, two))
	}
	must(t, retag("20261124-1a2b3c4d-prod", two))
}

// Of many that push a release at once, one wins and the others are told.
func TestOneOfManyTags(t *testing.T) {
	t.Parallel()
	repo := serve(t).Addr() + "/base/debian-12"
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []factory.Digest
	for range 4 {
		a := image(t, 1000)
		must(t, (&Client{}).Push(t.Context(), repo, a))
		wg.Go(func() {
			err := (&Client{}).Tag(t.Context(), repo, a.Digest, tagOf(t, "20261123-1a2b3c4d-prod"))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, a.Digest)
			} else if !errors.Is(err, factory.ErrConflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if d, err := (&Client{}).Resolve(t.Context(), repo+":20261123-1a2b3c4d-prod"); err != nil || len(won) != 1 || won[0] != d {
		t.Errorf("winners %v, the tag stands for %s, %v", won, d, err)
	}
}

func TestPinnedFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h, err := (&Server{Dir: dir}).handler(t.Context(), "id")
	must(t, err)
	const tag = "20261123-1a2b3c4d-prod"
	link := filepath.Join(repositories(dir), "base", "x", "_manifests", "tags", tag, "current", "link")
	must(t, os.MkdirAll(link, 0o755)) // unreadable: a folder
	for what, tc := range map[string]struct {
		path string
		size int
		want int
	}{
		"unreadable tag":   {"/v2/base/x/manifests/" + tag, 2, 500},
		"too large":        {"/v2/base/y/manifests/" + tag, maxManifest + 1, 400},
		"not in the store": {"/v2/../../x/manifests/" + tag, 2, 301},
	} {
		r := httptest.NewRequest("PUT", tc.path, strings.NewReader(strings.Repeat("x", tc.size)))
		r.RemoteAddr = "127.0.0.1:4000"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("%s: %d, want %d: %.200s", what, w.Code, tc.want, w.Body)
		}
	}
}
