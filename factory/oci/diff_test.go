package oci

import (
	"archive/tar"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	conf, rel := "linux/amd64: layer configuration: /etc/login.defs: ", "linux/amd64: layer release: /usr/bin/"
	first := pack(t, debian())
	for want, change := range map[string]func(r *root, h *factory.Hardened){
		"": func(*root, *factory.Hardened) {},
		conf + `content is sha256:`: func(r *root, _ *factory.Hardened) {
			r.edit("./etc/login.defs", func(h *tar.Header) { h.Gname = "UMASK 022\n" })
		},
		conf + `size is 10 in the first, 20 in the second, line 2: "", "UMASK 099"`: func(r *root, _ *factory.Hardened) {
			r.edit("./etc/login.defs", func(h *tar.Header) { h.Gname += "UMASK 099\n" })
		},
		conf + "mode is 0644 in the first, 0600 in the second": func(r *root, _ *factory.Hardened) {
			r.edit("./etc/login.defs", func(h *tar.Header) { h.Mode = 0o600 })
		},
		conf + "owner is 0:0 in the first, 0:42 in the second": func(r *root, _ *factory.Hardened) {
			r.edit("./etc/login.defs", func(h *tar.Header) { h.Gid = 42 })
		},
		conf + "type is file in the first, pipe in the second": func(r *root, _ *factory.Hardened) {
			r.edit("./etc/login.defs", func(h *tar.Header) { h.Typeflag = tar.TypeFifo })
		},
		"linux/amd64: layer configuration: /etc/new: only in the second": func(r *root, _ *factory.Hardened) { r.file("etc/new", "", built) },
		"linux/amd64: layer configuration: /bin: only in the second":     func(r *root, _ *factory.Hardened) { r.file("bin", "no link", built) },
		rel + "sh: link target is dash in the first, bash in the second": func(r *root, _ *factory.Hardened) {
			r.edit("./usr/bin/sh", func(h *tar.Header) { h.Linkname = "bash" })
		},
		rel + `ping: attribute SCHILY.xattr.security.capability is "\x01\x00\x00\x02\x00 " in the first, "" in the second`: func(r *root, _ *factory.Hardened) {
			r.edit("./usr/bin/ping", func(h *tar.Header) {
				h.PAXRecords = map[string]string{"SCHILY.xattr.user.note": "x"}
			})
		},
		rel + "bash: modification time is 2023-04-01T10:00:00Z in the first, 2023-04-01T09:00:00Z in the second": func(r *root, _ *factory.Hardened) {
			r.edit("./usr/bin/bash", func(h *tar.Header) { h.ModTime = made.Add(-time.Hour) })
		},
		"linux/amd64: layer release: /srv: only in the second": func(_ *root, h *factory.Hardened) {
			for i := range h.Lock.Platforms[0].Packages {
				h.Lock.Platforms[0].Packages[i].Version = "1"
			}
		},
		"linux/amd64: layer release: only in the first": func(_ *root, h *factory.Hardened) {
			for i := range h.Lock.Platforms[0].Packages {
				h.Lock.Platforms[0].Packages[i].Version = "1+deb12u1"
			}
		},
		`linux/amd64: config: config.Env[1] is "A=1" in the first, "A=2" in the second`: func(_ *root, h *factory.Hardened) {
			h.Job.Image.Config.Env = []string{"PATH=/usr/bin", "A=2"}
		},
		`linux/amd64: config: config.Cmd is ["bash"] in the first, ["bash","-l"] in the second`: func(_ *root, h *factory.Hardened) {
			h.Job.Image.Config.Cmd = []string{"bash", "-l"}
		},
		`linux/amd64: config: config.Labels.io.imagefactory.end-of-life is "2028-06-30" in the first, null in the second`: func(_ *root, h *factory.Hardened) {
			h.Job.Image.EndOfLife = factory.Date{}
		},
		"linux/arm64: platform only in the second": func(_ *root, h *factory.Hardened) {
			h.Roots = append(h.Roots, factory.Root{Platform: arm64})
		},
	} {
		r, h := debian(), hardened(amd64)
		h.Job.Image.Distro.Family = "other" // some change the lock alone
		change(&r, &h)
		second := packTar(t, r.tar(t), h)
		got, err := Diff(t.Context(), first.Artifact.Layout, second.Artifact.Layout)
		if err != nil || !strings.HasPrefix(got, want) || (got == "") != (want == "") {
			t.Errorf("got  %s %v\nwant %s", got, err, want)
		}
		if back, err := Diff(t.Context(), second.Artifact.Layout, first.Artifact.Layout); err != nil || (back == "") != (want == "") {
			t.Errorf("the other way round: %q %v", back, err)
		}
	}
}

