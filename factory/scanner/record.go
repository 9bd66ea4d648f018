package scanner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/imagefactory/imagefactory/factory"
)

// readRecord reads what was written down when the database in dir was installed.
func readRecord(dir string) (Installed, error) {
	in := Installed{Dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err == nil {
		err = json.Unmarshal(b, &in)
	}
	if err == nil && !slices.ContainsFunc(in.Files, in.isMain) {
		err = errors.New("its record is not about this database")
	}
	if err != nil {
		return Installed{}, badDatabase(dir, err)
	}
	return in, nil
}

// isMain reports whether the folder is named after this file.
func (in Installed) isMain(f File) bool {
	return f.Name == databaseFile && f.Digest == in.Digest && in.Digest != "" && strings.HasPrefix(filepath.Base(in.Dir), f.Digest.Hex())
}

// verify compares the files with the record: by how they look, or all of their content.
func (in Installed) verify(ctx context.Context, full bool) error {
	for _, want := range in.Files {
		if filepath.Base(want.Name) != want.Name {
			return badDatabase(in.Dir, fmt.Errorf("its record names the file %.80q", want.Name))
		}
		is, err := look(in.Dir, want.Name)
		switch {
		case err != nil:
			return badDatabase(in.Dir, err)
		case is.Size != want.Size:
			return badDatabase(in.Dir, fmt.Errorf("%s has %d bytes instead of %d", want.Name, is.Size, want.Size))
		case !full && is.Inode == want.Inode && is.Modified.Equal(want.Modified):
			continue
		}
		digest, err := is.hash(ctx, in.Dir)
		if err != nil {
			return err
		}
		if digest != want.Digest {
			return badDatabase(in.Dir, fmt.Errorf("%s has other content than was installed", want.Name))
		}
	}
	return nil
}

// look returns how a file looks from outside.
func look(dir, name string) (File, error) {
	info, err := os.Lstat(filepath.Join(dir, name))
	if err != nil {
		return File{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("%s is not a plain file", name)
	}
	return File{Name: name, Size: info.Size(), Inode: st.Ino, Modified: info.ModTime().UTC()}, nil
}

// hash reads the file. Only ctx and the disk make it fail.
func (f File) hash(ctx context.Context, dir string) (factory.Digest, error) {
	file, err := os.Open(filepath.Join(dir, f.Name))
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, patient{ctx, file}); err != nil {
		return "", err
	}
	return factory.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil))), nil
}

// patient reads until its context ends.
type patient struct {
	ctx context.Context
	r   io.Reader
}

func (p patient) Read(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	return p.r.Read(b)
}

// replace writes a small file so that a crash leaves the old one or the new one.
func replace(dir, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, unfinished+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
