package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"github.com/imagefactory/imagefactory/factory"
)

// Store is an open database. It is safe for concurrent use; set its fields before the first use only.
type Store struct {
	// Now is the clock of whatever the store dates by itself: leases and the end of runs.
	Now func() time.Time
	// Alive is Options.Alive.
	Alive func(pid int) bool
	// Log receives what nobody waits for: take-overs, renewals that did not work. nil discards.
	Log *slog.Logger
	// Follow says who is to be told that a digest came into an environment: triggers with ID, Dependent, Canary, Urgent and Reason,
	// the rest is the store's. It is called inside of transactions, and must not use the store. nil = nobody.
	Follow func(factory.Entry) []factory.Trigger

	db   *bun.DB
	name string // the file, or the URL without its password
}

// Options say how to open a Store.
type Options struct {
	// Now is the clock. Required.
	Now func() time.Time
	// Log receives what nobody waits for. nil discards.
	Log *slog.Logger
	// Alive reports whether a process of this host exists. nil: no process is ever assumed dead, and a lease is only
	// taken over when it has expired.
	Alive func(pid int) bool
	// Wait is how long a call waits for another process that is writing to the same SQLite file, and Open for one that is
	// migrating the database; 0 means 10 s.
	Wait time.Duration
}

// Open opens the database at url, makes what is missing and migrates it to this program's schema. A url is a path,
// "sqlite:" with a path, or "postgres://user:password@host/database". A new SQLite file has mode 0600, a new folder 0700.
//
// The error is ErrInvalid for a url or a database that will never do (corrupt, of a newer factory, of another program) and
// ErrUnavailable for one that does not answer now (locked, unwritable, full, down). The database stays as it was.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	if opts.Now == nil {
		return nil, errors.New("store: Options.Now is required")
	}
	if opts.Wait <= 0 {
		opts.Wait = 10 * time.Second
	}
	s := &Store{Now: opts.Now, Alive: opts.Alive, Log: opts.Log}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	open, rest := s.openSQLite, url
	scheme, after, ok := strings.Cut(url, ":")
	switch {
	case ok && (scheme == "postgres" || scheme == "postgresql"):
		open, s.name = s.openPostgres, redacted(url)
	case ok && scheme == "sqlite":
		rest = after
		fallthrough
	default:
		path, err := sqlitePath(rest)
		if err != nil {
			return nil, err
		}
		rest, s.name = path, path
	}
	if err := open(ctx, rest, opts.Wait); err != nil {
		err = s.fail(ctx, "open the database", err)
		if s.db != nil {
			err = errors.Join(err, s.db.Close())
		}
		return nil, err
	}
	return s, nil
}

// Close ends all use of the database. Leases that are still held stay until they expire.
func (s *Store) Close() error {
	return s.fail(context.Background(), "close the database", s.db.Close())
}

func (s *Store) now() time.Time { return instant(s.Now()) }

func (s *Store) postgres() bool { return s.db.Dialect().Name() == dialect.PG }

// instant is t as both databases keep it.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func sqlitePath(s string) (string, error) {
	bad := &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%q is not a database", redacted(s)),
		Hint: "expected sqlite:/path/factory.db, a path, or postgres://user@host/database"}
	if rest, ok := strings.CutPrefix(s, "//"); ok {
		if !strings.HasPrefix(rest, "/") {
			return "", bad // a host
		}
		s = rest
	}
	if s == "" || strings.HasSuffix(s, "/") || strings.Contains(s, "://") || strings.Contains(s, "\x00") || strings.HasPrefix(s, ":memory:") {
		return "", bad
	}
	return s, nil
}

func redacted(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		if i := strings.Index(s, "://"); i >= 0 {
			return s[:i+3] + "..." // what cannot be parsed may hold a password anywhere
		}
		return s
	}
	if u.User == nil && u.RawQuery == "" {
		return s
	}
	u.RawQuery = "" // libpq accepts password= here
	return u.Redacted()
}
