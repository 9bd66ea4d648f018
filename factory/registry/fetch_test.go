package registry

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestFetchBringsWhatWasPushed(t *testing.T) {
	repo := serve(t).Addr() + "/debian-12"
	a := image(t, 5000)
	must(t, (&Client{}).Push(t.Context(), repo, a))
	dir := filepath.Join(t.TempDir(), "layout")
	must(t, (&Client{}).Fetch(t.Context(), repo, a.Digest, dir))
	got, err := readLayout(factory.Artifact{Layout: dir, Digest: a.Digest, Platforms: a.Platforms})
	if err != nil || len(got.manifests) == 0 {
		t.Errorf("%d manifests, %v", len(got.manifests), err)
	}
	if err := (&Client{}).Fetch(t.Context(), repo, a.Digest, dir); !errors.Is(err, factory.ErrConflict) {
		t.Errorf("into a folder that is there: %v", err)
	}
}

func TestFetchLeavesNothingWhenItFails(t *testing.T) {
	f := front(t)
	repo := f.host + "/debian-12"
	a := image(t, 5000)
	must(t, (&Client{}).Push(t.Context(), repo, a))
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			_, _ = w.Write([]byte("not the blob"))
			return true
		}
		return false
	})
	dir := filepath.Join(t.TempDir(), "layout")
	if err := (&Client{Retry: Retry{Attempts: 2, Sleep: (&waits{}).sleep}}).Fetch(t.Context(), repo, a.Digest, dir); err == nil {
		t.Error("a wrong blob was accepted")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
	if err := (&Client{}).Fetch(t.Context(), repo, factory.DigestOf([]byte("x")), dir); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
}
