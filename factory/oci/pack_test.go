package oci

import (
	"archive/tar"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/imagefactory/imagefactory/factory"
)

func TestLayers(t *testing.T) {
	t.Parallel()
	p := pack(t, debian())
	want := map[string][]string{
		"release": {"bin", "usr/", "usr/bin/", "usr/bin/bash", "usr/bin/dash", "usr/bin/perl", "usr/bin/perl5.36.0", "usr/bin/ping", "usr/bin/sh",
			"usr/bin/sh.distrib", "usr/share/", "usr/share/doc/", "usr/share/doc/bash/", "usr/share/doc/bash/copyright"},
		"updates": {"srv/", "usr/", "usr/lib/", "usr/lib/libc.so.6", "usr/lib/os-release"},
		"configuration": {"etc/", "etc/bash.bashrc", "etc/login.defs", "etc/shadow", "home/", "usr/", "usr/bin/", "usr/bin/awk", "var/", "var/lib/", "var/lib/dpkg/",
			"var/lib/dpkg/diversions", "var/lib/dpkg/info/", "var/lib/dpkg/info/base-files.list", "var/lib/dpkg/info/bash.list", "var/lib/dpkg/info/bash.md5sums",
			"var/lib/dpkg/info/dash.list", "var/lib/dpkg/info/dash.md5sums", "var/lib/dpkg/info/iputils-ping.list", "var/lib/dpkg/info/iputils-ping.md5sums",
			"var/lib/dpkg/info/libc6:amd64.list", "var/lib/dpkg/info/libc6:amd64.md5sums", "var/lib/dpkg/info/perl-base.list", "var/lib/dpkg/info/perl-base.md5sums", "var/lib/dpkg/status"},
	}
	directories := map[string]string{}
	for name, paths := range want {
		got := layerListing(t, p, name)
		if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, paths) {
			t.Errorf("%s holds\n%q\nwant\n%q", name, names, paths)
		}
		for path, s := range got {
			if !strings.HasSuffix(path, "/") {
				continue
			}
			if other, ok := directories[path]; ok && other != s {
				t.Errorf("%s is %s in one layer, %s in another", path, s, other)
			}
			directories[path] = s
		}
	}
	all := flat(t, p)
	for path, want := range map[string]string{
		"usr/bin/perl5.36.0": "1 0644 0:0 2023-04-01T10:00:00 -> usr/bin/perl ",
		"usr/bin/sh":         "2 0777 0:0 2023-04-01T11:00:00 -> dash ",
		"usr/bin/ping":       "0 0755 0:0 2023-04-01T10:00:00 SCHILY.xattr.security.capability=010000020020 SCHILY.xattr.user.note=78 ping\n",
		"usr":                "5 0755 0:0 1970-01-01T00:00:00 ",
		"usr/lib":            "5 0755 0:0 1970-01-01T00:00:00 ",
		"etc":                "5 0755 0:0 2026-11-20T02:00:00 ",
		"srv":                "5 0755 0:0 2026-02-03T05:05:06 ",
		"etc/login.defs":     "0 0644 0:0 2026-11-20T02:00:00 UMASK 027\n",
		"etc/shadow":         "0 0640 0:42 2026-11-20T02:00:00 root:*:20777:0:99999:7:::\nnew:!:0:0:99999:7:::\nodd line\nempty:*::0:99999:7:::\n",
	} {
		if all[path] != want {
			t.Errorf("%s is %q, want %q", path, all[path], want)
		}
	}
}

// The same root gives the same bytes: on another day, in another order, on another number of cores.
func TestReproducible(t *testing.T) {
	want := pack(t, debian())
	later := debian().with(func(r *root) {
		for i := range *r {
			if h := &(*r)[i]; h.ModTime.Equal(built) {
				h.ModTime = built.Add(77 * time.Hour)
			}
		}
		r.edit("./etc/shadow", func(h *tar.Header) { h.Gname = strings.Replace(h.Gname, "20780", "20784", 1) })
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(*r), func(i, j int) { (*r)[i], (*r)[j] = (*r)[j], (*r)[i] })
	})
	before := later.with(func(r *root) { // a clock that is a day behind
		for i := range *r {
			if h := &(*r)[i]; h.ModTime.After(locked) {
				h.ModTime = locked.Add(-24 * time.Hour)
			}
		}
	})
	for name, r := range map[string]root{"later": later, "clock behind": before} {
		for _, cores := range []int{1, 2, 8} {
			was := runtime.GOMAXPROCS(cores)
			got := pack(t, r)
			runtime.GOMAXPROCS(was)
			what, err := Diff(t.Context(), want.Artifact.Layout, got.Artifact.Layout)
			if err != nil || what != "" || got.Artifact.Digest != want.Artifact.Digest {
				t.Errorf("%s on %d cores: %s %v, digest %s, want %s", name, cores, what, err, got.Artifact.Digest, want.Artifact.Digest)
			}
		}
	}
	h := hardened(amd64) // what belongs to the run, not to the content
	h.At = h.At.Add(time.Hour)
	h.Job.Reason, h.Job.Source.Commit, h.Job.Env, h.Job.Supersedes = "other", strings.Repeat("a", 40), factory.Prod, "x@y"
	if got := packTar(t, debian().tar(t), h); got.Artifact.Digest != want.Artifact.Digest {
		t.Error("the digest depends on the run")
	}
}

