package buildkit

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	root, out, err := unpackSaying(t, plan)
	if err != nil {
		t.Logf("unpack.py: %s", out)
	}
	return root, err
}

func unpackSaying(t *testing.T, plan unpackPlan) (root, said string, err error) {
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
	return root, string(out), err
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

// raw builds a package whose files dpkg-deb itself would never pack.
func raw(t *testing.T, dir, name string, files ...tar.Header) unpackPackage {
	t.Helper()
	pack := func(all ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range all {
			content := h.Uname // nothing else needs it
			if h.Uname, h.Size = "", int64(len(content)); h.Typeflag == 0 {
				h.Typeflag = tar.TypeReg
			}
			if h.Mode == 0 {
				h.Mode = 0o755
			}
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(content)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	control := "Package: " + name + "\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@example.invalid>\nDescription: x\n"
	ar := []byte("!<arch>\n")
	for _, m := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar", pack(tar.Header{Name: "./control", Uname: control})}, {"data.tar", pack(files...)}} {
		ar = fmt.Appendf(ar, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		if ar = append(ar, m.data...); len(m.data)%2 == 1 {
			ar = append(ar, '\n')
		}
	}
	file := filepath.Join(dir, name+".deb")
	if err := os.WriteFile(file, ar, 0o600); err != nil {
		t.Fatal(err)
	}
	return unpackPackage{Name: name, Arch: "amd64", File: file}
}

func folder(name string, mode int64) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}
}

func link(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
}

func file(name, content string) tar.Header { return tar.Header{Name: name, Uname: content} }

// Nothing that packages bring leaves the root, or takes the place of what another one brought.
func TestUnpackRefusesHostilePackages(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for name, c := range map[string]struct {
		first, second []tar.Header
		says          string
	}{
		"file below an absolute link":   {[]tar.Header{link("./x", outside)}, []tar.Header{folder("./x/", 0o755), file("./x/evil", "e")}, "leads out of the root"},
		"file below a climbing link":    {[]tar.Header{link("./x", "../../.."+outside)}, []tar.Header{file("./x/evil", "e")}, "leads out of the root"},
		"folder below an absolute link": {[]tar.Header{link("./x", outside)}, []tar.Header{folder("./x/evil/", 0o755)}, "leads out of the root"},
		"link below an absolute link":   {[]tar.Header{link("./x", outside)}, []tar.Header{link("./x/evil", "y")}, "leads out of the root"},
		"the link comes second":         {[]tar.Header{file("./x/evil", "e")}, []tar.Header{link("./x", outside)}, "leads out of the root"},
		"link in place of a folder":     {[]tar.Header{folder("./x/", 0o755)}, []tar.Header{link("./x", outside)}, "File exists"},
		"member that climbs":            {[]tar.Header{file("./x/../../evil", "e")}, nil, "may not bring such a path"},
		"member with a line break":      {[]tar.Header{file("./x\n/etc/passwd", "e")}, nil, "may not bring such a path"},
		"hard link that climbs":         {[]tar.Header{{Name: "./x", Typeflag: tar.TypeLink, Linkname: "./../../etc/passwd"}}, nil, "may not bring such a path"},
		"hard link below a link":        {[]tar.Header{link("./x", "/etc")}, []tar.Header{{Name: "./y", Typeflag: tar.TypeLink, Linkname: "./x/passwd"}}, "leads out of the root"},
		"the same file twice":           {[]tar.Header{file("./x", "1")}, []tar.Header{file("./x", "2")}, "is there already"},
		"the database itself":           {[]tar.Header{link("./var/lib/dpkg/status", filepath.Join(outside, "evil"))}, nil, "File exists"},
		"the database's folder":         {[]tar.Header{link("./var/lib/dpkg/info", outside)}, nil, "File exists"},
		"device":                        {[]tar.Header{{Name: "./x", Typeflag: tar.TypeChar}}, nil, "device or a pipe"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, out, err := unpackSaying(t, unpackPlan{Arch: "amd64", Packages: []unpackPackage{raw(t, dir, "first", c.first...), raw(t, dir, "second", c.second...)}})
			if err == nil || !strings.Contains(out, c.says) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	t.Cleanup(func() { // after all of them
		if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
			t.Errorf("outside the root: %v %v", left, err)
		}
	})
}

// What several packages have in common comes out the same, whoever is faster: as dpkg does it, one after the other.
func TestUnpackSharedPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	big := strings.Repeat("x", 1<<20) // starts first, and ends last
	plan := unpackPlan{Arch: "amd64", Packages: []unpackPackage{
		raw(t, dir, "aaa", folder("./", 0o755), folder("./lib/", 0o755), file("./lib/one", "1"), folder("./var/mail/", 0o2775), file("./usr/share/made/by/aaa", "")),
		// A merged /usr that a package brings holds for those before it, too.
		raw(t, dir, "base-files", folder("./", 0o755), folder("./usr/", 0o755), folder("./usr/lib/", 0o755), link("./lib", "usr/lib"), link("./bin", "usr/bin"), folder("./tmp/", 0o1777)),
		raw(t, dir, "big", folder("./var/mail/", 0o700), folder("./tmp/", 0o755), folder("./usr/share/made/", 0o750), file("./usr/share/big", big), link("./bin", "usr/bin"), file("./bin/sh", "#!"),
			tar.Header{Name: "./usr/bin/sh2", Typeflag: tar.TypeLink, Linkname: "./bin/sh"}),
	}}
	root, err := unpackAll(t, plan)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, root, "usr/lib/one") + read(t, root, "usr/bin/sh2"); got != "1#!" {
		t.Errorf("below the links: %q", got)
	}
	for name, want := range map[string]os.FileMode{
		"var/mail": os.ModeDir | os.ModeSetgid | 0o775, "tmp": os.ModeDir | os.ModeSticky | 0o777, "lib": os.ModeSymlink | 0o777,
		"usr/share/made": os.ModeDir | 0o750, "usr/share/made/by": os.ModeDir | 0o755, // the first that says something of it, not who needed it
	} {
		if info, err := os.Lstat(filepath.Join(root, name)); err != nil || info.Mode() != want {
			t.Errorf("%s is %v, want %v (%v)", name, info.Mode(), want, err)
		}
	}
	if left, err := os.ReadDir(root); err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") }) {
		t.Errorf("the root holds %v %v", left, err)
	}
}
