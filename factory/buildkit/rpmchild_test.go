package buildkit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/solver/pb"

	"github.com/imagefactory/imagefactory/factory"
)

// A child's packages come into its parent's root: the database goes on, accounts are not made twice, and the bytes are the same again.
func TestInstallIntoParent(t *testing.T) {
	t.Parallel()
	needsBerkeley(t)
	for form, files := range map[string][]string{"sqlite": {"rpmdb.sqlite"}, "berkeley": {"Packages"}} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			key, nonroot := keyOf(t, "pinned.asc", pinnedKey()), installUser{"nonroot", 65532, 65532, "/home/nonroot", "/sbin/nologin"}
			data := small{name: "data", key: pinnedKey(), files: map[string]string{"/usr/share/data": "1\n"}}.pack(t, dir)
			parent := installPlan{Database: form, Omit: []string{"/usr/share/doc"}, Users: []installUser{nonroot}, Packages: []installPackage{shell(t, dir), data}}
			below, said, exit := installAll(t, parent, key)
			if exit != 0 {
				t.Fatalf("exit %d: %s", exit, said)
			}
			child := installPlan{Parent: true, Database: form, Omit: []string{"/usr/share/doc", "/usr/share/man"}, Users: []installUser{nonroot, {"second", 7, 99, "/", "/bin/sh"}}, Packages: []installPackage{tool(t, dir)}}
			var roots []string
			for range 2 {
				root := filepath.Join(t.TempDir(), "root")
				if out, err := exec.Command("cp", "-a", below, root).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if said, exit = installInto(t, root, child, key); exit != 0 || !strings.Contains(said, "installing tool (1 of 1)\nhello\n") {
					t.Fatalf("exit %d: %s", exit, said)
				}
				roots = append(roots, root)
			}
			if out, err := exec.Command("diff", "-r", "--no-dereference", roots[0], roots[1]).CombinedOutput(); err != nil {
				t.Errorf("a second time it differs: %s", out)
			}
			query := exec.Command("rpm", "--define", "_db_backend "+map[string]string{"sqlite": "sqlite", "berkeley": "bdb_ro"}[form], "--dbpath", filepath.Join(roots[0], "var/lib/rpm"), "-qa", "--qf", "%{name} %{installtid}\n")
			out, err := query.Output()
			if got := slices.Sorted(strings.Lines(string(out))); err != nil || !slices.Equal(got, []string{"data 1795140000\n", "shell 1795140000\n", "tool 1795140000\n"}) {
				t.Errorf("installed %q %v", got, err)
			}
			left, err := filepath.Glob(filepath.Join(roots[0], "var/lib/rpm/*"))
			if err != nil || len(left) != len(files) || filepath.Base(left[0]) != files[0] {
				t.Errorf("the folder holds %q %v", left, err)
			}
			for name, want := range map[string]string{
				"etc/passwd":             "root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532::/home/nonroot:/sbin/nologin\ntool:x:99:99::/:/bin/sh\nsecond:x:7:99::/:/bin/sh\n",
				"etc/rpm/macros.factory": "# What this image leaves out of every package, its children leave out too.\n%_netsharedpath /usr/share/doc:/usr/share/man\n",
				"usr/share/data":         "1\n", "usr/bin/tool": "#!\n",
			} {
				if got := read(t, roots[0], name); got != want {
					t.Errorf("%s is %q", name, got)
				}
			}
			if form == "sqlite" {
				if got := rpmOf(t, roots[0], "-V", "tool", "data"); got != "" {
					t.Errorf("changed or missing: %s", got)
				}
			}
			// One that has only accounts of its own: nothing else changes.
			child = installPlan{Parent: true, Database: form, Omit: parent.Omit, Users: []installUser{nonroot, {"third", 8, 65532, "/", "/bin/sh"}}}
			if said, exit = installInto(t, below, child, key); exit != 0 || !strings.HasSuffix(read(t, below, "etc/passwd"), "third:x:8:65532::/:/bin/sh\n") {
				t.Errorf("exit %d: %s", exit, said)
			}
		})
	}
}

