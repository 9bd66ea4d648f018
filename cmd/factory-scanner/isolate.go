package main

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	xos "github.com/aquasecurity/trivy/pkg/x/os"
)

// private is how the folders begin that scanners keep their temporary files in.
const private = "factory-scanner-"

// isolate empties the environment and gives the process a folder of its own for temporary files, which leave removes. Folders
// of scanners that were killed are removed, too.
func isolate() (leave func(), err error) {
	parent := os.TempDir()
	os.Clearenv()
	sweep(parent)
	dir, err := os.MkdirTemp(parent, private)
	if err != nil {
		return nil, err
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	err = errors.Join(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), os.Setenv("TMPDIR", dir))
	return func() {
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}, err
}

// sweep removes the folders whose owner is gone: nobody holds their lock.
func sweep(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, private+"*"))
	for _, dir := range dirs {
		lock, err := os.Open(filepath.Join(dir, "lock"))
		if err != nil {
			continue // of a scanner that is just starting
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = lock.Close()
	}
}

// workspace is Trivy's folder for temporary files, one for the process. It is emptied when the last of those who work in it
// has left, because Trivy forgets some of its files.
type workspace struct {
	mu      sync.Mutex
	workers int
}

func (w *workspace) enter() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.workers++
}

func (w *workspace) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.workers--; w.workers > 0 {
		return
	}
	dir := xos.TempDir()
	if dir == os.TempDir() {
		return // Trivy could not make its own
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		_ = os.RemoveAll(filepath.Join(dir, e.Name()))
	}
}
