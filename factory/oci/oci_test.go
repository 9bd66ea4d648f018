package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/imagefactory/imagefactory/factory"
)

var (
	amd64 = factory.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = factory.Platform{OS: "linux", Architecture: "arm64"}

	locked = time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)  // the lock's timestamp
	built  = time.Date(2026, 11, 23, 7, 0, 5, 77, time.UTC) // when the build ran
	made   = time.Date(2023, 4, 1, 10, 0, 0, 0, time.UTC)   // when released packages were made
	mended = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)    // when updated ones were
)

// root is a root filesystem on its way into a tar stream.
type root []tar.Header

// contents travel in a field that no test needs otherwise.
func (r *root) add(h tar.Header, content string) {
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	h.Uname, h.Gname, h.Size = "builder", content, int64(len(content))
	if h.ModTime.IsZero() {
		h.ModTime = built
	}
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	*r = append(*r, h)
}

func (r *root) file(name, content string, at time.Time) {
	r.add(tar.Header{Name: name, ModTime: at}, content)
}

func (r *root) dirs(names ...string) {
	for _, n := range names {
		r.add(tar.Header{Name: n, Typeflag: tar.TypeDir, Mode: 0o755}, "")
	}
}

func (r *root) symlink(name, to string) {
	r.add(tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}, "")
}

func (r *root) hardlink(name, to string) {
	r.add(tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}, "")
}

func (r root) with(change func(*root)) root {
	c := slices.Clone(r)
	change(&c)
	return c
}

// edit changes the entry called name.
func (r *root) edit(name string, change func(h *tar.Header)) {
	for i := range *r {
		if (*r)[i].Name == name {
			change(&(*r)[i])
			(*r)[i].Size = int64(len((*r)[i].Gname))
			return
		}
	}
	panic("no " + name)
}

