package main

import (
	"os"
	"path/filepath"
	"sync"

	xos "github.com/aquasecurity/trivy/pkg/x/os"
)

// isolate empties the environment and gives the process a folder of its own for temporary files, which leave removes. What a
// violent end leaves of it goes with the folder that whoever started the scanner made for it.
func isolate() (leave func(), err error) {
	parent := os.TempDir()
	os.Clearenv()
	dir, err := os.MkdirTemp(parent, "factory-scanner-")
	if err != nil {
		return nil, err
	}
	return func() { _ = os.RemoveAll(dir) }, os.Setenv("TMPDIR", dir)
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
