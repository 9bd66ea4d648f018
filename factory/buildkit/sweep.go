package buildkit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// sweep unmounts what a killed daemon left mounted below its state, and refuses with errTaken while one is alive.
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
	if real, err := filepath.EvalSymlinks(root); err == nil { // mounts are listed by where they really are
		root = real
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil // no Linux with /proc: nothing to sweep
	}
	for _, at := range mountsBelow(string(mounts), root) {
		_ = syscall.Unmount(at, syscall.MNT_DETACH)
	}
	return nil
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
