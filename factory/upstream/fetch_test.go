package upstream

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestFetch(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789"), 5000)
	p := factory.Package{Name: "aa", Version: "1", Archive: "debian", Path: "pool/aa.deb", Size: int64(len(content)), SHA256: factory.DigestOf(content)}
	setup := func(t *testing.T) (*archive, fetcher) {
		a := newArchive(t)
		write(t, filepath.Join(a.dir, "debian/pool/aa.deb"), content)
		return a, fetcher{dir: t.TempDir(), archives: map[string]string{"debian": a.url()}, progress: func(int64, int64) {}}
	}
	check := func(t *testing.T, f fetcher) {
		t.Helper()
		if b, err := os.ReadFile(f.path(p)); err != nil || !bytes.Equal(b, content) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	}
	t.Run("cut off and resumed", func(t *testing.T) {
		a, f := setup(t)
		var ranges []string
		a.answer(".deb", func(w http.ResponseWriter, r *http.Request) {
			ranges = append(ranges, r.Header.Get("Range"))
			if len(ranges) == 1 {
				w.Header().Set("Content-Length", "50000")
				_, _ = w.Write(content[:20000])
				panic(http.ErrAbortHandler)
			}
			http.ServeFile(w, r, filepath.Join(a.dir, r.URL.Path))
		})
		if err := f.fetch(t.Context(), []factory.Package{p}); err != nil {
			t.Fatal(err)
		}
		check(t, f)
		if len(ranges) != 2 || ranges[0] != "" || !strings.HasPrefix(ranges[1], "bytes=") {
			t.Errorf("%q", ranges)
		}
	})
	t.Run("a server without ranges", func(t *testing.T) {
		a, f := setup(t)
		write(t, f.path(p)+".part", content[:100])
		a.answer(".deb", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(content) })
		if err := f.fetch(t.Context(), []factory.Package{p}); err != nil {
			t.Fatal(err)
		}
		check(t, f)
	})
	t.Run("too long a remainder", func(t *testing.T) {
		_, f := setup(t)
		write(t, f.path(p)+".part", append(slices.Clone(content), "more"...))
		if err := f.fetch(t.Context(), []factory.Package{p}); err != nil {
			t.Fatal(err)
		}
		check(t, f)
	})
	for name, part := range map[string][]byte{
		"a remainder of something else":       bytes.Repeat([]byte("x"), 100),
		"a whole remainder of something else": bytes.Repeat([]byte("x"), len(content)),
	} {
		t.Run(name, func(t *testing.T) {
			_, f := setup(t)
			write(t, f.path(p)+".part", part)
			if err := f.fetch(t.Context(), []factory.Package{p}); err != nil {
				t.Fatal(err)
			}
			check(t, f)
		})
	}
	t.Run("a remainder, and the archive has something else too", func(t *testing.T) {
		a, f := setup(t)
		write(t, f.path(p)+".part", content[:100])
		write(t, filepath.Join(a.dir, "debian/pool/aa.deb"), bytes.Repeat([]byte("x"), len(content)))
		if err := f.fetch(t.Context(), []factory.Package{p}); !errors.Is(err, factory.ErrUnverified) || len(a.hits) != 2 {
			t.Errorf("%v after %q", err, a.hits)
		}
	})
	t.Run("a whole remainder", func(t *testing.T) {
		_, f := setup(t)
		write(t, f.path(p)+".part", content)
		if err := f.fetch(t.Context(), []factory.Package{p}); err != nil {
			t.Fatal(err)
		}
		check(t, f)
	})
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		kind   error
	}{
		"tampered": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(bytes.ToUpper(append(content[:49999:49999], 'x')))
		}, factory.ErrUnverified},
		"longer": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(append(slices.Clone(content), content...))
		}, factory.ErrUnverified},
		"shorter": {func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(content[:10]) }, factory.ErrUnverified},
		"gone":    {status(404), factory.ErrUnavailable},
		"down":    {status(503), factory.ErrUnavailable},
		"cut":     {cutOff, factory.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			a, f := setup(t)
			a.answer(".deb", c.answer)
			err := f.fetch(t.Context(), []factory.Package{p, p})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), "archive debian: pool/aa.deb") {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(f.path(p)); err == nil {
				t.Error("it was kept")
			}
		})
	}
	t.Run("archive unknown", func(t *testing.T) {
		_, f := setup(t)
		f.archives = nil
		if err := f.fetch(t.Context(), []factory.Package{p}); !errors.Is(err, factory.ErrInvalid) {
			t.Error(err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		_, f := setup(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.fetch(ctx, []factory.Package{p}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
