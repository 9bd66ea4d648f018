package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
	"github.com/imagefactory/imagefactory/factory/store/storetest"
)

// schema1 makes a database as the first factory left it, with rows that it wrote itself: storetest.Release("debian-12", 1), another a
// day later, a bare one, and a run. It returns how to change it by hand.
func schema1(t *testing.T, url string) (execute func(statement string, args ...any)) {
	t.Helper()
	driver, dialect, folder := "sqlite", goose.DialectSQLite3, "migrations/sqlite"
	mark := func(int) string { return "?" }
	if strings.HasPrefix(url, "postgres:") {
		driver, dialect, folder = "pgx", goose.DialectPostgres, "migrations/postgres"
		mark = func(n int) string { return fmt.Sprintf("$%d", n) }
	}
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	p, err := goose.NewProvider(dialect, db, os.DirFS(folder), goose.WithTableName("factory_version"), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/schema1.json")
	if err != nil {
		t.Fatal(err)
	}
	var tables []struct {
		Name string
		Rows []map[string]any
	}
	if err := json.Unmarshal(text, &tables); err != nil {
		t.Fatal(err)
	}
	execute = func(statement string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(context.WithoutCancel(t.Context()), statement, args...); err != nil {
			t.Fatal(statement, err)
		}
	}
	for _, table := range tables {
		for _, row := range table.Rows {
			var columns, marks []string
			var values []any
			for column, value := range row {
				if column == "gzip" {
					value, _ = hex.DecodeString(value.(string))
				}
				values = append(values, value)
				columns, marks = append(columns, column), append(marks, mark(len(values)))
			}
			execute("INSERT INTO "+table.Name+" ("+strings.Join(columns, ", ")+") VALUES ("+strings.Join(marks, ", ")+")", values...)
		}
	}
	return execute
}

// old is a release as the first factory knew releases.
func old(n int) factory.Release {
	r := storetest.Release("debian-12", n)
	r.Compliance, r.Scan, r.Decision, r.Documents = factory.Compliance{}, factory.Scan{}, factory.Decision{}, nil
	return r
}

func TestMigrateFromTheFirstSchema(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		schema1(t, url)
		for range 2 { // once is enough
			remains(t, open(t, url))
		}
		s, ctx := open(t, url), t.Context()
		for _, n := range []int{1, 2} { // their content's digest is the one of old
			if got, err := s.AddRelease(ctx, old(n)); err != nil || got.ID != old(n).ID {
				t.Errorf("the same again: %s, %v", got.ID, err)
			}
		}
		if err := storetest.Add(ctx, s, storetest.Release("debian-12", 1)); err == nil {
			t.Error("an old release got a scan")
		}
		if err := storetest.Add(ctx, s, storetest.Release("debian-12", 3)); err != nil {
			t.Error(err)
		}
		if _, err := s.SaveScan(ctx, old(1).ID, storetest.Scan(4, storetest.Finding("CVE-1", "bash", ""))); err != nil {
			t.Error(err)
		}
		if found, err := s.Findings(ctx, store.FindingQuery{Release: old(1).ID}); err != nil || len(found) != 1 {
			t.Errorf("found %+v, %v", found, err)
		}
	})
}

// remains checks that everything of the first schema is there, and in the new tables.
func remains(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	for _, n := range []int{1, 2} {
		want := old(n)
		for _, ref := range []string{want.ID, want.Tagged(), want.Ref()} {
			if got, err := s.Release(ctx, ref); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v: %+v", ref, err, got)
			}
		}
	}
	if scan, err := s.LatestScan(ctx, old(1).ID); err != nil || scan != nil {
		t.Errorf("scan %+v, %v", scan, err)
	}
	whole, err := s.Releases(ctx, store.Query{Whole: true, Env: factory.Prod})
	if err != nil || len(whole) != 3 {
		t.Errorf("%d releases, %v", len(whole), err)
	}
	entries, err := s.Ledger(ctx, store.LedgerQuery{})
	var lines []string
	for _, e := range entries {
		lines = append(lines, fmt.Sprint(e.Release, e.Image, e.Repository, e.Digest == old(1).Digest, e.Env, e.Tag, e.At, e.By, e.Run, e.Reason, e.Decision.Pass))
	}
	line := func(r factory.Release) string {
		return fmt.Sprint(r.ID, r.Image, r.Repository, r.Digest == old(1).Digest, r.Tag.Env, r.Tag, r.Created, r.Run, r.Run, r.Reason, false)
	}
	bare := factory.Release{ID: "r0", Image: "x", Repository: "x", Tag: old(1).Tag, Created: old(1).Created}
	if want := []string{line(old(2)), line(old(1)), line(bare)}; err != nil || !slices.Equal(lines, want) {
		t.Errorf("ledger %v:\n%q\nwant\n%q", err, lines, want)
	}
	holding, err := s.Holding(ctx, "bash")
	if err != nil || len(holding) != 2 || holding[0].Release != old(2).ID || holding[0].Version != "5.2.15-2+b7" || holding[0].SourceVersion != "5.2.15-2+b7" || holding[0].Source != "bash" {
		t.Errorf("holding %+v, %v", holding, err)
	}
	if run, err := s.Run(ctx, "run-1"); err != nil || len(run.Jobs) != 1 || run.Verdict != "done" || run.Env != "" {
		t.Errorf("run %+v, %v", run, err)
	}
}

