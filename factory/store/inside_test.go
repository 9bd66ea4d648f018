package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/imagefactory/imagefactory/factory"
)

func openInside(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "factory.db"), Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *Store) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := s.db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func bare(id string) factory.Release {
	created := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	return factory.Release{ID: id, Image: "debian-12", Repository: id, Digest: factory.DigestOf([]byte(id)), Created: created,
		Tag: factory.Tag{Date: factory.DateOf(created), Hash: "1a2b3c4d", Env: factory.Dev}, Inputs: make([]byte, 100_000)}
}

// What somebody else changed in the database is noticed, not believed.
func TestDamagedRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind  error
		query string
	}{
		"lock":          {factory.ErrInvalid, `UPDATE releases SET lock = '[]'`},
		"tag":           {factory.ErrInvalid, `UPDATE releases SET tag = 'latest'`},
		"inputs, short": {factory.ErrUnverified, `UPDATE inputs SET gzip = substr(gzip, 1, 20)`},
		"inputs, other": {factory.ErrUnverified, `UPDATE inputs SET size = 5`},
		"inputs, none":  {factory.ErrUnverified, `UPDATE inputs SET gzip = x'00'`},
		"job":           {factory.ErrInvalid, `UPDATE jobs SET steps = '{}'`},
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := openInside(t), t.Context()
			if err := errors.Join(s.AddRelease(ctx, bare("r1")), s.BeginRun(ctx, factory.Run{ID: "run-1", Jobs: []factory.RunJob{{Image: "x"}}})); err != nil {
				t.Fatal(err)
			}
			s.exec(t, c.query)
			_, release := s.Release(ctx, "r1")
			_, run := s.Run(ctx, "run-1")
			if err := errors.Join(release, run); !errors.Is(err, c.kind) || len(factory.Problems(err)) != 1 || factory.Problems(err)[0].Hint == "" {
				t.Errorf("error %v, want one problem that is %v", err, c.kind)
			}
			if _, err := s.Releases(ctx, Query{}); c.kind == factory.ErrInvalid && name != "job" && !errors.Is(err, c.kind) {
				t.Errorf("list: %v", err)
			}
		})
	}
}

// A release is there with its inputs or not at all.
func TestFullInTheMiddle(t *testing.T) {
	t.Parallel()
	s, ctx := openInside(t), t.Context()
	if err := s.AddRelease(ctx, bare("r1")); err != nil {
		t.Fatal(err)
	}
	s.exec(t, "PRAGMA max_page_count = 1") // what it has, and no more
	big := bare("r2")
	random := rand.NewChaCha8([32]byte{})
	random.Read(big.Inputs)
	err := s.AddRelease(ctx, big)
	if ps := factory.Problems(err); !errors.Is(err, factory.ErrUnavailable) || ps[0].Hint == "" {
		t.Errorf("full: %v", err)
	}
	if _, err := s.Release(ctx, "r2"); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("half a release: %v", err)
	}
	s.exec(t, "PRAGMA max_page_count = 1000000")
	if err := s.AddRelease(ctx, big); err != nil {
		t.Error(err)
	}
}

func TestBeginRunIsWhole(t *testing.T) {
	t.Parallel()
	s := openInside(t)
	s.exec(t, "CREATE TRIGGER no BEFORE INSERT ON jobs BEGIN SELECT raise(ABORT, 'no'); END")
	err := s.BeginRun(t.Context(), factory.Run{ID: "run-1", Jobs: []factory.RunJob{{Image: "debian-12"}}})
	if !errors.Is(err, factory.ErrConflict) {
		t.Error(err)
	}
	if runs, err := s.Runs(t.Context(), 0); err != nil || len(runs) > 0 {
		t.Errorf("%d runs, %v", len(runs), err)
	}
	if err := s.BeginRun(t.Context(), factory.Run{ID: "run-1", State: "odd"}); !errors.Is(err, factory.ErrConflict) {
		t.Errorf("a state that does not exist: %v", err)
	}
}

// Every answer of a server that a person can do something about has a kind and, unless it is about data, a hint.
func TestFail(t *testing.T) {
	t.Parallel()
	s := &Store{name: "postgres://db/factory"}
	for code, kind := range map[string]error{
		"3D000": factory.ErrInvalid, "42501": factory.ErrInvalid, "42P07": factory.ErrInvalid, "53100": factory.ErrUnavailable, "25006": factory.ErrUnavailable,
		"XX001": factory.ErrInvalid, "23505": factory.ErrConflict, "28P01": factory.ErrInvalid, "40P01": factory.ErrUnavailable, "57P01": factory.ErrUnavailable,
	} {
		err := s.fail(t.Context(), "record run x", fmt.Errorf("goose: %w", &pgconn.PgError{Code: code}))
		ps := factory.Problems(err)
		if !errors.Is(err, kind) || len(ps) != 1 || ps[0].Where.File != s.name || (ps[0].Hint == "") != (kind == factory.ErrConflict) {
			t.Errorf("%s: %v", code, err)
		}
	}
	for _, unexpected := range []error{&pgconn.PgError{Code: "42601"}, &pgconn.PgError{}, errors.New("odd")} {
		if err := s.fail(t.Context(), "record run x", unexpected); !errors.Is(err, unexpected) || len(factory.Problems(err)) > 0 {
			t.Errorf("unexpected: %v", err)
		}
	}
	for _, lost := range []error{io.ErrUnexpectedEOF, context.DeadlineExceeded} {
		if err := s.fail(t.Context(), "record run x", lost); !errors.Is(err, factory.ErrUnavailable) {
			t.Errorf("lost: %v", err)
		}
	}
}

func TestRedacted(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://u:secret@host/db":                    "postgres://u:xxxxx@host/db",
		"postgres://host/db?password=secret&user=secret": "postgres://host/db",
		"postgres://u:se cret%@host/db":                  "postgres://...",
		"/path/factory.db":                               "/path/factory.db",
		"%zz":                                            "%zz",
	} {
		if got := redacted(url); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ s, want string }{
		{"debian-12", "debian-12"}, {"debian12", "debian-12"}, {"debain-13", "debian-13"}, {"debian", "debian-12"}, {"", ""}, {"toolbox", ""}, {"x", ""},
	} {
		if c.s == "debian" {
			c.want = "" // half of it would be invented
		}
		if got := nearest(c.s, []string{"debian-12", "debian-13"}); got != c.want {
			t.Errorf("nearest to %q: %q, want %q", c.s, got, c.want)
		}
	}
	for _, c := range []struct {
		a, b string
		d    int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"same", "same", 0}} {
		if d := distance(c.a, c.b); d != c.d {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, d, c.d)
		}
	}
}

// Whatever is typed, a reference becomes readings that are safe to ask and no panic.
func FuzzLookups(f *testing.F) {
	for _, ref := range []string{"debian-12", "host:5000/a:20261123-1a2b3c4d-prod", "a@sha256:00", "sha256:", "@", ":", ":0", "@sha256:", "a:b@c", "1a2b", "\xff\x00"} {
		f.Add(ref)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		for _, l := range lookups(ref) {
			if n := countMarks(l.where); n != len(l.args) || n == 0 {
				t.Errorf("%q: %s with %d arguments", ref, l.where, len(l.args))
			}
			if strings.Contains(l.where, ">=") && (l.args[0] == "" || l.args[0] == "sha256:") {
				t.Errorf("%q asks for everything: %+v", ref, l)
			}
		}
	})
}

func countMarks(s string) (n int) {
	for _, r := range s {
		if r == '?' {
			n++
		}
	}
	return n
}
