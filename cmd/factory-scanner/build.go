package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	bolt "go.etcd.io/bbolt"
)

// fixedOn is how an advisory remembers when its fix was published, in the field that Trivy leaves to others and hands on with
// what it finds.
type fixedOn struct {
	Date time.Time `json:"fixedOn,omitzero"`
}

// build writes a database of advisories read from changelogs into dir. It is as old as the oldest of the lists: a part that is fresh
// says nothing about the others.
func build(dir string, lists []factory.Advisories) (*factory.Database, error) {
	c, err := arrange(lists)
	if err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "a database is made in an empty folder", Cause: err}
	}
	b, err := bolt.Open(db.Path(dir), 0o644, &bolt.Options{NoSync: true, FreelistType: bolt.FreelistArrayType, Timeout: time.Second})
	if err != nil {
		return nil, diskProblem(err)
	}
	if err := errors.Join(c.write(b), b.Sync(), b.Close()); err != nil {
		return nil, diskProblem(err)
	}
	meta := metadata.Metadata{Version: db.SchemaVersion, UpdatedAt: c.updated, NextUpdate: c.updated.AddDate(0, 0, 1), DownloadedAt: c.updated}
	text, err := json.Marshal(meta)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(metadata.Path(dir), append(text, '\n'), 0o644); err != nil {
		return nil, diskProblem(err)
	}
	return &factory.Database{Kind: factory.ArchiveDatabase, Schema: db.SchemaVersion, Updated: c.updated, Advisories: len(c.rows)}, nil
}

func diskProblem(err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return &factory.Problem{Kind: factory.ErrUnavailable, What: "the disk does not take the database", Cause: err}
	}
	return err
}

// row is an advisory in its bucket.
type row struct {
	bucket string
	factory.Advisory
}

// contents are what is in a database.
type contents struct {
	rows    []row               // sorted
	known   map[string][]string // source packages of each bucket that there is, sorted; also of one without advisories
	updated time.Time
}

// arrange sorts advisories and keeps one for each bucket, package and vulnerability: the oldest, as the first mention is the fix.
func arrange(lists []factory.Advisories) (c contents, err error) {
	c.known = map[string][]string{}
	for _, l := range lists {
		bucket, err := buildBucket(l.Distro)
		if err != nil {
			return c, err
		}
		if l.Updated.IsZero() {
			return c, &factory.Problem{Kind: factory.ErrInvalid, What: bucket + ": the advisories do not say when they were read"}
		}
		if c.updated.IsZero() || l.Updated.Before(c.updated) {
			c.updated = l.Updated.UTC()
		}
		c.known[bucket] = slices.Compact(slices.Sorted(slices.Values(append(c.known[bucket], l.Known...))))
		for _, a := range l.List {
			if a.Source == "" || a.Vulnerability == "" || a.Fixed == "" || len(a.Source)+len(a.Vulnerability) > 1000 {
				return c, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s: advisory %.80q of %.80q in version %.80q is incomplete", bucket, a.Vulnerability, a.Source, a.Fixed)}
			}
			c.rows = append(c.rows, row{bucket, a})
		}
	}
	if len(lists) == 0 {
		return c, &factory.Problem{Kind: factory.ErrInvalid, What: "no advisories of any distribution to make a database of"}
	}
	same := func(a, b row) int {
		return cmp.Or(cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Vulnerability, b.Vulnerability))
	}
	slices.SortFunc(c.rows, func(a, b row) int {
		return cmp.Or(same(a, b), a.Date.Compare(b.Date), cmp.Compare(a.Fixed, b.Fixed), cmp.Compare(a.Title, b.Title))
	})
	c.rows = slices.CompactFunc(c.rows, func(a, b row) bool { return same(a, b) == 0 })
	return c, nil
}

// write fills the database, such that the same contents give the same bytes: bbolt writes the buckets of one transaction in any
// order, so each has its own.
func (c contents) write(b *bolt.DB) error {
	mark := map[string]any{ownKind: factory.ArchiveDatabase, ownCount: len(c.rows), ownKnown: c.known}
	transactions := []func(*bolt.Tx) error{func(tx *bolt.Tx) error { return putAll(tx, own, mark) }}
	sources := map[string]any{}
	for _, bucket := range slices.Sorted(maps.Keys(c.known)) {
		sources[bucket] = dbtypes.DataSource{ID: "changelogs", Name: "changelogs of the archive's packages, " + bucket}
		transactions = append(transactions, func(tx *bolt.Tx) error { return putAll(tx, bucket, nil) })
	}
	details := map[string]any{}
	for list := range chunks(c.rows) {
		for _, r := range list {
			if old, ok := details[r.Vulnerability].(dbtypes.Vulnerability); !ok || old.Title == "" {
				details[r.Vulnerability] = dbtypes.Vulnerability{Title: strings.ToValidUTF8(r.Title, "?")}
			}
		}
		transactions = append(transactions, func(tx *bolt.Tx) error { return putAdvisories(tx, list) })
	}
	transactions = append(transactions,
		func(tx *bolt.Tx) error { return putAll(tx, dataSources, sources) },
		func(tx *bolt.Tx) error { return putAll(tx, vulnerabilities, details) })
	for _, t := range transactions {
		if err := b.Update(t); err != nil {
			return err
		}
	}
	return nil
}

// putAdvisories writes the advisories of one source package.
func putAdvisories(tx *bolt.Tx, list []row) error {
	var errs []error
	for _, r := range list {
		a := &dbtypes.Advisory{FixedVersion: r.Fixed, Custom: fixedOn{r.Date.UTC()}}
		errs = append(errs, db.Config{}.PutAdvisory(tx, []string{r.bucket, r.Source}, r.Vulnerability, a))
	}
	return errors.Join(errs...)
}

// chunks yields the rows of one bucket and package at a time.
func chunks(rows []row) func(yield func([]row) bool) {
	return func(yield func([]row) bool) {
		for len(rows) > 0 {
			n := slices.IndexFunc(rows, func(r row) bool { return r.bucket != rows[0].bucket || r.Source != rows[0].Source })
			if n < 0 {
				n = len(rows)
			}
			if !yield(rows[:n]) {
				return
			}
			rows = rows[n:]
		}
	}
}

func putAll(tx *bolt.Tx, bucket string, values map[string]any) error {
	b, err := tx.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		v, err := json.Marshal(values[key])
		if err != nil {
			return err
		}
		if err := b.Put([]byte(key), v); err != nil {
			return err
		}
	}
	return nil
}
