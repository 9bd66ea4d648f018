package oci

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

var rpmEntries = [][]byte{
	entry("gpg-pubkey fd431d51-4ae0493b", algorithmSHA256),
	entry("zlib 1.2.11-40.el9 x86_64", algorithmMD5, "/usr/lib64/libz.so.1=zlib\n", "/usr/lib64/old.so=as shipped"),
	entry("bash 5.1.8-9.el9 x86_64", algorithmSHA256, "/bin/bash=bash 5.1\n", "/bin/sh", "/etc/bashrc=as shipped", "/usr/share", "/usr/share/man/man1/bash.1=left out", "/var/log/bash=shipped"),
	entry("openssl-libs 1:3.2.2-6.el9_5.1 x86_64", algorithmSHA256, "/usr/lib64/libssl.so.3=ssl\n", "/usr/share"),
	entry("tzdata 2025b-1.el9 noarch", 10, "/usr/share/zone=zone\n"),
}

// redhat is a small but complete RPM root.
func redhat(t testing.TB) (root, factory.Hardened) {
	t.Helper()
	var r root
	r.dirs("./", "./etc/", "./usr/", "./usr/bin/", "./usr/lib64/", "./usr/share/", "./var/", "./var/lib/", "./var/lib/rpm/", "./var/log/", "./var/lib/dnf/", "./var/cache/", "./var/cache/dnf/")
	r.symlink("./bin", "usr/bin")
	r.file("./usr/bin/bash", "bash 5.1\n", made)
	r.symlink("./usr/bin/sh", "bash")
	r.file("./usr/lib64/libz.so.1", "zlib\n", made)
	r.file("./usr/lib64/old.so", "changed by the build", locked)
	r.file("./usr/lib64/libssl.so.3", "ssl\n", mended)
	r.file("./usr/share/zone", "zone\n", made)
	r.file("./etc/bashrc", "umask 027\n", built)
	r.file("./var/log/bash", "not empty", built)
	for _, name := range []string{"lib/rpm/.rpm.lock", "lib/rpm/__db.001", "lib/rpm/rpmdb.sqlite-wal", "lib/rpm/rpmdb.sqlite-shm", "lib/dnf/history.sqlite-wal", "cache/dnf/x.solv", "log/dnf.log"} {
		r.file("./var/"+name, "of the build", built)
	}
	r.file("./var/lib/rpm/rpmdb.sqlite", string(sqliteOf(t, tableOfRPM, rpmEntries...)), built)
	h := hardened(amd64)
	h.Job.Image.Distro = factory.Distro{Family: factory.RedHat, Release: "9"}
	h.Lock.Platforms[0].Packages = nil
	for _, nevra := range []string{"bash 5.1.8-9.el9 x86_64", "openssl-libs 1:3.2.2-6.el9_5.1 x86_64", "tzdata 2025b-1.el9 noarch", "zlib 1.2.11-40.el9 x86_64"} {
		f := strings.Fields(nevra)
		h.Lock.Platforms[0].Packages = append(h.Lock.Platforms[0].Packages, factory.Package{Name: f[0], Version: f[1], Arch: f[2], Archive: "redhat-ubi", Path: f[0] + ".rpm", Size: 1, SHA256: factory.DigestOf([]byte(nevra))})
	}
	return r, h
}

