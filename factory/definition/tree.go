package definition

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
)

// tree reads below the repository's root, never through a symbolic link. Several goroutines may.
type tree struct {
	root    *os.Root
	at      string    // the folder that root is, with a slash; empty = the repository
	folders *sync.Map // those that were seen to be folders
}

func openTree(dir string) (tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return tree{}, &factory.Problem{Kind: factory.ErrNotFound, What: "opening the repository", Where: factory.Position{File: dir}, Cause: err}
	}
	return tree{root: root, folders: &sync.Map{}}, nil
}

// enter opens a folder, for it and the names that lie in it: a root walks down to each of its files anew.
func (t tree) enter(name string) (tree, error) {
	if !t.folder(name) {
		if info, err := t.stat(name); err != nil {
			return tree{}, err
		} else if !info.IsDir() {
			return tree{}, problem(factory.Position{File: name}, "", "is a file, expected a folder")
		}
	}
	root, err := t.root.OpenRoot(t.below(name))
	if err != nil {
		return tree{}, &factory.Problem{What: "listing", Where: factory.Position{File: name}, Cause: bare(err)}
	}
	return tree{root: root, at: name + "/", folders: t.folders}, nil
}

// below is a name as root knows it.
func (t tree) below(name string) string {
	if name+"/" == t.at {
		return "."
	}
	return strings.TrimPrefix(name, t.at)
}

func (t tree) close() { t.root.Close() }

// stat describes a slash-separated path whose every part is a folder or a regular file. A path that is not there is
// fs.ErrNotExist.
func (t tree) stat(name string) (fs.FileInfo, error) {
	at := factory.Position{File: name}
	if !fs.ValidPath(name) {
		return nil, problem(at, "", "the path leaves the repository")
	}
	var info fs.FileInfo
	for i := range len(name) + 1 {
		if i < len(name) && (name[i] != '/' || t.folder(name[:i])) {
			continue
		}
		var err error
		if info, err = t.root.Lstat(t.below(name[:i])); err != nil {
			return nil, err
		}
		switch mode := info.Mode(); {
		case mode&fs.ModeSymlink != 0:
			return nil, problem(factory.Position{File: name[:i]}, "put a copy there", "is a symbolic link, expected a file or a folder")
		case !mode.IsDir() && !mode.IsRegular():
			return nil, problem(factory.Position{File: name[:i]}, "remove it", "is neither a file nor a folder")
		case mode.IsDir():
			t.folders.Store(name[:i], true)
		}
	}
	return info, nil
}

func (t tree) folder(name string) bool { _, ok := t.folders.Load(name); return ok }

// read returns a regular file of at most limit bytes.
func (t tree) read(name string, limit int64) ([]byte, error) {
	info, err := t.stat(name)
	if err != nil {
		return nil, err
	}
	return t.content(name, info, limit)
}

// content is read of what was looked at already.
func (t tree) content(name string, info fs.FileInfo, limit int64) ([]byte, error) {
	at := factory.Position{File: name}
	if info.IsDir() {
		return nil, problem(at, "", "is a folder, expected a file")
	}
	if info.Size() > limit {
		return nil, problem(at, "", "%d bytes, expected at most %d", info.Size(), limit)
	}
	f, err := t.root.Open(t.below(name))
	if err != nil {
		return nil, &factory.Problem{What: "reading", Where: at, Cause: bare(err)}
	}
	defer f.Close()
	b := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if n, err := b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, &factory.Problem{What: "reading", Where: at, Cause: bare(err)}
	} else if n > limit {
		return nil, problem(at, "", "grew beyond %d bytes while it was read", limit)
	}
	return b.Bytes(), nil
}

// list returns what a folder holds, sorted by name, without what editors and version control leave there. A folder that
// does not exist is empty.
func (t tree) list(name string) ([]fs.DirEntry, error) {
	info, err := t.stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, problem(factory.Position{File: name}, "", "is a file, expected a folder")
	}
	return t.entries(name)
}

// entries is list of what was looked at already.
func (t tree) entries(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(t.root.FS(), t.below(name))
	if err != nil {
		return nil, &factory.Problem{What: "listing", Where: factory.Position{File: name}, Cause: bare(err)}
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return Leftover(e.Name()) })
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// Leftover reports whether the name of a file or folder is what tools leave behind: such things are no part of a definition,
// and no image is made of them.
func Leftover(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || name == "__pycache__" || strings.HasSuffix(name, ".pyc")
}

// inputFile is one file that decides an image.
type inputFile struct {
	name string
	exec bool
	data []byte
}

const (
	maxInput  = 16 << 20 // bytes of one file, and
	maxInputs = 64 << 20 // of all files of an image together
)

// files reads the files below the named files and folders, sorted by path. A name that does not exist is an error.
func (t tree) files(names ...string) (all []inputFile, err error) {
	var size int64
	var walk func(tree, string) error
	walk = func(t tree, name string) error {
		info, err := t.stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return &factory.Problem{Kind: factory.ErrNotFound, What: "does not exist", Where: factory.Position{File: name}}
		} else if err != nil {
			return err
		}
		if info.IsDir() {
			inside, err := t.enter(name)
			if err != nil {
				return err
			}
			defer inside.close()
			entries, err := inside.entries(name)
			for _, e := range entries {
				err = errors.Join(err, walk(inside, path.Join(name, e.Name())))
			}
			return err
		}
		if size += info.Size(); size > maxInputs {
			return problem(factory.Position{File: name}, "", "inputs of more than %d bytes", maxInputs)
		}
		b, err := t.content(name, info, maxInput)
		all = append(all, inputFile{name: name, exec: info.Mode()&0o111 != 0, data: b})
		return err
	}
	for _, name := range names {
		err = errors.Join(err, walk(t, name))
	}
	slices.SortFunc(all, func(a, b inputFile) int { return cmp.Compare(a.name, b.name) })
	return slices.CompactFunc(all, func(a, b inputFile) bool { return a.name == b.name }), err
}

// contentDigest is the digest of the files' paths (without prefix), execute bits and bytes.
func contentDigest(files []inputFile, prefix string) factory.Digest {
	var b strings.Builder
	for _, f := range files {
		b.WriteString(f.sum(prefix))
	}
	return factory.DigestOf([]byte(b.String()))
}

// bare drops the operation and the path from a file error: the Problem says where.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func joined(all []*factory.Problem) error {
	errs := make([]error, len(all))
	for i, p := range all {
		errs[i] = p
	}
	return errors.Join(errs...)
}
