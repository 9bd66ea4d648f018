package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	bolt "go.etcd.io/bbolt"
)

// update is what to do about a database that is no good.
const update = "factory db update"

// database is the vulnerability data that is matched against. Trivy knows one for the whole process. The zero value has none.
type database struct {
	mu   sync.RWMutex // held for reading while matching
	open *opened      // nil = none
}

// opened is a database file that is mapped into memory.
type opened struct {
	described
	file *os.File

	once    sync.Once
	damaged chan struct{} // closed when reading it has failed: no lock inside bbolt can be trusted to be free
}

func (o *opened) damage() { o.once.Do(func() { close(o.damaged) }) }

// whole is ErrUnverified when the file became shorter since, or was seen to be damaged. Memory that is mapped to what is no
// longer there kills whoever reads it.
func (o *opened) whole() error {
	select {
	case <-o.damaged:
		return damagedProblem(nil)
	default:
	}
	if info, err := o.file.Stat(); err != nil || info.Size() < o.size {
		o.damage()
		return damagedProblem(errors.Join(err, errors.New("its file has been cut short")))
	}
	return nil
}

func damagedProblem(cause error) error {
	return &factory.Problem{Kind: factory.ErrUnverified, What: "the vulnerability database is damaged", Hint: update, Cause: cause}
}

// use makes the database in dir the one that is matched against, once all matches with the old one are done. When dir has no
// good one, the old one stays in use.
func (d *database) use(dir string) (*factory.Database, error) {
	if _, err := look(dir, func(*bolt.DB) error { return nil }); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
	o, err := guarded(nil, func() (*opened, error) { return initialize(dir) })
	if err != nil {
		return nil, err
	}
	d.open = o
	return &o.info, nil
}

// initialize makes Trivy open the database in dir. Trivy deletes a database that it cannot read: it is told of a folder that does
// not exist, and gets the file from here.
func initialize(dir string) (*opened, error) {
	file, err := openFile(dir)
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "db-")
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	defer os.RemoveAll(scratch)
	if err := db.Init(scratch, db.WithBoltOptions(readOnly(file))); err != nil {
		return nil, errors.Join(damagedProblem(err), file.Close())
	}
	d, err := describe(dir, db.Config{}.Connection(), file)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &opened{described: d, file: file, damaged: make(chan struct{})}, nil
}

// drop closes what is open. A damaged database is never closed, only its file: bbolt would wait for locks that nobody gives back.
func (d *database) drop() {
	o := d.open
	d.open = nil
	if o == nil {
		return
	}
	if o.whole() != nil {
		_ = o.file.Close()
		return
	}
	_ = db.Close()
}

func (d *database) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
}

// reading runs f, which reads the open database and is told what that is.
func reading[T any](d *database, f func(described) (T, error)) (v T, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	o := d.open
	if o == nil {
		return v, noDatabase()
	}
	if err := o.whole(); err != nil {
		return v, err
	}
	v, err = guarded(o.damaged, func() (T, error) { return f(o.described) })
	if _, ok := errors.AsType[*fault](err); ok {
		o.damage()
		err = damagedProblem(err)
	}
	return v, err
}

func (d *database) ready() error {
	_, err := reading(d, func(described) (struct{}, error) { return struct{}{}, nil })
	return err
}

func noDatabase() error {
	return &factory.Problem{Kind: factory.ErrUnavailable, What: "no vulnerability database is open", Hint: update}
}

// readOnly makes bbolt open file and nothing else, and never write.
func readOnly(file *os.File) *bolt.Options {
	return &bolt.Options{
		ReadOnly: true, Timeout: time.Second, NoStatistics: true,
		OpenFile: func(string, int, fs.FileMode) (*os.File, error) { return file, nil },
	}
}

func openFile(dir string) (*os.File, error) {
	file, err := os.Open(db.Path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &factory.Problem{Kind: factory.ErrNotFound, What: "there is no vulnerability database in " + dir, Hint: update}
	}
	return file, err
}

// readMetadata reads and judges a database's metadata.json.
func readMetadata(dir string) (m metadata.Metadata, err error) {
	b, err := os.ReadFile(metadata.Path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return m, &factory.Problem{Kind: factory.ErrNotFound, What: "there is no vulnerability database with its metadata in " + dir, Hint: update}
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, &factory.Problem{Kind: factory.ErrUnverified, What: filepath.Base(metadata.Path(dir)) + " of the vulnerability database is damaged", Hint: update, Cause: err}
	}
	if m.Version != db.SchemaVersion {
		return m, &factory.Problem{
			Kind: factory.ErrInvalid, What: fmt.Sprintf("the vulnerability database has schema %d, and this scanner reads %d", m.Version, db.SchemaVersion),
			Hint: "use a database of that schema: " + update,
		}
	}
	if m.UpdatedAt.IsZero() {
		return m, &factory.Problem{Kind: factory.ErrUnverified, What: "the vulnerability database does not say how old it is", Hint: update}
	}
	return m, nil
}
