package main

import (
	"encoding/json"
	"errors"
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

// build writes a database of the archives' own advisories into dir. It is as old as the oldest of the lists: a part that is fresh
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
	return &factory.Database{Kind: factory.ArchiveDatabase, Schema: db.SchemaVersion, Updated: c.updated, Advisories: c.count()}, nil
}

func diskProblem(err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return &factory.Problem{Kind: factory.ErrUnavailable, What: "the disk does not take the database", Cause: err}
	}
	return err
}

// write fills the database, such that the same contents give the same bytes: bbolt writes the buckets of one transaction in any
// order, so each has its own.
func (c contents) write(b *bolt.DB) error {
	mark := map[string]any{ownKind: factory.ArchiveDatabase, ownCount: c.count(), ownKnown: c.known}
	transactions := []func(*bolt.Tx) error{func(tx *bolt.Tx) error { return putAll(tx, own, mark) }}
	sources := map[string]any{}
	for _, title := range slices.Sorted(maps.Keys(c.parts)) {
		p := c.parts[title]
		sources[p.bucket] = p.source()
		transactions = append(transactions, func(tx *bolt.Tx) error { return putAll(tx, p.bucket, nil) })
	}
	transactions = append(transactions, c.products()...)
	for list := range chunks(c.rows, row.beside) {
		transactions = append(transactions, func(tx *bolt.Tx) error { return putAdvisories(tx, list) })
	}
	transactions = append(transactions,
		func(tx *bolt.Tx) error { return putAll(tx, dataSources, sources) },
		func(tx *bolt.Tx) error { return putAll(tx, vulnerabilities, c.details()) })
	for _, t := range transactions {
		if err := b.Update(t); err != nil {
			return err
		}
	}
	return nil
}

// source says where the advisories of the part's bucket come from.
func (p part) source() dbtypes.DataSource {
	if p.rpm {
		return dbtypes.DataSource{ID: "updateinfo", Name: "updateinfo of the archive's repositories, " + p.bucket}
	}
	return dbtypes.DataSource{ID: "changelogs", Name: "changelogs of the archive's packages, " + p.bucket}
}

// details are what is to be said of each vulnerability, whatever has it. A changelog says that better than the title of an advisory,
// which may be about many.
func (c contents) details() map[string]any {
	details := map[string]any{}
	for _, rpm := range []bool{false, true} {
		for _, r := range c.rows {
			if old, ok := details[r.Vulnerability].(dbtypes.Vulnerability); r.rpm == rpm && (!ok || old.Title == "") {
				details[r.Vulnerability] = dbtypes.Vulnerability{Title: strings.ToValidUTF8(r.Title, "?")}
			}
		}
	}
	return details
}

// beside reports whether rows are of the same package.
func (r row) beside(s row) bool { return r.bucket == s.bucket && r.name == s.name }

// putAdvisories writes the advisories of one package.
func putAdvisories(tx *bolt.Tx, list []row) error {
	if list[0].bucket == redHat {
		return putRedHat(tx, list)
	}
	var errs []error
	for _, r := range list {
		a := &dbtypes.Advisory{FixedVersion: r.Fixed, Severity: severities[r.Severity], Custom: fixedOn{r.Date.UTC()}}
		if r.ID != "" {
			a.VendorIDs = []string{r.ID}
		}
		errs = append(errs, db.Config{}.PutAdvisory(tx, []string{r.bucket, r.name}, r.Vulnerability, a))
	}
	return errors.Join(errs...)
}

// severities are Trivy's, in the factory's words.
var severities = map[factory.Severity]dbtypes.Severity{
	factory.Low: dbtypes.SeverityLow, factory.Moderate: dbtypes.SeverityMedium, factory.High: dbtypes.SeverityHigh, factory.Critical: dbtypes.SeverityCritical,
}

// chunks yields what belongs together of what is sorted, at a time.
func chunks[T any](all []T, together func(a, b T) bool) func(yield func([]T) bool) {
	return func(yield func([]T) bool) {
		for len(all) > 0 {
			n := slices.IndexFunc(all, func(v T) bool { return !together(all[0], v) })
			if n < 0 {
				n = len(all)
			}
			if !yield(all[:n]) {
				return
			}
			all = all[n:]
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
