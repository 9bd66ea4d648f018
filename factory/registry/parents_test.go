package registry

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/imagefactory/imagefactory/factory"
)

// kept is a folder of parents in front of a registry that has one.
func kept(t *testing.T) (*Parents, *faulty, factory.Base) {
	t.Helper()
	f, a := front(t), image(t, 5000)
	base := factory.Base{Image: "debian-12", Repository: f.host + "/base/debian-12", Digest: a.Digest}
	must(t, (&Client{}).Push(t.Context(), base.Repository, a))
	return &Parents{Dir: filepath.Join(t.TempDir(), "parents"), Client: patient(&waits{}), Now: func() time.Time { return time.Unix(1e9, 0) }}, f, base
}

func (f *faulty) requests(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.seen {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

func TestParentIsPulledOnce(t *testing.T) {
	t.Parallel()
	p, f, base := kept(t)
	dir, err := p.Pull(t.Context(), base)
	must(t, err)
	if got, err := readLayout(factory.Artifact{Layout: dir, Digest: base.Digest}); err != nil || len(got.manifests) != 3 || len(got.blobs) != 6 {
		t.Errorf("%d manifests, %d blobs, %v", len(got.manifests), len(got.blobs), err)
	}
	index, err := layout.ImageIndexFromPath(dir)
	must(t, err)
	if m, err := index.IndexManifest(); err != nil || len(m.Manifests) != 1 || m.Manifests[0].Digest.String() != string(base.Digest) {
		t.Errorf("%+v %v", m, err)
	}
	before := f.requests("GET")
	for _, again := range []*Parents{p, {Dir: p.Dir, Client: p.Client, Now: p.Now}} {
		if _, err := again.Pull(t.Context(), base); err != nil || f.requests("GET") != before {
			t.Errorf("%d requests more, %v", f.requests("GET")-before, err)
		}
	}
}

// What another run left half made, or somebody damaged, is made whole.
func TestParentIsContinued(t *testing.T) {
	t.Parallel()
	p, f, base := kept(t)
	dir, err := p.Pull(t.Context(), base)
	must(t, err)
	parts, err := readLayout(factory.Artifact{Layout: dir, Digest: base.Digest})
	must(t, err)
	whole, err := os.ReadFile(parts.blobs[0].file)
	must(t, err)
	must(t, os.WriteFile(parts.blobs[0].file+".part", whole[:1000], 0o600))
	must(t, os.Remove(parts.blobs[0].file))
	must(t, os.WriteFile(parts.blobs[1].file, []byte("damaged"), 0o600))
	must(t, os.WriteFile(blobFile(dir, base.Digest), []byte("{}"), 0o600))
	var ranges []string
	f.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == "GET" && strings.Contains(r.URL.Path, "/blobs/") {
			ranges = append(ranges, r.Header.Get("Range"))
		}
		return false
	})
	if _, err := (&Parents{Dir: p.Dir, Client: p.Client, Now: p.Now}).Pull(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	if slices.Sort(ranges); !slices.Equal(ranges, []string{"", "bytes=1000-"}) {
		t.Errorf("asked for %q", ranges)
	}
	_, err = readLayout(factory.Artifact{Layout: dir, Digest: base.Digest})
	must(t, err)
}

func TestParentThatCannotBePulled(t *testing.T) {
	t.Parallel()
	answer := func(part, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "GET" && strings.Contains(r.URL.Path, part) {
				_, _ = w.Write([]byte(body))
				return true
			}
			return false
		}
	}
	for name, c := range map[string]struct {
		fault func(http.ResponseWriter, *http.Request) bool
		base  func(*factory.Base)
		kind  error
		says  string
	}{
		"lost": {nil, func(b *factory.Base) { b.Digest = factory.DigestOf(nil) }, factory.ErrNotFound, "the registry has lost debian-12@sha256:"},
		"lost blob": {func(w http.ResponseWriter, r *http.Request) bool {
			return r.Method == "GET" && strings.Contains(r.URL.Path, "/blobs/") && status(w, 404)
		}, nil, factory.ErrNotFound, "the registry has lost"},
		"other manifest": {answer("/manifests/", "{}"), nil, factory.ErrUnverified, "got bytes of"},
		"short blob":     {answer("/blobs/", "short"), nil, factory.ErrUnavailable, "unexpected EOF"},
		"other blob":     {answer("/blobs/", strings.Repeat("x", 1<<20)), nil, factory.ErrUnverified, "comes as sha256:"},
		"no reference":   {nil, func(b *factory.Base) { b.Repository = "nowhere" }, factory.ErrInvalid, "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, f, base := kept(t)
			if c.base != nil {
				c.base(&base)
			}
			f.set(c.fault)
			dir, err := p.Pull(t.Context(), base)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "index.json")); !os.IsNotExist(err) {
				t.Error("it looks whole")
			}
		})
	}
}