// A scan from before anybody noted what it had not looked at is read as one that looked at everything, and is the last one until
// there is another.
func TestScansOfTheSecondSchema(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		s := open(t, url)
		r := storetest.Release("debian-12", 1)
		if err := storetest.Add(t.Context(), s, r); err != nil {
			t.Fatal(err)
		}
		s.Close()
		driver := "sqlite"
		if strings.HasPrefix(url, "postgres:") {
			driver = "pgx"
		}
		execute(t, driver, url, "ALTER TABLE scans DROP COLUMN not_looked_at")
		execute(t, driver, url, "ALTER TABLE leases DROP COLUMN wanted")
		execute(t, driver, url, "ALTER TABLE leases DROP COLUMN wanted_until")
		execute(t, driver, url, "ALTER TABLE runs DROP COLUMN env")
		execute(t, driver, url, "ALTER TABLE releases DROP COLUMN parent")
		execute(t, driver, url, "ALTER TABLE releases DROP COLUMN cause")
		execute(t, driver, url, "ALTER TABLE releases DROP COLUMN rebased")
		execute(t, driver, url, "ALTER TABLE jobs DROP COLUMN basis")
		for _, table := range []string{"triggers", "observed", "looks"} {
			execute(t, driver, url, "DROP TABLE "+table)
		}
		execute(t, driver, url, "DELETE FROM factory_version WHERE version_id >= 3")
		s = open(t, url)
		last, err := s.LatestScan(t.Context(), r.ID)
		if err != nil || last.NotLookedAt != nil || len(last.Findings) != 1 || last.Packages != 96 {
			t.Errorf("%+v, %v", last, err)
		}
		if _, err := s.SaveScan(t.Context(), r.ID, storetest.Scan(2)); err != nil {
			t.Error(err)
		}
		if open, err := s.Findings(t.Context(), store.FindingQuery{Open: true}); err != nil || len(open) != 0 {
			t.Errorf("%+v, %v", open, err)
		}
	})
}

// A migration that does not succeed leaves the database of the old factory, which a later one migrates.
func TestMigrationIsWhole(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		execute := schema1(t, url)
		execute("CREATE TABLE scans (name TEXT)") // in the way, half-way through
		if s, err := store.Open(t.Context(), url, store.Options{Now: time.Now}); err == nil {
			s.Close()
			t.Fatal("migrated over a foreign table")
		}
		execute("SELECT gzip FROM inputs") // as it was
		execute("DROP TABLE scans")
		remains(t, open(t, url))
	})
}

// The ledger is only added to, also by who writes SQL.
func TestLedgerStays(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		s := open(t, url)
		if err := storetest.Add(t.Context(), s, storetest.Release("debian-12", 1)); err != nil {
			t.Fatal(err)
		}
		driver := "sqlite"
		if strings.HasPrefix(url, "postgres:") {
			driver = "pgx"
		}
		db, err := sql.Open(driver, url)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, statement := range []string{"UPDATE ledger SET env = 'prod'", "DELETE FROM ledger"} {
			if _, err := db.Exec(statement); err == nil || !strings.Contains(err.Error(), "only added to") {
				t.Errorf("%s: %v", statement, err)
			}
		}
	})
}

// Documents that releases share are there once.
func TestDocumentsAreShared(t *testing.T) {
	path := t.TempDir() + "/factory.db"
	s := open(t, path)
	data := bytes.Repeat([]byte("<rule/>"), 10_000)
	for n := range 3 {
		r := storetest.Release("debian-12", n)
		r.Inputs, r.Documents = data, []factory.Document{factory.NewDocument(factory.ARF, "x", factory.Platform{}, "", data), factory.NewDocument(factory.ARF, "y", factory.Platform{}, "", data)}
		if err := storetest.Add(t.Context(), s, r); err != nil {
			t.Fatal(err)
		}
	}
	again := storetest.Release("debian-12", 0)
	again.ID, again.Documents[0] = "r-again", factory.NewDocument(factory.ARF, "x", factory.Platform{}, "", []byte("of another run"))
	if _, err := s.AddRelease(t.Context(), again); err != nil { // recorded before
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n, size int
	if err := db.QueryRow("SELECT count(*), sum(length(gzip)) FROM blobs").Scan(&n, &size); err != nil || n != 1 || size > len(data)/50 {
		t.Errorf("%d blobs of %d bytes, %v", n, size, err)
	}
}