func (r root) tar(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range r {
		content := h.Gname
		h.Gname = "builders"
		h.Format = tar.FormatPAX
		if h.Typeflag != tar.TypeReg {
			h.Size = 0
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// streams is an exporter that has its streams ready.
type streams map[factory.Platform][]byte

func (s streams) Export(_ context.Context, r factory.Root, w io.Writer) error {
	b, ok := s[r.Platform]
	if !ok {
		return fmt.Errorf("no root for %s", r.Platform)
	}
	_, err := io.Copy(w, bytes.NewReader(b))
	return err
}

// debian is a small but complete Debian root: merged /usr, dpkg's database, a diversion, hard links, capabilities.
func debian() root {
	var r root
	r.dirs("./", "./etc/", "./usr/", "./usr/bin/", "./usr/lib/", "./usr/share/", "./usr/share/doc/", "./usr/share/doc/bash/",
		"./var/", "./var/lib/", "./var/lib/dpkg/", "./var/lib/dpkg/info/", "./srv/", "./home/")
	r.symlink("./bin", "usr/bin")
	r.file("./usr/bin/bash", "bash 5.2\n", made)
	r.add(tar.Header{Name: "./usr/bin/ping", ModTime: made, Mode: 0o755, PAXRecords: map[string]string{
		"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20", "SCHILY.xattr.security.selinux": "host_t", "SCHILY.xattr.user.note": "x"}}, "ping\n")
	r.file("./usr/bin/perl", "perl\n", made)
	r.hardlink("./usr/bin/perl5.36.0", "./usr/bin/perl")
	r.file("./usr/bin/sh.distrib", "old sh\n", made)
	r.symlink("./usr/bin/sh", "dash")
	r.file("./usr/bin/dash", "dash\n", made.Add(time.Hour))
	r.symlink("./usr/bin/awk", "/etc/alternatives/awk")
	r.file("./usr/lib/libc.so.6", "libc u10\n", mended)
	r.file("./usr/lib/os-release", "PRETTY_NAME=12\n", mended.Add(time.Hour))
	r.file("./usr/share/doc/bash/copyright", "GPL\n", made)
	r.file("./etc/bash.bashrc", "# bash\n", made)
	r.file("./etc/login.defs", "UMASK 027\n", built)
	r.add(tar.Header{Name: "./etc/shadow", Mode: 0o640, Gid: 42}, "root:*:20780:0:99999:7:::\nnew:!:0:0:99999:7:::\nodd line\nempty:*::0:99999:7:::\n")
	pkg := func(list string, files ...string) {
		var l, sums strings.Builder
		l.WriteString("/.\n")
		for _, f := range files {
			name, content, sum := strings.Cut(f, "=")
			l.WriteString(name + "\n")
			if sum {
				h := md5.Sum([]byte(content))
				sums.WriteString(hex.EncodeToString(h[:]) + "  " + name[1:] + "\n")
			}
		}
		r.file("./var/lib/dpkg/info/"+list+".list", l.String(), built)
		if sums.Len() > 0 {
			r.file("./var/lib/dpkg/info/"+list+".md5sums", sums.String(), made)
		}
	}
	pkg("bash", "/bin", "/bin/bash=bash 5.2\n", "/etc", "/etc/bash.bashrc", "/usr", "/usr/share", "/usr/share/doc/bash/copyright=GPL\n", "/usr/share/gone=x", "/bin/sh=old sh\n")
	pkg("iputils-ping", "/bin/ping=ping\n")
	pkg("perl-base", "/usr/bin/perl=perl\n", "/usr/bin/perl5.36.0=perl\n")
	pkg("dash", "/bin/dash=dash\n", "/bin/sh")
	pkg("libc6:amd64", "/lib/x", "/usr/lib/libc.so.6=libc u10\n")
	pkg("base-files", "/srv", "/home", "/usr/lib/os-release")
	r.file("./var/lib/dpkg/diversions", "/bin/sh\n/bin/sh.distrib\ndash\n", built)
	r.file("./var/lib/dpkg/status", statusOf(lock(amd64).For(amd64)), built)
	return r
}

// statusOf is dpkg's status file when exactly pkgs are installed.
func statusOf(pkgs []factory.Package) string {
	var b strings.Builder
	for _, p := range pkgs {
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nArchitecture: %s\nVersion: %s\nDescription: x\n more: of it\n\n", p.Name, p.Arch, p.Version)
	}
	return b.String()
}

func lock(platforms ...factory.Platform) factory.Lock {
	l := factory.Lock{Schema: 1, Image: "debian-12", Definition: factory.DigestOf(nil), Timestamp: locked}
	for _, p := range platforms {
		lp := factory.LockedPlatform{Platform: p}
		for _, nv := range []string{"base-files 12.4+deb12u11", "bash 5.2.15-2+b2", "dash 0.5.12-2", "iputils-ping 3:20221126-1", "libc6 2.36-9+deb12u10", "perl-base 5.36.0-7"} {
			name, version, _ := strings.Cut(nv, " ")
			lp.Packages = append(lp.Packages, factory.Package{Name: name, Version: version, Arch: p.Architecture, Archive: "debian", Path: "pool/" + name, Size: 1, SHA256: factory.DigestOf([]byte(nv))})
		}
		l.Platforms = append(l.Platforms, lp)
	}
	return l
}

func hardened(platforms ...factory.Platform) factory.Hardened {
	var h factory.Hardened
	h.Job.Image = factory.Image{
		Name: "debian-12", Summary: "Debian 12, hardened", Owner: factory.Owner{Team: "platform", Contacts: []string{"platform@example.invalid"}},
		Distro: factory.Distro{Family: "debian", Release: "12"}, Hardening: factory.Hardening{Profile: "cis_debian", Level: 1, Scope: "container"},
		Archives: []factory.Archive{{ID: "debian", Suite: "bookworm"}, {ID: "debian", Suite: "bookworm-updates"}, {ID: "debian-security", Suite: "bookworm-security"}},
		Config: factory.Config{User: "65532:65532", Env: []string{"PATH=/usr/bin", "A=1"}, Workdir: "/", Entrypoint: []string{"/bin/e"}, Cmd: []string{"bash"}, StopSignal: "SIGTERM",
			Labels: map[string]string{"team": "x", "org.opencontainers.image.title": "mine", "io.imagefactory.lock": "forged"}},
	}
	h.Job.Image.EndOfLife, _ = factory.ParseDate("2028-06-30")
	h.Lock = lock(platforms...)
	h.At = built
	for _, p := range platforms {
		h.Roots = append(h.Roots, factory.Root{Platform: p})
	}
	return h
}

func pack(t testing.TB, r root) factory.Packed {
	t.Helper()
	return packTar(t, r.tar(t), hardened(amd64))
}

func packTar(t testing.TB, stream []byte, h factory.Hardened) factory.Packed {
	t.Helper()
	p, err := Packer{Exporter: streams{amd64: stream, arm64: stream}, Dir: t.TempDir()}.Pack(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// image opens one platform of what was packed.
func image(t testing.TB, p factory.Packed, n int) v1.Image {
	t.Helper()
	outer, err := layout.ImageIndexFromPath(p.Artifact.Layout)
	if err != nil {
		t.Fatal(err)
	}
	h, err := v1.NewHash(string(p.Artifact.Digest))
	if err != nil {
		t.Fatal(err)
	}
	index, err := outer.ImageIndex(h)
	if err != nil {
		t.Fatal(err)
	}
	if h, err = v1.NewHash(string(p.Artifact.Platforms[n].Digest)); err != nil {
		t.Fatal(err)
	}
	i, err := index.Image(h)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// listing describes every entry of a layer, and checks that it says nothing of the machine.
func listing(t testing.TB, r io.Reader) map[string]string {
	t.Helper()
	return describe(t, r, func(h *tar.Header) {
		if h.Uname != "" || h.Gname != "" || !h.AccessTime.IsZero() || !h.ChangeTime.IsZero() || h.ModTime.Nanosecond() != 0 {
			t.Errorf("%s carries %+v", h.Name, h)
		}
	})
}

// describe says of every entry of a tar what it is, whose, when, and what is in it.
func describe(t testing.TB, r io.Reader, check func(*tar.Header)) map[string]string {
	t.Helper()
	all, in := map[string]string{}, tar.NewReader(r)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		check(h)
		if _, twice := all[h.Name]; twice {
			t.Errorf("%s is there twice", h.Name)
		}
		s := fmt.Sprintf("%c %04o %d:%d %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.ModTime.UTC().Format("2006-01-02T15:04:05"))
		for _, k := range slices.Sorted(maps.Keys(h.PAXRecords)) {
			s += fmt.Sprintf(" %s=%x", k, h.PAXRecords[k])
		}
		if h.Linkname != "" {
			s += " -> " + h.Linkname
		}
		all[h.Name] = s + " " + string(b)
	}
}

func layerListing(t testing.TB, p factory.Packed, name string) map[string]string {
	t.Helper()
	layers, err := image(t, p, 0).Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range p.Artifact.Platforms[0].Layers {
		if l.Name == name {
			r, err := layers[i].Uncompressed()
			if err != nil {
				t.Fatal(err)
			}
			return listing(t, r)
		}
	}
	t.Fatalf("no layer %s", name)
	return nil
}

func flat(t testing.TB, p factory.Packed) map[string]string {
	t.Helper()
	r := mutate.Extract(image(t, p, 0))
	defer r.Close()
	all := map[string]string{}
	for name, s := range listing(t, r) {
		all[strings.TrimSuffix(name, "/")] = s
	}
	return all
}

func digests(p factory.Packed) map[string]factory.Digest {
	all := map[string]factory.Digest{}
	for _, l := range p.Artifact.Platforms[0].Layers {
		all[l.Name] = l.Digest
	}
	return all
}
