package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // registers the driver

	"github.com/imagefactory/imagefactory/factory"
)

// applicationID is what the first migration writes into the file's header.
const applicationID = 0x46494d54 // "FIMT"

func (s *Store) openSQLite(ctx context.Context, path string, wait time.Duration) error {
	if err := touch(path); err != nil {
		return &factory.Problem{Kind: factory.ErrUnavailable, What: "database file cannot be made", Cause: err,
			Hint: "check the path and its permissions: ls -ld " + filepath.Dir(path)}
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(" + strconv.FormatInt(wait.Milliseconds(), 10) + ")",
		"synchronous(FULL)", "foreign_keys(1)",
	}}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	pool, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	pool.SetMaxOpenConns(1) // one writer at a time is all that SQLite has; waiting here is fairer than in the file
	s.db = bun.NewDB(pool, sqlitedialect.New())
	unlock, err := lockFolder(ctx, filepath.Dir(path), wait)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.ours(ctx); err != nil {
		return err
	}
	// The file remembers this one, so that every later connection has it.
	if _, err := pool.ExecContext(ctx, "PRAGMA journal_mode = WAL"); err != nil {
		return err
	}
	return migrate(ctx, pool, sqliteMigrations)
}

// ours refuses a database of another program before anything is written to it.
func (s *Store) ours(ctx context.Context) error {
	var id, tables int
	if err := s.db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name <> ?`, versionTable).Scan(&tables)
	if err != nil || id == applicationID || tables == 0 {
		return err
	}
	return &factory.Problem{Kind: factory.ErrInvalid, What: "database belongs to another program", Where: factory.Position{File: s.name},
		Hint: "give the factory a file of its own; this one was left as it is"}
}

// touch makes the file before SQLite does, which would give it the umask's mode. The WAL inherits it.
func touch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// lockFolder keeps two processes from making the same database at once: neither the switch to WAL nor the migrations are
// safe against that. It locks the folder, because closing the database file would drop SQLite's own locks. A filesystem
// without locks is no reason to stop.
func lockFolder(ctx context.Context, dir string, wait time.Duration) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "folder of the database cannot be read", Cause: err}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, syscall.EWOULDBLOCK)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return func() { f.Close() }, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.Close()
			if cause := context.Cause(ctx); cause != syscall.EWOULDBLOCK {
				return nil, cause
			}
			return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "another process is opening the database and does not get done",
				Where: factory.Position{File: dir}, Hint: "see who it is: fuser " + dir}
		}
	}
}
