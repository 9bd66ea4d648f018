package registry

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/imagefactory/imagefactory/factory"
)

// shelf answers the one question that a plan asks a thousand times, what a tag or a digest stands for, from the files of distribution.
// It answers like that, and leaves to it whatever is not as plain.
type shelf struct{ root string }

// plainManifest is the path of a manifest, with its repository and its tag or digest.
var plainManifest = regexp.MustCompile(`^/v2/([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)/manifests/([A-Za-z0-9_][A-Za-z0-9._:-]*)$`)

// answer returns what distribution would say to a request for a manifest; nil = ask it.
func (s shelf) answer(req *http.Request) *http.Response {
	m := plainManifest.FindStringSubmatch(req.URL.Path)
	if m == nil || req.Method != http.MethodGet || req.Header.Get("If-None-Match") != "" || !filepath.IsLocal(m[1]) {
		return nil
	}
	digest, body := s.read(m[1], m[2])
	var kind struct {
		SchemaVersion int    `json:"schemaVersion"`
		MediaType     string `json:"mediaType"`
	}
	if digest == "" || json.Unmarshal(body, &kind) != nil || kind.SchemaVersion != 2 || !isManifest(kind.MediaType) || !slices.Contains(req.Header["Accept"], kind.MediaType) {
		return nil
	}
	return &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Header: http.Header{
			"Content-Type": {kind.MediaType}, "Content-Length": {strconv.Itoa(len(body))}, "Docker-Content-Digest": {string(digest)}, "Etag": {`"` + string(digest) + `"`},
			"Docker-Distribution-Api-Version": {"registry/2.0"},
		}}
}

// read returns a manifest of a repository; no digest when it is not there, or not whole.
func (s shelf) read(repository, ref string) (factory.Digest, []byte) {
	manifests := filepath.Join(repositories(s.root), filepath.FromSlash(repository), "_manifests")
	digest, err := factory.ParseDigest(ref)
	if err != nil {
		if digest, err = link(filepath.Join(manifests, "tags", ref, "current", "link")); err != nil {
			return "", nil
		}
	}
	// A repository has a manifest when it has a link to it, whatever other repositories have.
	if linked, err := link(filepath.Join(manifests, "revisions", "sha256", digest.Hex(), "link")); err != nil || linked != digest {
		return "", nil
	}
	body, err := os.ReadFile(filepath.Join(s.root, "docker", "registry", "v2", "blobs", "sha256", digest.Hex()[:2], digest.Hex(), "data"))
	if err != nil || factory.DigestOf(body) != digest {
		return "", nil
	}
	return digest, body
}

// link reads a file that holds a digest.
func link(file string) (factory.Digest, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return factory.ParseDigest(string(text))
}

// serve answers over HTTP what it can, and lets next answer the rest.
func (s shelf) serve(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp := s.answer(r)
		if resp == nil {
			next.ServeHTTP(w, r)
			return
		}
		log.Debug("response completed", "http.request.method", r.Method, "http.request.uri", r.RequestURI, "http.response.status", resp.StatusCode)
		maps.Copy(w.Header(), resp.Header)
		_, _ = io.Copy(w, resp.Body)
	})
}
