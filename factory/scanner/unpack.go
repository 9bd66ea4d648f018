package scanner

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

const maxFiles = 16

// plainName is what a file of a database may be called.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// unpacking writes the files of a database into an empty folder and hashes them on the way.
type unpacking struct {
	ctx   context.Context
	dir   string
	left  int64 // bytes that may still come
	files []File
}

func (u *unpacking) archive(r io.Reader) error {
	z, err := gzip.NewReader(patient{u.ctx, r})
	if err != nil {
		return u.damaged(err)
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return u.damaged(err)
		}
		switch {
		case h.Typeflag == tar.TypeDir && path.Clean(h.Name) == ".":
		case h.Typeflag != tar.TypeReg:
			return refused("%.80q is not a plain file", h.Name)
		default:
			if err := u.file(path.Clean(h.Name), t); err != nil {
				return err
			}
		}
	}
	// What follows the archive's end is nothing of a database, but must be as whole as the rest.
	if n, err := io.CopyN(io.Discard, z, 1<<20+1); err != nil && !errors.Is(err, io.EOF) {
		return u.damaged(err)
	} else if n > 1<<20 {
		return refused("there is more after its end")
	}
	if n, err := io.Copy(io.Discard, patient{u.ctx, r}); err != nil {
		return u.damaged(err)
	} else if n > 0 {
		return refused("there is more after its end")
	}
	return nil
}

func (u *unpacking) folder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return &factory.Problem{Kind: factory.ErrNotFound, What: "database folder", Cause: err}
	}
	for _, e := range entries {
		if e.Name() == recordFile { // of an installation
			continue
		}
		if !e.Type().IsRegular() {
			return refused("%.80q is not a plain file", e.Name())
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if err := errors.Join(u.file(e.Name(), f), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// file writes one file.
func (u *unpacking) file(name string, r io.Reader) error {
	if !plainName.MatchString(name) || name == recordFile {
		return refused("a file may not be called %.80q", name)
	}
	if len(u.files) == maxFiles {
		return refused("it has more than %d files", maxFiles)
	}
	f, err := os.OpenFile(filepath.Join(u.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o444)
	if errors.Is(err, os.ErrExist) {
		return refused("it has %q twice", name)
	}
	if err != nil {
		return err
	}
	sum := sha256.New()
	limited := &io.LimitedReader{R: patient{u.ctx, r}, N: u.left + 1}
	n, err := io.Copy(io.MultiWriter(f, sum), limited)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return u.damaged(err)
	}
	if u.left -= n; u.left < 0 {
		return refused("it is larger than a database may be")
	}
	is, err := look(u.dir, name)
	if err != nil {
		return err
	}
	is.Digest = factory.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil)))
	u.files = append(u.files, is)
	return nil
}

// finish returns what was unpacked when it can be a database.
func (u *unpacking) finish() (Installed, error) {
	slices.SortFunc(u.files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	in := Installed{Dir: u.dir, Files: u.files}
	found := 0
	for _, f := range u.files {
		in.Size += f.Size
		switch f.Name {
		case databaseFile:
			in.Digest = f.Digest
			found++
		case metadataFile:
			found++
		}
	}
	if found != 2 {
		return Installed{}, refused("it has not both %s and %s", databaseFile, metadataFile)
	}
	return in, nil
}

func refused(format string, args ...any) error {
	return &factory.Problem{Kind: factory.ErrInvalid, What: "this is not an archive or folder of a vulnerability database: " + fmt.Sprintf(format, args...)}
}

// damaged translates errors of reading; those of the disk and of whoever hands in the bytes stay what they are.
func (u *unpacking) damaged(err error) error {
	var ours *factory.Problem
	var file *os.PathError
	switch {
	case u.ctx.Err() != nil:
		err = context.Cause(u.ctx)
	case !errors.As(err, &ours) && !errors.As(err, &file):
		return &factory.Problem{Kind: factory.ErrUnverified, What: "the archive of the vulnerability database is damaged", Hint: "fetch it again", Cause: err}
	}
	return fmt.Errorf("unpack vulnerability database: %w", err)
}
