package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

func TestWalk(t *testing.T) {
	t.Parallel()
	s := strange(t)
	ours := func(m, _ object) {
		m["annotations"] = object{"org.opencontainers.image.base.name": "registry.example.com/base/debian-12:1", "org.opencontainers.image.base.digest": factory.DigestOf([]byte("base"))}
	}
	plain := s.image("team/app", "1.9", nil, "a", "b")
	s.image("team/app", "1.10", ours, "a", "b", "c")
	s.blobs["team/app latest"] = s.blobs["team/app 1.10"]
	s.tags["team/app"] = append(s.tags["team/app"], "latest", "sha256-"+strings.Repeat("0", 64)+".sig", "sha256-"+strings.Repeat("1", 64), "no tag")
	s.tags["team/empty"] = []string{}
	a, app := s.host+"/team/app", "team/app"
	var seen events
	all, images := shown(t, Walk{Client: &Client{Events: seen.add}, Tags: 2}, a, s.host+"/team/empty", s.host+"/team/none")
	l := all[a]
	if l.Tags != 6 || l.Images != 2 || len(l.Found) != 2 || l.Older != 1 || !slices.Equal(l.Unread, []string{"1.9"}) || l.Read() != 5 || l.Blind || len(l.Problems) > 0 {
		t.Errorf("%+v", l)
	}
	if l.Found[0].Tag != "latest" || l.Found[1].Tag != "1.10" || l.Found[0].Digest != l.Found[1].Digest {
		t.Errorf("%+v", l.Found)
	}
	if fmt.Sprint(l.Skipped) != "map["+"names that no tag can have:1 signatures and other attachments:2]" {
		t.Errorf("%v", l.Skipped)
	}
	if len(images) != 1 { // two tags, one digest
		t.Errorf("%v", images)
	}
	c := images[a+":latest"]
	_, diffIDs := layerOf("a", "b", "c")
	if c.Repository != a || c.BaseName != "registry.example.com/base/debian-12:1" || c.BaseDigest != factory.DigestOf([]byte("base")) || !slices.Equal(c.DiffIDs, diffIDs) || len(c.Layers) != 3 ||
		c.Manifest != c.Digest || c.Created.Format("2006-01-02") != "2026-11-20" {
		t.Errorf("%+v", c)
	}
	if e := all[s.host+"/team/empty"]; e.Missing || e.Blind || e.Tags != 0 {
		t.Errorf("%+v", e)
	}
	if n := all[s.host+"/team/none"]; !n.Missing || n.Blind || len(n.Problems) > 0 {
		t.Errorf("%+v", n)
	}
	if last := seen.all[len(seen.all)-1]; last.Current != 3 || last.Total != 3 || last.Unit != "repositories" {
		t.Errorf("%+v", last)
	}
	all, _ = shown(t, Walk{Client: &Client{}, Width: 1}, a)
	if l := all[a]; l.Images != 3 || len(l.Unread) != 0 || len(l.Found) != 2 {
		t.Errorf("all tags: %+v", l)
	}
	if _, there := s.blobs[app+" "+string(plain)]; !there {
		t.Error("the registry of the test lost an image")
	}
}