// Layers of an RPM root are cut by what rpm's database says, in whichever form.
func TestRPMLayers(t *testing.T) {
	t.Parallel()
	r, h := redhat(t)
	first := packTar(t, r.tar(t), h)
	if names := layerNames(first); !slices.Equal(names, []string{"release", "updates", "configuration"}) {
		t.Fatalf("layers %q", names)
	}
	for layer, want := range map[string][]string{
		"release":       {"bin->", "usr/bin/bash", "usr/bin/sh", "usr/lib64/libz.so.1"},
		"updates":       {"usr/lib64/libssl.so.3"},
		"configuration": {"etc/bashrc", "usr/lib64/old.so", "usr/share/zone", "var/lib/rpm/rpmdb.sqlite", "var/log/bash"},
	} {
		var got []string
		for name, s := range layerListing(t, first, layer) {
			if s[0] != '5' && name != "bin" {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		want = slices.DeleteFunc(want, func(s string) bool { return strings.HasSuffix(s, "->") })
		if !slices.Equal(got, want) {
			t.Errorf("%s holds %q, want %q", layer, got, want)
		}
	}
	if s := flat(t, first)["var/log/bash"]; !strings.HasSuffix(s, "02:00:00 ") {
		t.Errorf("a package's log is %q", s)
	}
	for name, db := range map[string][]byte{
		"./var/lib/rpm/Packages":             berkeleyOf(binary.LittleEndian, rpmEntries...),
		"./usr/lib/sysimage/rpm/Packages":    berkeleyOf(binary.BigEndian, rpmEntries...),
		"./usr/lib/sysimage/rpm/Packages.db": ndbOf(rpmEntries...),
	} {
		again := r.with(func(r *root) {
			*r = slices.DeleteFunc(*r, func(h tar.Header) bool { return h.Name == "./var/lib/rpm/rpmdb.sqlite" })
			r.file(name, string(db), built)
		})
		p := packTar(t, again.tar(t), h)
		if a, b := digests(first), digests(p); a["release"] != b["release"] || a["updates"] != b["updates"] {
			t.Errorf("%s makes other layers of packages", name)
		}
	}
}

func TestInstalledRPMs(t *testing.T) {
	t.Parallel()
	drop := func(name string) func(*root) {
		return func(r *root) { *r = slices.DeleteFunc(*r, func(h tar.Header) bool { return h.Name == name }) }
	}
	db := func(headers ...[]byte) func(*root) {
		b := string(sqliteOf(t, tableOfRPM, headers...))
		return func(r *root) { r.edit("./var/lib/rpm/rpmdb.sqlite", func(h *tar.Header) { h.Gname = b }) }
	}
	more := func(nevra string) func(*root) {
		return db(slices.Concat(rpmEntries, [][]byte{entry(nevra, algorithmSHA256)})...)
	}
	for name, c := range map[string]struct {
		change func(*root)
		kind   error
		says   string
	}{
		"no database":   {drop("./var/lib/rpm/rpmdb.sqlite"), factory.ErrUnverified, "bash 5.1.8-9.el9 is in the lock and not installed"},
		"smuggled in":   {more("evil 6-6 x86_64"), factory.ErrUnverified, "evil 6-6 is installed and not in the lock"},
		"another of it": {more("bash 5.2-1 x86_64"), factory.ErrUnverified, "bash 5.2-1 is installed and not in the lock"},
		"other arch":    {more("bash 5.1.8-9.el9 i686"), factory.ErrUnverified, "bash 5.1.8-9.el9 is installed and not in the lock"},
		"other version": {db(slices.Concat(rpmEntries[:2], rpmEntries[3:], [][]byte{entry("bash 5.1.8-9.el9_4 x86_64", 8)})...), factory.ErrUnverified, "bash is installed as 5.1.8-9.el9_4, the lock has 5.1.8-9.el9"},
		"other epoch":   {db(slices.Concat(rpmEntries[:3], rpmEntries[4:], [][]byte{entry("openssl-libs 3.2.2-6.el9_5.1 x86_64", 8)})...), factory.ErrUnverified, "openssl-libs is installed as 3.2.2-6.el9_5.1, the lock has 1:3.2.2"},
		"a link to it": {func(r *root) {
			r.symlink("./usr/lib/sysimage/rpm", "../../../var/lib/rpm")
		}, nil, ""},
		"two databases": {func(r *root) { r.file("./usr/lib/sysimage/rpm/Packages", "x", built) }, factory.ErrInvalid, "two package databases"},
		"of no form":    {func(r *root) { r.edit("./var/lib/rpm/rpmdb.sqlite", func(h *tar.Header) { h.Gname = "x" }) }, factory.ErrInvalid, "var/lib/rpm/rpmdb.sqlite: the package database is damaged"},
		"cut short": {func(r *root) {
			r.edit("./var/lib/rpm/rpmdb.sqlite", func(h *tar.Header) { h.Gname = h.Gname[:4096] })
		}, factory.ErrInvalid, "damaged"},
		"no header": {db([]byte("x")), factory.ErrInvalid, "not a package header"},
		"lists of files": {db(func() []byte {
			var h rpmHeader
			h.text(tagName, "x")
			h.text(tagVersion, "1")
			h.text(tagRelease, "1")
			h.texts(tagBaseNames, "a", "b")
			return h.blob()
		}()), factory.ErrInvalid, `"x": not a package header: its lists of files differ in length`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, h := redhat(t)
			_, err := Packer{Exporter: streams{amd64: r.with(c.change).tar(t)}, Dir: t.TempDir()}.Pack(t.Context(), h)
			if !errors.Is(err, c.kind) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRPMUpdates(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]int{
		"5.1.8-9.el9": 0, "3.2.2-6.el9_5": 1, "1:3.2.2-6.el9_5.1": 1, "2.34-168.el9_6.23": 23, "2.34-168.el9_6.99999999999999999999": maxUpdate, "2024.2.69_v8.0.303-91.4.el9_4": 1,
		"2.8.71-10.amzn2.0.1": 0, "2.8.71-10.amzn2": 0, "3.2-25.amzn2.0.4": 2, "3.14-5.amzn2023.0.3": 1, "3.14-5.amzn2023.0.2": 0, "1.el9_4-1": 0, "odd": 0,
	} {
		if got := rpmUpdates(factory.Package{Version: version}, nil); got != want {
			t.Errorf("%s: %d, want %d", version, got, want)
		}
	}
}

func TestEVR(t *testing.T) {
	t.Parallel()
	if a, b := (rpmPackage{version: "1", release: "2"}).evr(), (rpmPackage{version: "1", release: "2", epoch: 3}).evr(); a != "1-2" || b != "3:1-2" {
		t.Error(a, b)
	}
}