func TestUpdateLeavesReleaseLayer(t *testing.T) {
	t.Parallel()
	before := pack(t, debian())
	h := hardened(amd64)
	h.Lock.Timestamp = locked.Add(48 * time.Hour)
	h.Lock.Platforms[0].Packages[4].Version = "2.36-9+deb12u11"
	after := packTar(t, debian().with(func(r *root) {
		r.edit("./usr/lib/libc.so.6", func(h *tar.Header) { h.Gname, h.ModTime = "libc u11\n", mended.Add(72*time.Hour) })
		r.edit("./var/lib/dpkg/info/libc6:amd64.md5sums", func(h *tar.Header) {
			h.Gname = "b5c9d43bd1ee0dcf8b3dc5cbd0f8dff8  usr/lib/other\n" // says nothing about the library
		})
		r.edit("./var/lib/dpkg/status", func(h *tar.Header) { h.Gname = strings.Replace(h.Gname, "u10", "u11", 1) })
	}).tar(t), h)
	a, b := digests(before), digests(after)
	if a["release"] != b["release"] {
		what, err := Diff(t.Context(), before.Artifact.Layout, after.Artifact.Layout)
		t.Errorf("the release layer changed: %s %v", what, err)
	}
	if a["updates"] == b["updates"] || a["configuration"] == b["configuration"] {
		t.Error("the other layers did not change")
	}
	if s := layerListing(t, after, "updates")["usr/lib/libc.so.6"]; !strings.HasSuffix(s, "libc u11\n") {
		t.Errorf("the updates layer has %q", s)
	}
	// Only the timestamp moves: package files do not know it.
	h = hardened(amd64)
	h.Lock.Timestamp = locked.Add(24 * time.Hour)
	if c := digests(packTar(t, debian().tar(t), h)); a["release"] != c["release"] || a["updates"] != c["updates"] {
		t.Error("a package layer depends on the lock's timestamp")
	}
}

func TestChangedPackageFileIsConfiguration(t *testing.T) {
	t.Parallel()
	p := pack(t, debian().with(func(r *root) {
		r.edit("./usr/bin/dash", func(h *tar.Header) { h.Gname = "patched\n" })             // against its sum
		r.edit("./usr/lib/os-release", func(h *tar.Header) { h.ModTime = built })           // has no sum, but is new
		r.edit("./usr/lib/libc.so.6", func(h *tar.Header) { h.ModTime = built })            // as shipped, only its time moved
		r.hardlink("./usr/local-perl", "./usr/bin/perl")                                    // its other names follow
		r.edit("./usr/bin/ping", func(h *tar.Header) { h.Mode = 0o700; h.ModTime = built }) // as shipped
	}))
	conf, upd := layerListing(t, p, "configuration"), layerListing(t, p, "updates")
	for _, name := range []string{"usr/bin/dash", "usr/lib/os-release", "usr/local-perl", "usr/bin/perl", "usr/bin/perl5.36.0"} {
		if conf[name] == "" {
			t.Errorf("%s is not in the configuration", name)
		}
	}
	if s := conf["usr/local-perl"]; !strings.Contains(s, "-> usr/bin/perl") {
		t.Errorf("the hard link is %q", s)
	}
	if s := upd["usr/lib/libc.so.6"]; s != "0 0644 0:0 1970-01-01T00:00:00 libc u10\n" {
		t.Errorf("libc is %q", s)
	}
	if s := layerListing(t, p, "release")["usr/bin/ping"]; !strings.HasPrefix(s, "0 0700 0:0 1970-01-01") {
		t.Errorf("ping is %q", s)
	}
}