// Which part of an index is read, and whose word counts.
func TestWalkIndexes(t *testing.T) {
	t.Parallel()
	s := strange(t)
	base := func(name string) object { return object{"org.opencontainers.image.base.name": name} }
	label := func(name string) func(m, c object) {
		return func(_, c object) { c["config"] = object{"Labels": base(name)}; delete(c, "created") }
	}
	part := func(d factory.Digest, os, arch string, more object) object {
		p := object{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": d, "size": 1, "platform": object{"os": os, "architecture": arch}}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	index := func(tag string, annotations object, parts ...object) factory.Digest {
		return s.put("app", tag, object{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": parts, "annotations": annotations})
	}
	amd := s.image("app", "", label("label/debian-12"), "amd")
	arm := s.image("app", "", label("arm/debian-12"), "arm")
	dated := s.image("app", "", func(m, c object) {
		m["annotations"] = object{"org.opencontainers.image.base.name": "manifest/debian-12", "org.opencontainers.image.created": "2026-01-02T03:04:05Z"}
		c["created"] = "1970-01-01T00:00:00Z"
	}, "x")
	index("amd", nil, part(arm, "linux", "arm64", nil), part(amd, "linux", "amd64", nil))
	index("arm", nil, part(factory.DigestOf(nil), "unknown", "unknown", nil), part(arm, "linux", "arm64", nil))
	inner := index("", nil, part(dated, "linux", "amd64", nil))
	index("nested", nil, part(inner, "", "", nil))
	index("index", base("index/debian-12"), part(dated, "linux", "amd64", nil))
	index("part", nil, part(dated, "linux", "amd64", object{"annotations": base("part/debian-12")}))
	index("nothing", nil)
	index("attested", nil, part(amd, "unknown", "unknown", nil), object{"digest": "sha512:aa"})
	deep := index("", nil, part(index("", nil, part(index("", nil, part(inner, "", "", nil)), "", "", nil)), "", "", nil))
	index("deep", nil, part(deep, "", "", nil))
	all, images := shown(t, Walk{Client: &Client{}}, s.host+"/app")
	l := all[s.host+"/app"]
	if l.Images != 5 || l.Skipped[skipEmpty] != 2 || l.Skipped[skipForeign] != 1 || len(l.Problems) > 0 {
		t.Errorf("%+v", l)
	}
	for tag, want := range map[string]string{"amd": "label/debian-12 0001", "arm": "arm/debian-12 0001", "nested": "manifest/debian-12 2026", "index": "index/debian-12 2026", "part": "part/debian-12 2026"} {
		c := images[s.host+"/app:"+tag]
		if got := fmt.Sprint(c.BaseName, " ", c.Created.Format("2006")); got != want {
			t.Errorf("%s: %s, want %s", tag, got, want)
		}
		if c.Manifest == c.Digest {
			t.Errorf("%s: the index counts as its own part", tag)
		}
	}
}

// Whatever a registry holds, the walk goes on; what could not be read is told and spared.
func TestWalkHostile(t *testing.T) {
	t.Parallel()
	huge := []byte(`{"schemaVersion":2,"x":"` + strings.Repeat("x", maxManifest) + `"}`)
	for name, tc := range map[string]struct {
		put     func(s *stranger)
		skipped string
		problem string
	}{
		"schema 1": {put: func(s *stranger) { s.put("app", "bad", object{"schemaVersion": 1, "fsLayers": []object{}}) }, skipped: skipSchema1},
		"not JSON": {put: func(s *stranger) { s.put("app", "bad", []byte("<html>")) }, skipped: skipForeign},
		"a chart": {put: func(s *stranger) {
			s.image("app", "bad", func(m, _ object) {
				m["config"] = object{"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": factory.DigestOf(nil)}
			})
		}, skipped: skipForeign},
		"no configuration": {put: func(s *stranger) { s.put("app", "bad", object{"schemaVersion": 2}) }, skipped: skipForeign},
		"another algorithm": {put: func(s *stranger) {
			s.image("app", "bad", func(m, _ object) {
				m["config"] = object{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha512:aa"}
			})
		}, skipped: skipForeign},
		"odd configuration": {put: func(s *stranger) { s.image("app", "bad", func(_, c object) { c["rootfs"] = "none" }) }, skipped: skipForeign},
		"gone in between":   {put: func(s *stranger) { s.tags["app"] = append(s.tags["app"], "bad") }, skipped: skipMissing},
		"a part is missing": {put: func(s *stranger) {
			s.put("app", "bad", object{"schemaVersion": 2, "manifests": []object{{"digest": factory.DigestOf([]byte("no"))}}})
		}, skipped: skipMissing},
		"huge manifest": {put: func(s *stranger) { s.put("app", "bad", huge) }, problem: "larger than 4194304 bytes"},
		"huge configuration": {put: func(s *stranger) {
			s.image("app", "bad", func(m, _ object) {
				m["config"] = object{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": factory.DigestOf(nil), "size": maxManifest + 1}
			})
		}, problem: "more than 4194304"},
		"other configuration": {put: func(s *stranger) {
			s.blobs["app "+string(factory.DigestOf([]byte("is")))] = []byte("is not")
			s.image("app", "bad", func(m, _ object) {
				m["config"] = object{"mediaType": "application/vnd.docker.container.image.v1+json", "digest": factory.DigestOf([]byte("is")), "size": 6}
			})
		}, problem: "got bytes of"},
		"other manifest": {put: func(s *stranger) {
			s.blobs["app "+string(factory.DigestOf([]byte("is")))] = []byte("{}")
			s.put("app", "bad", object{"schemaVersion": 2, "manifests": []object{{"digest": factory.DigestOf([]byte("is"))}}})
		}, problem: "got bytes of"},
		"forbidden": {put: func(s *stranger) {
			s.tags["app"] = append(s.tags["app"], "bad")
			s.fault = func(w http.ResponseWriter, r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, "/bad") && status(w, 403)
			}
		}, problem: "may not do that"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := strange(t)
			s.image("app", "well", nil, "a")
			tc.put(s)
			var slept waits
			all, images := shown(t, Walk{Client: patient(&slept)}, s.host+"/app")
			l := all[s.host+"/app"]
			if _, there := images[s.host+"/app:well"]; !there || l.Images != 1 || l.Blind || len(slept.list()) > 0 {
				t.Errorf("%+v", l)
			}
			if got := fmt.Sprint(l.Problems); tc.problem != "" && (!strings.Contains(got, tc.problem) || !slices.Equal(l.Unread, []string{"bad"})) || tc.problem == "" && len(l.Problems) > 0 {
				t.Errorf("%s, unread %v", got, l.Unread)
			}
			if tc.skipped != "" && l.Skipped[tc.skipped] != 1 {
				t.Errorf("skipped %v", l.Skipped)
			}
		})
	}
}

// More than a few problems of one repository are counted.
func TestWalkProblemsAreBounded(t *testing.T) {
	t.Parallel()
	s := strange(t)
	s.tags["app"] = []string{}
	for i := range 8 {
		s.image("app", fmt.Sprint(i), func(m, _ object) {
			m["config"] = object{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": factory.DigestOf([]byte{byte(i)}), "size": maxManifest + 1}
		})
	}
	all, _ := shown(t, Walk{Client: &Client{}}, s.host+"/app")
	if l := all[s.host+"/app"]; len(l.Problems) != maxProblems || l.More != 8-maxProblems || len(l.Unread) != 8 {
		t.Errorf("%d problems, %d more, %d unread", len(l.Problems), l.More, len(l.Unread))
	}
}

// A registry that asks for patience gets it; one that stops answering is not asked for the rest.
func TestWalkFaults(t *testing.T) {
	t.Parallel()
	s := strange(t)
	s.image("app", "1", nil, "a")
	s.fault = first(1, method("GET", "/manifests/"), func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "9")
		return status(w, 429)
	})
	var slept waits
	all, _ := shown(t, Walk{Client: patient(&slept)}, s.host+"/app")
	if l := all[s.host+"/app"]; l.Images != 1 || fmt.Sprint(slept.list()) != "[9s]" {
		t.Errorf("%+v after %v", l, slept.list())
	}
	// It breaks in the middle of a repository: the rest of its tags is spared.
	for _, tag := range []string{"2", "3"} {
		s.image("app", tag, nil, tag)
	}
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "/2") && status(w, 500)
	}
	all, _ = shown(t, Walk{Client: patient(&slept)}, s.host+"/app")
	if l := all[s.host+"/app"]; l.Images != 1 || l.Blind || !slices.Equal(l.Unread, []string{"2", "1"}) || !errors.Is(l.Problems[0], factory.ErrUnavailable) {
		t.Errorf("%+v", l)
	}
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/tags/") && status(w, 503)
	}
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("%s/app%02d", s.host, i))
	}
	c := patient(&slept)
	c.Retry.Attempts = 2
	all, _ = shown(t, Walk{Client: c, Width: 1}, names...)
	notAsked := 0
	for _, l := range all {
		if !l.Blind || len(l.Problems) != 1 || !errors.Is(l.Problems[0], factory.ErrUnavailable) {
			t.Errorf("%+v", l)
		}
		if strings.Contains(l.Problems[0].Error(), "did not answer for 5 repositories in a row") {
			notAsked++
		}
	}
	if notAsked != 20-deaf {
		t.Errorf("%d were not asked", notAsked)
	}
	// An answer that refuses is an answer.
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/tags/") && status(w, 403)
	}
	all, _ = shown(t, Walk{Client: c, Width: 1}, names...)
	for _, l := range all {
		if !l.Blind || !strings.Contains(fmt.Sprint(l.Problems), "may not do that") {
			t.Errorf("%+v", l)
		}
	}
	if all, _ := shown(t, Walk{Client: c}, "no registry"); !errors.Is(all["no registry"].Problems[0], factory.ErrInvalid) {
		t.Errorf("%+v", all)
	}
}

