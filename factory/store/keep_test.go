package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// inBubble runs test on a lease of a minute in a SQLite store whose time is the bubble's.
func inBubble(t *testing.T, test func(t *testing.T, s *Store, l *Lease)) {
	path := filepath.Join(t.TempDir(), "factory.db")
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), path, Options{Now: time.Now, Wait: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		l, err := s.Acquire(t.Context(), "night", Holder{Run: "run-1"}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		test(t, s, l)
	})
}

func TestKeepForHours(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *Store, l *Lease) {
		ctx, stop := l.Keep(t.Context())
		defer stop()
		for range 60 {
			time.Sleep(5 * time.Minute)
			if _, err := s.Acquire(t.Context(), "night", Holder{Run: "run-2"}, time.Minute); !errors.Is(err, factory.ErrBusy) {
				t.Fatalf("somebody else got the lease: %v", err)
			}
		}
		if ctx.Err() != nil {
			t.Error(context.Cause(ctx))
		}
		if left := time.Until(l.Expires()); left < 40*time.Second || left > time.Minute {
			t.Errorf("%v left", left)
		}
		stop()
		time.Sleep(time.Minute)
		if _, err := s.Acquire(t.Context(), "night", Holder{Run: "run-2"}, time.Minute); err != nil {
			t.Errorf("nobody renews any more, but: %v", err)
		}
	})
}

func TestKeepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *Store, l *Lease) {
		why := errors.New("interrupted by the user")
		parent, cancel := context.WithCancelCause(t.Context())
		ctx, stop := l.Keep(parent)
		cancel(why)
		<-ctx.Done()
		stop()
		if context.Cause(ctx) != why {
			t.Error(context.Cause(ctx))
		}
	})
}

// away makes the database unusable in two ways, and usable again.
var away = map[string]func(t *testing.T, s *Store) (back func()){
	"locked by another process": func(t *testing.T, s *Store) func() {
		other, err := sql.Open("sqlite", "file:"+s.name+"?_txlock=immediate")
		if err != nil {
			t.Fatal(err)
		}
		tx, err := other.Begin()
		if err != nil {
			t.Fatal(err)
		}
		return func() { tx.Rollback(); other.Close() }
	},
	"hanging": func(t *testing.T, s *Store) func() {
		conn, err := s.db.Conn(t.Context()) // the only one
		if err != nil {
			t.Fatal(err)
		}
		return func() { conn.Close() }
	},
}

func TestKeepOutlastsAShortAbsence(t *testing.T) {
	for name, leave := range away {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, s *Store, l *Lease) {
				var log bytes.Buffer
				s.Log = slog.New(slog.NewTextHandler(&log, nil))
				ctx, stop := l.Keep(t.Context())
				defer stop()
				back := leave(t, s)
				time.Sleep(50 * time.Second) // two renewals
				back()
				time.Sleep(5 * time.Minute)
				if ctx.Err() != nil {
					t.Error(context.Cause(ctx))
				}
				stop()
				if err := l.Release(t.Context()); err != nil {
					t.Error(err)
				}
				if n := strings.Count(log.String(), "trying again"); n == 0 || n > 2 {
					t.Errorf("%d renewals in the log: %s", n, &log)
				}
			})
		})
	}
}

func TestKeepGivesUpWhenTheLeaseHasExpired(t *testing.T) {
	for name, leave := range away {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, s *Store, l *Lease) {
				began := time.Now()
				ctx, stop := l.Keep(t.Context())
				defer stop()
				defer leave(t, s)()
				<-ctx.Done()
				if took := time.Since(began); took < time.Minute || took > 80*time.Second {
					t.Errorf("gave up after %v", took)
				}
				if cause := context.Cause(ctx); !errors.Is(cause, factory.ErrUnavailable) || !strings.Contains(cause.Error(), "away for 1m0s") {
					t.Errorf("cause %v", cause)
				}
			})
		})
	}
}
