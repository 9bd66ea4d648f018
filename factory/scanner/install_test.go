package scanner

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// reading is a check that believes the fake's databases, in this process.
func reading(_ context.Context, dir string) (factory.Database, error) {
	_, answer := load(dir)
	if answer.Error != nil {
		return factory.Database{}, databaseFault(dir, answer.Error)
	}
	return *answer.Database, nil
}

// source is a folder with a database that knows one thing.
func source(t *testing.T, id string) string {
	t.Helper()
	dir := t.TempDir()
	writeDatabase(dir, factory.TrivyDatabase, today, []fakeAdvisory{{"zlib", id, "1.3", "Low"}})
	return dir
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestInstall(t *testing.T) {
	t.Parallel()
	d := Databases{Dir: filepath.Join(t.TempDir(), "db"), Now: func() time.Time { return today }}
	if _, _, err := d.Current(t.Context()); !errors.Is(err, factory.ErrNotFound) || !strings.Contains(err.Error(), "factory db update") {
		t.Errorf("none: %v", err)
	}
	if err := d.Verify(t.Context()); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("none: %v", err)
	}
	if all, err := d.Status(); err != nil || len(all) != 0 {
		t.Errorf("none: %v, %v", all, err)
	}
	var digests []factory.Digest
	for i, id := range []string{"CVE-1", "CVE-2", "CVE-3"} {
		from := source(t, id)
		var db factory.Database
		var err error
		if i%2 == 0 {
			db, err = d.InstallArchive(t.Context(), factory.TrivyDatabase, "registry.example.com/db:2", bytes.NewReader(packed(t, from)), reading)
		} else {
			db, err = d.InstallDir(t.Context(), factory.TrivyDatabase, from, from, reading)
		}
		must(t, err)
		b, err := os.ReadFile(filepath.Join(from, databaseFile))
		must(t, err)
		if db.Digest != factory.DigestOf(b) || db.Kind != factory.TrivyDatabase || !db.Updated.Equal(today) || db.Origin == "" {
			t.Errorf("installed %+v", db)
		}
		digests = append(digests, db.Digest)
		current, dir, err := d.Current(t.Context())
		if err != nil || current != db || filepath.Base(dir) != db.Digest.Hex() {
			t.Errorf("%+v in %s, %v", current, dir, err)
		}
		must(t, d.Verify(t.Context()))
	}
	all, err := d.Status()
	if err != nil || len(all) != 2 || all[0].Digest != digests[2] || all[1].Digest != digests[1] || !all[0].At.Equal(today) || all[0].Size == 0 || len(all[0].Files) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	want := []string{".lock", digests[1].Hex(), digests[2].Hex(), "current"}
	slices.Sort(want)
	if got := names(t, d.Dir); !slices.Equal(got, want) {
		t.Errorf("on disk: %v", got)
	}
}

// The same database again changes nothing; a copy that rotted is replaced by a good one; and one can go back.
func TestInstallAgain(t *testing.T) {
	t.Parallel()
	d := Databases{Dir: t.TempDir()}
	one, two := source(t, "CVE-1"), source(t, "CVE-2")
	install := func(from string) factory.Database {
		t.Helper()
		db, err := d.InstallDir(t.Context(), factory.TrivyDatabase, from, from, reading)
		must(t, err)
		return db
	}
	first := install(one)
	before := names(t, d.Dir)
	if again := install(one); again != first || !slices.Equal(names(t, d.Dir), before) {
		t.Errorf("again: %+v, %v", again, names(t, d.Dir))
	}
	install(two)
	install(one)
	if db, _, err := d.Current(t.Context()); err != nil || db.Digest != first.Digest {
		t.Errorf("back: %+v, %v", db, err)
	}
	_, dir, err := d.Current(t.Context())
	must(t, err)
	flip(t, filepath.Join(dir, databaseFile))
	install(one)
	db, dir, err := d.Current(t.Context())
	if err != nil || db.Digest != first.Digest || filepath.Base(dir) != first.Digest.Hex()+"-1" {
		t.Errorf("mended: %+v in %s, %v", db, dir, err)
	}
	// Other files beside the same one are another database.
	must(t, os.WriteFile(filepath.Join(one, "more.json"), []byte("{}"), 0o600))
	install(one)
	if _, dir, err := d.Current(t.Context()); err != nil || len(names(t, dir)) != 4 {
		t.Errorf("with more files: %v, %v", names(t, dir), err)
	}
	_, dir, err = d.Current(t.Context())
	must(t, err)
	if again := install(dir); again.Digest != first.Digest { // its record is not part of it
		t.Errorf("from an installation: %+v", again)
	}
}

func TestInstallOneAtATime(t *testing.T) {
	t.Parallel()
	d := Databases{Dir: t.TempDir()}
	from := source(t, "CVE-1")
	_, err := d.InstallDir(t.Context(), factory.TrivyDatabase, "test", from, func(ctx context.Context, dir string) (factory.Database, error) {
		if _, err := d.InstallDir(ctx, factory.TrivyDatabase, "test", from, reading); !errors.Is(err, factory.ErrBusy) {
			t.Errorf("meanwhile: %v", err)
		}
		return reading(ctx, dir)
	})
	must(t, err)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := (Databases{Dir: file}).InstallDir(t.Context(), factory.TrivyDatabase, "test", from, reading); err == nil {
		t.Error("installed into a file")
	}
}

// A scanner's own check, in its own process, of what is being installed; then the scanner uses it.
func TestInstallChecksWithTheScanner(t *testing.T) {
	t.Parallel()
	d := Databases{Dir: t.TempDir()}
	c := closing(t, &Client{Program: program(t, "")})
	bad := source(t, "CVE-1")
	must(t, os.Truncate(filepath.Join(bad, databaseFile), 50))
	if _, err := d.InstallDir(t.Context(), factory.TrivyDatabase, "registry.example.com/db:2", bad, c.Check); !errors.Is(err, factory.ErrUnverified) ||
		!strings.Contains(err.Error(), "registry.example.com/db:2") || !strings.Contains(err.Error(), "SIGBUS") {
		t.Error(err)
	}
	good := source(t, "CVE-1")
	_, err := d.InstallDir(t.Context(), factory.TrivyDatabase, "registry.example.com/db:2", good, c.Check)
	must(t, err)
	db, dir, err := d.Current(t.Context())
	must(t, err)
	opened, err := c.Open(t.Context(), dir, db)
	if err != nil || opened != db {
		t.Errorf("%+v, %v, want %+v", opened, err, db)
	}
	if s, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{"zlib", "1"})}); err != nil || s.Database != db || len(s.Findings) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}
