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

func (s *Store) add(ctx context.Context, r factory.Release) error {
	_, err := s.AddRelease(ctx, r)
	return err
}

func bare(id string) factory.Release {
	created := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	return factory.Release{ID: id, Image: "debian-12", Repository: id, Digest: factory.DigestOf([]byte(id)), Created: created,
		Tag: factory.Tag{Date: factory.DateOf(created), Hash: "1a2b3c4d", Env: factory.Dev}, Inputs: make([]byte, 100_000)}
}

// reads and writes are what meets what is in the database.
var (
	reads = map[string]func(ctx context.Context, s *Store) error{
		"release":  func(ctx context.Context, s *Store) error { _, err := s.Release(ctx, "r1"); return err },
		"releases": func(ctx context.Context, s *Store) error { _, err := s.Releases(ctx, Query{}); return err },
		"newest": func(ctx context.Context, s *Store) error {
			_, err := s.Newest(ctx, map[string]string{"debian-12": ""}, factory.Dev)
			return err
		},
		"run": func(ctx context.Context, s *Store) error { _, err := s.Run(ctx, "run-1"); return err },
		"tries": func(ctx context.Context, s *Store) error {
			_, err := s.Tries(ctx, []string{"x"}, factory.Dev, 1)
			return err
		},
		"document": func(ctx context.Context, s *Store) error {
			_, err := s.Document(ctx, "r1", factory.ARF, "x")
			return err
		},
		"holding":  func(ctx context.Context, s *Store) error { _, err := s.Holding(ctx, "bash"); return err },
		"scan":     func(ctx context.Context, s *Store) error { _, err := s.LatestScan(ctx, "r1"); return err },
		"findings": func(ctx context.Context, s *Store) error { _, err := s.Findings(ctx, FindingQuery{}); return err },
		"found": func(ctx context.Context, s *Store) error {
			_, err := s.Findings(ctx, FindingQuery{Release: "r1"})
			return err
		},
		"ledger":   func(ctx context.Context, s *Store) error { _, err := s.Ledger(ctx, LedgerQuery{}); return err },
		"standing": func(ctx context.Context, s *Store) error { _, err := s.Standing(ctx); return err },
		"revoked": func(ctx context.Context, s *Store) error {
			_, err := s.Revoked(ctx, "r1", bare("r1").Digest)
			return err
		},
	}
	writes = map[string]func(ctx context.Context, s *Store) error{
		"rescan": func(ctx context.Context, s *Store) error {
			_, err := s.SaveScan(ctx, "r1", factory.Scan{At: bare("r1").Created, Database: factory.Database{Kind: "other"}})
			return err
		},
		"older": func(ctx context.Context, s *Store) error {
			r := bare("r2")
			r.Created, r.Scan = r.Created.Add(-time.Hour), factory.Scan{At: r.Created, Findings: []factory.Finding{{Vulnerability: "CVE-2", Package: "bash"}}}
			return s.add(ctx, r)
		},
	}
)

