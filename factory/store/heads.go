package store

import (
	"context"

	"github.com/imagefactory/imagefactory/factory"
)

// Heads returns the newest release of each image and every release that is in force somewhere, newest first, with no more of them than
// what they are called, when they were made and what they are built on.
func (s *Store) Heads(ctx context.Context) ([]factory.Release, error) {
	newest := s.db.NewSelect().TableExpr("releases AS r").ColumnExpr("r.id").
		ColumnExpr("row_number() OVER (PARTITION BY r.image ORDER BY r.created DESC, r.id DESC) AS n")
	var rows []releaseRow
	err := s.db.NewSelect().Model(&rows).Column("id", "image", "owner", "repository", "digest", "tag", "created", "parent").
		Where("id IN (?) OR id IN (?)", s.db.NewSelect().TableExpr("(?) AS newest", newest).Column("id").Where("n = 1"), s.standing("release_id", "")).
		Order("created DESC", "id DESC").Scan(ctx)
	if err != nil {
		return nil, s.fail(ctx, "read releases", err)
	}
	return releases(rows)
}
