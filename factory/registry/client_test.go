package registry

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/imagefactory/imagefactory/factory"
)

func TestPushTagResolve(t *testing.T) {
	t.Parallel()
	hosts := map[string]string{"embedded": serve(t).Addr()}
	for name, opts := range map[string][]ggcr.Option{"with referrers": {ggcr.WithReferrersSupport(true)}, "without referrers": {ggcr.WithReferrersSupport(false)}} {
		srv := httptest.NewServer(ggcr.New(append(opts, ggcr.Logger(log.New(io.Discard, "", 0)))...))
		t.Cleanup(srv.Close)
		hosts[name] = strings.TrimPrefix(srv.URL, "http://")
	}
	for kind, host := range hosts {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a := image(t, 300_000)
			var seen events
			c := &Client{Events: seen.add}
			repo := host + "/base/debian-12"
			must(t, c.Ping(t.Context(), repo))
			if tags, err := c.Tags(t.Context(), repo); err != nil || len(tags) != 0 {
				t.Fatalf("tags before the push: %v, %v", tags, err)
			}
			must(t, c.Push(t.Context(), repo, a))

			// Pushed by digest: consumers see no tag yet.
			if tags, err := c.Tags(t.Context(), repo); err != nil || len(tags) != 0 {
				t.Fatalf("tags after the push: %v, %v", tags, err)
			}
			tag := tagOf(t, "20261123-1a2b3c4d-dev")
			if _, err := c.Resolve(t.Context(), repo+":"+tag.String()); !errors.Is(err, factory.ErrNotFound) {
				t.Fatalf("resolve of a missing tag: %v", err)
			}
			must(t, c.Tag(t.Context(), repo, a.Digest, tag))
			must(t, c.Tag(t.Context(), repo, a.Digest, tag)) // again is harmless
			for _, ref := range []string{repo + ":" + tag.String(), repo + "@" + string(a.Digest), repo + ":" + tag.String() + "@" + string(a.Digest)} {
				if d, err := c.Resolve(t.Context(), ref); err != nil || d != a.Digest {
					t.Errorf("resolve %s = %s, %v", ref, d, err)
				}
			}
			if tags, err := c.Tags(t.Context(), repo); err != nil || !slices.Equal(tags, []string{tag.String()}) {
				t.Errorf("tags = %v, %v", tags, err)
			}

			whole(t, repo+":"+tag.String())
			checkProgress(t, seen.all)
		})
	}
}

func checkProgress(t *testing.T, all []factory.Event) {
	t.Helper()
	if len(all) < 2 {
		t.Fatalf("only %d events", len(all))
	}
	last := all[len(all)-1]
	if last.Current != last.Total || last.Total < 4*300_000 || last.Unit != "bytes" || last.Kind != factory.Advanced {
		t.Errorf("last event %+v", last)
	}
}

func TestATagNeverMoves(t *testing.T) {
	t.Parallel()
	host := serve(t).Addr()
	c, repo, tag := &Client{}, host+"/base/debian-12", tagOf(t, "20261123-1a2b3c4d-prod")
	one, two := image(t, 1000), image(t, 1000)
	must(t, c.Push(t.Context(), repo, one))
	must(t, c.Push(t.Context(), repo, two))
	must(t, c.Tag(t.Context(), repo, one.Digest, tag))
	err := c.Tag(t.Context(), repo, two.Digest, tag)
	if !errors.Is(err, factory.ErrUnverified) || !errors.Is(err, factory.ErrConflict) {
		t.Fatalf("moving a tag: %v", err)
	}
	if !strings.Contains(err.Error(), string(one.Digest)) || !strings.Contains(err.Error(), string(two.Digest)) {
		t.Errorf("the error names not both digests: %v", err)
	}
	if d, err := c.Resolve(t.Context(), repo+":"+tag.String()); err != nil || d != one.Digest {
		t.Errorf("after the refusal: %s, %v", d, err)
	}
	if err := c.Tag(t.Context(), repo, factory.DigestOf(nil), tagOf(t, "20261124-1a2b3c4d-prod")); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("tagging what was never pushed: %v", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	c := &Client{}
	for _, ref := range []string{"debian:12", "base/debian-12:1", "reg.example.com/base", "reg.example.com/base@sha256:12", "reg.example.com/UPPER:1", "docker.io" + "/debian:12", ""} {
		if _, err := c.Resolve(t.Context(), ref); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("resolve %q: %v", ref, err)
		}
	}
	for _, repo := range []string{"debian", "base/debian", "reg.example.com/a b"} {
		_, tagsErr := c.Tags(t.Context(), repo)
		for what, err := range map[string]error{
			"push": c.Push(t.Context(), repo, factory.Artifact{}), "tag": c.Tag(t.Context(), repo, "", factory.Tag{}),
			"ping": c.Ping(t.Context(), repo), "tags": tagsErr,
		} {
			if !errors.Is(err, factory.ErrInvalid) {
				t.Errorf("%s %q: %v", what, repo, err)
			}
		}
	}
	r, err := (&Client{Insecure: []string{"reg.example.com"}}).repository("reg.example.com/base/x")
	must(t, err)
	if r.Scheme() != "http" {
		t.Errorf("insecure host is spoken to by %s", r.Scheme())
	}
}

