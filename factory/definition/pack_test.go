package definition_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

func small(t *testing.T, dir string) factory.Image {
	t.Helper()
	set, err := definition.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	img, err := set.Image("small")
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// What Pack makes is enough to load the same image again, elsewhere.
func TestPackRoundTrip(t *testing.T) {
	t.Parallel()
	dir := write(t, fixture())
	img := small(t, dir)
	b, digest, err := definition.Pack(dir, img)
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := definition.Unpack(b, other); err != nil {
		t.Fatal(err)
	}
	again := small(t, other)
	if !reflect.DeepEqual(again, img) {
		t.Errorf("got  %+v\nwant %+v", again, img)
	}
	b2, digest2, err := definition.Pack(other, again)
	if err != nil || digest2 != digest || !bytes.Equal(b2, b) {
		t.Errorf("packed again: %s, then %s, same bytes %t, %v", digest, digest2, bytes.Equal(b, b2), err)
	}
	if err := definition.Unpack(b, other); !errors.Is(err, factory.ErrConflict) {
		t.Errorf("unpacking over what is there: %v", err)
	}
}

// The digest follows what the image is made of and nothing else.
func TestPackDigest(t *testing.T) {
	t.Parallel()
	dir := write(t, fixture())
	img := small(t, dir)
	plain, before, err := definition.Pack(dir, img)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file, body string
		mode       os.FileMode
		moves      bool
	}{
		"touched":         {"ansible/site.yml", fixture()["ansible/site.yml"], 0o600, false},
		"contacts":        {ownersYAML, strings.Replace(fixture()[ownersYAML], "linux@", "penguin@", 1), 0o644, false},
		"another image":   {"baseimages/box/image.yaml", fixture()["baseimages/box/image.yaml"] + "# x\n", 0o644, false},
		"leftover":        {"baseimages/small/.image.yaml.swp", "x", 0o644, false},
		"lock":            {"baseimages/small/lock.json", "{}", 0o644, true},
		"role":            {"ansible/roles/common/tasks/main.yml", "- other:\n", 0o644, true},
		"role, new file":  {"ansible/roles/common/files/x", "", 0o644, true},
		"execute bit":     {"ansible/roles/common/tasks/main.yml", fixture()["ansible/roles/common/tasks/main.yml"], 0o755, true},
		"profile":         {profileYAML, fixture()[profileYAML] + "# x\n", 0o644, true},
		"shared":          {sharedYAML, fixture()[sharedYAML] + "# x\n", 0o644, true},
		"ansible.cfg":     {"ansible/ansible.cfg", "", 0o644, true},
		"another profile": {"ansible/profiles/other.yaml", "x", 0o644, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, fixture())
			path := filepath.Join(dir, c.file)
			os.MkdirAll(filepath.Dir(path), 0o755)
			if err := errors.Join(os.WriteFile(path, []byte(c.body), c.mode), os.Chmod(path, c.mode), os.Chtimes(path, time.Unix(9, 0), time.Unix(9, 0))); err != nil {
				t.Fatal(err)
			}
			b, after, err := definition.Pack(dir, img)
			if err != nil || (after != before) != c.moves {
				t.Errorf("moved: %t, want %t (%v)", after != before, c.moves, err)
			}
			if name == "touched" && !bytes.Equal(b, plain) {
				t.Error("time or permissions show in the tar")
			}
		})
	}
}

