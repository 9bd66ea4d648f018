package oci

import (
	"archive/tar"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagefactory/imagefactory/factory"
)

// keep puts a packed image where children find their parents.
func keep(t *testing.T, p factory.Packed, parents string) *factory.Base {
	t.Helper()
	if err := os.Rename(p.Artifact.Layout, filepath.Join(parents, p.Artifact.Digest.Hex())); err != nil {
		t.Fatal(err)
	}
	tag, err := factory.ParseTag("20261123-1a2b3c4d-dev")
	if err != nil {
		t.Fatal(err)
	}
	return &factory.Base{Image: p.Job.Image.Name, Release: "r1", Repository: "registry.example.com/base/" + p.Job.Image.Name, Digest: p.Artifact.Digest, Tag: tag}
}

var later = locked.Add(50 * time.Hour) // the child's lock

// childOf is a hardened child with one more package.
func childOf(base *factory.Base, name string) factory.Hardened {
	h := hardened(amd64)
	h.Job.Image.Name, h.Job.Image.From, h.Job.Parent = name, base.Image, base
	h.Lock.Image, h.Lock.Timestamp = name, later
	h.Lock.Platforms[0].Packages = append(h.Lock.Platforms[0].Packages, factory.Package{Name: "python3", Version: "3.11.2-1", Arch: "amd64", Archive: "debian", Path: "pool/python3", Size: 1, SHA256: factory.DigestOf(nil)})
	return h
}

// withPython is what a child's build makes of its parent's root.
func withPython(r *root) {
	r.file("./usr/bin/python3", "python\n", made)
	r.file("./var/lib/dpkg/info/python3.list", "/.\n/usr/bin/python3\n", built)
	r.file("./etc/motd", "hello\n", built)
	r.edit("./etc/login.defs", func(h *tar.Header) { h.Gname = "UMASK 077\n" })
	r.edit("./usr/bin/perl", func(h *tar.Header) { h.Mode = 0o700 })
	r.hardlink("./usr/bin/bash2", "./usr/bin/bash")
	r.edit("./var/lib/dpkg/status", func(h *tar.Header) {
		h.Gname = statusOf(childOf(&factory.Base{}, "x").Lock.For(amd64))
	})
	*r = slices.DeleteFunc(*r, func(h tar.Header) bool {
		return h.Name == "./etc/bash.bashrc" || strings.HasPrefix(h.Name, "./usr/share/doc/") || h.Name == "./home/"
	})
	r.file("./home", "no longer a folder\n", built)
}