func TestParentsAreSwept(t *testing.T) {
	t.Parallel()
	p, _, base := kept(t)
	must(t, p.Sweep(time.Hour)) // there is no folder yet
	dir, err := p.Pull(t.Context(), base)
	must(t, err)
	for _, c := range []struct {
		later time.Duration
		there bool
	}{{time.Hour, true}, {3 * time.Hour, false}} {
		p.Now = func() time.Time { return time.Unix(1e9, 0).Add(c.later) }
		must(t, p.Sweep(2*time.Hour))
		if _, err := os.Stat(dir); (err == nil) != c.there {
			t.Errorf("after %s: %v", c.later, err)
		}
	}
	must(t, os.WriteFile(p.Dir+"2", nil, 0o600))
	if _, err := (&Parents{Dir: p.Dir + "2", Client: p.Client, Now: p.Now}).Pull(t.Context(), base); !errors.Is(err, factory.ErrUnavailable) {
		t.Error(err)
	}
	if err := (&Parents{Dir: p.Dir + "2", Now: p.Now}).Sweep(0); !errors.Is(err, factory.ErrUnavailable) {
		t.Error(err)
	}
}

// childOf is image a with one more layer on amd64, and a note of what it is built on.
func childOf(t *testing.T, a factory.Artifact, base string) factory.Artifact {
	t.Helper()
	outer, err := layout.ImageIndexFromPath(a.Layout)
	must(t, err)
	h, err := v1.NewHash(string(a.Digest))
	must(t, err)
	index, err := outer.ImageIndex(h)
	must(t, err)
	index = mutate.Annotations(index, map[string]string{baseName: base}).(v1.ImageIndex)
	child := factory.Artifact{Layout: t.TempDir(), Platforms: a.Platforms}
	to, err := layout.Write(child.Layout, outer)
	must(t, err)
	must(t, to.AppendIndex(index))
	d, err := index.Digest()
	must(t, err)
	child.Digest = factory.Digest(d.String())
	return child
}

// Layers of the base are not sent again to the registry that has them, and sent to one that has not.
func TestLayersOfTheBaseAreMounted(t *testing.T) {
	t.Parallel()
	f, a := front(t), image(t, 5000)
	must(t, (&Client{}).Push(t.Context(), f.host+"/base/debian-12", a))
	child := childOf(t, a, f.host+"/base/debian-12:20261123-1a2b3c4d-dev")
	sent := f.requests("PUT /v2/base/debian-12/blobs/")
	if sent == 0 {
		t.Fatal("the base came there without being sent")
	}
	must(t, (&Client{}).Push(t.Context(), f.host+"/apps/python", child))
	if n := f.requests("PUT /v2/apps/python/blobs/"); n != 0 {
		t.Errorf("%d blobs were sent", n)
	}
	whole(t, f.host+"/apps/python@"+string(child.Digest))

	other := front(t)
	must(t, (&Client{}).Push(t.Context(), other.host+"/apps/python", child))
	if n := other.requests("PUT /v2/apps/python/blobs/"); n != sent {
		t.Errorf("%d of %d blobs were sent to another registry", n, sent)
	}
	gone := childOf(t, a, other.host+"/base/never:20261123-1a2b3c4d-dev")
	must(t, (&Client{}).Push(t.Context(), other.host+"/apps/other", gone))
	if n := other.requests("PUT /v2/apps/other/blobs/"); n != sent {
		t.Errorf("%d of %d blobs were sent when there is nothing to take them from", n, sent)
	}
}

func TestBaseOfContent(t *testing.T) {
	t.Parallel()
	s, err := (&Client{}).open("registry.example.com/apps/python", "pull")
	must(t, err)
	for note, want := range map[string]string{
		"registry.example.com/base/x:1":          "base/x",
		"registry.example.com/apps/python:1":     "", // itself
		"elsewhere.example.com/base/x:1":         "",
		"registry.example.com/base/x":            "", // no reference
		"":                                       "",
		"registry.example.com/base/x@sha256:bad": "",
	} {
		c := content{manifests: []manifest{{body: []byte(`{"annotations":{"` + baseName + `":"` + note + `"}}`)}}}
		if got := c.base(s); got != want {
			t.Errorf("%q: %q, want %q", note, got, want)
		}
	}
	if (content{}).base(s) != "" || (content{manifests: []manifest{{body: []byte("no")}}}).base(s) != "" {
		t.Error("a base of nothing")
	}
}
