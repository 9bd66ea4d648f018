package system_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagefactory/imagefactory/factory"
)

func warned(text string) func(factory.Event) bool {
	return func(e factory.Event) bool { return e.Kind == factory.Warned && strings.Contains(e.Message, text) }
}

// A registry that answers 500, 429, slowly or not at all costs time, and nothing else: what is tagged is whole, and what
// cannot be made whole is not tagged.
func TestRegistryFaults(t *testing.T) {
	p := newPlant(t)
	p.only(t, "debian-13")
	p.serve(t)
	front := newFront(t, "http://"+p.Addr)
	p.Flags = []string{"--registry", front.Addr + "/base"}
	repository := front.Addr + "/base/debian-13"

	t.Run("in trouble", func(t *testing.T) {
		var requests atomic.Int64
		front.set(func(w http.ResponseWriter, r *http.Request) bool {
			switch n := requests.Add(1); {
			case n == 2 || n%20 == 0:
				http.Error(w, "out of order", http.StatusInternalServerError)
			case n == 4:
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
			case n == 6 || n == 11:
				_, _ = io.CopyN(io.Discard, r.Body, 100_000)
				cut()
			case n == 8 || n == 17:
				w.Header().Set("Content-Length", "1000000")
				_, _ = w.Write([]byte("{"))
				cut()
			case n%7 == 0: // slow
				<-time.After(300 * time.Millisecond)
				return false
			default:
				return false
			}
			return true
		})
		defer front.set(nil)
		r := p.ok(t, "nightly", "--json")
		if job := nightOf(t, r).job(t, "debian-13"); job.Ref == "" || !r.saw(warned("trying again in")) {
			t.Errorf("%+v", job)
		}
		front.set(nil)
		if tags := p.sound(t, repository); len(tags) != 1 {
			t.Errorf("%v", tags)
		}
	})
	t.Run("overloaded for an hour", func(t *testing.T) {
		front.set(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut {
				return false
			}
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		})
		q := p
		q.Flags = []string{"--registry", front.Addr + "/full"}
		r := q.exits(t, 6, "build", "debian-13")
		if !strings.Contains(r.said(), front.Addr) || !strings.Contains(r.said(), "1h0m0s") {
			t.Errorf("%s", r.said())
		}
		front.set(nil)
		if tags := q.tags(t, front.Addr+"/full/debian-13"); len(tags) != 0 {
			t.Errorf("tagged: %v", tags)
		}
	})
	t.Run("gone", func(t *testing.T) {
		gone := httptest.NewServer(nil)
		gone.Close()
		q := p
		q.Flags = []string{"--registry", strings.TrimPrefix(gone.URL, "http://") + "/base"}
		night := q.start(t, "build", "debian-13")
		night.await(t, "a retry", warned("trying again in"))
		must(t, night.cmd.Process.Signal(os.Interrupt))
		if r := night.wait(t); r.Exit != 130 {
			t.Errorf("exit %d: %s", r.Exit, r.said())
		}
	})
	t.Run("the tag is taken", func(t *testing.T) {
		release := p.release(t, "debian-13")
		q := p
		q.Flags = []string{"--registry", front.Addr + "/taken"}
		taken, err := name.NewTag(front.Addr+"/taken/debian-13:"+release.Tag.String(), name.Insecure)
		must(t, err)
		index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: pull(t, release)})
		digest, err := index.Digest()
		must(t, err)
		must(t, remote.WriteIndex(taken, index))
		r := q.exits(t, 5, "build", "debian-13")
		if !strings.Contains(r.said(), digest.String()) || !strings.Contains(r.said(), "tags never move") {
			t.Errorf("%s", r.said())
		}
		if tags := q.tags(t, front.Addr+"/taken/debian-13"); tags[release.Tag.String()] != digest.String() {
			t.Errorf("the tag moved: %v", tags)
		}
	})
}

// An archive that is down, cuts, has lost a package or sends another one: each is told by archive and file, the old lock
// stays, and when the archive is well again the release is made.
func TestArchiveFaults(t *testing.T) {
	p := newPlant(t)
	p.only(t, "debian-13")
	archive := archiveURLs(t, p)["debian"]
	front := newFront(t, archive)
	p.Flags = []string{"--archive", "debian=" + front.URL}
	const lock = "baseimages/debian-13/lock.json"
	p.add(t, "debian-13", "hello")
	before := read(t, p, lock)
	var fetched atomic.Int64
	deb := func(fault func(w http.ResponseWriter, r *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/hello_") {
				return false
			}
			fetched.Add(1)
			return fault(w, r)
		}
	}
	for _, fault := range []struct {
		name string
		exit int
		says string
		do   func(w http.ResponseWriter, r *http.Request) bool
	}{
		{"down", 6, "archive debian", func(http.ResponseWriter, *http.Request) bool { cut(); return true }},
		{"suite gone", 6, "archive debian", func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true }},
		{"release tampered with", 5, "archive debian", func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/trixie/InRelease") {
				return false
			}
			return alter(w, archive+r.URL.Path, "Codename: trixie", "Codename: trixia")
		}},
	} {
		t.Run("lock, "+fault.name, func(t *testing.T) {
			front.set(fault.do)
			r := p.exits(t, fault.exit, "lock", "debian-13")
			if !strings.Contains(r.said(), fault.says) || !strings.Contains(r.Stdout, "debian-13: not locked, the old lock stays") {
				t.Errorf("%s\n%s", r.Stdout, r.said())
			}
			if read(t, p, lock) != before {
				t.Error("the lock changed")
			}
		})
	}
	front.set(nil)
	p.ok(t, "lock", "debian-13")

	t.Run("package tampered with", func(t *testing.T) {
		front.set(deb(func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = w.Write([]byte("!<arch>\nevil"))
			return true
		}))
		if r := p.exits(t, 5, "build", "debian-13"); !strings.Contains(r.said(), "hello ") || !strings.Contains(r.said(), "from archive debian: its content is not what the lock names") {
			t.Errorf("%s", r.said())
		}
	})
	t.Run("package gone", func(t *testing.T) {
		front.set(deb(func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true }))
		if r := p.exits(t, 6, "build", "debian-13"); !strings.Contains(r.said(), "hello ") || !strings.Contains(r.said(), "from archive debian: the archive did not deliver it") {
			t.Errorf("%s", r.said())
		}
	})
	t.Run("cut in the middle, then well again", func(t *testing.T) {
		fetched.Store(0)
		front.set(deb(func(w http.ResponseWriter, r *http.Request) bool {
			if fetched.Load() > 1 {
				return false
			}
			w.Header().Set("Content-Length", "50000")
			_, _ = w.Write(make([]byte, 20000))
			cut()
			return true
		}))
		r := p.ok(t, "nightly", "--json")
		if job := nightOf(t, r).job(t, "debian-13"); job.Ref == "" || fetched.Load() < 2 {
			t.Errorf("%+v after %d tries", job, fetched.Load())
		}
		p.serve(t)
		if tags := p.sound(t, p.Addr+"/debian-13"); len(tags) != 1 {
			t.Errorf("%v", tags)
		}
	})
}

// alter passes a file on with something replaced.
func alter(w http.ResponseWriter, url, old, changed string) bool {
	res, err := http.Get(url)
	if err != nil {
		cut()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(b), old) {
		cut()
	}
	fmt.Fprint(w, strings.Replace(string(b), old, changed, 1))
	return true
}

func read(t testing.TB, p plant, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.Dir, file))
	must(t, err)
	return string(b)
}