func TestPackRefuses(t *testing.T) {
	t.Parallel()
	img := small(t, write(t, fixture()))
	for name, c := range map[string]struct {
		edit func(files map[string]string)
		want string
		kind error
	}{
		"input gone":   {func(f map[string]string) { delete(f, "ansible/site.yml") }, "ansible/site.yml: does not exist", factory.ErrNotFound},
		"link in role": {func(f map[string]string) { f["ansible/roles/common/files/x"] = "-> /etc/passwd" }, "ansible/roles/common/files/x: is a symbolic link", factory.ErrInvalid},
		"huge input":   {func(f map[string]string) { f["ansible/roles/common/files/x"] = strings.Repeat("x", 17<<20) }, "files/x: 17825792 bytes, expected at most 16777216", factory.ErrInvalid},
		"huge inputs": {func(f map[string]string) {
			for _, n := range []string{"a", "b", "c", "d", "e"} {
				f["ansible/roles/common/files/"+n] = strings.Repeat("x", 15<<20)
			}
		}, "files/e: inputs of more than 67108864 bytes", factory.ErrInvalid},
		"team gone":     {func(f map[string]string) { f[ownersYAML] = strings.ReplaceAll(f[ownersYAML], "linux:", "other:") }, `owners.yaml: no team "linux", which owns small`, factory.ErrInvalid},
		"owners broken": {func(f map[string]string) { f[ownersYAML] = "[" }, "owners.yaml:1:1: is no YAML", factory.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			files := fixture()
			c.edit(files)
			_, _, err := definition.Pack(write(t, files), img)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
	if _, _, err := definition.Pack(t.TempDir()+"/none", img); !errors.Is(err, factory.ErrNotFound) {
		t.Error(err)
	}
	outside := img
	outside.Inputs = []string{"../secret"}
	if _, _, err := definition.Pack(write(t, fixture()), outside); !errors.Is(err, factory.ErrInvalid) {
		t.Error(err)
	}
}

func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Write(make([]byte, min(h.Size, 10)))
	}
	w.Flush()
	return b.Bytes()
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	many := make([]tar.Header, 10001)
	for i := range many {
		many[i] = tar.Header{Typeflag: tar.TypeReg, Name: "f" + strings.Repeat("x", i%50) + string(rune('a'+i/50%26)) + string(rune('a'+i/1300)), Mode: 0o644}
	}
	file := func(name string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 1, Mode: 0o644}
	}
	for name, c := range map[string]struct {
		tar  []byte
		want string
	}{
		"parent":        {tarOf(t, file("../x")), "leaves the folder"},
		"inner parent":  {tarOf(t, file("a/../../x")), "leaves the folder"},
		"absolute":      {tarOf(t, file("/etc/x")), "leaves the folder"},
		"dot":           {tarOf(t, file(".")), "leaves the folder"},
		"backslash":     {tarOf(t, file(`a\..\x`)), "leaves the folder"},
		"link":          {tarOf(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "/etc"}), "something else than a file"},
		"hard link":     {tarOf(t, tar.Header{Typeflag: tar.TypeLink, Name: "x", Linkname: "/etc/passwd"}), "something else than a file"},
		"device":        {tarOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "x"}), "something else than a file"},
		"large file":    {tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: 17 << 20}), "too large"},
		"many files":    {tarOf(t, many...), "too large"},
		"file twice":    {tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "x"}, tar.Header{Typeflag: tar.TypeReg, Name: "x"}), "unpacking: file exists"},
		"file as dir":   {tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "x"}, tar.Header{Typeflag: tar.TypeReg, Name: "x/y"}), "unpacking: "},
		"no tar":        {bytes.Repeat([]byte("no tar "), 200), "the inputs are no tar"},
		"cut":           {tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: 5000})[:600], "the inputs are no tar: unexpected EOF"},
		"through links": {tarOf(t, file("out/x")), "unpacking: "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			outside := t.TempDir()
			if name == "through links" {
				if err := os.Symlink(outside, dir+"/out"); err != nil {
					t.Fatal(err)
				}
			}
			err := definition.Unpack(c.tar, dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(factory.Problems(err)) == 0 {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if left, _ := os.ReadDir(outside); len(left) > 0 {
				t.Errorf("wrote outside: %v", left)
			}
		})
	}
	if err := definition.Unpack(nil, t.TempDir()+"/none"); !errors.Is(err, factory.ErrNotFound) {
		t.Error(err)
	}
}

func FuzzUnpack(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a/b", Size: 3, Mode: 0o755})
	w.Write([]byte("abc"))
	w.Close()
	f.Add(b.Bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "in")
		os.Mkdir(dir, 0o755)
		definition.Unpack(b, dir)
		if entries, _ := os.ReadDir(parent); len(entries) != 1 {
			t.Fatalf("wrote beside the folder: %v", entries)
		}
	})
}