func TestDiffOfBrokenLayouts(t *testing.T) {
	t.Parallel()
	whole := pack(t, debian())
	other := pack(t, debian().with(func(r *root) { r.file("etc/new", "", built) }))
	for name, spoil := range map[string]func(dir string) error{
		"not there": os.RemoveAll,
		"no index":  func(dir string) error { return os.WriteFile(dir+"/index.json", []byte("{}"), 0o600) },
		"garbage":   func(dir string) error { return os.WriteFile(dir+"/index.json", []byte("no"), 0o600) },
		"no layers": func(dir string) error {
			for _, l := range other.Artifact.Platforms[0].Layers {
				if err := os.Remove(filepath.Join(dir, "blobs", "sha256", l.Digest.Hex())); err != nil {
					return err
				}
			}
			return nil
		},
		"half a layer": func(dir string) error {
			for _, l := range other.Artifact.Platforms[0].Layers {
				if err := os.Truncate(filepath.Join(dir, "blobs", "sha256", l.Digest.Hex()), l.Size/2); err != nil {
					return err
				}
			}
			return nil
		},
		"no manifest": func(dir string) error {
			return os.Remove(filepath.Join(dir, "blobs", "sha256", other.Artifact.Platforms[0].Digest.Hex()))
		},
		"no image": func(dir string) error {
			return os.Remove(filepath.Join(dir, "blobs", "sha256", other.Artifact.Digest.Hex()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(dir, os.DirFS(other.Artifact.Layout)); err != nil {
				t.Fatal(err)
			}
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			for _, pair := range [][2]string{{whole.Artifact.Layout, dir}, {dir, whole.Artifact.Layout}} {
				if what, err := Diff(t.Context(), pair[0], pair[1]); !errors.Is(err, factory.ErrInvalid) {
					t.Errorf("got %q %v", what, err)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if what, err := Diff(ctx, whole.Artifact.Layout, other.Artifact.Layout); !errors.Is(err, context.Canceled) {
		t.Errorf("got %q %v", what, err)
	}
}

func TestFirstField(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{`{"a":{"b":[1,2]}}`, `{"a":{"b":[1,3]}}`, "a.b[1] is 2 in the first, 3 in the second"},
		{`{"a":{}}`, `{"a":[]}`, "a is {} in the first, [] in the second"},
		{`{"a":[1]}`, `{"a":{}}`, "a is [1] in the first, {} in the second"},
		{`{"a":1,"b":2}`, `{"b":2,"a":1}`, "same fields, written differently"},
		{`{`, `{}`, "not JSON"},
	} {
		if got := firstField([]byte(c[0]), []byte(c[1])); got != c[2] {
			t.Errorf("%s, %s: %s", c[0], c[1], got)
		}
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"a\nb\nc\n", "a\nx\nc\n", `, line 2: "b", "x"`}, {"ab\x00c", "ab\x00d", ", from byte 3 on"}, {"a", "a\nb", `, line 1: "a", "a"`},
	} {
		if got := excerpt([]byte(c[0]), []byte(c[1])); got != c[2] {
			t.Errorf("%q, %q: %s", c[0], c[1], got)
		}
	}
	if got := excerpt(nil, []byte("x")); got != "" {
		t.Errorf("got %s", got)
	}
}
