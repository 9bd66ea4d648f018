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
