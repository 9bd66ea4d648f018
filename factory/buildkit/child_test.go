package buildkit

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/imagefactory/imagefactory/factory"
)

func pkg(name, version string) factory.Package {
	return factory.Package{Name: name, Version: version, Arch: "amd64", Archive: "debian", Path: "pool/" + name + ".deb", Size: 1, SHA256: factory.DigestOf([]byte(name + version))}
}

// world is a child with its parent's release on disk.
type world struct {
	client *Client
	locked factory.Locked
	parent factory.Lock
	inputs map[string]string
	layout string
}

func lockOf(image string, packages ...factory.Package) factory.Lock {
	return factory.Lock{Schema: factory.LockSchema, Image: image, Definition: factory.DigestOf(nil), Timestamp: time.Unix(1.7e9, 0).UTC(), Platforms: []factory.LockedPlatform{{Platform: amd64, Packages: packages}}}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{client: withToolbox(t), parent: lockOf("debian-12", pkg("base-files", "12"), pkg("dpkg", "1.21")), inputs: map[string]string{"ansible/x": "y"}}
	w.client.Parents = t.TempDir()
	w.locked = factory.Locked{Lock: lockOf("python", pkg("base-files", "12"), pkg("dpkg", "1.21"), pkg("python3", "3.11")), Job: factory.Job{
		Image: factory.Image{Name: "python", From: "debian-12", Distro: factory.Distro{Family: factory.Debian, Release: "12"}, Packages: factory.Packages{OmitPaths: []string{"/usr/share/man/*"}, KeepPaths: []string{"/usr/share/man/x"}},
			Users:  []factory.User{{Name: "nonroot", UID: 65532, GID: 65532, Home: "/home/nonroot", Shell: "/usr/sbin/nologin"}},
			Files:  []factory.AddedFile{{Path: "/etc/motd", Source: "files/motd", Mode: 0o640, Owner: "0:42", Data: []byte("hello\n")}},
			Config: factory.Config{User: "65532:65532"}},
		Parent: &factory.Base{Image: "debian-12", Release: "r1", Repository: "registry.example.com/debian-12"},
	}}
	return w
}

// ready writes what the child is made of: the parent's image, and the inputs.
func (w *world) ready(t *testing.T) {
	t.Helper()
	text, err := w.parent.Encode()
	if err != nil {
		t.Fatal(err)
	}
	note := string(factory.DigestOf(text))
	if _, set := w.inputs["baseimages/debian-12/lock.json"]; !set {
		w.inputs["baseimages/debian-12/lock.json"] = string(text)
	}
	if w.locked.Lock.Parent == nil {
		w.locked.Lock.Parent = &factory.LockedParent{Image: "debian-12", Lock: factory.Digest(note)}
	}
	blobs := map[digest.Digest][]byte{}
	put := func(v any) ocispec.Descriptor {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		d := digest.FromBytes(b)
		blobs[d] = b
		return ocispec.Descriptor{Digest: d, Size: int64(len(b))}
	}
	config := put(ocispec.Image{Config: ocispec.ImageConfig{User: "65532:65532", Env: []string{"LANG=C.UTF-8"}}})
	manifest := put(ocispec.Manifest{Config: config})
	manifest.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	index := put(ocispec.Index{Manifests: []ocispec.Descriptor{manifest}, Annotations: map[string]string{lockNote: note}})
	w.locked.Job.Parent.Digest = factory.Digest(index.Digest)
	w.layout = filepath.Join(w.client.Parents, w.locked.Job.Parent.Digest.Hex())
	if err := os.MkdirAll(filepath.Join(w.layout, "blobs", "sha256"), 0o700); err != nil {
		t.Fatal(err)
	}
	for d, b := range blobs {
		if err := os.WriteFile(filepath.Join(w.layout, "blobs", "sha256", d.Encoded()), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(w.inputs)) {
		text := w.inputs[name]
		if err := errors.Join(tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o644}), func() error { _, err := tw.Write([]byte(text)); return err }()); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	w.locked.Inputs = out.Bytes()
}

func (w *world) describe(t *testing.T) ([]*pb.Op, []factory.Package, error) {
	t.Helper()
	st, fetched, _, err := w.client.childOf(t.Context(), w.locked, w.locked.Lock.Platforms[0])
	if err != nil {
		return nil, nil, err
	}
	return ops(t, st), fetched, nil
}

// A child begins with its parent's release, and takes from the archive what the parent does not have.
func TestChildBeginsWithItsParent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.locked.Fresh = "n1"
	w.ready(t)
	all, fetched, err := w.describe(t)
	if err != nil {
		t.Fatal(err)
	}
	if len(fetched) != 1 || fetched[0].Name != "python3" {
		t.Errorf("fetches %v", fetched)
	}
	var from []string
	for _, op := range all {
		if s := op.GetSource(); s != nil {
			from = append(from, strings.Split(s.Identifier, "@")[0])
		}
		if e := op.GetExec(); e != nil && e.Network != pb.NetMode_NONE {
			t.Errorf("%v has network", e.Meta.Args)
		}
	}
	if slices.Sort(from); !slices.Equal(from, []string{"http://archive.invalid/debian/pool/python3.deb", "oci-layout://factory.local/image"}) {
		t.Errorf("sources %q", from)
	}
	run := execs(all)
	if len(run) != 1 || !slices.Equal(run[0].Meta.Args, []string{"/bin/sh", "/.factory/extend.sh", "--path-exclude=/usr/share/man/*", "--path-include=/usr/share/man/x"}) {
		t.Errorf("runs %v", run)
	}
	added := false
	for _, op := range all {
		for _, a := range op.GetFile().GetActions() {
			if m := a.GetMkfile(); m != nil && m.Path == "/etc/motd" {
				added = m.Mode == 0o640 && m.Owner.GetGroup().GetByID() == 42 && m.Timestamp == 1.7e18 && string(m.Data) == "hello\n"
			}
		}
	}
	if !added {
		t.Error("the definition's file is not added as it says")
	}
}