func packChild(t *testing.T, parents string, h factory.Hardened, r root) factory.Packed {
	t.Helper()
	p, err := Packer{Exporter: streams{amd64: r.tar(t)}, Dir: t.TempDir(), Parents: parents}.Pack(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What a consumer unpacks of a child is what was built, on the parent's own layers.
func TestChild(t *testing.T) {
	t.Parallel()
	parents := t.TempDir()
	parent := pack(t, debian())
	base := keep(t, parent, parents)
	child := packChild(t, parents, childOf(base, "python"), debian().with(withPython))

	below, all := parent.Artifact.Platforms[0].Layers, child.Artifact.Platforms[0].Layers
	if len(all) != len(below)+2 || !slices.Equal(all[:len(below)], below) {
		t.Fatalf("layers %v on %v", all, below)
	}
	for name, want := range map[string]string{
		"python packages": "usr/ usr/bin/ usr/bin/perl usr/bin/perl5.36.0 usr/bin/python3",
		"python configuration": "etc/ etc/.wh.bash.bashrc etc/login.defs etc/motd etc/shadow home usr/ usr/bin/ usr/bin/bash usr/bin/bash2 usr/share/ usr/share/.wh.doc " +
			"var/ var/lib/ var/lib/dpkg/ var/lib/dpkg/info/ var/lib/dpkg/info/python3.list var/lib/dpkg/status",
	} {
		if got := strings.Join(slices.Sorted(maps.Keys(layerListing(t, child, name))), " "); got != want {
			t.Errorf("%s holds\n%s, want\n%s", name, got, want)
		}
	}
	whole := childOf(base, "python")
	whole.Job.Image.From = "" // as one image, on its own
	want := flat(t, packChild(t, "", whole, debian().with(withPython)))
	got := flat(t, child)
	cut := func(s string) string { // kind, mode and owner; what follows the time
		return s[:strings.Index(s, " 20")+1] + s[strings.LastIndex(s, "T")+9:]
	}
	for _, p := range union(want, got) {
		w, g := want[p], got[p]
		if (w == "" || g == "" || cut(strings.Replace(w, " 1970", " 2070", 1)) != cut(strings.Replace(g, " 1970", " 2070", 1))) && p != "usr/bin/bash2" && p != "usr/bin/bash" {
			t.Errorf("%s is %q, and %q when it is packed alone", p, g, w)
		}
	}
	if !strings.Contains(got["etc/motd"], "2026-11-22T04:00:00") || !strings.Contains(got["var/lib/dpkg/diversions"], "2026-11-20T02:00:00") {
		t.Errorf("times: %q %q", got["etc/motd"], got["var/lib/dpkg/diversions"])
	}
}

// Each platform has the configuration that was made for it, also when nothing else differs, and the artifact says so.
func TestConfigOfEachPlatform(t *testing.T) {
	t.Parallel()
	h := hardened(amd64, arm64)
	arm := debian()
	for i := range arm {
		arm[i].Name = strings.Replace(arm[i].Name, ":amd64", ":arm64", 1)
	}
	arm.edit("./var/lib/dpkg/status", func(e *tar.Header) { e.Gname = statusOf(h.Lock.For(arm64)) })
	health := &factory.Healthcheck{Test: []string{"CMD", "/arm"}, Interval: time.Second, Timeout: 2, StartPeriod: 3, Retries: 4}
	h.Configs = map[factory.Platform]factory.Config{amd64: {User: "1:1", Env: []string{"ARCH=amd64"}}, arm64: {User: "2:2", Env: []string{"ARCH=arm64"}, Shell: []string{"/bin/sh"},
		Ports: []string{"53/udp"}, Volumes: []string{"/a", "/b"}, Healthcheck: health}}
	p, err := Packer{Exporter: streams{amd64: debian().tar(t), arm64: arm.tar(t)}, Dir: t.TempDir()}.Pack(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	for i, platform := range []factory.Platform{amd64, arm64} {
		raw, err := image(t, p, i).RawConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		got, err := factory.ParseConfig(raw)
		if got.Labels = nil; err != nil || !reflect.DeepEqual(got, h.Configs[platform]) || !reflect.DeepEqual(*p.Artifact.Platforms[i].Config, got) {
			t.Errorf("%s: %+v, %v", platform, got, err)
		}
	}
}

func TestChildNamesItsBase(t *testing.T) {
	t.Parallel()
	parents := t.TempDir()
	parent := pack(t, debian())
	base := keep(t, parent, parents)
	h := childOf(base, "python")
	h.Job.Image.Config.Labels = map[string]string{AnnotationBaseDigest: "forged"}
	child := packChild(t, parents, h, debian().with(withPython))
	img := image(t, child, 0)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, notes := range []map[string]string{config.Config.Labels, manifest.Annotations} {
		if notes[AnnotationBaseDigest] != string(base.Digest) || notes[AnnotationBaseName] != "registry.example.com/base/debian-12:20261123-1a2b3c4d-dev" {
			t.Errorf("notes %v", notes)
		}
	}
	n := len(parent.Artifact.Platforms[0].Layers)
	if len(config.History) != n+2 || !config.History[0].Created.Equal(locked) || !config.History[n].Created.Equal(later) ||
		config.History[n].CreatedBy != "factory: packages of python" || config.History[n+1].CreatedBy != "factory: configuration of python" {
		t.Errorf("history %+v", config.History)
	}
}

// The same child of the same release is the same bytes; the digest here changes only when Recipe does.
func TestChildIsReproducible(t *testing.T) {
	t.Parallel()
	parents := t.TempDir()
	base := keep(t, pack(t, debian()), parents)
	first := packChild(t, parents, childOf(base, "python"), debian().with(withPython))
	again := debian().with(withPython).with(func(r *root) {
		slices.Reverse(*r)
		slices.SortStableFunc(*r, func(a, b tar.Header) int { return int(a.Typeflag) - int(b.Typeflag) })
		for i := range *r {
			if h := &(*r)[i]; h.ModTime.Equal(built) {
				h.ModTime = built.Add(time.Hour)
			}
		}
	})
	second := packChild(t, parents, childOf(base, "python"), again)
	if first.Artifact.Digest != second.Artifact.Digest {
		what, err := Diff(t.Context(), first.Artifact.Layout, second.Artifact.Layout)
		t.Fatal(what, err)
	}
	const golden = "sha256:c5b9178879e4eb8f93e0e54f5724277665168e70a3af1e62c7803a3465aedc38"
	if string(first.Artifact.Digest) != golden {
		t.Errorf("this child is %s, recipe %d made %s", first.Artifact.Digest, Recipe, golden)
	}
}

// A child of a child has the layers of both, and one that adds nothing has no layer of its own.
func TestGrandchild(t *testing.T) {
	t.Parallel()
	parents := t.TempDir()
	base := keep(t, pack(t, debian()), parents)
	child := packChild(t, parents, childOf(base, "python"), debian().with(withPython))
	layers := child.Artifact.Platforms[0].Layers
	h := childOf(keep(t, child, parents), "web")
	same := packChild(t, parents, h, debian().with(withPython))
	if got := same.Artifact.Platforms[0].Layers; !slices.Equal(got, layers) {
		t.Errorf("layers %v on %v", got, layers)
	}
	back := packChild(t, parents, h, debian().with(withPython).with(func(r *root) {
		*r = slices.DeleteFunc(*r, func(h tar.Header) bool { return h.Name == "./home" })
		r.dirs("./home/", "./home/web/", "./usr/share/doc/", "./usr/share/doc/web/")
	}))
	if got := layerListing(t, back, "web configuration"); len(got) != 6 || got["home/"] == "" || got["home/web/"] == "" {
		t.Errorf("%v", got)
	}
	if got := flat(t, back); got["home/web"] == "" || got["usr/share/doc/bash"] != "" || got["usr/share/doc/web"] == "" {
		t.Errorf("%v", got)
	}
}

// A cut-out child is packed like an image of its own.
func TestCutOutChildSharesNothing(t *testing.T) {
	t.Parallel()
	h := childOf(&factory.Base{Image: "debian-12", Repository: "registry.example.com/debian-12", Digest: factory.DigestOf(nil)}, "static")
	h.Job.Image.Only = []string{"bash"}
	p := packChild(t, "", h, debian().with(withPython))
	if names := slices.Sorted(maps.Keys(digests(p))); !slices.Equal(names, []string{"configuration", "release", "updates"}) {
		t.Error(names)
	}
}

func TestChildIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, h *factory.Hardened, layout string)
		kind   error
		says   string
	}{
		"no release": {func(_ *testing.T, h *factory.Hardened, _ string) { h.Job.Parent = nil }, factory.ErrInvalid, "nothing says which release of debian-12"},
		"another image": {func(_ *testing.T, h *factory.Hardened, _ string) {
			h.Job.Image.From = "debian-13"
		}, factory.ErrInvalid, "a release of debian-12, not of debian-13"},
		"not pulled":     {func(_ *testing.T, h *factory.Hardened, _ string) { h.Job.Parent.Digest = factory.DigestOf(nil) }, factory.ErrInvalid, "image layout"},
		"other platform": {func(_ *testing.T, h *factory.Hardened, _ string) { h.Roots[0].Platform = arm64; h.Lock = lock(arm64) }, factory.ErrInvalid, "has no linux/arm64"},
		"other layout": {func(t *testing.T, h *factory.Hardened, layout string) {
			h.Job.Parent.Digest = factory.DigestOf(nil)
			if err := os.Rename(layout, filepath.Join(filepath.Dir(layout), h.Job.Parent.Digest.Hex())); err != nil {
				t.Fatal(err)
			}
		}, factory.ErrInvalid, "it holds sha256:"},
		"damaged layer": {func(t *testing.T, _ *factory.Hardened, layout string) {
			files, _ := filepath.Glob(filepath.Join(layout, "blobs", "sha256", "*"))
			var other []byte
			for _, f := range files {
				if b, err := os.ReadFile(f); err == nil && b[0] == 0x1f {
					if other == nil {
						other = b
					}
					if err := os.WriteFile(f, other, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
		}, factory.ErrInvalid, "the configuration has"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parents, work := t.TempDir(), t.TempDir()
			base := keep(t, pack(t, debian()), parents)
			h := childOf(base, "python")
			c.change(t, &h, filepath.Join(parents, base.Digest.Hex()))
			stream := debian().with(withPython).tar(t)
			_, err := Packer{Exporter: streams{amd64: stream, arm64: stream}, Dir: work, Parents: parents}.Pack(t.Context(), h)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if left, _ := os.ReadDir(work); len(left) != 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

// What no layer of ours has is not taken for one.
func TestParentEntries(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]tar.Header{
		"opaque":        {Name: "usr/.wh..wh..opq"},
		"nameless":      {Name: "usr/.wh."},
		"leaves":        {Name: "../x"},
		"dangling link": {Name: "a", Typeflag: tar.TypeLink, Linkname: "b"},
	} {
		i := &parentImage{files: map[string]*parentFile{}}
		if err := i.entry(&h, strings.NewReader("")); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestLayersAreCopiedBetweenFilesystems(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := makeLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "x")
	if err := os.WriteFile(file, []byte("layer"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := factory.DigestOf([]byte("layer"))
	if err := b.copy(file, want); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(string(b), want.Hex())); err != nil || string(got) != "layer" {
		t.Errorf("%q %v", got, err)
	}
	if err := b.copy(file, factory.DigestOf(nil)); !errors.Is(err, factory.ErrUnverified) {
		t.Error(err)
	}
	if err := (&parentImage{layers: []layerBlob{{Layer: factory.Layer{Digest: want}}}}).lend(dir, b); err != nil {
		t.Errorf("a blob that is there: %v", err)
	}
	if err := (&parentImage{layers: []layerBlob{{Layer: factory.Layer{Digest: factory.DigestOf(nil)}}}}).lend(t.TempDir(), b); !errors.Is(err, factory.ErrUnavailable) {
		t.Error(err)
	}
}

// Children that share what was read of their parent come out as those that read it themselves, also at the same time.
func TestParentIsReadOnce(t *testing.T) {
	t.Parallel()
	parents := t.TempDir()
	base := keep(t, pack(t, debian()), parents)
	var cache ParentCache
	var all sync.WaitGroup
	for _, name := range []string{"one", "two", "three"} {
		all.Go(func() {
			alone := packChild(t, parents, childOf(base, name), debian().with(withPython))
			p := Packer{Exporter: streams{amd64: debian().with(withPython).tar(t)}, Dir: t.TempDir(), Parents: parents, Read: &cache}
			if together, err := p.Pack(t.Context(), childOf(base, name)); err != nil || together.Artifact.Digest != alone.Artifact.Digest {
				t.Errorf("%s: %v, %v, want %v", name, together.Artifact.Digest, err, alone.Artifact.Digest)
			}
		})
	}
	all.Wait()
	if len(cache.read) != 1 {
		t.Errorf("%d parents are known", len(cache.read))
	}
	_, err := cache.once(v1.Hash{}, func() (*parentImage, error) { return nil, errors.New("damaged") })
	if err == nil || len(cache.read) != 1 {
		t.Errorf("%v: what could not be read is remembered", err)
	}
}
