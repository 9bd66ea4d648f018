package definition_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

// The digest moves with what the solver is asked, and with nothing else.
func TestDigest(t *testing.T) {
	t.Parallel()
	dir := write(t, fixture())
	before := definition.Digest(small(t, dir))
	if _, err := factory.ParseDigest(string(before)); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*factory.Image){
		"archive":   func(i *factory.Image) { i.Archives[0].Suite = "trixie" },
		"order":     func(i *factory.Image) { slices.Reverse(i.Archives) },
		"only":      func(i *factory.Image) { i.Archives[1].Only = []string{"bash"} },
		"keyring":   func(i *factory.Image) { i.Keyring = "other.gpg" },
		"essential": func(i *factory.Image) { i.Packages.Essential = false },
		"include":   func(i *factory.Image) { i.Packages.Include = i.Packages.Include[1:] },
		"exclude":   func(i *factory.Image) { i.Packages.Exclude = nil },
		"platform":  func(i *factory.Image) { i.Platforms = i.Platforms[:1] },
		"release":   func(i *factory.Image) { i.Distro.Release = "13" },
		"= config":  func(i *factory.Image) { i.Config.Cmd = nil },
		"= paths":   func(i *factory.Image) { i.Packages.OmitPaths = nil },
		"= waivers": func(i *factory.Image) { i.Waivers = nil },
		"= level":   func(i *factory.Image) { i.Hardening.Level = 2 },
		"= name":    func(i *factory.Image) { i.Name, i.Summary = "other", "other" },
		"= sorting": func(i *factory.Image) { slices.Reverse(i.Packages.Include); slices.Reverse(i.Platforms) },
		"= repeats": func(i *factory.Image) { i.Packages.Include = append(i.Packages.Include, "tzdata") },
	} {
		img := small(t, dir)
		edit(&img)
		if same := definition.Digest(img) == before; same != strings.HasPrefix(name, "=") {
			t.Errorf("%s: same digest %t", name, same)
		}
	}
}

func TestRoleDigests(t *testing.T) {
	t.Parallel()
	dir := write(t, fixture())
	img := small(t, dir)
	before, err := definition.RoleDigests(dir, img)
	if err != nil || len(before) != 1 || before["common"] == "" {
		t.Fatal(before, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ansible/roles/common/tasks/main.yml"), []byte("- other:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	after, err := definition.RoleDigests(dir, img)
	if err != nil || after["common"] == before["common"] {
		t.Error("a changed role keeps its digest", err)
	}
	bare := img
	bare.Hardening = factory.Hardening{}
	if none, err := definition.RoleDigests(dir, bare); none != nil || err != nil {
		t.Error(none, err)
	}
	bare.Hardening.Profile = "none"
	if _, err := definition.RoleDigests(dir, bare); !errors.Is(err, factory.ErrNotFound) {
		t.Error(err)
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "ansible/roles/common/files")); err != nil {
		t.Fatal(err)
	}
	if _, err := definition.RoleDigests(dir, img); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "roles/common/files: is a symbolic link") {
		t.Error(err)
	}
}

func TestReadLock(t *testing.T) {
	t.Parallel()
	lock := factory.Lock{
		Schema: factory.LockSchema, Image: "small", Definition: factory.DigestOf(nil), Timestamp: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC),
		Platforms: []factory.LockedPlatform{{Platform: factory.Platform{OS: "linux", Architecture: "amd64"}, Packages: []factory.Package{
			{Name: "bash", Version: "5.2", Arch: "amd64", Archive: "debian", Path: "pool/b.deb", Size: 1, SHA256: factory.DigestOf(nil)}}}},
	}
	good, err := lock.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		image, body string
		exists      bool
		want        string
	}{
		"there":     {"small", string(good), true, ""},
		"not there": {"box", string(good), false, ""},
		"other's":   {"small", strings.Replace(string(good), `"small"`, `"large"`, 1), true, `baseimages/small/lock.json: corrupt lock: it is for "large", expected small (make a new one: factory lock small)`},
		"cut":       {"small", string(good[:len(good)/2]), true, "baseimages/small/lock.json: corrupt lock: "},
		"link":      {"small", "-> /etc/passwd", true, "baseimages/small/lock.json: is a symbolic link"},
		"bad name":  {"../small", string(good), false, "expected an image name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, map[string]string{"baseimages/small/lock.json": c.body})
			got, exists, err := definition.ReadLock(dir, c.image)
			if exists != c.exists {
				t.Errorf("exists %t", exists)
			}
			switch {
			case c.want != "":
				if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %s", err, c.want)
				}
			case err != nil:
				t.Error(err)
			case exists && !got.SamePackages(lock):
				t.Errorf("%+v", got)
			}
		})
	}
	if _, _, err := definition.ReadLock(t.TempDir()+"/none", "small"); !errors.Is(err, factory.ErrNotFound) {
		t.Error(err)
	}
}
