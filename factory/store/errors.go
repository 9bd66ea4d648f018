package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/imagefactory/imagefactory/factory"
)

// fail translates what a driver said into an error of package factory. doing is what was tried: "record run x".
func (s *Store) fail(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if p := (*factory.Problem)(nil); errors.As(err, &p) {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
	}
	kind, what, hint := s.sqliteKind(err)
	if kind == nil {
		kind, what, hint = postgresKind(err)
	}
	if kind == nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return &factory.Problem{Kind: kind, What: doing + ": " + what, Where: factory.Position{File: s.name}, Hint: hint, Cause: oneLine{err}}
}

// oneLine is an error whose text fits where a Problem is printed: pgx lists each address it tried on a line of its own.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e oneLine) Unwrap() error { return e.error }

func (s *Store) sqliteKind(err error) (kind error, what, hint string) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return nil, "", ""
	}
	switch e.Code() & 0xff {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_PROTOCOL:
		return factory.ErrUnavailable, "another process is writing to the database and does not get done", "see who it is: fuser " + s.name
	case lib.SQLITE_READONLY, lib.SQLITE_PERM, lib.SQLITE_CANTOPEN:
		return factory.ErrUnavailable, "database cannot be opened for writing", "check the permissions: ls -ld " + filepath.Dir(s.name) + " " + s.name
	case lib.SQLITE_FULL:
		return factory.ErrUnavailable, "disk is full", "free some space and run again: df -h " + filepath.Dir(s.name)
	case lib.SQLITE_IOERR:
		return factory.ErrUnavailable, "disk gives no answer", "check space and health of the disk: df -h " + filepath.Dir(s.name)
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return factory.ErrInvalid, "database file is corrupt", fmt.Sprintf("it was left as it is; move it aside and restore a backup, or begin anew: mv %s %[1]s.corrupt", s.name)
	case lib.SQLITE_CONSTRAINT:
		return factory.ErrConflict, "contradicts what is recorded", ""
	case lib.SQLITE_TOOBIG:
		return factory.ErrInvalid, "too big for the database", ""
	}
	return nil, "", ""
}

func postgresKind(err error) (kind error, what, hint string) {
	var bad *pgconn.ParseConfigError
	var e *pgconn.PgError
	switch {
	case errors.As(err, &bad):
		return factory.ErrInvalid, "not a PostgreSQL URL", "expected postgres://user:password@host:5432/database?sslmode=require"
	case errors.As(err, &e):
		return postgresCode(e.Code)
	case down(err):
		return factory.ErrUnavailable, "database does not answer", "is it running, and reachable from here? pg_isready -h HOST"
	}
	return nil, "", ""
}

// postgresCode reads the five characters of PostgreSQL's appendix A.
func postgresCode(code string) (kind error, what, hint string) {
	switch code {
	case "3D000":
		return factory.ErrInvalid, "no such database", "make it: createdb factory"
	case "42501":
		return factory.ErrInvalid, "the user may not do that", "make the user owner of the database: ALTER DATABASE factory OWNER TO the_user"
	case "42P07", "42710":
		return factory.ErrInvalid, "database has tables of another program", "give the factory a database of its own"
	case "53100":
		return factory.ErrUnavailable, "the server's disk is full", "free some space there and run again"
	case "25006":
		return factory.ErrUnavailable, "the server is read-only", "use the primary, not a standby"
	case "XX001", "XX002":
		return factory.ErrInvalid, "database is corrupt", "restore a backup"
	}
	switch code[:min(2, len(code))] {
	case "23":
		return factory.ErrConflict, "contradicts what is recorded", ""
	case "28":
		return factory.ErrInvalid, "the server does not let this user in", "check user, password and pg_hba.conf"
	case "40", "55":
		return factory.ErrUnavailable, "another process was in the way", "run it again"
	case "08", "53", "57", "58":
		return factory.ErrUnavailable, "the server cannot serve", "look at its log and run again"
	}
	return nil, "", ""
}

func down(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) ||
		strings.HasSuffix(err.Error(), "database is closed") // database/sql keeps this one to itself
}

// dangling reports a reference to a row that does not exist.
func dangling(err error) bool {
	var lite *sqlite.Error
	var pg *pgconn.PgError
	return errors.As(err, &lite) && lite.Code() == lib.SQLITE_CONSTRAINT_FOREIGNKEY || errors.As(err, &pg) && pg.Code == "23503"
}