func TestADamagedLayoutIsNotPushed(t *testing.T) {
	t.Parallel()
	host := serve(t).Addr()
	blobFile := func(a factory.Artifact, d factory.Digest) string {
		return filepath.Join(a.Layout, "blobs", "sha256", d.Hex())
	}
	layer := func(t *testing.T, a factory.Artifact) string {
		c, err := readLayout(a)
		must(t, err)
		return c.blobs[0].file
	}
	for name, damage := range map[string]func(t *testing.T, a *factory.Artifact){
		"missing layer": func(t *testing.T, a *factory.Artifact) { must(t, os.Remove(layer(t, *a))) },
		"cut layer":     func(t *testing.T, a *factory.Artifact) { must(t, os.Truncate(layer(t, *a), 10)) },
		"other layer": func(t *testing.T, a *factory.Artifact) {
			f := layer(t, *a)
			b, err := os.ReadFile(f)
			must(t, err)
			b[len(b)/2] ^= 1
			must(t, os.WriteFile(f, b, 0o644))
		},
		"other manifest": func(t *testing.T, a *factory.Artifact) {
			must(t, os.WriteFile(blobFile(*a, a.Digest), []byte("{}"), 0o644))
		},
		"garbage index": func(t *testing.T, a *factory.Artifact) {
			junk := []byte("junk")
			a.Digest = factory.DigestOf(junk)
			must(t, os.WriteFile(blobFile(*a, a.Digest), junk, 0o644))
		},
		"index with a nameless part": func(t *testing.T, a *factory.Artifact) {
			junk := []byte(`{"manifests":[{"size":3}]}`)
			a.Digest = factory.DigestOf(junk)
			must(t, os.WriteFile(blobFile(*a, a.Digest), junk, 0o644))
		},
		"huge manifest": func(t *testing.T, a *factory.Artifact) {
			must(t, os.Truncate(blobFile(*a, a.Digest), maxManifest+1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := image(t, 1000)
			damage(t, &a)
			if err := (&Client{}).Push(t.Context(), host+"/base/x", a); !errors.Is(err, factory.ErrUnverified) {
				t.Errorf("push: %v", err)
			}
			if _, err := (&Client{}).Resolve(t.Context(), host+"/base/x@"+string(a.Digest)); !errors.Is(err, factory.ErrNotFound) {
				t.Errorf("the damaged image arrived: %v", err)
			}
		})
	}
	a := image(t, 1000)
	a.Platforms[0].Digest = factory.DigestOf([]byte("another image"))
	if err := (&Client{}).Push(t.Context(), host+"/base/x", a); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("a platform that the index lacks: %v", err)
	}
}

// keys is a keychain with one password for every host.
type keys struct{ user, password string }

func (k keys) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: k.user, Password: k.password}, nil
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	f := front(t)
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		switch {
		case user == "" || password != "right":
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		case user == "reader" && r.Method == http.MethodPost:
			w.WriteHeader(http.StatusForbidden)
		default:
			return false
		}
		return true
	})
	repo := f.host + "/base/x"
	must(t, (&Client{Keychain: keys{"writer", "right"}}).Push(t.Context(), repo, image(t, 1000)))
	for _, k := range []keys{{"writer", "hunter2-wrong"}, {"reader", "right"}} {
		err := (&Client{Keychain: k}).Ping(t.Context(), repo)
		if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "docker login "+f.host) {
			t.Errorf("%s: %v", k.user, err)
		}
		if strings.Contains(err.Error(), k.password) && k.password != "right" {
			t.Errorf("the password is in the message: %v", err)
		}
	}
}

func TestTagPages(t *testing.T) {
	t.Parallel()
	f := front(t)
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		switch r.URL.Query().Get("last") {
		case "":
			w.Header().Set("Link", `</v2/base/x/tags/list?n=1000&last=b>; rel="next"`)
			_, _ = w.Write([]byte(`{"tags":["b","a"]}`))
		case "b":
			w.Header().Set("Link", `<http://elsewhere.invalid/v2/base/x/tags/list?last=c>; rel="next"`)
			_, _ = w.Write([]byte(`{"tags":["c","a"]}`))
		}
		return true
	})
	tags, err := (&Client{}).Tags(t.Context(), f.host+"/base/x")
	if err != nil || !slices.Equal(tags, []string{"a", "b", "c"}) {
		t.Errorf("tags = %v, %v", tags, err)
	}
}
