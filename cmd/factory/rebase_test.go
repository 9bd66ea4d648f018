package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/oci"
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
	return newFamilyIn(t, "", own...)
}

// newFamilyIn is newFamily in a registry that is there already; empty = one of its own.
func newFamilyIn(t *testing.T, registry string, own ...fixture.File) *family {
	t.Helper()
	f := &family{desk: newDesk(t)}
	f.registry = cmp.Or(registry, f.registry)
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
	r.Tag.Hash = factory.DigestOf([]byte(r.ID)).Hex()[:8]
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
	must(t, json.Unmarshal([]byte(f.stdout.String()), &rows))
	return rows
}

// refused runs a rebase that rules must refuse, and returns what was told of it.
func (f *family) refused(t *testing.T, args ...string) rebased {
	t.Helper()
	if code := f.run(t, append([]string{"rebase", "--json"}, args...)...); code != exitBlocked {
		t.Fatalf("%q: exit %d\n%s\n%s", args, code, &f.stdout, &f.stderr)
	}
	return f.told(t)[0]
}

// not are the rules that did not hold.
func (r rebased) not() string {
	var all []string
	for _, k := range r.Checks {
		if !k.OK {
			all = append(all, k.Rule+": "+k.Text)
		}
	}
	return strings.Join(all, "\n")
}

// A child whose base updated a package is put on the new base without a build: its tag is new, it verifies, it is recorded, it can be
// promoted, and the same again is nothing to do.
func TestRebase(t *testing.T) {
	t.Parallel()
	f := newFamily(t)
	if code := f.run(t, "rebase", "debian-12-app", "--onto", "debian-12", "--dry-run"); code != 0 || !strings.Contains(f.stdout.String(), "would be rebased") || !strings.Contains(f.stdout.String(), "the 2 layers of the old base are the image's lowest; 1 above are its own") {
		t.Fatalf("exit %d\n%s\n%s", code, &f.stdout, &f.stderr)
	}
	if code := f.run(t, "rebase", "debian-12-app", "--onto", "debian-12", "--json"); code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, &f.stdout, &f.stderr)
	}
	row := f.told(t)[0]
	if row.Result != "rebased" || row.Found != "no findings" || len(row.Carried) != 2 || len(row.Merged) != 1 || row.Ref == f.child.Tagged() {
		t.Errorf("%+v", row)
	}
	db, err := f.command(t, nil).store(t.Context())
	must(t, err)
	r, err := db.Release(t.Context(), row.Ref)
	must(t, err)
	if r.Parent == nil || r.Parent.Digest != f.new.Digest || r.Rebased == nil || r.Rebased.Before.Release != f.child.ID || r.Source != f.child.Source || r.Supersedes != f.child.ID ||
		r.Lock.Platforms[0].Packages[0].Version != "1.0-2" || len(r.Lock.Platforms[0].Packages) != 3 || r.Lock.Parent == nil || r.Compliance.Carried == "" {
		t.Errorf("%+v %+v", r.Lock, r.Rebased)
	}
	config := f.configOf(t, r)
	if config.Config.User != "65532:65532" || !slices.Contains(config.Config.Env, "BASE=1.0-2") || !slices.Contains(config.Config.Env, "APP=1") || config.Config.Cmd[0] != "jq" ||
		config.Config.Labels["org.opencontainers.image.base.digest"] != string(f.new.Digest) || len(config.RootFS.DiffIDs) != 4 || len(config.History) != 4 {
		t.Errorf("%+v", config)
	}
	for _, args := range [][]string{{"verify", row.Ref, "--max-age", "1h"}, {"promote", "debian-12-app", "--to", "staging"}, {"show", "debian-12-app"}, {"gate", "debian-12-app"}} {
		if code := f.run(t, args...); code != 0 {
			t.Errorf("%q: exit %d\n%s%s", args, code, &f.stdout, &f.stderr)
		}
	}
	if text := f.stdout.String(); !strings.Contains(text, "carried") || !strings.Contains(text, "nothing was run in this one") {
		t.Errorf("the gate does not say what is carried: %s", text)
	}
	if code := f.run(t, "reproduce", "debian-12-app"); code != exitInvalid || !strings.Contains(f.stderr.String(), "was not built") {
		t.Errorf("exit %d, %s", code, &f.stderr)
	}
	if code := f.run(t, "rebase", "debian-12-app", "--onto", "debian-12", "--json"); code != 0 || f.told(t)[0].Result != "on it already" {
		t.Errorf("exit %d, %s", code, &f.stdout)
	}
	if code := f.run(t, "rebase", "--all", "--onto", "debian-12"); code != 0 || !strings.Contains(f.stderr.String(), "no image in force stands on another release of debian-12") {
		t.Errorf("exit %d, %s", code, &f.stderr)
	}
}

