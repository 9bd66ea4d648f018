package standin

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestInstalls installs a minimal image of each release, one with dnf and all its checks, and looks at what is there.
func TestInstalls(t *testing.T) {
	t.Parallel()
	for r, release := range map[Release]string{RHEL9: "platform:el9", AmazonLinux2: "VERSION_ID=\"2\"", AmazonLinux2023: "Amazon Linux 2023.9.20251110"} {
		t.Run(string(r), func(t *testing.T) {
			t.Parallel()
			needs(t, true, "dnf")
			a := make1(t, r, Options{Packages: []string{"vim-minimal", "bash"}})
			root, out := install(t, a)
			for _, not := range []string{"rpm-plugin-audit", "scriptlet failed", "Error", "warning:"} {
				if strings.Contains(out, not) {
					t.Errorf("%q in\n%s", not, out)
				}
			}
			if b, err := os.ReadFile(filepath.Join(root, "usr/lib/os-release")); err != nil || !strings.Contains(string(b), release) {
				t.Errorf("os-release: %v\n%s", err, b)
			}
			lookAtFiles(t, root)
			runPrograms(t, root)
		})
	}
}

// install installs a minimal image; those of Amazon by rpm alone, from what Files says, which is faster.
func install(t *testing.T, a *Archive) (root, out string) {
	t.Helper()
	if a.Release == RHEL9 {
		c := newClient(t, a)
		return c.root, c.must(t, append([]string{"install", "vim-minimal", "dbus-common"}, a.Image().Packages.Include...)...)
	}
	image, err := a.Files()
	must(t, err)
	more, err := a.Files("vim-minimal", "dbus-common")
	must(t, err)
	root = t.TempDir()
	args := []string{"--root=" + root, "--install", "--nosignature"}
	for _, f := range append(image, more...) {
		args = append(args, f.File)
	}
	b, err := exec.Command("rpm", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("rpm: %v\n%s", err, b)
	}
	return root, string(b)
}

func lookAtFiles(t *testing.T, root string) {
	t.Helper()
	for name, want := range map[string]string{
		"usr/bin/chage":         "urwxr-xr-x",
		"usr/sbin/unix_chkpwd":  "urwxr-xr-x",
		"etc/shadow":            "----------",
		"root":                  "dr-xr-x---",
		"tmp":                   "dtrwxrwxrwx",
		"bin":                   "Lrwxrwxrwx",
		"etc/pam.d/system-auth": "-rw-r--r--",
		"etc/security/opasswd":  "-rw-------",
		"usr/bin/bash":          "-rwxr-xr-x",
		"var/spool/mail":        "drwxrwxr-x",
		"etc/pki/tls/cert.pem":  "Lrwxrwxrwx",
		"etc/pki/ca-trust/extracted/java/cacerts": "-rw-r--r--",
	} {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil || info.Mode().String() != want {
			t.Errorf("%s: %v, %v", name, modeOf(info), err)
		}
	}
	for name, want := range map[string][2]uint32{"var/lib/dbus": {81, 81}, "var/spool/mail": {0, 12}} {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
		} else if s := info.Sys().(*syscall.Stat_t); s.Uid != want[0] || s.Gid != want[1] {
			t.Errorf("%s belongs to %d:%d", name, s.Uid, s.Gid)
		}
	}
	caps := make([]byte, 64)
	if n, err := syscall.Getxattr(filepath.Join(root, "usr/bin/newuidmap"), "security.capability", caps); err != nil || n < 12 {
		t.Errorf("newuidmap has no capabilities: %v", err)
	}
}

func modeOf(info fs.FileInfo) string {
	if info == nil {
		return "absent"
	}
	return info.Mode().String()
}

// runPrograms asks what the acceptance tests of the real definitions ask.
func runPrograms(t *testing.T, root string) {
	t.Helper()
	for _, test := range []struct {
		want string
		run  []string
	}{
		{"/usr/bin/bash", []string{"bash", "-c", `printf "%s" "$BASH"`}},
		{"uid=0(root)", []string{"id"}},
		{"1", []string{"grep", "-c", "^dbus:x:81:81:", "/etc/passwd"}},
		{"14:00 CEST", []string{"env", "TZ=Europe/Berlin", "date", "-d", "2026-07-01 12:00:00 UTC", "+%H:%M %Z"}},
		{"140", []string{"grep", "-c", "BEGIN CERTIFICATE", "/etc/pki/tls/certs/ca-bundle.crt"}},
		{"rpm-4.", []string{"rpm", "--query", "rpm"}},
		{"UTF-8", []string{"locale", "charmap"}},
		{"./tmp.", []string{"mktemp", "-p", "."}},
	} {
		out, err := exec.Command("chroot", append([]string{root}, test.run...)...).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), test.want) {
			t.Errorf("%q: %v: %s", test.run, err, out)
		}
	}
}
