package oci

import (
	"archive/tar"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// large is what a source needs for a layer of its own.
var large = strings.Repeat("0123456789abcdef", ownLayer/16)

// withLarge adds two binary packages of one large source that was never updated, and one of a large source that was.
func withLarge(perl string) (root, factory.Hardened) {
	r, h := debian(), hardened(amd64)
	r.dirs("./usr/share/perl/")
	for name, content := range map[string]string{"perl-modules": large, "libperl": "small\n", "python": large} {
		r.file("./usr/share/perl/"+name, content, made)
		r.file("./var/lib/dpkg/info/"+name+".list", "/usr/share/perl\n/usr/share/perl/"+name+"\n", built)
	}
	for name, nv := range map[string][2]string{"perl-modules": {"perl", "5"}, "libperl": {"perl", perl}, "python": {"python", "3+deb12u9"}} {
		h.Lock.Platforms[0].Packages = append(h.Lock.Platforms[0].Packages, factory.Package{Name: name, Version: nv[1], Arch: "all", Source: nv[0], Archive: "debian"})
	}
	r.edit("./var/lib/dpkg/status", func(e *tar.Header) { e.Gname = statusOf(h.Lock.For(amd64)) })
	return r, h
}

func layerNames(p factory.Packed) (names []string) {
	for _, l := range p.Artifact.Platforms[0].Layers {
		names = append(names, l.Name)
	}
	return names
}

// A large source has a layer of its own; an update of it changes no other layer of packages.
func TestLargeSources(t *testing.T) {
	t.Parallel()
	r, h := withLarge("5")
	before := packTar(t, r.tar(t), h)
	// What changes most for its size lies on top.
	if names := layerNames(before); !slices.Equal(names, []string{"source perl", "source python", "release", "updates", "configuration"}) {
		t.Fatalf("layers %q", names)
	}
	if got := layerListing(t, before, "source perl"); len(got) != 5 || got["usr/share/perl/libperl"] == "" {
		t.Errorf("the source's layer holds %d entries", len(got))
	}
	r, h = withLarge("5+deb12u1")
	r.edit("./usr/share/perl/libperl", func(h *tar.Header) { h.Gname, h.ModTime = "mended\n", mended })
	h.Lock.Timestamp = locked.Add(time.Hour)
	after := packTar(t, r.tar(t), h)
	a, b := digests(before), digests(after)
	for _, name := range []string{"source python", "release", "updates"} {
		if a[name] == "" || a[name] != b[name] {
			t.Errorf("layer %s is %s, was %s", name, b[name], a[name])
		}
	}
	if a["source perl"] == b["source perl"] || a["configuration"] == b["configuration"] {
		t.Error("the update is in no layer")
	}
}

// However many large sources there are, the number of layers is bounded.
func TestLayersAreBounded(t *testing.T) {
	t.Parallel()
	tr, db := newTree(), &packages{owners: map[string][]*installed{}}
	for i := range 3 * maxOwn {
		p := fmt.Sprintf("usr/lib/file%02d", i)
		tr.put(p, &inode{kind: tar.TypeReg, size: ownLayer + int64(i), mtime: made})
		db.owners[p] = []*installed{{name: p, source: &source{name: p}}}
	}
	if err := tr.finish(); err != nil {
		t.Fatal(err)
	}
	groups := tr.split(db, locked)
	if len(groups) != maxOwn+1 || groups[len(groups)-1].name != "release" {
		t.Errorf("%d layers, the last is %s", len(groups), groups[len(groups)-1].name)
	}
}

func TestUpdatesOf(t *testing.T) {
	t.Parallel()
	archives := hardened(amd64).Job.Image.Archives
	for _, c := range []struct {
		version, archive string
		want             int
	}{
		{"2.36-9", "debian", 0}, {"2.36-9+b2", "debian", 0}, {"252.39-1~deb12u2", "debian", 2}, {"12.4+deb12u15", "debian", 15}, {"1:2.66-4+deb12u3+b1", "debian", 3},
		{"1~deb11u4+deb12u1", "debian", 1}, {"4.8+deb13u0", "debian", 1}, {"6.1.153-1", "debian-security", 1}, {"6.1.153-1", "elsewhere", 0},
		{"1+deb12u99999999999999999999", "debian", maxUpdate}, {"1+deb12u5000", "debian", maxUpdate}, {"1-1~bpo12+1", "debian", 0},
	} {
		if got := debUpdates(factory.Package{Version: c.version, Archive: c.archive}, archives); got != c.want {
			t.Errorf("%s from %s: %d, want %d", c.version, c.archive, got, c.want)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	tr := newTree()
	for p, to := range map[string]string{"bin": "usr/bin", "usr/abs": "/usr/lib/deep", "usr/lib/up": "../../../usr/bin", "loop": "loop", "a": "/", "here": "."} {
		tr.put(p, &inode{kind: tar.TypeSymlink, target: to})
	}
	for p, want := range map[string]string{
		"/bin/sh": "usr/bin/sh", "/bin": "bin", "/": "", "usr/abs/x/y": "usr/lib/deep/x/y", "/usr/lib/up/ls": "usr/bin/ls", "/loop/x": "loop/x",
		"/a/b": "b", "/a/bin/c": "usr/bin/c", "/here/bin/d": "usr/bin/d", "/../bin/e": "usr/bin/e",
	} {
		if got := tr.resolve(p); got != want {
			t.Errorf("%s resolves to %q, want %q", p, got, want)
		}
	}
}

func TestSharedPathsFollowTheFirstPackage(t *testing.T) {
	t.Parallel()
	a, b := &installed{name: "a", source: &source{}}, &installed{name: "b", source: &source{updates: 3}, sums: map[string]sum{"x": {1}}}
	db := &packages{owners: map[string][]*installed{"x": {{name: "unknown"}, a, b}}}
	for _, c := range []struct {
		n    *inode
		want *installed
	}{
		{&inode{kind: tar.TypeSymlink, mtime: built}, a},
		{&inode{kind: tar.TypeReg, mtime: made}, a},
		{&inode{kind: tar.TypeReg, mtime: made, sum: sum{1}}, b},
		{&inode{kind: tar.TypeReg, mtime: built, sum: sum{1}}, b},
		{&inode{kind: tar.TypeReg, mtime: built}, nil},
	} {
		if got := db.owner("x", c.n, locked); got != c.want {
			t.Errorf("%+v belongs to %+v", c.n, got)
		}
	}
}
