package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagefactory/imagefactory/factory"
)

// What a registry says of an image comes with its configurations, each checked; what is no platform is named and left out.
func TestPublished(t *testing.T) {
	repo := serve(t).Addr() + "/debian-12"
	a := image(t, 3000)
	must(t, (&Client{}).Push(t.Context(), repo, a))
	p, err := (&Client{}).Published(t.Context(), repo+"@"+string(a.Digest))
	if err != nil || p.Digest != a.Digest || p.Index == nil || len(p.Platforms) != 2 || p.Repository != repo {
		t.Fatalf("%+v, %v", p, err)
	}
	for i, m := range p.Platforms {
		if m.Platform != a.Platforms[i].Platform || m.Digest != a.Platforms[i].Digest || !bytes.Contains(m.Config, []byte(m.Platform.Architecture)) || factory.DigestOf(m.Body) != m.Digest {
			t.Errorf("%+v", m.Platform)
		}
	}
	single, err := (&Client{}).Published(t.Context(), repo+"@"+string(a.Platforms[0].Digest))
	if err != nil || single.Index != nil || len(single.Platforms) != 1 || single.Platforms[0].Platform != a.Platforms[0].Platform {
		t.Errorf("%+v, %v", single, err)
	}
	ref, err := name.NewTag(repo + ":mixed")
	must(t, err)
	index, err := random.Index(100, 1, 1)
	must(t, err)
	must(t, remote.WriteIndex(ref, index)) // of no platform that anybody names
	if _, err := (&Client{}).Published(t.Context(), repo+":mixed"); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{repo, repo + ":none", "x"} {
		if _, err := (&Client{}).Published(t.Context(), bad); err == nil {
			t.Errorf("%s is there", bad)
		}
	}
}

// A foreign entry of an index is told; a strange configuration is refused.
func TestPublishedOthers(t *testing.T) {
	f := front(t)
	repo := f.host + "/api"
	a := image(t, 1000)
	must(t, (&Client{}).Push(t.Context(), repo, a))
	base, err := name.NewTag(repo + ":base")
	must(t, err)
	tagged, err := remote.Index(base.Digest(string(a.Digest)))
	must(t, err)
	img, err := random.Image(10, 1)
	must(t, err)
	mixed := mutate.AppendManifests(tagged, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1, Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}})
	must(t, remote.WriteIndex(base, mixed))
	p, err := (&Client{}).Published(t.Context(), repo+":base")
	if err != nil || len(p.Platforms) != 2 || len(p.Others) != 1 || !strings.HasPrefix(p.Others[0], "unknown/unknown ") {
		t.Errorf("%+v, %v", p.Others, err)
	}
	manifest := func(config string, size int) string {
		return fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"x","digest":%q,"size":%d},"layers":[]}`, config, size)
	}
	for _, body := range []string{"x", "{}", manifest("sha256:bad", 3), manifest(string(factory.DigestOf(nil)), maxConfig+1), manifest(string(factory.DigestOf([]byte("gone"))), 4)} {
		f.set(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/manifests/odd") {
				_, _ = w.Write([]byte(body))
				return true
			}
			if strings.Contains(r.URL.Path, "/blobs/"+string(factory.DigestOf([]byte("gone")))) {
				_, _ = w.Write([]byte("what"))
				return true
			}
			return false
		})
		if _, err := (&Client{}).Published(t.Context(), repo+":odd"); !errors.Is(err, factory.ErrInvalid) && !errors.Is(err, factory.ErrUnverified) {
			t.Errorf("%.60s: %v", body, err)
		}
	}
}

func TestBlob(t *testing.T) {
	repo := serve(t).Addr() + "/debian-12"
	a := image(t, 2000)
	must(t, (&Client{}).Push(t.Context(), repo, a))
	p, err := (&Client{}).Published(t.Context(), repo+"@"+string(a.Digest))
	must(t, err)
	var m v1.Manifest
	must(t, json.Unmarshal(p.Platforms[0].Body, &m))
	l := m.Layers[0]
	var got bytes.Buffer
	must(t, (&Client{}).Blob(t.Context(), repo, factory.Digest(l.Digest.String()), l.Size, &got))
	if factory.DigestOf(got.Bytes()) != factory.Digest(l.Digest.String()) {
		t.Error("other bytes")
	}
	if err := (&Client{}).Blob(t.Context(), repo, factory.Digest(l.Digest.String()), l.Size-1, &got); !errors.Is(err, factory.ErrUnverified) {
		t.Errorf("%v", err)
	}
	if err := (&Client{}).Blob(t.Context(), "x", "", 1, &got); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("%v", err)
	}
}

// A tag of any grammar never moves either.
func TestTagAs(t *testing.T) {
	repo := serve(t).Addr() + "/api"
	a, b := image(t, 100), image(t, 100)
	must(t, (&Client{}).Push(t.Context(), repo, a))
	must(t, (&Client{}).Push(t.Context(), repo, b))
	must(t, (&Client{}).TagAs(t.Context(), repo, a.Digest, "1.4-rebased"))
	must(t, (&Client{}).TagAs(t.Context(), repo, a.Digest, "1.4-rebased"))
	if err := (&Client{}).TagAs(t.Context(), repo, b.Digest, "1.4-rebased"); !errors.Is(err, factory.ErrConflict) {
		t.Errorf("%v", err)
	}
}