func TestInstallIntoParentRefuses(t *testing.T) {
	t.Parallel()
	needsBerkeley(t)
	key := keyOf(t, "pinned.asc", pinnedKey())
	for name, c := range map[string]struct {
		form   string
		damage func(root string) error
		add    small
		exit   int
		says   string
	}{
		"no database":     {"sqlite", func(root string) error { return os.Remove(filepath.Join(root, "var/lib/rpm/rpmdb.sqlite")) }, small{name: "more"}, 1, "the parent has no database of packages in /var/lib/rpm"},
		"no old database": {"berkeley", func(root string) error { return os.Remove(filepath.Join(root, "var/lib/rpm/Packages")) }, small{name: "more"}, 1, "the parent has no database of packages in /var/lib/rpm"},
		"damaged old database": {"berkeley", func(root string) error {
			return os.WriteFile(filepath.Join(root, "var/lib/rpm/Packages"), []byte("no"), 0o600)
		}, small{name: "more"}, 1, "/var/lib/rpm/Packages: "},
		"it leads out": {"sqlite", func(root string) error {
			return errors.Join(os.RemoveAll(filepath.Join(root, "var/lib/rpm")), os.Symlink("/tmp", filepath.Join(root, "var/lib/rpm")))
		}, small{name: "more"}, 1, "leads out of the root, to /tmp"},
		"not complete":      {"berkeley", nil, small{name: "more", requires: []string{"lib >= 5"}}, 2, "the lock is not complete: more-1:2-3 needs lib 5"},
		"a file of another": {"berkeley", nil, small{name: "more", files: map[string]string{"/usr/bin/busybox": "other"}}, 2, "file /usr/bin/busybox from install of more-1:2-3.x86_64 conflicts with file from package shell-1:2-3.x86_64"},
		"unsigned":          {"sqlite", nil, small{name: "more", key: otherKey()}, 5, "more-1:2-3.x86_64: Header V4 RSA/SHA256 Signature, key ID "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			root, said, exit := installAll(t, installPlan{Database: c.form, Packages: []installPackage{shell(t, dir)}}, key)
			if exit != 0 {
				t.Fatalf("exit %d: %s", exit, said)
			}
			if c.damage != nil {
				if err := c.damage(root); err != nil {
					t.Fatal(err)
				}
			}
			if c.add.key == nil {
				c.add.key = pinnedKey()
			}
			said, exit = installInto(t, root, installPlan{Parent: true, Database: c.form, Packages: []installPackage{c.add.pack(t, dir)}}, key)
			if exit != c.exit || !strings.Contains(said, c.says) || strings.Contains(said, "Traceback") {
				t.Errorf("exit %d: %s", exit, said)
			}
		})
	}
}

// A child of RPMs is one step in the toolbox, on its parent's release, with its own packages alone.
func TestRPMChildBeginsWithItsParent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.locked.Job.Image.Distro = factory.Distro{Family: factory.RedHat, Release: "9"}
	w.locked.Job.Image.Keys = []factory.Key{keyOf(t, "pinned.asc", pinnedKey())}
	w.locked.Job.Image.Packages.KeepPaths = nil
	w.parent.Platforms[0].Packages = w.parent.Platforms[0].Packages[:1] // it needs no program to install anything
	w.locked.Lock.Platforms[0].Packages = slices.Delete(w.locked.Lock.Platforms[0].Packages, 1, 2)
	w.ready(t)
	all, fetched, err := w.describe(t)
	run := execs(all)
	if err != nil || len(run) != 1 || len(fetched) != 1 || fetched[0].Name != "python3" {
		t.Fatalf("%v, fetches %v, %v", run, fetched, err)
	}
	if m := run[0].Mounts; !slices.Contains(run[0].Meta.Args, "/.factory/install_rpm.py") || run[0].Network != pb.NetMode_NONE ||
		!slices.ContainsFunc(m, func(m *pb.Mount) bool { return m.Dest == factory.TargetMount && m.Input >= 0 }) || !slices.ContainsFunc(m, func(m *pb.Mount) bool { return m.Dest == "/.rpms/0000.rpm" && m.Readonly }) {
		t.Errorf("%v", run[0])
	}
	w.client.Archives = nil
	if _, _, err := w.describe(t); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "has no URL") {
		t.Error(err)
	}
	w.locked.Job.Image.Only = []string{"base-files"}
	if _, _, err := w.describe(t); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "only: parts are made of Debian images") {
		t.Error(err)
	}
}
