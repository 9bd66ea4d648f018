package scanner

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// tempPrefix is how the folders begin that scanners get for their temporary files.
const tempPrefix = "factory-scan-"

// tempDir makes a folder in parent that is this process's as long as the file is open, and removes those whose process is
// gone.
func tempDir(parent string) (dir string, lock *os.File, err error) {
	parent = cmp.Or(parent, os.TempDir())
	old, err := filepath.Glob(filepath.Join(parent, tempPrefix+"*"))
	if err != nil {
		return "", nil, err
	}
	for _, dir := range old {
		if f, err := lockFolder(dir); err == nil {
			_ = os.RemoveAll(dir) // what is left of it, the next one tries again
			f.Close()
		}
	}
	for {
		if dir, err = os.MkdirTemp(parent, tempPrefix); err != nil {
			return "", nil, err
		}
		// Another process may have taken the new folder for an old one.
		lock, err := lockFolder(dir)
		if err == nil {
			return dir, lock, nil
		}
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.EWOULDBLOCK) {
			return "", nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
}

// lockFolder is os.ErrNotExist when the folder goes meanwhile. In a folder that everybody may write to, what has its name may be a
// pipe, which would be waited for, or a link to somebody's folder.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		_, err = os.Stat(dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
