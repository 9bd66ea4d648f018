package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/factorytest"
	"github.com/imagefactory/imagefactory/tests/e2e/fixture"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestMain is a small scanner instead of tests when the factory starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		if err := fixture.ServeScanner(); err != nil && !errors.Is(err, io.EOF) {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// desk is everything around a factory that runs inside a test: a repository, its state, a clock, an archive that has not
// moved, and what came out.
type desk struct {
	factorytest.Clock
	dir, archive   string
	registry       string // host, with the releases
	env            map[string]string
	stdout, stderr factorytest.Output
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	d := &desk{dir: t.TempDir(), env: map[string]string{"FACTORY_SCANNER": self, "FACTORY_VULNERABILITIES": t.TempDir()}}
	must(t, fixture.Data{Kind: factory.TrivyDatabase, Updated: d.Now()}.Write(d.env["FACTORY_VULNERABILITIES"]))
	must(t, fixture.Repository(d.dir))
	must(t, fixture.Commit(d.dir, "first"))
	must(t, fixture.Remember(d.dir, d.dir+"/.factory"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path.Base(r.URL.Path) != "InRelease" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(fixture.InRelease))
	}))
	t.Cleanup(server.Close)
	d.archive = server.URL + "/debian"
	hub := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(hub.Close)
	d.registry = strings.TrimPrefix(hub.URL, "http://")
	return d
}

func (d *desk) world() world {
	return world{Stdout: &d.stdout, Stderr: &d.stderr, Now: d.Now, Width: func() int { return 80 },
		Env: func(name string) (string, bool) { v, ok := d.env[name]; return v, ok }, Environ: func() []string { return nil }}
}

// run runs a command line and returns its exit code.
func (d *desk) run(t *testing.T, args ...string) int {
	t.Helper()
	d.stdout.Reset()
	d.stderr.Reset()
	return run(t.Context(), append(args, "--dir", d.dir, "--archive", "debian="+d.archive, "--registry", d.registry), d.world())
}

// command is the environment of a command, closed with the test.
func (d *desk) command(t *testing.T, flags map[string]string) *command {
	t.Helper()
	all := map[string]string{"dir": d.dir, "registry": d.registry}
	for k, v := range flags {
		all[k] = v
	}
	cfg, err := loadConfig(all, "", d.world().Env, noArchives)
	must(t, err)
	c := &command{app: newApp(cfg, d.world())}
	t.Cleanup(func() { must(t, c.close()) })
	return c
}

func noArchives() (map[string]string, error) { return nil, factory.ErrNotFound }

// image returns a definition as it is now.
func (d *desk) image(t *testing.T, name string) factory.Image {
	t.Helper()
	set, err := definition.Load(d.dir)
	must(t, err)
	img, err := set.Image(name)
	must(t, err)
	return img
}

// release records that the image as it is now was released so long ago.
func (d *desk) release(t *testing.T, name string, age time.Duration, edit ...func(*factory.Release)) factory.Release {
	t.Helper()
	r, err := fixture.Release(d.dir, d.registry, name, d.Now().Add(-age))
	must(t, err)
	for _, f := range edit {
		f(&r)
	}
	c := d.command(t, nil)
	db, err := c.store(context.Background())
	must(t, err)
	must(t, fixture.On(context.Background(), db, &r))
	r, err = db.AddRelease(context.Background(), r)
	must(t, err)
	return r
}

// child defines an image that is built on another one, locked like all others and committed.
func (d *desk) child(t *testing.T, name, from, yaml string) {
	t.Helper()
	must(t, fixture.Child(d.dir, name, from, yaml))
	d.relock(t, nil)
}

// relock locks everything as if the archive had these versions, and commits that.
func (d *desk) relock(t *testing.T, versions map[string]string) {
	t.Helper()
	must(t, fixture.Lock(d.dir, versions))
	must(t, fixture.Commit(d.dir, "next"))
	must(t, fixture.Remember(d.dir, d.dir+"/.factory"))
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	return string(b)
}

func fixtureData(updated time.Time) fixture.Data {
	return fixture.Data{Kind: factory.TrivyDatabase, Updated: updated}
}
