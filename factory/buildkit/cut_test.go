package buildkit

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cutRoot runs cut.py on a small root with a merged /usr.
func cutRoot(t *testing.T, packages ...string) (root, said string, err error) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	dir := t.TempDir()
	root = filepath.Join(dir, "root")
	for name, text := range map[string]string{
		"bin": "->usr/bin", "usr/bin/sh": "sh", "usr/bin/tool": "tool", "usr/lib/os-release": "12", "etc/os-release": "->../usr/lib/os-release",
		"etc/alternatives/x": "->/usr/bin/sh", "etc/passwd": "root", "etc/passwd-": "old", "etc/shadow": "root", "etc/ssl/certs/ca-certificates.crt": "CA", "etc/pam.d/su": "pam",
		"etc/added": "added", "home/nonroot/.profile": "x", "usr/share/deep/down/file": "f", "usr/share/linked": "->/usr/share/deep", "root/.bashrc": "x", "var/log/dpkg.log": "",
		"var/lib/dpkg/status":                         "Package: base-files\nStatus: install ok installed\nVersion: 12\n\nPackage: bash\nVersion: 5\n\nPackage: ca-certificates\nVersion: 1\n\nPackage: libx\nArchitecture: amd64\nVersion: 2\n\nPackage: odd\nVersion: 1\n",
		"var/lib/dpkg/info/base-files.list":           "/.\n/usr\n/usr/lib/os-release\n/srv\n",
		"var/lib/dpkg/info/base-files.postinst":       "#!/bin/sh\n",
		"var/lib/dpkg/info/bash.list":                 "/.\n/bin/sh\n",
		"var/lib/dpkg/info/ca-certificates.list":      "/.\n",
		"var/lib/dpkg/info/ca-certificates.conffiles": "/etc/x\n",
		"var/lib/dpkg/info/libx:amd64.list":           "/.\n/bin/tool\n/usr/share/linked/down/file\n/usr/share/gone\n",
	} {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if to, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(to, at)
		} else {
			err = os.WriteFile(at, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	plan, _ := json.Marshal(map[string][]string{"packages": packages, "paths": {"/etc/added", "/home/nonroot"}})
	for name, b := range map[string][]byte{"plan.json": plan, "cut.py": cutScript} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("python3", filepath.Join(dir, "cut.py"), filepath.Join(dir, "plan.json"), root).CombinedOutput()
	return root, string(out), err
}

// What stays is what the packages shipped and made, accounts, and a database that says just that.
func TestCut(t *testing.T) {
	t.Parallel()
	root, said, err := cutRoot(t, "base-files", "ca-certificates", "libx")
	if err != nil {
		t.Fatal(said)
	}
	for path, stays := range map[string]bool{
		"bin": true, "usr/bin": true, "usr/bin/sh": false, "usr/bin/tool": true, "usr/lib/os-release": true, "etc/os-release": true, "etc/alternatives": false,
		"etc/passwd": true, "etc/passwd-": false, "etc/shadow": true, "etc/ssl/certs/ca-certificates.crt": true, "etc/pam.d": false, "etc/added": true,
		"home/nonroot": true, "home/nonroot/.profile": false, "usr/share/deep/down/file": true, "root": true, "root/.bashrc": false, "var/log": false,
		"var/lib/dpkg/info/base-files.list": true, "var/lib/dpkg/info/base-files.postinst": false, "var/lib/dpkg/info/ca-certificates.conffiles": true,
		"var/lib/dpkg/info/bash.list": false, "var/lib/dpkg/info/libx:amd64.list": true,
	} {
		if _, err := os.Lstat(filepath.Join(root, path)); (err == nil) != stays {
			t.Errorf("%s: %v, and it stays: %v", path, err, stays)
		}
	}
	want := "Package: base-files\nStatus: install ok installed\nVersion: 12\n\nPackage: ca-certificates\nVersion: 1\n\nPackage: libx\nArchitecture: amd64\nVersion: 2\n"
	if got := read(t, root, "var/lib/dpkg/status"); got != want {
		t.Errorf("status\n%s", got)
	}
}

func TestCutRefuses(t *testing.T) {
	t.Parallel()
	for pkg, says := range map[string]string{"nginx": "nginx: the parent does not have it", "odd": "odd: dpkg has no list of its files"} {
		if _, said, err := cutRoot(t, "base-files", pkg); err == nil || !strings.HasSuffix(strings.TrimSpace(said), says) {
			t.Errorf("%s: %v %s", pkg, err, said)
		}
	}
}
