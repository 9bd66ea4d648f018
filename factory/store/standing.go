package store

import (
	"cmp"
	"context"
	"slices"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

// LedgerQuery narrows the ledger.
type LedgerQuery struct {
	Image  string         // only this image; empty = all
	Env    factory.Env    // only what came into it, and the revocations of that; empty = all
	Digest factory.Digest // only this digest; empty = all
	Limit  int            // at most so many; 0 or less = all
}

// Ledger returns what came into environments and what was revoked, newest first: in the order in which it was recorded, whatever
// the clock said. What was released before there was a ledger is in it, without decisions.
func (s *Store) Ledger(ctx context.Context, q LedgerQuery) ([]factory.Entry, error) {
	var rows []entryRow
	sel := s.db.NewSelect().Model(&rows).Order("seq DESC").Limit(int64(max(q.Limit, 0)))
	if q.Image != "" {
		sel = sel.Where("image = ?", clean(q.Image))
	}
	if q.Digest != "" {
		sel = sel.Where("digest = ?", clean(string(q.Digest)))
	}
	if env := clean(string(q.Env)); env != "" {
		sel = sel.Where("(env = ? OR revoked AND EXISTS (SELECT 1 FROM ledger AS came WHERE came.repository = ledger.repository AND came.digest = ledger.digest AND came.env = ?))", env, env)
	}
	return s.entries(ctx, sel, &rows)
}

// Standing returns what is where: for each image and environment the newest entry whose digest is not revoked. Sorted by image, then
// environment: dev, staging, prod.
func (s *Store) Standing(ctx context.Context) ([]factory.Entry, error) {
	var rows []entryRow
	all, err := s.entries(ctx, s.db.NewSelect().Model(&rows).Where("seq IN (?)", s.standing("seq", "")).Order("seq"), &rows)
	slices.SortStableFunc(all, func(a, b factory.Entry) int {
		return cmp.Or(cmp.Compare(a.Image, b.Image), factory.Tag{Env: a.Env}.Compare(factory.Tag{Env: b.Env}))
	})
	return all, err
}

// standing asks for one column of the entries that stand, in one environment or, when it is empty, in each.
func (s *Store) standing(column string, env factory.Env) *bun.SelectQuery {
	newest := s.db.NewSelect().TableExpr("ledger AS l").ColumnExpr("l.seq, l.release_id").
		ColumnExpr("row_number() OVER (PARTITION BY l.image, l.env ORDER BY l.seq DESC) AS n").
		Where("NOT l.revoked").
		Where("NOT EXISTS (SELECT 1 FROM ledger AS r WHERE r.repository = l.repository AND r.digest = l.digest AND r.revoked)")
	if env != "" {
		newest = newest.Where("l.env = ?", clean(string(env)))
	}
	return s.db.NewSelect().TableExpr("(?) AS newest", newest).Column(column).Where("n = 1")
}

// Revoked returns the entry by which a digest of a repository was revoked, nil when it was not.
func (s *Store) Revoked(ctx context.Context, repository string, digest factory.Digest) (*factory.Entry, error) {
	row, err := revocation(ctx, s.db, repository, string(digest))
	if err != nil || row == nil {
		return nil, s.fail(ctx, "read the ledger", err)
	}
	e, err := row.entry()
	return &e, err
}

func (s *Store) entries(ctx context.Context, q *bun.SelectQuery, rows *[]entryRow) ([]factory.Entry, error) {
	if err := q.Scan(ctx); err != nil {
		return nil, s.fail(ctx, "read the ledger", err)
	}
	all := make([]factory.Entry, 0, len(*rows))
	for _, row := range *rows {
		e, err := row.entry()
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}
