package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/adoption"
	"github.com/imagefactory/imagefactory/factory/registry"
	"github.com/imagefactory/imagefactory/factory/store"
	"github.com/imagefactory/imagefactory/tests/e2e/fixture"
)

// proxied is the desk's registry under another address, where a fault answers first.
func (d *desk) proxied(t *testing.T, fault func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: d.registry})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fault(w, r) {
			to.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestDiscoverOurOwn(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.release(t, "debian-12", time.Hour)
	must(t, fixture.BuiltOn(d.registry+"/team/app:1", r.Ref(), time.Time{}, false))
	if code := d.run(t, "dependents", "discover", d.registry); code != 0 {
		t.Fatal(code, d.stderr.String())
	}
	for _, want := range []string{": 2 repositories, 1 looked at, 1 our own, 0 not there", "1 image is built on ours; 1 release was looked for; 1 repository is in nobody's"} {
		if !strings.Contains(d.stderr.String(), want) {
			t.Errorf("%q is not said:\n%s", want, d.stderr.String())
		}
	}
	if out := d.stdout.String(); !strings.Contains(out, "/team/app") || !strings.Contains(out, " unknown ") || strings.Contains(out, d.registry+"/debian-12 ") {
		t.Error(out)
	}
	if code := d.run(t, "adoption"); code != 0 || !strings.Contains(d.stdout.String(), "not dated") {
		t.Error(code, d.stdout.String())
	}
	// Under another address our image is a copy of itself, and still nobody's.
	mirror := d.proxied(t, func(w http.ResponseWriter, r *http.Request) bool { return false })
	if code := d.run(t, "dependents", "discover", mirror, "--dry-run"); code != 0 || !strings.Contains(d.stderr.String(), "skipped: 1 copies of our own releases") {
		t.Error(code, d.stderr.String())
	}
}

// What is not in the catalogue any more is gone; a catalogue that may have more proves nothing.
func TestDiscoverVanished(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.release(t, "debian-12", time.Hour)
	must(t, fixture.BuiltOn(d.registry+"/team/app:1", r.Ref(), d.Now(), false))
	catalogue := ""
	host := d.proxied(t, func(w http.ResponseWriter, r *http.Request) bool {
		if catalogue == "" || !strings.HasSuffix(r.URL.Path, "/_catalog") {
			return false
		}
		w.Header().Set("Link", "</v2/_catalog"+strings.TrimPrefix(catalogue, "cut")+">")
		if catalogue == "whole" {
			w.Header().Del("Link")
		}
		_, _ = w.Write([]byte(`{"repositories":["team/NONE"]}`))
		return true
	})
	if code := d.run(t, "dependents", "discover", host); code != 0 {
		t.Fatal(code, d.stderr.String())
	}
	catalogue = "cut"
	if code := d.run(t, "dependents", "discover", host); code != exitPartial || !strings.Contains(d.stderr.String(), "the registry's catalogue may have more: its list goes round") || !strings.Contains(d.stderr.String(), "0 are gone") {
		t.Error(code, d.stderr.String())
	}
	catalogue = "whole"
	if code := d.run(t, "dependents", "discover", host); code != 0 || !strings.Contains(d.stderr.String(), "1 are gone since the last time") || !strings.Contains(d.stderr.String(), "skipped: 1 repositories whose names are none") {
		t.Error(code, d.stderr.String())
	}
	if code := d.run(t, "adoption"); code != 0 || !strings.Contains(d.stderr.String(), "left out: 1 image that was seen once") {
		t.Error(code, d.stderr.String())
	}
}

// A registry that stops answering: what is not asked is told, a few by name.
func TestDiscoverPartial(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.release(t, "debian-12", time.Hour)
	var names strings.Builder
	for i := range 60 {
		fmt.Fprintf(&names, "team/app%d\n", i)
	}
	host := d.proxied(t, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/team/") {
			http.Error(w, "", http.StatusUnauthorized)
			return true
		}
		return false
	})
	w := d.world()
	w.Stdin = strings.NewReader(names.String())
	if code := run(t.Context(), []string{"dependents", "discover", host, "--repositories", "-", "--dir", d.dir}, w); code != exitPartial {
		t.Error(code)
	}
	out := d.stderr.String()
	for _, want := range []string{"60 repositories, 0 looked at", "not looked at whole: 40 more; --json lists them", "60 repositories of 60 could not be looked at whole", "docker login"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said:\n%s", want, out)
		}
	}
	c := d.command(t, nil)
	db, err := c.store(t.Context())
	must(t, err)
	if looks, err := db.Looks(t.Context()); err != nil || len(looks) != 60 || looks[0].Problem == "" {
		t.Errorf("%d looks, %v", len(looks), err)
	}
	// A list that holds nothing is no fault.
	w.Stdin = nil
	d.stderr.Reset()
	if code := run(t.Context(), []string{"dependents", "discover", host, "--repositories", "-", "--dir", d.dir}, w); code != 0 || !strings.Contains(d.stderr.String(), ": 0 repositories, 0 looked at") {
		t.Error(code, d.stderr.String())
	}
	w.Stdin = failing{}
	if code := run(t.Context(), []string{"dependents", "discover", host, "--repositories", "-", "--dir", d.dir}, w); code != exitInvalid {
		t.Error(code)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the pipe is cut") }

// A repository of a dependent is its, in both reports.
func TestMatchKnowsTheDependent(t *testing.T) {
	t.Parallel()
	layer := factory.DigestOf([]byte("a"))
	r := factory.Release{ID: "r1", Image: "debian-12", Repository: "registry.example.com/base/debian-12", Digest: factory.DigestOf([]byte("r1")),
		Artifact: factory.Artifact{Platforms: []factory.PlatformImage{{Layers: []factory.Layer{{Digest: layer, DiffID: layer}}}}}}
	d := &discovery{index: adoption.NewIndex([]factory.Release{r}), dependents: []factory.Dependent{{Name: "payments", Publishes: []string{"registry.example.com/team/app"}}}}
	for repository, want := range map[string]string{"registry.example.com/team/app": "payments", "registry.example.com/team/web": ""} {
		if o, built := d.match(factory.Candidate{Repository: repository, Tag: "1", Layers: []factory.Digest{layer}}); !built || o.Dependent != want {
			t.Errorf("%s: %+v", repository, o)
		}
	}
	if _, built := d.match(factory.Candidate{Digest: r.Digest, Layers: []factory.Digest{layer}}); built || d.copies.Load() != 1 {
		t.Error("our own image counts as somebody's")
	}
}

// Recording happens in portions, and what is left comes at the end.
func TestDiscoverRecordsInPortions(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := d.command(t, nil)
	db, err := c.store(t.Context())
	must(t, err)
	x := &discovery{command: c, db: db}
	for i := range recordEvery + 1 {
		must(t, x.sight(t.Context(), store.Sighting{Look: factory.Look{Repository: fmt.Sprint("registry.example.com/app", i), At: d.Now()}}))
	}
	looks, err := db.Looks(t.Context())
	must(t, err)
	if len(looks) != recordEvery || len(x.pending) != 1 {
		t.Errorf("%d are recorded, %d are not", len(looks), len(x.pending))
	}
}

func TestAdoptionTexts(t *testing.T) {
	t.Parallel()
	first := func(hours float64) adoption.Base { return adoption.Base{First: &adoption.Fanout{Hours: hours}} }
	for want, b := range map[string]adoption.Base{"-": {}, "not dated": {Undated: 1}, "1.5 h": first(1.5), "3.0 d": first(72)} {
		if got := firstAfter(b); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	at := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	r := adoption.Report{At: at, Env: factory.Prod, Unseen: []adoption.Unseen{{Dependent: "app", Owner: "web", Image: "debian-12", Why: "never looked at what it publishes"}}}
	if got := adoptionLacks(r); len(got) != 2 || got[1] != "not seen: app (web) on debian-12: never looked at what it publishes" {
		t.Errorf("%q", got)
	}
	long := at.AddDate(0, 0, -9)
	r.Looked, r.Newest, r.Oldest, r.Elsewhere = 2, &at, &long, map[factory.Env]int{factory.Dev: 1, factory.Staging: 2}
	got := adoptionLacks(r)
	for _, want := range []string{"compared with what is in force in prod; 2 repositories looked at, the last one 0 s ago, the longest ago 9 d ago",
		"left out: 1 repository of dependents that follow dev: --env dev", "left out: 2 repositories of dependents that follow staging: --env staging"} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if knownBy(factory.Observed{By: factory.ByAnnotation}) != "annotation" {
		t.Error("layers that nobody knows are told")
	}
}

// The embedded registry of this factory is served while it is read.
func TestDiscoverEmbedded(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.release(t, "debian-12", time.Hour)
	server := &registry.Server{Dir: d.dir + "/.factory/registry", Addr: "127.0.0.1:0"}
	running, err := server.Start(t.Context())
	must(t, err)
	must(t, fixture.BuiltOn(running.Addr()+"/team/app:1", r.Ref(), d.Now(), false))
	for _, there := range []bool{true, false} { // by another process; by this one
		if !there {
			must(t, running.Close())
		}
		d.stderr.Reset()
		if code := run(t.Context(), []string{"dependents", "discover", running.Addr(), "--dir", d.dir, "--registry-addr", running.Addr()}, d.world()); code != 0 || !strings.Contains(d.stderr.String(), "1 image is built on ours") {
			t.Error(code, d.stderr.String())
		}
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	page := errors.New("<html>\n" + strings.Repeat("sorry ", 100))
	l := registry.Looked{More: 3, Problems: []error{page, fmt.Errorf("app:1: %w", &factory.Problem{What: "registry: read 1", Cause: page, Hint: "docker login"})}}
	got := unreadable(l)
	if !strings.HasPrefix(got, "<html> sorry ") || strings.Contains(got, "\n") || !strings.Contains(got, "registry: read 1: <html>") || !strings.HasSuffix(got, "… (docker login); and 3 more") || len(got) > 700 {
		t.Errorf("%q", got)
	}
}