func TestWithoutPackageData(t *testing.T) {
	t.Parallel()
	var r root
	r.add(tar.Header{Name: "/", Typeflag: tar.TypeDir, Mode: 0o700}, "")
	r.file("/usr/lib/python3/__pycache__/a.pyc", "shipped", made) // parents are missing
	r.file("etc/os-release", "ID=rhel\n", built)
	h := hardened(amd64)
	h.Job.Image.Distro.Family = "rhel"
	p := packTar(t, r.tar(t), h)
	if l := p.Artifact.Platforms[0].Layers; len(l) != 1 || l[0].Name != "filesystem" {
		t.Fatalf("layers %+v", l)
	}
	want := map[string]string{
		"./": "5 0700 0:0 2026-11-20T02:00:00 ", "etc/": "5 0755 0:0 1970-01-01T00:00:00 ", "etc/os-release": "0 0644 0:0 2026-11-20T02:00:00 ID=rhel\n",
		"usr/": "5 0755 0:0 1970-01-01T00:00:00 ", "usr/lib/": "5 0755 0:0 1970-01-01T00:00:00 ", "usr/lib/python3/": "5 0755 0:0 1970-01-01T00:00:00 ",
		"usr/lib/python3/__pycache__/": "5 0755 0:0 1970-01-01T00:00:00 ", "usr/lib/python3/__pycache__/a.pyc": "0 0644 0:0 2023-04-01T10:00:00 shipped",
	}
	if got := layerListing(t, p, "filesystem"); !maps.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestImage(t *testing.T) {
	t.Parallel()
	h := hardened(arm64, amd64)
	arm := debian()
	for i := range arm {
		arm[i].Name = strings.Replace(arm[i].Name, ":amd64", ":arm64", 1)
	}
	arm.edit("./var/lib/dpkg/status", func(e *tar.Header) { e.Gname = statusOf(h.Lock.For(arm64)) })
	var mu sync.Mutex
	var notes []string
	p, err := Packer{Exporter: streams{amd64: debian().tar(t), arm64: arm.tar(t)}, Dir: t.TempDir() + "/made/here",
		Events: func(e factory.Event) { mu.Lock(); defer mu.Unlock(); notes = append(notes, e.Message) }}.Pack(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := layout.ImageIndexFromPath(p.Artifact.Layout)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(outer); err != nil {
		t.Error(err)
	}
	if a := p.Artifact.Platforms; len(a) != 2 || a[0].Platform != amd64 || a[1].Platform != arm64 || a[0].Digest == a[1].Digest {
		t.Fatalf("platforms %+v", a)
	}
	file, err := image(t, p, 1).ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := file.Config
	if file.Architecture != "arm64" || file.OS != "linux" || !file.Created.Equal(locked) || len(file.History) != 3 || file.History[0].CreatedBy != "factory: packages as released" {
		t.Errorf("config %+v", file)
	}
	if c.User != "65532:65532" || !slices.Equal(c.Env, []string{"PATH=/usr/bin", "A=1"}) || c.WorkingDir != "/" || c.Entrypoint[0] != "/bin/e" || c.Cmd[0] != "bash" || c.StopSignal != "SIGTERM" {
		t.Errorf("config %+v", c)
	}
	lockBytes, _ := h.Lock.Encode()
	notesOf := map[string]string{
		"org.opencontainers.image.title": "debian-12", "org.opencontainers.image.description": "Debian 12, hardened", "org.opencontainers.image.created": "2026-11-20T02:00:00Z",
		"io.imagefactory.lock":      string(factory.DigestOf(lockBytes)),
		"io.imagefactory.hardening": "cis_debian level 1 container", "io.imagefactory.end-of-life": "2028-06-30",
	}
	m, err := image(t, p, 1).Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(m.Annotations, notesOf) || m.Layers[1].Annotations["io.imagefactory.layer"] != "updates" || m.MediaType != "application/vnd.oci.image.manifest.v1+json" {
		t.Errorf("manifest %+v", m)
	}
	notesOf["team"], notesOf["org.opencontainers.image.title"] = "x", "mine"
	if !maps.Equal(c.Labels, notesOf) {
		t.Errorf("labels %v", c.Labels)
	}
	var size int64
	for _, l := range m.Layers {
		size += l.Size
	}
	if got := p.Artifact.Platforms[1]; got.Size != size || got.Unpacked < 20<<10 || got.Unpacked%512 != 0 {
		t.Errorf("sizes %+v", got)
	}
	all := strings.Join(notes, "\n")
	if len(notes) != 2 || !strings.Contains(all, "linux/arm64: release 0.0 MB, updates 0.0 MB, configuration 0.0 MB") {
		t.Errorf("events %q", notes)
	}
	entries, err := os.ReadDir(p.Artifact.Layout + "/..")
	if err != nil || len(entries) != 1 {
		t.Errorf("the work folder holds %v %v", entries, err)
	}
}

func TestZstd(t *testing.T) {
	t.Parallel()
	gz := pack(t, debian())
	p, err := Packer{Exporter: streams{amd64: debian().tar(t)}, Dir: t.TempDir(), Compression: Zstd}.Pack(t.Context(), hardened(amd64))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image(t, p, 0), validate.Fast); err != nil { // the slow one knows gzip only; Diff below reads it all
		t.Error(err)
	}
	m, err := image(t, p, 0).Manifest()
	if err != nil || m.Layers[0].MediaType != "application/vnd.oci.image.layer.v1.tar+zstd" {
		t.Errorf("%+v %v", m, err)
	}
	what, err := Diff(t.Context(), gz.Artifact.Layout, p.Artifact.Layout)
	if err != nil || !strings.HasSuffix(what, onlyCompression) {
		t.Errorf("Diff says %q %v", what, err)
	}
}