func TestWalkEnds(t *testing.T) {
	t.Parallel()
	s := strange(t)
	var names []string
	for i := range 30 {
		s.image(fmt.Sprint("app", i), "1", nil, "a")
		names = append(names, fmt.Sprint(s.host, "/app", i))
	}
	enough := errors.New("the disk is full")
	told := 0
	w := Walk{Client: &Client{}, Match: func(factory.Candidate) (factory.Observed, bool) { return factory.Observed{}, false }}
	if err := w.Run(t.Context(), names, func(Looked) error { told++; return enough }); !errors.Is(err, enough) || told != 1 {
		t.Errorf("%v after %d", err, told)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the user")
	if err := w.Run(ctx, names, func(Looked) error { cancel(stopped); return nil }); !errors.Is(err, stopped) {
		t.Error(err)
	}
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	s := strange(t)
	for _, name := range []string{"team/app", "team/web", "teams/x", "other", "team/BAD", "team"} {
		s.tags[name] = []string{"1"}
	}
	h := s.host + "/"
	for prefix, want := range map[string][]string{
		"":     {h + "other", h + "team", h + "team/app", h + "team/web", h + "teams/x"},
		"team": {h + "team", h + "team/app", h + "team/web"}, "none": nil,
	} {
		got, err := (&Client{}).Catalogue(t.Context(), s.host, prefix)
		if err != nil || !slices.Equal(got.Repositories, want) || got.Cut != "" || prefix != "none" && got.Odd != 1 {
			t.Errorf("%q: %+v, %v", prefix, got, err)
		}
	}
	if _, err := (&Client{}).Catalogue(t.Context(), "a b", ""); !errors.Is(err, factory.ErrInvalid) {
		t.Error(err)
	}
	real := serve(t).Addr()
	a := image(t, 500)
	for i := range 2 {
		must(t, (&Client{}).Push(t.Context(), fmt.Sprint(real, "/base/app", i), a))
	}
	if got, err := (&Client{}).Catalogue(t.Context(), real, "base"); err != nil || len(got.Repositories) != 2 {
		t.Errorf("the embedded registry: %+v, %v", got, err)
	}
}

func TestCatalogueFaults(t *testing.T) {
	t.Parallel()
	page := func(next, body string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/_catalog") {
				return false
			}
			if next != "" {
				w.Header().Set("Link", "<"+next+`>; rel="next"`)
			}
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	count := 0
	for name, tc := range map[string]struct {
		fault func(w http.ResponseWriter, r *http.Request) bool
		cut   string
		kind  error
		says  string
		have  int
	}{
		"none": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/_catalog") && status(w, 404)
		}, kind: factory.ErrNotFound, says: "--repositories FILE"},
		"not for us": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/_catalog") && status(w, 401)
		}, kind: factory.ErrNotFound, says: "docker login"},
		"not allowed": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/_catalog") && status(w, 405)
		}, kind: factory.ErrNotFound, says: "--repositories -"},
		"down":        {fault: func(w http.ResponseWriter, r *http.Request) bool { return status(w, 503) }, kind: factory.ErrUnavailable, says: "tried 8 times"},
		"a page":      {fault: page("", "<html>"), kind: factory.ErrInvalid, says: "is no list of names"},
		"a huge page": {fault: page("", `["`+strings.Repeat("x", maxPage)+`"]`), kind: factory.ErrInvalid, says: "larger than"},
		"round":       {fault: page("/v2/_catalog", `{"repositories":["a"]}`), cut: "goes round", have: 1},
		"nothing new": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			count++
			return page(fmt.Sprintf("/v2/_catalog?last=%d", count), `{"repositories":["a"]}`)(w, r)
		}, cut: "without anything new", have: 1},
		"elsewhere": {fault: page("http://elsewhere.invalid/v2/_catalog", `{"repositories":["a","a"]}`), have: 1},
	} {
		s := strange(t)
		s.fault = tc.fault
		var slept waits
		got, err := patient(&slept).Catalogue(t.Context(), s.host, "")
		if tc.kind != nil && (!errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says)) || tc.kind == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(got.Repositories) != tc.have || !strings.Contains(got.Cut, tc.cut) || tc.cut == "" && got.Cut != "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A list without end is cut, with what it named until then.
