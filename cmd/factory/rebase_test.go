package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/tests/e2e/fixture"
)

// family is a base with two releases, and a child on the first.
type family struct {
	*desk
	old, new, child factory.Release
}

const appDefinition = `from: debian-12
kind: base
summary: an application on Debian 12
`

// newFamily publishes a base that updates bash, and a child that installed jq. Own are the child's own files beside dpkg's database.
func newFamily(t *testing.T, own ...fixture.File) *family {
	t.Helper()
	f := &family{desk: newDesk(t)}
	folder := filepath.Join(f.dir, "baseimages", "debian-12-app")
	must(t, os.MkdirAll(folder, 0o755))
	must(t, os.WriteFile(filepath.Join(folder, "image.yaml"), []byte(appDefinition), 0o644))
	must(t, os.WriteFile(filepath.Join(folder, "tests.yaml"), []byte("packages: {present: [jq]}\n"), 0o644))
	owners := filepath.Join(f.dir, "baseimages", "owners.yaml")
	must(t, os.WriteFile(owners, []byte(strings.Replace(read(t, owners), "images:\n", "images:\n  debian-12-app: linux\n", 1)), 0o644))
	code := filepath.Join(f.dir, "CODEOWNERS")
	must(t, os.WriteFile(code, []byte(read(t, code)+"/baseimages/debian-12-app/ @example/linux\n"), 0o644))
	must(t, fixture.Lock(f.dir, nil))
	must(t, fixture.Commit(f.dir, "a child"))
	if _, err := definition.Load(f.dir); err != nil {
		t.Fatal(err)
	}
	f.old = f.base(t, 48*time.Hour, "1.0-1")
	f.new = f.base(t, time.Hour, "1.0-2")
	f.child = f.app(t, f.old, 24*time.Hour, own...)
	return f
}

func passwd(day int) string {
	return fmt.Sprintf("root:*:%d:0:99999:7:::\n", day)
}

// rootfs are the layers of a base with a version of bash.
func rootfs(t *testing.T, version string) []v1.Layer {
	t.Helper()
	system, err := fixture.Layer(fixture.File{Name: "usr/"}, fixture.File{Name: "usr/lib/"}, fixture.File{Name: "usr/lib/os-release", Data: "ID=debian\n"}, fixture.File{Name: "usr/share/tzdata", Data: "all of it"})
	must(t, err)
	rest, err := fixture.Layer(fixture.File{Name: "etc/"}, fixture.File{Name: "etc/shadow", Data: passwd(len(version) + int(version[len(version)-1]))}, fixture.File{Name: "usr/bin/bash", Data: "bash " + version, Mode: 0o755},
		fixture.File{Name: "var/lib/dpkg/status", Data: fixture.Status("bash="+version, "tzdata=1.0-1")})
	must(t, err)
	return []v1.Layer{system, rest}
}

func (f *family) base(t *testing.T, age time.Duration, version string) factory.Release {
	t.Helper()
	r, err := fixture.Release(f.dir, f.registry, "debian-12", f.Now().Add(-age))
	must(t, err)
	r.Tag.Hash = "0000000" + version[len(version)-1:]
	r.Lock.Platforms[0].Packages[0].Version = version
	config := v1.Config{User: "65532:65532", Env: []string{"PATH=/usr/bin", "BASE=" + version}, Labels: map[string]string{"org.opencontainers.image.title": "debian-12"}}
	must(t, fixture.PublishLayers(&r, config, map[string]string{"org.opencontainers.image.title": "debian-12"}, false, rootfs(t, version)...))
	return f.record(t, r)
}

func (f *family) record(t *testing.T, r factory.Release) factory.Release {
	t.Helper()
	c := f.command(t, nil)
	must(t, c.keyPair())
	must(t, fixture.Sign(t.Context(), &r, c.cfg.Key))
	db, err := c.store(t.Context())
	must(t, err)
	r, err = db.AddRelease(t.Context(), r)
	must(t, err)
	return r
}

// app is a release of the child on a release of the base.
func (f *family) app(t *testing.T, on factory.Release, age time.Duration, own ...fixture.File) factory.Release {
	t.Helper()
	r, err := fixture.Release(f.dir, f.registry, "debian-12-app", f.Now().Add(-age))
	must(t, err)
	r.Parent = &factory.Base{Image: on.Image, Release: on.ID, Repository: on.Repository, Digest: on.Digest, Tag: on.Tag}
	version := on.Lock.Platforms[0].Packages[0].Version
	jq := r.Lock.Platforms[0].Packages[0]
	jq.Name, jq.Version, jq.Path = "jq", "1.7-1", "pool/main/jq.deb"
	r.Lock.Platforms[0].Packages = []factory.Package{on.Lock.Platforms[0].Packages[0], jq, on.Lock.Platforms[0].Packages[1]}
	files := append([]fixture.File{{Name: "var/lib/dpkg/status", Data: fixture.Status("bash="+version, "jq=1.7-1", "tzdata=1.0-1")}, {Name: "var/lib/dpkg/info/jq.list", Data: "/usr/bin/jq\n"},
		{Name: "usr/bin/jq", Data: "jq", Mode: 0o755}}, own...)
	layer, err := fixture.Layer(files...)
	must(t, err)
	config := v1.Config{User: "65532:65532", Env: []string{"PATH=/usr/bin", "BASE=" + version, "APP=1"}, Cmd: []string{"jq"}, Labels: map[string]string{"org.opencontainers.image.title": "app"}}
	notes := map[string]string{"org.opencontainers.image.title": "app", "org.opencontainers.image.base.digest": string(on.Digest), "io.imagefactory.lock": "x", "org.opencontainers.image.created": "2026-11-20T01:02:03Z"}
	must(t, fixture.PublishLayers(&r, config, notes, false, append(rootfs(t, version), layer)...))
	return f.record(t, r)
}

// told is what a rebase says with --json.
func (f *family) told(t *testing.T) (rows []rebased) {
	t.Helper()
	must(t, json.Unmarshal(f.stdout.Bytes(), &rows))
	return rows
}

// A child whose base updated a package is put on the new base without a build, and verifies.
func TestRebase(t *testing.T) {
	t.Parallel()
	f := newFamily(t)
	if code := f.run(t, "rebase", "debian-12-app", "--onto", "debian-12", "--dry-run"); code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, &f.stdout, &f.stderr)
	}
	t.Logf("%s", &f.stdout)
	if code := f.run(t, "rebase", "debian-12-app", "--onto", "debian-12", "--json"); code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, &f.stdout, &f.stderr)
	}
	row := f.told(t)[0]
	t.Logf("%+v", row)
	code := f.run(t, "verify", row.Ref)
	t.Logf("%d %s%s", code, &f.stdout, &f.stderr)
	if code != 0 {
		t.Error("it does not verify")
	}
}
