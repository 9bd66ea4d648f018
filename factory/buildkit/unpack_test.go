package buildkit

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// deb builds a real package from files; a name that ends in a slash is a folder, a content that starts with -> a link.
func deb(t *testing.T, dir, name, control string, files map[string]string, extra map[string]string) unpackPackage {
	t.Helper()
	tree := filepath.Join(dir, name)
	put := func(path, content string, mode os.FileMode) {
		t.Helper()
		full := filepath.Join(tree, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(to, full)
		} else {
			err = os.WriteFile(full, []byte(content), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("DEBIAN/control", "Package: "+name+"\nVersion: 1.0\nArchitecture: amd64\nMaintainer: x <x@example.invalid>\nDescription: x\n"+control, 0o644)
	for n, c := range extra {
		mode := os.FileMode(0o644)
		if strings.HasSuffix(n, "inst") || strings.HasSuffix(n, "rm") {
			mode = 0o755
		}
		put("DEBIAN/"+n, c, mode)
	}
	for n, c := range files {
		put(n, c, 0o644)
	}
	file := filepath.Join(dir, name+".deb")
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "-b", tree, file).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v %s", err, out)
	}
	return unpackPackage{Name: name, Arch: "amd64", File: file}
}

func unpackAll(t *testing.T, plan unpackPlan) (root string, err error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("unpacking sets owners, which needs root")
	}
	dir := t.TempDir()
	root = filepath.Join(dir, "root")
	b, _ := json.Marshal(plan)
	for _, err := range []error{os.Mkdir(root, 0o755), os.WriteFile(filepath.Join(dir, "plan.json"), b, 0o600), os.WriteFile(filepath.Join(dir, "unpack.py"), unpackScript, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("python3", filepath.Join(dir, "unpack.py"), filepath.Join(dir, "plan.json"), root).CombinedOutput()
	if err != nil {
		t.Logf("unpack.py: %s", out)
	}
	return root, err
}

func read(t *testing.T, root, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What unpack.py leaves is what dpkg --unpack leaves, as far as dpkg itself can tell.
func TestUnpack(t *testing.T) {
	for _, program := range []string{"dpkg-deb", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	t.Parallel()
	dir := t.TempDir()
	plan := unpackPlan{Arch: "amd64", OmitPaths: []string{"/usr/share/doc/*", "/usr/share/man/*"}, KeepPaths: []string{"/usr/share/doc/*/copyright"}, Packages: []unpackPackage{
		deb(t, dir, "base-files", "", map[string]string{"etc/debian_version": "12.0\n", "var/log/x": ""}, nil),
		deb(t, dir, "tool", "Essential: yes\n", map[string]string{"bin/tool": "#!/bin/sh\n", "bin/alias": "->tool", "etc/tool.conf": "a=1\n",
			"usr/share/doc/tool/copyright": "GPL\n", "usr/share/doc/tool/changelog": "x\n", "usr/share/man/man1/tool.1": "x\n"},
			map[string]string{"conffiles": "/etc/tool.conf\n", "preinst": "#!/bin/sh\n", "postinst": "#!/bin/sh\n",
				"triggers": "interest-noawait /usr/lib\ninterest cache-it\n# nothing\nactivate other\n"}),
		deb(t, dir, "lib", "Multi-Arch: same\n", map[string]string{"lib/lib.so.1": "elf\n"}, map[string]string{"shlibs": "lib 1 lib\n"}),
	}}
	root, err := unpackAll(t, plan)
	if err != nil {
		t.Fatal(err)
	}
	if to, _ := os.Readlink(filepath.Join(root, "bin")); to != "usr/bin" {
		t.Errorf("/bin -> %q", to)
	}
	if got := read(t, root, "usr/bin/alias"); got != "#!/bin/sh\n" {
		t.Errorf("alias reads %q", got)
	}
	for path, want := range map[string]bool{"usr/share/doc/tool/copyright": true, "usr/share/doc/tool/changelog": false, "usr/share/man/man1": false, "usr/lib/lib.so.1": true} {
		if _, err := os.Lstat(filepath.Join(root, path)); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	info := "var/lib/dpkg/info/"
	if got := read(t, root, info+"tool.list"); !strings.HasPrefix(got, "/.\n") || !strings.Contains(got, "\n/bin/tool\n") || !strings.Contains(got, "\n/usr/share/man/man1/tool.1\n") {
		t.Errorf("list:\n%s", got)
	}
	if got := read(t, root, info+"lib:amd64.shlibs"); got != "lib 1 lib\n" {
		t.Errorf("shlibs %q", got)
	}
	if mode, err := os.Stat(filepath.Join(root, info+"tool.postinst")); err != nil || mode.Mode() != 0o755 {
		t.Errorf("postinst %v %v", mode, err)
	}
	if got := read(t, root, "var/lib/dpkg/triggers/File") + read(t, root, "var/lib/dpkg/triggers/cache-it"); got != "/usr/lib tool/noawait\ntool\n" {
		t.Errorf("triggers %q", got)
	}
	if status := read(t, root, "var/lib/dpkg/status"); !strings.Contains(status, "Conffiles:\n /etc/tool.conf d5e29449b9e66d5b4bb0d6ce48fbbcb1\n") {
		t.Errorf("status:\n%s", status)
	}
	out, err := exec.Command("dpkg-query", "--admindir", filepath.Join(root, "var/lib/dpkg"), "-W", "-f", "${binary:Package} ${db:Status-Status}\n").CombinedOutput()
	if want := "base-files unpacked\nlib:amd64 unpacked\ntool unpacked\n"; err != nil || string(out) != want {
		t.Errorf("dpkg reads its database as\n%s%v", out, err)
	}
}

// A package that brings a device or a pipe is refused as a whole.
func TestUnpackRefusesDevices(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("making a pipe's package needs root")
	}
	dir := t.TempDir()
	tree := filepath.Join(dir, "bad")
	if err := os.MkdirAll(filepath.Join(tree, "DEBIAN"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "DEBIAN/control"), []byte("Package: bad\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.invalid>\nDescription: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfifo", filepath.Join(tree, "pipe")).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v %s", err, out)
	}
	file := filepath.Join(dir, "bad.deb")
	if out, err := exec.Command("dpkg-deb", "-b", tree, file).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v %s", err, out)
	}
	if _, err := unpackAll(t, unpackPlan{Arch: "amd64", Packages: []unpackPackage{{Name: "bad", Arch: "all", File: file}}}); err == nil {
		t.Error("it was unpacked")
	}
}