func TestCatalogueWithoutEnd(t *testing.T) {
	t.Parallel()
	s := strange(t)
	n := 0
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/_catalog") {
			return false
		}
		n++
		w.Header().Set("Link", fmt.Sprintf(`<_catalog?last=%d>; rel="next"`, n))
		var names []string
		for i := range 50_000 {
			names = append(names, fmt.Sprintf("r%d-%d", n, i))
		}
		return json.NewEncoder(w).Encode(object{"repositories": names}) == nil
	}
	got, err := (&Client{}).Catalogue(t.Context(), s.host, "")
	if err != nil || len(got.Repositories) != maxNames || !strings.Contains(got.Cut, "does not end within 200000 names") {
		t.Errorf("%d, %q, %v", len(got.Repositories), got.Cut, err)
	}
	s.tags["app"] = []string{}
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		w.Header().Set("Link", `</v2/app/tags/list?n=1000>; rel="next"`)
		_, _ = w.Write([]byte(`{"tags":["1"]}`))
		return true
	}
	all, _ := shown(t, Walk{Client: &Client{}}, s.host+"/app")
	if l := all[s.host+"/app"]; !l.Blind || l.Skipped[skipMissing] != 1 || !strings.Contains(fmt.Sprint(l.Problems), "goes round") {
		t.Errorf("%+v", l)
	}
}

