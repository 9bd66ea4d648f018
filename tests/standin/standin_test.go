package standin

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// needs skips where a program is missing, or root where something is installed.
func needs(t *testing.T, root bool, programs ...string) {
	t.Helper()
	var missing error
	if root && os.Geteuid() != 0 {
		missing = errors.New("installing changes the root, which needs root")
	}
	for _, p := range append(programs, "createrepo_c", "modifyrepo_c", "/bin/busybox") {
		if _, err := exec.LookPath(p); err != nil {
			missing = errors.Join(missing, err)
		}
	}
	if missing != nil && os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	if missing != nil {
		t.Skip(missing)
	}
}

func make1(t *testing.T, r Release, o Options) *Archive {
	t.Helper()
	needs(t, false)
	a, err := Make(t.TempDir(), r, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client is dnf with an empty root and the archive's repositories, all signatures checked.
type client struct {
	root string
	args []string
}

func newClient(t *testing.T, a *Archive, more ...string) client {
	t.Helper()
	work := t.TempDir()
	url, key := a.Serve(t), filepath.Join(work, "key.asc")
	must(t, os.WriteFile(key, []byte(a.Key().Armored()), 0o600))
	var repos strings.Builder
	img := a.Image()
	for _, archive := range img.Archives {
		fmt.Fprintf(&repos, "[%s]\nname=%s\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file://%s\n", archive.Suite, archive.Suite, key)
		if archive.MirrorList != "" {
			fmt.Fprintf(&repos, "mirrorlist=%s/%s\n", url, archive.MirrorList)
		} else {
			fmt.Fprintf(&repos, "baseurl=%s/%s\n", url, archive.Path)
		}
	}
	must(t, os.WriteFile(filepath.Join(work, "a.repo"), []byte(repos.String()), 0o600))
	must(t, os.WriteFile(filepath.Join(work, "dnf.conf"), []byte("[main]\nplugins=0\n"), 0o600))
	root := filepath.Join(work, "root")
	must(t, os.Mkdir(root, 0o755))
	cache := filepath.Join(work, "cache")
	t.Cleanup(func() { // whoever checks a signature leaves an agent behind
		homes, err := filepath.Glob(filepath.Join(cache, "*", "pubring"))
		for _, home := range homes {
			err = errors.Join(err, exec.Command("gpgconf", "--homedir", home, "--kill", "gpg-agent").Run())
		}
		if err != nil {
			t.Errorf("agents of gpg: %v", err)
		}
	})
	return client{root: root, args: append([]string{
		"--assumeyes", "--config=" + filepath.Join(work, "dnf.conf"), "--installroot=" + root, "--releasever=" + img.Distro.Version(), "--forcearch=x86_64",
		"--setopt=reposdir=" + work, "--setopt=install_weak_deps=0", "--setopt=module_platform_id=platform:el9",
		"--setopt=cachedir=" + cache, "--setopt=retries=1", "--setopt=skip_if_unavailable=0", "--refresh", // metadata_expire=0 still trusts what came within the same second
	}, more...)}
}

func (c client) run(args ...string) (string, error) {
	out, err := exec.Command("dnf", append(slices.Clone(c.args), args...)...).CombinedOutput()
	return string(out), err
}

func (c client) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.run(args...)
	if err != nil {
		t.Fatalf("dnf %s: %v\n%s", args, err, out)
	}
	return out
}

// tree is every file below a folder, with its content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		info, _ := d.Info()
		found[strings.TrimPrefix(p, dir)] = string(factory.DigestOf(b)) + info.ModTime().UTC().String()
		return err
	}))
	return found
}

func TestSameOptionsAndKeyGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	var made [2]map[string]string
	for i := range made {
		a := make1(t, RHEL9, Options{Packages: []string{"vim-minimal"}, Machines: []string{"x86_64", "aarch64"}})
		must(t, a.SecurityUpdate())
		made[i] = tree(t, a.Dir)
	}
	if len(made[0]) < 200 || len(made[0]) != len(made[1]) {
		t.Fatalf("%d and %d files", len(made[0]), len(made[1]))
	}
	for name, digest := range made[0] {
		if made[1][name] != digest {
			t.Errorf("%s differs", name)
		}
	}
}

func TestAPrivateKeyIsNowhere(t *testing.T) {
	t.Parallel()
	key, err := NewKey("Stand-in for tests")
	must(t, err)
	a, b := make1(t, RHEL9, Options{Key: key}), make1(t, RHEL9, Options{})
	if a.Key() != key || a.Key().Fingerprint() == b.Key().Fingerprint() || len(key.Fingerprint()) != 40 {
		t.Errorf("fingerprints %s and %s", a.Key().Fingerprint(), b.Key().Fingerprint())
	}
	if one(t, a, "bash").SHA256 == one(t, b, "bash").SHA256 {
		t.Error("two keys make the same signature")
	}
	must(t, filepath.WalkDir(a.Dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if bytes.Contains(b, []byte("PRIVATE")) {
			t.Errorf("%s holds a private key", p)
		}
		return err
	}))
	if !strings.HasPrefix(a.Key().Armored(), "-----BEGIN PGP PUBLIC KEY BLOCK-----\n") {
		t.Errorf("armored: %.60q", a.Key().Armored())
	}
}

func TestWhatCannotBeDone(t *testing.T) {
	t.Parallel()
	rhel, amazon := make1(t, RHEL9, Options{}), make1(t, AmazonLinux2023, Options{})
	must(t, rhel.SecurityUpdate())
	for _, test := range []struct {
		name string
		do   func() error
		kind error
		says string
	}{
		{"an unknown release", func() error { _, err := Make(t.TempDir(), "suse-15", Options{}); return err }, factory.ErrInvalid, "suse-15"},
		{"a folder that is a file", func() error { _, err := Make("/dev/null", RHEL9, Options{Key: rhel.Key()}); return err }, nil, "/dev/null"},
		{"a bad name of a key", func() error { _, err := NewKey("a(b"); return err }, nil, "not a name"},
		{"no busybox", func() error { _, err := static(filepath.Join(t.TempDir(), "busybox")); return err }, factory.ErrUnavailable, "busybox-static"},
		{"a dynamic busybox", func() error { _, err := static("/bin/ls"); return err }, factory.ErrUnavailable, "not static"},
		{"a busybox that is a script", func() error { _, err := static("/etc/passwd"); return err }, factory.ErrUnavailable, "magic"},
		{"no createrepo_c", func() error { return run("createrepo_c-that-is-not-there") }, factory.ErrUnavailable, "createrepo-c"},
		{"a failing program", func() error { return run("false") }, nil, "false: exit status 1"},
		{"an unknown package", func() error { return rhel.Tamper("nosuch") }, factory.ErrNotFound, "nosuch"},
		{"a file of no package", func() error { _, err := rhel.Files("nosuch"); return err }, factory.ErrNotFound, "nosuch"},
		{"the modules of Amazon", func() error { return amazon.AddModule() }, factory.ErrInvalid, "no module"},
		{"moving what does not move", func() error { return rhel.MoveRelease("2024.1.20260101") }, factory.ErrInvalid, "2024.1.20260101"},
		{"moving backwards", func() error { return amazon.MoveRelease("2023.8.20251001") }, factory.ErrInvalid, "2023.8"},
		{"moving nowhere", func() error { return amazon.MoveRelease("latest") }, factory.ErrInvalid, "latest"},
		{"the same update twice", rhel.SecurityUpdate, factory.ErrInvalid, "no further"},
	} {
		if err := test.do(); err == nil || test.kind != nil && !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
