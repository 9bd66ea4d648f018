package scanner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	databaseFile = "trivy.db"
	metadataFile = "metadata.json"
	recordFile   = "database.json"
	currentFile  = "current"
	unfinished   = ".new-" // prefix of what no Install has finished
)

// folderName is the sha256 of a database's file; a number follows when the same file came with other files beside it.
var folderName = regexp.MustCompile(`^[0-9a-f]{64}(-[0-9]+)?$`)

// Databases are the vulnerability databases installed on this machine: the current one and the one before it. Only Dir is
// required. It is safe for concurrent use by many processes.
//
// Each database is a folder named by the sha256 of its trivy.db, which never changes. The file current names the one in use.
type Databases struct {
	Dir      string
	Now      func() time.Time // for the record of an installation; nil leaves that zero
	Events   factory.Events
	MaxBytes int64 // most that one database may have on disk; 0 = 4 GiB
}

// Installed is a database on this machine, as its record says.
type Installed struct {
	factory.Database
	Dir   string    `json:"-"`
	Size  int64     `json:"size"` // bytes on disk
	At    time.Time `json:"installed"`
	Files []File    `json:"files"` // sorted by name
}

// File is one file of a database.
type File struct {
	Name   string         `json:"name"`
	Size   int64          `json:"size"`
	Digest factory.Digest `json:"digest"`
	// How it looks from outside; while this stays, the content is taken to be the same.
	Inode    uint64    `json:"inode"`
	Modified time.Time `json:"modified"`
}

// pointer is the content of the file current.
type pointer struct {
	Current  string `json:"current"`
	Previous string `json:"previous,omitempty"`
}

// Current returns the database in use and its folder. ErrNotFound when none is installed, ErrUnverified when its files are not
// what was installed. A file is hashed when it looks changed from outside; Verify always hashes.
func (d Databases) Current(ctx context.Context) (factory.Database, string, error) {
	in, err := d.read(false)
	if err != nil {
		return factory.Database{}, "", err
	}
	return in.Database, in.Dir, in.verify(ctx, false)
}

// Verify hashes every file of the database in use. The errors are those of Current.
func (d Databases) Verify(ctx context.Context) error {
	in, err := d.read(false)
	if err != nil {
		return err
	}
	return in.verify(ctx, true)
}

// Status returns what is installed, without looking into it: the database in use, then the one before it. None is no error.
func (d Databases) Status() ([]Installed, error) {
	var all []Installed
	for _, previous := range []bool{false, true} {
		in, err := d.read(previous)
		if errors.Is(err, factory.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, in)
	}
	return all, nil
}

// read returns the record of the current database, or of the previous.
func (d Databases) read(previous bool) (Installed, error) {
	at, err := d.pointer()
	if err != nil {
		return Installed{}, err
	}
	name := at.Current
	if previous {
		name = at.Previous
	}
	if name == "" {
		return Installed{}, &factory.Problem{Kind: factory.ErrNotFound, What: "no vulnerability database is installed in " + d.Dir, Hint: "factory db update, or without a network: factory db build"}
	}
	return readRecord(filepath.Join(d.Dir, name))
}

// pointer reads which databases are in use; none is no error.
func (d Databases) pointer() (pointer, error) {
	b, err := os.ReadFile(filepath.Join(d.Dir, currentFile))
	if errors.Is(err, fs.ErrNotExist) {
		return pointer{}, nil
	}
	if err != nil {
		return pointer{}, err
	}
	var at pointer
	if err := json.Unmarshal(b, &at); err != nil || !folderName.MatchString(at.Current) || at.Previous != "" && !folderName.MatchString(at.Previous) {
		return pointer{}, badDatabase(d.Dir, errors.New("the file current does not name a database"))
	}
	return at, nil
}

// lock keeps others from installing.
func (d Databases) lock() (unlock func(), err error) {
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(d.Dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return func() {
			// Closing is not enough: a program that is being started holds a copy of the file for a moment.
			_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
			f.Close()
		}, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = &factory.Problem{Kind: factory.ErrBusy, What: "another process installs a vulnerability database in " + d.Dir, Hint: "wait for it, then run the same command again"}
	}
	return nil, errors.Join(err, f.Close())
}

// sweep removes what killed installations left, and databases that are neither in use nor the one before.
func (d Databases) sweep() error {
	at, unreadable := d.pointer()
	entries, err := os.ReadDir(d.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		name := e.Name()
		old := folderName.MatchString(name) && name != at.Current && name != at.Previous && unreadable == nil
		if old || strings.HasPrefix(name, unfinished) {
			errs = append(errs, os.RemoveAll(filepath.Join(d.Dir, name)))
		}
	}
	return errors.Join(errs...)
}

// InPlace returns the database in a folder that somebody else keeps, which is read and never written: what check says of it, and
// the digest of its file.
func InPlace(ctx context.Context, dir string, check CheckFunc) (factory.Database, error) {
	if _, err := os.Stat(filepath.Join(dir, databaseFile)); err != nil {
		return factory.Database{}, &factory.Problem{Kind: factory.ErrNotFound, What: "no vulnerability database in " + dir, Hint: fmt.Sprintf("it must hold %s and %s", databaseFile, metadataFile), Cause: err}
	}
	db, err := check(ctx, dir)
	if err != nil {
		return factory.Database{}, err
	}
	db.Digest, err = File{Name: databaseFile}.hash(ctx, dir)
	db.Origin = dir
	return db, err
}
