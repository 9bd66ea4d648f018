package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
)

// pinned holds the tags of releases where they are, whichever program of this machine pushes: one that stands for
// another digest already is refused. Other tags, signatures' among them, move as in any registry.
type pinned struct {
	next         http.Handler
	repositories string // folder
	mu           sync.Mutex
}

// ServeHTTP implements http.Handler.
func (p *pinned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	repository, tag, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
	if _, err := factory.ParseTag(tag); err != nil || !ok || r.Method != http.MethodPut || !filepath.IsLocal(repository) {
		p.next.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxManifest))
	if err != nil {
		refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", err.Error())
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	p.mu.Lock() // of two that push at once, the second sees what the first did
	defer p.mu.Unlock()
	held, err := p.held(repository, tag)
	switch {
	case err != nil:
		refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
	case held != "" && held != factory.DigestOf(body):
		refuse(w, http.StatusConflict, "DENIED", fmt.Sprintf("%s stands for %s, and the tag of a release never moves", tag, held))
	default:
		p.next.ServeHTTP(w, r)
	}
}

// held returns the digest that a tag stands for, or nothing.
func (p *pinned) held(repository, tag string) (factory.Digest, error) {
	held, err := link(filepath.Join(p.repositories, filepath.FromSlash(repository), "_manifests", "tags", tag, "current", "link"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return held, err
}

// refuse answers in the form that registry clients read.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