// One that adds nothing is its parent, and one with a part of it is cut in the toolbox.
func TestChildWithoutPackages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.locked.Lock = lockOf("python", pkg("base-files", "12"), pkg("dpkg", "1.21"))
	w.locked.Job.Image.Users, w.locked.Job.Image.Files = nil, nil
	w.ready(t)
	if all, _, err := w.describe(t); err != nil || len(execs(all)) != 0 {
		t.Errorf("%v %v", execs(all), err)
	}
	w.locked.Job.Image.Only = []string{"base-files"}
	w.locked.Lock.Platforms[0].Packages = []factory.Package{pkg("base-files", "12")}
	all, _, err := w.describe(t)
	if run := execs(all); err != nil || len(run) != 1 || !slices.Contains(run[0].Meta.Args, "/.factory/cut.py") {
		t.Errorf("%v %v", run, err)
	}
	// What is built on a part has its accounts from it, and nothing that could make any.
	w = newWorld(t)
	w.parent.Platforms[0].Packages = []factory.Package{pkg("base-files", "12")}
	w.locked.Lock = lockOf("python", pkg("base-files", "12"))
	w.locked.Job.Image.Users, w.locked.Job.Image.Files = []factory.User{{Name: "nonroot", UID: 65532, GID: 65532}}, nil
	w.ready(t)
	if all, _, err := w.describe(t); err != nil || len(execs(all)) != 0 {
		t.Errorf("on a part: %v %v", execs(all), err)
	}
}

func TestChildIsNotDescribed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after func(w *world)
		kind          error
		says          string
	}{
		"no release":      {nil, func(w *world) { w.locked.Job.Parent = nil }, factory.ErrInvalid, "nothing says which release of debian-12"},
		"another parent":  {nil, func(w *world) { w.locked.Lock.Parent.Image = "debian-13" }, factory.ErrInvalid, "nothing says"},
		"no inputs":       {nil, func(w *world) { w.locked.Inputs = []byte("no tar") }, factory.ErrInvalid, "no tar"},
		"cut inputs":      {nil, func(w *world) { w.locked.Inputs = w.locked.Inputs[:1600] }, factory.ErrInvalid, "inputs"},
		"another lock":    {func(w *world) { w.inputs["baseimages/debian-12/lock.json"] = "{}" }, nil, factory.ErrInvalid, "was made for another lock of debian-12"},
		"older release":   {nil, func(w *world) { w.otherNote() }, factory.ErrInvalid, "was made of another lock of debian-12 than the lock of python says"},
		"not pulled":      {nil, func(w *world) { w.client.Parents = "/nowhere" }, factory.ErrUnavailable, "the parent's image on disk"},
		"damaged":         {nil, func(w *world) { w.damage() }, factory.ErrUnverified, "other content"},
		"other platform":  {nil, func(w *world) { w.locked.Lock.Platforms[0].Platform.Architecture = "arm64" }, factory.ErrInvalid, "has no linux/arm64"},
		"other version":   {func(w *world) { w.locked.Lock.Platforms[0].Packages[0] = pkg("base-files", "13") }, nil, factory.ErrInvalid, "has base-files 13, and that of debian-12 has 12"},
		"package lost":    {func(w *world) { w.locked.Lock.Platforms[0].Packages = w.locked.Lock.Platforms[0].Packages[1:] }, nil, factory.ErrInvalid, "lacks base-files, which debian-12 has"},
		"no dpkg":         {func(w *world) { w.parent.Platforms[0].Packages = w.parent.Platforms[0].Packages[:1] }, nil, factory.ErrInvalid, "has no dpkg"},
		"unknown archive": {nil, func(w *world) { w.client.Archives = nil }, factory.ErrInvalid, `archive "debian" has no URL`},
		"owner by name":   {nil, func(w *world) { w.locked.Job.Image.Files[0].Owner = "root" }, factory.ErrInvalid, `owner "root"`},
		"no Dockerfile":   {nil, func(w *world) { w.locked.Job.Image.Dockerfile = "Dockerfile" }, factory.ErrInvalid, "there is no such file"},
		"no toolbox":      {nil, func(w *world) { w.client.toolbox = nil }, factory.ErrInvalid, "no toolbox"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.before != nil {
				c.before(w)
			}
			w.ready(t)
			if c.after != nil {
				c.after(w)
			}
			if _, _, err := w.describe(t); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// otherNote makes the release one of another lock.
func (w *world) otherNote() {
	index := ocispec.Index{Annotations: map[string]string{lockNote: "sha256:other"}}
	b, _ := json.Marshal(index)
	w.locked.Job.Parent.Digest = factory.DigestOf(b)
	layout := filepath.Join(w.client.Parents, w.locked.Job.Parent.Digest.Hex())
	_ = os.Rename(w.layout, layout)
	_ = os.WriteFile(filepath.Join(layout, "blobs", "sha256", w.locked.Job.Parent.Digest.Hex()), b, 0o600)
}

func (w *world) damage() {
	files, _ := filepath.Glob(filepath.Join(w.layout, "blobs", "sha256", "*"))
	for _, f := range files {
		_ = os.WriteFile(f, []byte("damaged"), 0o600)
	}
}

func TestChildRecipeIsItsOwn(t *testing.T) {
	t.Parallel()
	if r := ChildRecipe(factory.Deb); r == Recipe(factory.Deb) || r != factory.DigestOf(slices.Concat(extendScript, cutScript)) || ChildRecipe(factory.RPM) != Recipe(factory.RPM) {
		t.Error(r)
	}
}
