package buildkit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// tempDir is the daemon's own place for temporary files. It leaves a folder there for every file that was mounted in a step, and when
// it is killed all that was mounted at that time.
func (d *Daemon) tempDir() string { return filepath.Join(d.Dir, "tmp") }

// sweep unmounts what a killed daemon left mounted below its state, makes an empty tempDir, and refuses with errTaken while one is alive.
func (d *Daemon) sweep() error {
	root := filepath.Join(d.Dir, "root")
	lock, err := os.OpenFile(filepath.Join(root, "buildkitd.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("build service: %w", err)
	}
	defer func() { _ = lock.Close() }() // which unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errTaken
	}
	_, _ = unmountBelow(root)
	// What is still mounted, or may be, must not be removed through its mount: it stays, and is used as it is.
	if left, err := unmountBelow(d.tempDir()); err == nil && left == 0 {
		if err := os.RemoveAll(d.tempDir()); err != nil {
			return fmt.Errorf("build service: %w", err)
		}
	}
	if err := os.MkdirAll(d.tempDir(), 0o700); err != nil {
		return fmt.Errorf("build service: %w", err)
	}
	return nil
}

// unmountBelow unmounts all below a folder, and says how many mounts are left there. Without /proc nobody can tell.
func unmountBelow(folder string) (left int, err error) {
	if real, err := filepath.EvalSymlinks(folder); err == nil { // mounts are listed by where they really are
		folder = real
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return 0, err
	}
	for _, at := range mountsBelow(string(mounts), folder) {
		_ = syscall.Unmount(at, syscall.MNT_DETACH)
	}
	if mounts, err = os.ReadFile("/proc/self/mounts"); err != nil {
		return 0, err
	}
	return len(mountsBelow(string(mounts), folder)), nil
}

// mountsBelow returns the mount points below a folder, the innermost first.
func mountsBelow(mounts, folder string) (all []string) {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(mounts) {
		if words := strings.Fields(line); len(words) > 1 {
			if at := unescape.Replace(words[1]); strings.HasPrefix(at, folder+"/") {
				all = append(all, at)
			}
		}
	}
	slices.Reverse(all)
	return all
}

// socketDir is where the socket goes: in the state, unless that has a longer path than a socket may have (107 bytes).
func (d *Daemon) socketDir() (string, error) {
	dir := filepath.Join(d.Dir, "run")
	if len(dir)+len("/buildkitd.sock") > 100 {
		return os.MkdirTemp("", "factory-buildkit-")
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.Mkdir(dir, 0o700)
}
