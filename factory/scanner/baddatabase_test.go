package scanner

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// Each way in which a database can be bad ends with its name and with what to do.
func TestBadDatabase(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"truncated": func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, databaseFile), 100)) },
		"empty":     func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, databaseFile), 0)) },
		"garbage": func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, metadataFile), []byte("\xff\x00"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t)
			good := []factory.Document{sbom(fakePackage{"zlib", "1"})}
			dir := testDatabase(t)
			spoil(t, dir)
			bad := func(what string, err error) {
				if !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "factory db update") {
					t.Errorf("%s: %v", what, err)
				}
			}
			_, err := c.Check(t.Context(), dir)
			bad("check", err)
			_, err = c.Open(t.Context(), dir, factory.Database{})
			if err != nil {
				bad("open", err)
				if s, err := c.Match(t.Context(), good); err != nil || len(s.Findings) != 1 {
					t.Errorf("the one before is not in use: %s, %v", keys(s), err)
				}
				return
			}
			_, err = c.Match(t.Context(), good)
			bad("match", err)
		})
	}
}

// The database shrinks under a scanner that has it mapped: SIGBUS.
func TestDatabaseTruncatedWhileOpen(t *testing.T) {
	t.Parallel()
	c := closing(t, &Client{Program: program(t, "")})
	var seen watched
	c.Events = seen.add
	dir := testDatabase(t)
	_, err := c.Open(t.Context(), dir, factory.Database{})
	must(t, err)
	good := []factory.Document{sbom(fakePackage{"zlib", "1"})}
	_, err = c.Match(t.Context(), good)
	must(t, err)
	must(t, os.Truncate(filepath.Join(dir, databaseFile), 100))
	for range 2 {
		_, err = c.Match(t.Context(), good)
		if !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "SIGBUS") || !strings.Contains(err.Error(), "factory db build") {
			t.Error(err)
		}
	}
	if w := seen.text(factory.Warned); !strings.Contains(w, "unexpected fault address") {
		t.Errorf("warnings %q", w)
	}
	_, err = c.Open(t.Context(), testDatabase(t), factory.Database{})
	must(t, err)
	if s, err := c.Match(t.Context(), good); err != nil || len(s.Findings) != 1 {
		t.Errorf("with a good one: %s, %v", keys(s), err)
	}
}

// The database goes while the scanner is down: the next request opens it again, and says so.
func TestDatabaseGoneWhenOpenedAgain(t *testing.T) {
	t.Parallel()
	c := closing(t, &Client{Program: program(t, "")})
	dir := testDatabase(t)
	_, err := c.Open(t.Context(), dir, factory.Database{})
	must(t, err)
	must(t, os.Remove(filepath.Join(dir, databaseFile)))
	_, err = c.Match(t.Context(), []factory.Document{sbom(fakePackage{"!once", "!kill"})})
	if !errors.Is(err, factory.ErrNotFound) || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
	dies := closing(t, &Client{Program: program(t, "dies of open")})
	if _, err := dies.Open(t.Context(), dir, factory.Database{}); !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), "ended: exit 4") {
		t.Errorf("dies of open: %v", err)
	}
}

// A request that makes the scanner distrust a good database fails alone, and spoils nothing for others.
func TestGoodDatabaseThatIsDistrusted(t *testing.T) {
	t.Parallel()
	c := client(t)
	good := []factory.Document{sbom(fakePackage{"zlib", "1"})}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if s, err := c.Match(t.Context(), good); err != nil || len(s.Findings) != 1 {
				t.Errorf("a neighbour: %s, %v", keys(s), err)
			}
		})
	}
	if _, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{Name: "!poison"})}); !errors.Is(err, factory.ErrUnverified) {
		t.Errorf("%v", err)
	}
	wg.Wait()
	if s, err := c.Match(t.Context(), good); err != nil || len(s.Findings) != 1 {
		t.Errorf("afterwards: %s, %v", keys(s), err)
	}
}

func TestDatabaseOfAnotherSchema(t *testing.T) {
	t.Parallel()
	c := client(t)
	dir := testDatabase(t)
	must(t, os.WriteFile(filepath.Join(dir, metadataFile), []byte("{}"), 0o600))
	if _, err := c.Check(t.Context(), dir); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "schema 1, and this scanner reads 2 (use another)") {
		t.Error(err)
	}
}
