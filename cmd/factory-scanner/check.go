package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/imagefactory/imagefactory/factory"

	"github.com/aquasecurity/trivy-db/pkg/db"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Buckets of a database that hold no advisories.
const (
	vulnerabilities = "vulnerability"
	dataSources     = "data-source"
	redHatCPEs      = "Red Hat CPE"
	own             = "image factory" // made by Build: what Trivy's own form has no place for
)

// Keys of the bucket own. Values are JSON, as everywhere.
const (
	ownKind  = "kind"  // factory.DatabaseKind
	ownCount = "count" // advisories
	ownKnown = "known" // packages by part
)

// check reads all of the database in dir.
func check(dir string) (*factory.Database, error) {
	w := walker{}
	info, err := look(dir, func(b *bolt.DB) error {
		return b.View(func(tx *bolt.Tx) error {
			w.room = tx.Size() / 16 // no entry is smaller
			return tx.ForEach(func(name []byte, bucket *bolt.Bucket) error {
				holds := !slices.Contains([]string{vulnerabilities, dataSources, redHatCPEs, own}, string(name))
				return w.walk(bucket, holds, 1)
			})
		})
	})
	if err != nil {
		return nil, err
	}
	info.Advisories = w.advisories
	return info, nil
}

// maxDepth is how deep buckets may lie in one another; Trivy's lie two deep, Red Hat's three.
const maxDepth = 6

type walker struct {
	room       int64 // how many entries there can still be
	advisories int
}

func (w *walker) walk(b *bolt.Bucket, advisories bool, depth int) error {
	if depth > maxDepth {
		return damagedProblem(fmt.Errorf("buckets lie more than %d deep", maxDepth))
	}
	return b.ForEach(func(k, v []byte) error {
		if w.room--; w.room < 0 {
			return damagedProblem(errors.New("it has more entries than its file has room for"))
		}
		if v == nil {
			return w.walk(b.Bucket(k), advisories, depth+1)
		}
		if len(k) == 0 || !json.Valid(v) {
			return damagedProblem(fmt.Errorf("the entry %.40q is not what it was", k))
		}
		if advisories {
			w.advisories++
		}
		return nil
	})
}

// look opens the database in dir beside the one in use, if any, has f look at it, and describes it.
func look(dir string, f func(*bolt.DB) error) (*factory.Database, error) {
	file, err := openFile(dir)
	if err != nil {
		return nil, err
	}
	info, err := guarded(nil, func() (*factory.Database, error) {
		b, err := bolt.Open(db.Path(dir), 0, readOnly(file))
		if errors.Is(err, bolterrors.ErrTimeout) {
			return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "somebody is writing the vulnerability database in " + dir}
		}
		if err != nil {
			return nil, damagedProblem(err)
		}
		d, err := describe(dir, b, file)
		if err == nil {
			err = f(b)
		}
		return &d.info, errors.Join(err, b.Close())
	})
	if fault, ok := errors.AsType[*fault](err); ok {
		_ = file.Close() // bbolt's own way to close it may wait for ever
		return nil, damagedProblem(fault)
	}
	return info, err
}

// described is what a database says of itself.
type described struct {
	info  factory.Database
	size  int64 // that its file must have
	known known
}

func describe(dir string, b *bolt.DB, file *os.File) (d described, err error) {
	m, err := readMetadata(dir)
	if err != nil {
		return d, err
	}
	stat, err := file.Stat()
	if err != nil {
		return d, err
	}
	have := stat.Size()
	d.info = factory.Database{Kind: factory.TrivyDatabase, Schema: m.Version, Updated: m.UpdatedAt.UTC()}
	err = b.View(func(tx *bolt.Tx) error {
		if d.size = tx.Size(); d.size > have {
			return damagedProblem(fmt.Errorf("its file has %d bytes of %d", have, d.size))
		}
		if tx.Bucket([]byte(vulnerabilities)) == nil {
			return damagedProblem(errors.New("it knows no vulnerabilities"))
		}
		mark := tx.Bucket([]byte(own))
		if mark == nil {
			return nil
		}
		err := errors.Join(json.Unmarshal(mark.Get([]byte(ownKind)), &d.info.Kind), json.Unmarshal(mark.Get([]byte(ownCount)), &d.info.Advisories))
		if err == nil && d.info.Kind == factory.ArchiveDatabase {
			d.known, err = readKnown(mark.Get([]byte(ownKnown)))
		}
		return damagedUnless(err)
	})
	return d, err
}

func damagedUnless(err error) error {
	if err == nil {
		return nil
	}
	return damagedProblem(err)
}
