package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
	"github.com/imagefactory/imagefactory/factory/store/storetest"
)

// refusal opens url and returns the problem that comes of it.
func refusal(t *testing.T, url string, kind error, words ...string) {
	t.Helper()
	refusedWithin(t, time.Minute, url, kind, words...)
}

// impatient is for a database that somebody else has, and keeps. All others are waited for: a busy machine takes its time.
const impatient = 20 * time.Millisecond

func refusedWithin(t *testing.T, wait time.Duration, url string, kind error, words ...string) {
	t.Helper()
	s, err := store.Open(t.Context(), url, store.Options{Now: time.Now, Wait: wait})
	if err == nil {
		s.Close()
		t.Fatalf("%s was opened", url)
	}
	ps := factory.Problems(err)
	if !errors.Is(err, kind) || len(ps) != 1 || ps[0].Hint == "" {
		t.Fatalf("error %v, want a problem that is %v, with a hint", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q tells a password or has several lines", err)
	}
}

func execute(t *testing.T, driver, url string, statements ...string) {
	t.Helper()
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(s, err)
		}
	}
}

func TestOpenNeedsAClock(t *testing.T) {
	if _, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "x"), store.Options{}); err == nil {
		t.Error("opened without Now")
	}
}

func TestOpenURLs(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	odd := "o d?d#%41&x=é.db"
	for url, path := range map[string]string{
		"sqlite:" + dir + "/a.db": "a.db", "sqlite://" + dir + "/b.db": "b.db", dir + "/c.db": "c.db", "sqlite:d.db": "d.db",
		"e/f/g.db": "e/f/g.db", dir + "/" + odd: odd,
	} {
		open(t, url)
		if _, err := os.Stat(filepath.Join(dir, path)); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, bad := range []string{"", "sqlite:", "sqlite://host/x.db", "mysql://u:secret@host/x", ":memory:", "sqlite::memory:", "dir/", "a\x00b"} {
		refusal(t, bad, factory.ErrInvalid, "is not a database", "postgres://")
	}
	refusal(t, "postgres://u:secret@host:port/x", factory.ErrInvalid, "not a PostgreSQL URL")
	refusal(t, "postgres://u:secret@127.0.0.1:1/x", factory.ErrUnavailable, "does not answer", "pg_isready")
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "db")
	s := open(t, filepath.Join(dir, "factory.db"))
	if err := s.BeginRun(t.Context(), factory.Run{ID: "run-1"}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{"..": 0o700, ".": 0o700, "factory.db": 0o600, "factory.db-wal": 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

// A file that is no database of ours is refused and not a byte of it changes.
func TestOpenLeavesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	fresh := func(t *testing.T, path string) []byte {
		s := open(t, path)
		if err := errors.Join(storetest.Add(t.Context(), s, storetest.Release("debian-12", 1)), s.Close()); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		words []string
		make  func(t *testing.T, path string) []byte // nil: made already
	}{
		"garbage": {[]string{"corrupt", "mv "}, func(*testing.T, string) []byte { return bytes.Repeat([]byte("no database\n"), 1000) }},
		"header":  {[]string{"corrupt", "mv "}, func(t *testing.T, path string) []byte { b := fresh(t, path); b[0]++; return b }},
		"schema":  {[]string{"corrupt", "mv "}, func(t *testing.T, path string) []byte { b := fresh(t, path); clear(b[100:4096]); return b }},
		"cut":     {[]string{"corrupt", "mv "}, func(t *testing.T, path string) []byte { return fresh(t, path)[:5000] }},
		"newer": {[]string{"newer factory", "schema 999"}, func(t *testing.T, path string) []byte {
			fresh(t, path)
			execute(t, "sqlite", path, "INSERT INTO factory_version (version_id, is_applied) VALUES (999, true)")
			return nil
		}},
		"another program's": {[]string{"another program"}, func(t *testing.T, path string) []byte {
			execute(t, "sqlite", path, "CREATE TABLE people (name TEXT)")
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "factory.db")
			if b := c.make(t, path); b != nil {
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			refusal(t, path, factory.ErrInvalid, c.words...)
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

// Damage that shows only later is told as such, too.
func TestCorruptInUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "factory.db")
	s := open(t, path)
	if err := errors.Join(storetest.Add(t.Context(), s, storetest.Release("debian-12", 1)), s.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[3*4096:])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err = store.Open(t.Context(), path, store.Options{Now: time.Now})
	if err == nil {
		defer s.Close()
		_, err = s.Releases(t.Context(), store.Query{})
	}
	if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "corrupt") {
		t.Errorf("error %v", err)
	}
}

func TestOpenLocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "factory.db")
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=exclusive")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	refusedWithin(t, impatient, path, factory.ErrUnavailable, "another process", "fuser")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)

	if tx, err = other.Begin(); err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := s.Runs(t.Context(), 0); err != nil {
		t.Errorf("readers wait for nobody: %v", err)
	}
}

func TestOpenWhileAnotherMakesIt(t *testing.T) {
	t.Parallel()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		t.Skip("a filesystem without locks:", err)
	}
	path := filepath.Join(dir.Name(), "factory.db")
	refusedWithin(t, impatient, path, factory.ErrUnavailable, "another process is opening", "fuser")
	why := errors.New("interrupted by the user")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := store.Open(ctx, path, store.Options{Now: time.Now}); !errors.Is(err, why) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOpenUnwritable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refusal(t, filepath.Join(file, "factory.db"), factory.ErrUnavailable, "cannot be made", "ls -ld "+file)
	refusal(t, dir, factory.ErrUnavailable, "cannot be opened for writing") // a folder in the file's place
	forbidden := "/proc/factory/factory.db"                                 // not even root's
	if os.Geteuid() != 0 {
		forbidden = filepath.Join(dir, "forbidden", "factory.db")
		if err := os.Mkdir(filepath.Dir(forbidden), 0o500); err != nil {
			t.Fatal(err)
		}
	}
	refusal(t, forbidden, factory.ErrUnavailable, "cannot be made")
}

// On a full disk nothing new is recorded, nothing old is lost, and when there is space again work goes on.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("a small filesystem needs the right to mount:", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	ballast, path := filepath.Join(dir, "ballast"), filepath.Join(dir, "factory.db")
	fill := func() {
		for size := 1 << 20; size > 0; size /= 2 {
			f, err := os.OpenFile(ballast, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = f.Write(make([]byte, size))
			}
			f.Close()
		}
	}
	fill()
	refusal(t, path, factory.ErrUnavailable, "df -h")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if err := storetest.Add(t.Context(), s, storetest.Release("debian-12", 1)); err != nil {
		t.Fatal(err)
	}
	fill()
	var err error
	for n := 2; err == nil && n < 100; n++ { // until the WAL needs a page that it has not
		err = storetest.Add(t.Context(), s, storetest.Release("debian-12", n))
	}
	if ps := factory.Problems(err); !errors.Is(err, factory.ErrUnavailable) || ps[0].Hint == "" {
		t.Errorf("full: %v", err)
	}
	if _, err := s.Release(t.Context(), storetest.Release("debian-12", 1).ID); err != nil {
		t.Errorf("what was recorded before: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := storetest.Add(t.Context(), s, storetest.Release("debian-13", 1)); err != nil {
		t.Errorf("with space again: %v", err)
	}
}
