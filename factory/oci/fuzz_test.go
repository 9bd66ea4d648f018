package oci

import (
	"archive/tar"
	"bytes"
	"crypto/md5"
	"testing"
)

// normal reads a stream and writes it as the layers that it becomes, one after the other.
func normal(t *testing.T, stream []byte) (layers [][]byte, ok bool) {
	s, err := newSpool(t.TempDir(), 1<<22, md5.New)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tr, err := readTar(t.Context(), bytes.NewReader(stream), s)
	if err != nil {
		return nil, false
	}
	h := hardened(amd64)
	h.Job.Image.Distro.Family = "other" // else most streams lack the lock's packages
	groups, err := normalise(tr, s, h, amd64, nil)
	if err != nil {
		return nil, false
	}
	for _, g := range groups {
		var b bytes.Buffer
		if err := writeTar(t.Context(), &b, tr, s, g.paths); err != nil {
			t.Fatal(err)
		}
		layers = append(layers, b.Bytes())
	}
	return layers, true
}

// Whatever comes in: no panic, and what comes out is normal: once more changes nothing.
func FuzzNormalise(f *testing.F) {
	f.Add(debian().tar(f))
	var r root
	r.file("usr/a", "x", made)
	r.hardlink("usr/b", "usr/a")
	r.symlink("usr/c", "../../..")
	r.add(tar.Header{Name: "usr/d", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "\n=1"}}, "y")
	stream := r.tar(f)
	f.Add(stream)
	f.Add(stream[:len(stream)-1024])
	f.Fuzz(func(t *testing.T, stream []byte) {
		once, ok := normal(t, stream)
		if !ok || len(once) != 1 {
			return
		}
		twice, ok := normal(t, once[0])
		if !ok || len(twice) != 1 || !bytes.Equal(once[0], twice[0]) {
			t.Errorf("%d bytes of layer become %d layers", len(once[0]), len(twice))
		}
	})
}

// Whatever dpkg's files say, every path is in the layers, and every leaf once.
func FuzzPackages(f *testing.F) {
	f.Add("/bin/bash\n/etc\n", "d41d8cd98f00b204e9800998ecf8427e  bin/bash\n", "/bin/sh\n/bin/sh.distrib\ndash\n", "usr/bin")
	f.Add("//..//\n/.\n", "zz  x\n\n  \n", "/a\n/b\n", "/")
	f.Add("/bin/bin/bin/x\n", "", "/usr/bin/bash\n/usr/bin/bash\nx\n", "bin")
	f.Fuzz(func(t *testing.T, list, sums, diverted, target string) {
		r := debian()
		r.file("var/lib/dpkg/info/bash.list", list, made)
		r.file("var/lib/dpkg/info/bash.md5sums", sums, made)
		r.file("var/lib/dpkg/diversions", diverted, made)
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if target == "" || w.WriteHeader(&tar.Header{Name: "bin", Typeflag: tar.TypeSymlink, Linkname: target, Format: tar.FormatPAX}) != nil {
			return
		}
		s, err := newSpool(t.TempDir(), 1<<22, md5.New)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		tr, err := readTar(t.Context(), bytes.NewReader(append(r.tar(t), b.Bytes()...)), s)
		if err != nil {
			t.Fatal(err)
		}
		groups, err := normalise(tr, s, hardened(amd64), amd64, nil)
		if err != nil {
			return // a line that is too long
		}
		times := map[string]int{}
		for _, g := range groups {
			for _, p := range g.paths {
				times[p]++
			}
		}
		for _, p := range tr.sorted() {
			if n := tr.nodes[p]; times[p] == 0 || times[p] > 1 && n.kind != tar.TypeDir {
				t.Errorf("%q is in %d layers", p, times[p])
			}
		}
	})
}

func FuzzSetLastChange(f *testing.F) {
	f.Add([]byte("root:*:20780:0:99999:7:::\n"))
	f.Fuzz(func(t *testing.T, shadow []byte) {
		once := setLastChange(shadow, locked)
		if bytes.Count(once, []byte("\n")) != bytes.Count(shadow, []byte("\n")) || bytes.Count(once, []byte(":")) != bytes.Count(shadow, []byte(":")) {
			t.Errorf("%q becomes %q", shadow, once)
		}
		if twice := setLastChange(once, locked); !bytes.Equal(once, twice) {
			t.Errorf("%q becomes %q", once, twice)
		}
	})
}