func TestNewestFirst(t *testing.T) {
	t.Parallel()
	tags := []string{"1.9", "latest", "1.10", "1.2.0", "1.02.0", "20261123-1a2b3c4d-prod", "20261009-ffffffff-prod", "v2", "v10", "main", "1.10-rc1", "1"}
	newestFirst(tags)
	want := []string{"latest", "v10", "v2", "main", "20261123-1a2b3c4d-prod", "20261009-ffffffff-prod", "1.10-rc1", "1.10", "1.9", "1.02.0", "1.2.0", "1"}
	if !slices.Equal(tags, want) {
		t.Errorf("%v", tags)
	}
}

// FuzzNatural: the order is one, whatever the tags.
func FuzzNatural(f *testing.F) {
	f.Add("1.9", "1.10", "v2")
	f.Add("", "0", "00")
	f.Add("latest", "a1b", "a01b")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if natural(a, b) != -natural(b, a) || (natural(a, b) == 0) != (a == b) {
			t.Errorf("%q %q: %d %d", a, b, natural(a, b), natural(b, a))
		}
		all := []string{a, b, c}
		slices.SortFunc(all, natural)
		if natural(all[0], all[1]) > 0 || natural(all[1], all[2]) > 0 || natural(all[0], all[2]) > 0 {
			t.Errorf("%q", all)
		}
	})
}