func (f *family) configOf(t *testing.T, r factory.Release) *v1.ConfigFile {
	t.Helper()
	ref, err := name.NewDigest(r.Repository + "@" + string(r.Artifact.Platforms[0].Digest))
	must(t, err)
	img, err := remote.Image(ref)
	must(t, err)
	config, err := img.ConfigFile()
	must(t, err)
	must(t, validate.Image(img))
	return config
}

// Every reason is told at once, and nothing is published.
func TestRebaseIsRefused(t *testing.T) {
	t.Parallel()
	f := newFamily(t, fixture.File{Name: "usr/bin/bash", Data: "a bash of its own", Mode: 0o755})
	row := f.refused(t, "debian-12-app", "--onto", "debian-12", "--env", "dev")
	if text := row.not(); !strings.Contains(text, "files: it has a /usr/bin/bash of its own") || row.Result != "refused" {
		t.Errorf("%s", text)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"debian-12-app", "--onto", "debian-12", "--env", "prod"}, "environment: the image never was in prod"},
		{[]string{"debian-12", "--onto", f.old.ID}, "series: it is built on nothing that is known"},
	} {
		if row := f.refused(t, c.args...); !strings.Contains(row.not(), c.want) {
			t.Errorf("%q: %s", c.args, row.not())
		}
	}
	if code := f.run(t, "rebase", "debian-12-app", "nothing", "--onto", "debian-12"); code != exitBlocked && code != exitInvalid {
		t.Errorf("exit %d, %s", code, &f.stderr)
	}
	for _, args := range [][]string{{}, {"debian-12-app"}, {"--onto", "debian-12"}, {"debian-12-app", "--all", "--onto", "debian-12"}, {"a", "b", "--onto", "debian-12", "--tag", "x"}, {"a", "--onto", "debian-12", "--env", "moon"}, {"debian-12-app", "--onto", "debian-99"}} {
		if code := f.run(t, append([]string{"rebase"}, args...)...); code != exitInvalid {
			t.Errorf("%q: exit %d, %s", args, code, &f.stderr)
		}
	}
	db, err := f.command(t, nil).store(t.Context())
	must(t, err)
	must(t, db.Revoke(t.Context(), factory.Entry{ID: "x", Release: f.child.ID, Image: f.child.Image, Repository: f.child.Repository, Digest: f.child.Digest, At: f.Now(), Reason: "bad"}))
	if row := f.refused(t, f.child.ID, "--onto", "debian-12"); !strings.Contains(row.not(), "the image is revoked") {
		t.Errorf("%s", row.not())
	}
	must(t, db.Revoke(t.Context(), factory.Entry{ID: "y", Release: f.new.ID, Image: f.new.Image, Repository: f.new.Repository, Digest: f.new.Digest, At: f.Now(), Reason: "bad"}))
	if code := f.run(t, "rebase", "debian-12-app", "--onto", f.new.ID); code != exitBlocked || !strings.Contains(f.stderr.String(), "is revoked: bad") {
		t.Errorf("exit %d, %s", code, &f.stderr)
	}
}

