package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/downstream"
	"github.com/imagefactory/imagefactory/factory/store"
	"github.com/imagefactory/imagefactory/tests/forge"
)

// What a canary publishes tells that it has the release, whatever way it was told; its server is asked when that tells nothing.
func TestWatchingCanaries(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	const secret = "0123456789abcdef0123456789abcdef"
	lab := &forge.GitLab{Token: secret, Public: true, Projects: map[string][]string{"shop/web": {"main"}}}
	config := "servers:\n  lab: {url: " + forge.Serve(t, lab) + ", token: \"env:SECRET\"}\n  hooks: {url: " + forge.Serve(t, &forge.Hook{}) + ", token: \"env:SECRET\", read-token: \"env:NONE\"}\n"
	dependents := `dependents:
  - {name: web, repository: shop/web, image: debian-12, env: staging, owner: linux, publishes: [registry.example.com/shop/web], tell: {how: gitlab-pipeline, server: lab, branch: main}}
  - {name: hub, repository: shop/hub, image: debian-12, env: staging, owner: linux, publishes: [registry.example.com/shop/hub], tell: {how: webhook, server: lab}}
  - {name: none, repository: shop/no, image: debian-12, env: staging, owner: linux, tell: {how: webhook, server: lab}}
  - {name: blind, repository: shop/no, image: debian-12, env: staging, owner: linux, tell: {how: webhook, server: hooks}}
`
	must(t, os.WriteFile(filepath.Join(d.dir, "factory.yaml"), []byte(config), 0o600))
	must(t, os.WriteFile(filepath.Join(d.dir, "baseimages", "dependents.yaml"), []byte(dependents), 0o600))
	d.env = map[string]string{"SECRET": secret}
	c := d.command(t, nil)
	db, err := c.store(t.Context())
	must(t, err)
	w := &telling{app: c.app, db: db, client: &downstream.Client{Now: d.Now}}
	release := factory.DigestOf([]byte("release"))
	trigger := func(dependent string) factory.Trigger {
		return factory.Trigger{ID: "t", Dependent: dependent, Image: "debian-12", Env: factory.Staging, Release: "r1", Ref: "registry.example.com/debian-12@" + string(release), Canary: true}
	}
	pipeline := trigger("web")
	_, err = w.client.Tell(t.Context(), c.cfg.Servers["lab"], secret, factory.Notice{Trigger: pipeline, Dependent: factory.Dependent{Repository: "shop/web", Tell: factory.Tell{How: factory.TellGitLab, Branch: "main"}}})
	must(t, err)
	lab.Becomes(1, "failed")
	pipeline.Handle = "1"
	sees := func(tr factory.Trigger, want factory.Seen, says string) {
		t.Helper()
		seen, err := w.Watch(t.Context(), tr)
		if err != nil || seen.Known != want.Known || seen.Done != want.Done || seen.Failed != want.Failed || !strings.Contains(seen.Answer, says) {
			t.Errorf("%s: %+v, %v", tr.Dependent, seen, err)
		}
	}
	sees(pipeline, factory.Seen{Known: true, Failed: true}, "pipeline 1: failed")
	sees(trigger("hub"), factory.Seen{Known: true}, "waits until what it publishes is seen on the release: factory dependents discover")
	sees(trigger("none"), factory.Seen{}, "")
	observed := func(name string, o factory.Observed) {
		t.Helper()
		o.Repository, o.Tag, o.Digest, o.Image, o.At = "registry.example.com/shop/"+name, "7", factory.DigestOf([]byte(name)), "debian-12", d.Now()
		_, err := db.Observe(t.Context(), []store.Sighting{{Look: factory.Look{Repository: o.Repository, At: d.Now()}, Images: []factory.Observed{o}}})
		must(t, err)
	}
	observed("hub", factory.Observed{Base: factory.DigestOf([]byte("older")), Release: "r0"})
	observed("other", factory.Observed{Base: release, Release: "r1"}) // somebody else's
	sees(trigger("hub"), factory.Seen{Known: true}, "waits until")
	observed("hub", factory.Observed{Base: release})
	observed("web", factory.Observed{Release: "r1", By: factory.ByLayers})
	sees(trigger("hub"), factory.Seen{Known: true, Done: true}, "registry.example.com/shop/hub:7 is built on it")
	sees(pipeline, factory.Seen{Known: true, Done: true}, "registry.example.com/shop/web:7 is built on it")
	for _, name := range []string{"nobody", "blind"} { // not here; no secret
		if seen, err := w.Watch(t.Context(), trigger(name)); err == nil || !seen.Known || seen.Done || seen.Failed {
			t.Errorf("%s: %+v, %v", name, seen, err)
		}
	}
	must(t, db.Close())
	if seen, err := w.Watch(t.Context(), pipeline); err == nil || seen.Done || seen.Failed {
		t.Errorf("without a database: %+v, %v", seen, err)
	}
}
