package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

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