// Somebody else's image, known by its layers alone, gets a new tag and an attestation; no tag is moved.
func TestRebaseForeignImage(t *testing.T) {
	t.Parallel()
	f := newFamily(t)
	own, err := fixture.Layer(fixture.File{Name: "srv/api", Data: "api", Mode: 0o755})
	must(t, err)
	theirs := f.registry + "/payments/api:1.4"
	before, err := fixture.PublishForeign(theirs, v1.Config{User: "65532:65532", Env: []string{"PATH=/usr/bin", "BASE=1.0-1"}}, append(rootfs(t, "1.0-1"), own)...)
	must(t, err)
	if code := f.run(t, "rebase", theirs, "--onto", "debian-12"); code != exitInvalid || !strings.Contains(f.stderr.String(), "--tag TAG; no tag that exists is moved") {
		t.Errorf("exit %d, %s", code, &f.stderr)
	}
	if code := f.run(t, "rebase", theirs, "--onto", "debian-12", "--tag", "1.4"); code == 0 || !strings.Contains(f.stderr.String(), "stands for "+string(before)+" already") {
		t.Errorf("exit %d, %s", code, &f.stderr)
	}
	if code := f.run(t, "rebase", theirs, "--onto", "debian-12", "--tag", "1.4-rebased", "--to", f.registry+"/debian-12"); code != exitBlocked || !strings.Contains(f.stderr.String(), "/debian-12 is where releases of debian-12 are, and no gate judges") {
		t.Errorf("exit %d, %s", code, &f.stderr)
	}
	if code := f.run(t, "rebase", theirs, "--onto", "debian-12", "--tag", "1.4-rebased", "--json"); code != 0 {
		t.Fatalf("exit %d, %s", code, &f.stderr)
	}
	row := f.told(t)[0]
	if row.Ref != f.registry+"/payments/api:1.4-rebased" || row.Found != "no findings" || !strings.Contains(strings.Join(row.Carried, ""), "no gate judged it") {
		t.Errorf("%+v", row)
	}
	ref, err := name.NewTag(row.Ref)
	must(t, err)
	img, err := remote.Image(ref)
	must(t, err)
	m, err := img.Manifest()
	must(t, err)
	if m.Annotations["org.opencontainers.image.base.digest"] != string(f.new.Digest) || len(m.Layers) != 3 {
		t.Errorf("%+v", m)
	}
	attested, err := name.NewTag(f.registry + "/payments/api:" + strings.Replace(string(row.Digest), ":", "-", 1) + ".att")
	must(t, err)
	if _, err := remote.Image(attested); err != nil {
		t.Error(err)
	}
	// The same again is harmless, elsewhere as well.
	for _, args := range [][]string{{"--tag", "1.4-rebased"}, {"--tag", "1", "--to", f.registry + "/mine/api"}} {
		if code := f.run(t, append([]string{"rebase", theirs, "--onto", "debian-12"}, args...)...); code != 0 {
			t.Errorf("%q: exit %d, %s", args, code, &f.stderr)
		}
	}
	// All of ours; one that is refused does not stop another one, and the exit code says that it was partial.
	if code := f.run(t, "rebase", "--all", "--onto", "debian-12", "--json"); code != 0 || f.told(t)[0].Result != "rebased" {
		t.Errorf("exit %d, %s %s", code, &f.stdout, &f.stderr)
	}
	if code := f.run(t, "rebase", "debian-12-app", "debian-12", "--onto", f.old.ID); code != exitPartial || !strings.Contains(f.stdout.String(), "rebased ") || !strings.Contains(f.stdout.String(), "refused ") {
		t.Errorf("exit %d, %s%s", code, &f.stdout, &f.stderr)
	}
	f.partsAreLeftOut(t)
	f.cacheHolds(t)
}

// partsAreLeftOut: what has only a part of the base cannot be put on another release of it, and is no failure of --all.
func (f *family) partsAreLeftOut(t *testing.T) {
	t.Helper()
	f.app(t, f.old, time.Minute)
	must(t, os.WriteFile(filepath.Join(f.dir, "baseimages", "debian-12-app", "image.yaml"), []byte(appDefinition+"only: [bash]\n"), 0o644))
	code := f.run(t, "rebase", "--all", "--onto", "debian-12", "--dry-run", "--json")
	if rows := f.told(t); code != 0 || len(rows) != 1 || rows[0].Result != "left out" || rows[0].Error != "" || !strings.Contains(rows[0].Why, "only a part of debian-12 (only:)") {
		t.Errorf("exit %d, %s%s", code, &f.stdout, &f.stderr)
	}
	code = f.run(t, "rebase", "--all", "--onto", "debian-12", "--dry-run")
	if !strings.Contains(f.stdout.String(), "factory build debian-12-app builds it anew") || !strings.Contains(f.stderr.String(), ": 1 left out") || code != 0 {
		t.Errorf("exit %d, %s%s", code, &f.stdout, &f.stderr)
	}
}

// cacheHolds: what was found in a layer is kept, and read anew when it is damaged.
func (f *family) cacheHolds(t *testing.T) {
	t.Helper()
	c := f.command(t, nil)
	p, err := c.registry().Published(t.Context(), f.old.Ref())
	must(t, err)
	facts, err := oci.Read(p.Platforms[0])
	must(t, err)
	kept := t.TempDir()
	for range 2 {
		cache := layerCache{client: c.registry(), blobs: t.TempDir(), kept: kept}
		got, err := cache.contents(t.Context(), f.old.Repository, facts.Layers)
		must(t, err)
		if len(got) != 2 || got[1].Layer != facts.Layers[1].Digest {
			t.Errorf("%+v", got)
		}
		files, err := os.ReadDir(kept)
		must(t, err)
		if len(files) != 2 {
			t.Errorf("%d files", len(files))
		}
		must(t, os.WriteFile(filepath.Join(kept, files[0].Name()), []byte("damaged"), 0o600))
	}
	cache := layerCache{client: c.registry(), blobs: t.TempDir(), kept: t.TempDir()}
	if _, err := cache.contents(t.Context(), f.old.Repository, []oci.Sized{{Digest: factory.DigestOf([]byte("none")), Size: 4}}); err == nil {
		t.Error("a layer that is not there was read")
	}
}
