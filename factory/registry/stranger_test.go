package registry

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// stranger is a registry that answers whatever it was told to, however odd.
type stranger struct {
	host  string
	mu    sync.Mutex
	tags  map[string][]string // by repository
	blobs map[string][]byte   // by repository and reference
	fault func(w http.ResponseWriter, r *http.Request) bool
	asked int
}

func strange(t *testing.T) *stranger {
	t.Helper()
	s := &stranger{tags: map[string][]string{}, blobs: map[string][]byte{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.host = strings.TrimPrefix(srv.URL, "http://")
	return s
}

func (s *stranger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	repository, ref, manifest := strings.Cut(path, "/manifests/")
	if !manifest {
		repository, ref, _ = strings.Cut(path, "/blobs/")
	}
	name, list := strings.CutSuffix(path, "/tags/list")
	switch {
	case s.fault != nil && s.fault(w, r):
	case path == "":
	case path == "_catalog":
		_ = json.NewEncoder(w).Encode(map[string]any{"repositories": keysOf(s.tags)})
	case list && s.tags[name] != nil:
		_ = json.NewEncoder(w).Encode(map[string]any{"name": name, "tags": s.tags[name]})
	case s.blobs[repository+" "+ref] != nil:
		_, _ = w.Write(s.blobs[repository+" "+ref])
	default:
		http.NotFound(w, r)
	}
}

func keysOf[V any](m map[string]V) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// put adds something under a reference and under its digest.
func (s *stranger) put(repository, tag string, v any) factory.Digest {
	body, ok := v.([]byte)
	if !ok {
		body, _ = json.Marshal(v)
	}
	d := factory.DigestOf(body)
	s.blobs[repository+" "+string(d)] = body
	if tag != "" {
		s.blobs[repository+" "+tag] = body
		s.tags[repository] = append(s.tags[repository], tag)
	}
	return d
}

type object map[string]any

func layerOf(names ...string) (layers []object, diffIDs []factory.Digest) {
	for _, n := range names {
		layers = append(layers, object{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": factory.DigestOf([]byte("gz " + n)), "size": 1})
		diffIDs = append(diffIDs, factory.DigestOf([]byte(n)))
	}
	return layers, diffIDs
}

// image puts an image with these layers; change alters its manifest and its configuration.
func (s *stranger) image(repository, tag string, change func(manifest, config object), layers ...string) factory.Digest {
	compressed, diffIDs := layerOf(layers...)
	config := object{"created": "2026-11-20T10:00:00Z", "os": "linux", "rootfs": object{"type": "layers", "diff_ids": diffIDs}}
	manifest := object{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": compressed}
	if change != nil {
		change(manifest, config)
	}
	if manifest["config"] == nil {
		body, _ := json.Marshal(config)
		manifest["config"] = object{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": s.put(repository, "", body), "size": len(body)}
	}
	return s.put(repository, tag, manifest)
}

// shown walks and returns what was read, by repository, and the candidates, by repository:tag of whoever asked first.
func shown(t *testing.T, w Walk, repositories ...string) (map[string]Looked, map[string]factory.Candidate) {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]factory.Candidate{}
	w.Match = func(c factory.Candidate) (factory.Observed, bool) {
		mu.Lock()
		defer mu.Unlock()
		seen[c.Repository+":"+c.Tag] = c
		return factory.Observed{Repository: c.Repository, Tag: c.Tag, Digest: c.Digest}, strings.Contains(c.BaseName, "debian-12")
	}
	all := map[string]Looked{}
	must(t, w.Run(t.Context(), repositories, func(l Looked) error { all[l.Repository] = l; return nil }))
	if len(all) != len(repositories) {
		t.Errorf("%d of %d repositories were told", len(all), len(repositories))
	}
	return all, seen
}
