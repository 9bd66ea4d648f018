package buildkit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestMountsBelow(t *testing.T) {
	t.Parallel()
	got := mountsBelow("overlay /s/root/a overlay rw 0 0\ntmpfs /s/root/a/b\\040c tmpfs rw 0 0\nx /s/rootless y\nproc /proc proc\n\n", "/s/root")
	if !slices.Equal(got, []string{"/s/root/a/b c", "/s/root/a"}) {
		t.Errorf("%q", got)
	}
}

// What a killed daemon left mounted goes; what a living one has stays.
func TestSweep(t *testing.T) {
	real := t.TempDir()
	d := &Daemon{Dir: filepath.Join(t.TempDir(), "link")} // a state directory may lie behind a link
	at := filepath.Join(real, "root", "executor")
	if err := errors.Join(os.MkdirAll(at, 0o700), os.Symlink(real, d.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
		t.Skipf("mounting is not allowed here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(at, syscall.MNT_DETACH) })
	mounted := func() bool {
		b, err := os.ReadFile("/proc/self/mounts")
		return err != nil || strings.Contains(string(b), at)
	}
	alive, err := os.Create(filepath.Join(d.Dir, "root", "buildkitd.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(alive.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := d.sweep(); !errors.Is(err, errTaken) || !mounted() {
		t.Errorf("beside a living daemon: %v, mounted %v", err, mounted())
	}
	_ = alive.Close()
	if err := d.sweep(); err != nil || mounted() {
		t.Errorf("after a killed one: %v, mounted %v", err, mounted())
	}
}

// What a killed daemon left in its temporary folder goes, and what was mounted there stays where it came from.
func TestSweepTemporary(t *testing.T) {
	d, source := &Daemon{Dir: t.TempDir()}, t.TempDir()
	folder, file := filepath.Join(d.tempDir(), "buildkit-mount1"), filepath.Join(d.tempDir(), "buildkit-mount2", "file")
	precious := filepath.Join(source, "precious")
	for _, dir := range []string{filepath.Join(d.Dir, "root"), folder, filepath.Dir(file), filepath.Join(d.tempDir(), "buildkit-mount3")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(precious, []byte("x"), 0o600), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for at, from := range map[string]string{folder: source, file: precious} {
		for range 2 { // one over the other
			if err := syscall.Mount(from, at, "", syscall.MS_BIND, ""); err != nil {
				t.Skipf("mounting is not allowed here: %v", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(at, syscall.MNT_DETACH) })
		}
	}
	if err := d.sweep(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(d.tempDir())
	if b, gone := os.ReadFile(precious); err != nil || len(left) != 0 || gone != nil || string(b) != "x" {
		t.Errorf("left %v, %v; what was mounted: %q, %v", left, err, b, gone)
	}
	if n, err := unmountBelow(d.tempDir()); n != 0 || err != nil {
		t.Errorf("%d mounts are left, %v", n, err)
	}
}

// The daemon's temporary files are its own, and it is told where they really are.
func TestTemporaryFilesOfTheDaemon(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "state")); err != nil {
		t.Fatal(err)
	}
	d := &Daemon{Dir: filepath.Join(dir, "state"), Binary: filepath.Join(dir, "buildkitd")}
	if err := os.WriteFile(d.Binary, []byte("#!/bin/sh\necho \"temporary files in $TMPDIR\"\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Skip("the daemon needs root")
	}
	_, _, err := d.Start(t.Context())
	log, _ := os.ReadFile(filepath.Join(d.Dir, "buildkitd.log"))
	real, _ := filepath.EvalSymlinks(d.tempDir())
	if want := "temporary files in " + real + "\n"; err == nil || string(log) != want || real == d.tempDir() {
		t.Errorf("%s, %v", log, err)
	}
	if info, err := os.Stat(d.tempDir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info, err)
	}
}

func TestSocketDir(t *testing.T) {
	t.Parallel()
	d := &Daemon{Dir: t.TempDir()}
	stale := filepath.Join(d.Dir, "run", "stale")
	if err := os.MkdirAll(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := d.socketDir()
	if _, gone := os.Stat(stale); err != nil || dir != filepath.Join(d.Dir, "run") || !os.IsNotExist(gone) {
		t.Errorf("%s %v %v", dir, err, gone)
	}
	long := &Daemon{Dir: filepath.Join(d.Dir, strings.Repeat("x", 100))}
	dir, err = long.socketDir()
	if err != nil || len(dir) > 90 {
		t.Errorf("%s %v", dir, err)
	}
	_ = os.Remove(dir)
}