// What somebody else changed in the database is noticed, not believed.
func TestDamagedRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind     error
		query    string
		affected string
	}{
		"lock":               {factory.ErrInvalid, `UPDATE releases SET lock = '[]'`, "release releases newest"},
		"tag":                {factory.ErrInvalid, `UPDATE releases SET tag = 'latest'`, "release releases newest holding"},
		"decision":           {factory.ErrInvalid, `UPDATE releases SET decision = '[]'`, "release"},
		"inputs, short":      {factory.ErrUnverified, `UPDATE blobs SET gzip = substr(gzip, 1, 20)`, "release document"},
		"inputs, cut":        {factory.ErrUnverified, `UPDATE blobs SET size = 5`, "release document"},
		"inputs, size":       {factory.ErrUnverified, `UPDATE blobs SET size = size + 1`, "release document"},
		"inputs, none":       {factory.ErrUnverified, `UPDATE blobs SET gzip = x'00'`, "release document"},
		"inputs, swapped":    {factory.ErrUnverified, `UPDATE blobs SET gzip = (SELECT gzip FROM blobs b WHERE b.size = 100000), size = 100000 WHERE size = 6`, "document"},
		"document":           {factory.ErrInvalid, `UPDATE documents SET platform = 'x'`, "release document"},
		"package":            {factory.ErrInvalid, `UPDATE packages SET platform = 'x'`, "holding"},
		"job":                {factory.ErrInvalid, `UPDATE jobs SET steps = '{}'`, "run tries"},
		"scan":               {factory.ErrInvalid, `UPDATE scans SET database = '[]'`, "scan rescan older"},
		"scan, unseen":       {factory.ErrInvalid, `UPDATE scans SET not_looked_at = '{}'`, "scan rescan older"},
		"occurrence":         {factory.ErrInvalid, `UPDATE occurrences SET finding = '[]'`, "scan found"},
		"finding":            {factory.ErrInvalid, `UPDATE findings SET finding = '[]'`, "rescan findings"},
		"ledger, decision":   {factory.ErrInvalid, `DROP TRIGGER ledger_stays; UPDATE ledger SET decision = '[]'`, "ledger standing"},
		"ledger, revocation": {factory.ErrInvalid, `DROP TRIGGER ledger_stays; UPDATE ledger SET tag = 'x', revoked = true`, "ledger revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := openInside(t), t.Context()
			r := bare("r1")
			r.Documents = []factory.Document{factory.NewDocument(factory.ARF, "x", factory.Platform{}, "", []byte("<arf/>"))}
			r.Scan = factory.Scan{At: r.Created, Findings: []factory.Finding{{Vulnerability: "CVE-1", Package: "bash"}}}
			r.Lock.Platforms = []factory.LockedPlatform{{Platform: factory.Platform{OS: "linux", Architecture: "amd64"}, Packages: []factory.Package{{Name: "bash"}}}}
			if err := errors.Join(s.add(ctx, r), s.BeginRun(ctx, factory.Run{ID: "run-1", Env: factory.Dev, Jobs: []factory.RunJob{{Image: "x", Action: factory.Rebuild}}})); err != nil {
				t.Fatal(err)
			}
			s.exec(t, c.query)
			for _, uses := range []map[string]func(context.Context, *Store) error{reads, writes} {
				for name, use := range uses {
					err := use(ctx, s)
					if !strings.Contains(" "+c.affected+" ", " "+name+" ") {
						if err != nil {
							t.Errorf("%s: %v", name, err)
						}
					} else if !errors.Is(err, c.kind) || len(factory.Problems(err)) != 1 || factory.Problems(err)[0].Hint == "" {
						t.Errorf("%s: error %v, want one problem that is %v", name, err, c.kind)
					}
				}
			}
		})
	}
}

// A query that has a row for each of many releases and findings is answered by an index.
func TestIndexed(t *testing.T) {
	t.Parallel()
	s := openInside(t)
	for name, q := range map[string]interface{ String() string }{
		"findings": s.findings(FindingQuery{Image: "x", Open: true}), "of a release": s.findings(FindingQuery{Release: "x"}),
		"of an environment": s.findings(FindingQuery{Env: factory.Prod}), "by package": s.findings(FindingQuery{Package: "x"}),
	} {
		rows, err := s.db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+strings.ReplaceAll(q.String(), "?", "??"))
		if err != nil {
			t.Fatal(name, err)
		}
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(detail, "SCAN o") || strings.HasPrefix(detail, "SCAN r") {
				t.Errorf("%s: %s", name, detail)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Error(err)
		}
	}
}

// A release is there with its inputs or not at all.
func TestFullInTheMiddle(t *testing.T) {
	t.Parallel()
	s, ctx := openInside(t), t.Context()
	if err := s.add(ctx, bare("r1")); err != nil {
		t.Fatal(err)
	}
	s.exec(t, "PRAGMA max_page_count = 1") // what it has, and no more
	big := bare("r2")
	random := rand.NewChaCha8([32]byte{})
	random.Read(big.Inputs)
	err := s.add(ctx, big)
	if ps := factory.Problems(err); !errors.Is(err, factory.ErrUnavailable) || ps[0].Hint == "" {
		t.Errorf("full: %v", err)
	}
	if _, err := s.Release(ctx, "r2"); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("half a release: %v", err)
	}
	s.exec(t, "PRAGMA max_page_count = 1000000")
	if err := s.add(ctx, big); err != nil {
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
