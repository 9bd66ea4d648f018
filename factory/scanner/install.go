package scanner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// CheckFunc reads all of the database in a folder and says what it is. Client.Check is one.
type CheckFunc func(ctx context.Context, dir string) (factory.Database, error)

// InstallArchive makes the database in a gzipped tar the current one; the one in use before is kept, older ones go. It reads r
// to its end, so an error that comes last counts. Kind is what the database must be, origin where it was had from. A
// crash leaves the old database current or the new one, and the next installation cleans up. ErrInvalid or ErrUnverified when the archive or
// the database is not good, ErrBusy when another process installs.
func (d Databases) InstallArchive(ctx context.Context, kind factory.DatabaseKind, origin string, r io.Reader, check CheckFunc) (factory.Database, error) {
	return d.install(ctx, kind, origin, check, func(u *unpacking) error { return u.archive(r) })
}

// InstallDir makes a copy of the database in a folder the current one, like InstallArchive.
func (d Databases) InstallDir(ctx context.Context, kind factory.DatabaseKind, origin, dir string, check CheckFunc) (factory.Database, error) {
	return d.install(ctx, kind, origin, check, func(u *unpacking) error { return u.folder(dir) })
}

func (d Databases) install(ctx context.Context, kind factory.DatabaseKind, origin string, check CheckFunc, from func(*unpacking) error) (factory.Database, error) {
	unlock, err := d.lock()
	if err != nil {
		return factory.Database{}, err
	}
	defer unlock()
	if err := d.sweep(); err != nil {
		return factory.Database{}, err
	}
	dir, err := os.MkdirTemp(d.Dir, unfinished)
	if err != nil {
		return factory.Database{}, err
	}
	defer os.RemoveAll(dir) // it has another name when all went well
	u := &unpacking{ctx: ctx, dir: dir, left: cmp.Or(d.MaxBytes, 4<<30)}
	if err := from(u); err != nil {
		return factory.Database{}, err
	}
	in, err := u.finish()
	if err != nil {
		return factory.Database{}, err
	}
	if err := in.examine(ctx, kind, origin, check); err != nil {
		return factory.Database{}, err
	}
	if d.Now != nil {
		in.At = d.Now().UTC()
	}
	return d.adopt(ctx, in)
}

// examine fills in what the check says of the new database.
func (in *Installed) examine(ctx context.Context, kind factory.DatabaseKind, origin string, check CheckFunc) error {
	digest := in.Digest
	db, err := check(ctx, in.Dir)
	if err != nil {
		return fmt.Errorf("database from %s: %w", origin, err)
	}
	if db.Kind != kind {
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("the database from %s is of kind %q instead of %q", origin, db.Kind, kind)}
	}
	if err := in.verify(ctx, false); err != nil { // the check itself changed something
		return err
	}
	in.Database = db
	in.Digest, in.Origin = digest, origin
	return nil
}

// adopt moves a checked database to its place and makes it the current one.
func (d Databases) adopt(ctx context.Context, in Installed) (factory.Database, error) {
	at, err := d.pointer()
	if err != nil {
		at = pointer{}
	}
	var name string
	for n := range 1000 {
		if name = in.Digest.Hex(); n > 0 {
			name += fmt.Sprintf("-%d", n)
		}
		old, err := readRecord(filepath.Join(d.Dir, name))
		if err == nil && old.same(in) && old.verify(ctx, true) == nil {
			return old.Database, d.choose(at, name)
		}
		if _, err := os.Lstat(filepath.Join(d.Dir, name)); errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if err := replace(in.Dir, recordFile, in); err != nil {
		return factory.Database{}, err
	}
	if err := os.Rename(in.Dir, filepath.Join(d.Dir, name)); err != nil {
		return factory.Database{}, err
	}
	if err := syncDir(d.Dir); err != nil {
		return factory.Database{}, err
	}
	return in.Database, d.choose(at, name)
}

// choose makes a database the current one, and the one that was, the previous.
func (d Databases) choose(at pointer, name string) error {
	if at.Current == name {
		return nil
	}
	if err := replace(d.Dir, currentFile, pointer{Current: name, Previous: at.Current}); err != nil {
		return err
	}
	d.Events.Emit(factory.Event{Kind: factory.Noted, Message: "vulnerability database " + name[:12] + " is in use"})
	if err := d.sweep(); err != nil {
		d.Events.Emit(factory.Event{Kind: factory.Warned, Message: fmt.Sprintf("old vulnerability databases stay on disk: %s", err)})
	}
	return nil
}

// same reports whether two databases have the same files.
func (in Installed) same(other Installed) bool {
	return slices.EqualFunc(in.Files, other.Files, func(a, b File) bool { return a.Name == b.Name && a.Digest == b.Digest })
}
