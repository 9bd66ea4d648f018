package store

import (
	"context"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

// Newest returns the newest release of each of many images, by image, as Releases would with a Limit of 1. The images are the keys of
// repositories, whose values narrow like Query.Repository. Images that have no such release are left out.
func (s *Store) Newest(ctx context.Context, repositories map[string]string, env factory.Env) (map[string]factory.Release, error) {
	newest := map[string]factory.Release{}
	if len(repositories) == 0 {
		return newest, nil
	}
	var asked []bun.TupleValues
	for _, image := range slices.Sorted(maps.Keys(repositories)) {
		asked = append(asked, bun.Tuple([]string{clean(image), clean(repositories[image])}))
	}
	// Both databases call the columns of VALUES so.
	one := s.db.NewSelect().TableExpr("releases AS r").Column("r.id").Where("r.image = asked.column1").Where("asked.column2 = '' OR r.repository = asked.column2").
		Order("r.created DESC", "r.id DESC").Limit(1)
	if env != "" {
		one = one.Where("EXISTS (SELECT 1 FROM ledger AS l WHERE l.release_id = r.id AND l.env = ? AND NOT l.revoked)", clean(string(env)))
	}
	var rows []releaseRow
	err := s.db.NewSelect().Model(&rows).ExcludeColumn(bulky...).
		Where("id IN (?)", s.db.NewSelect().TableExpr("(VALUES ?) AS asked", bun.List(asked)).ColumnExpr("(?)", one)).Scan(ctx)
	if err != nil {
		return nil, s.fail(ctx, "read releases", err)
	}
	all, err := releases(rows)
	for _, r := range all {
		newest[r.Image] = r
	}
	return newest, err
}

// Tries returns, by image, the newest runs that tried to make it for an environment, each with that job alone, newest first, at
// most limit of each image. A limit of 0 or less means all.
func (s *Store) Tries(ctx context.Context, images []string, env factory.Env, limit int) (map[string][]factory.Run, error) {
	tries := map[string][]factory.Run{}
	if len(images) == 0 {
		return tries, nil
	}
	ranked := s.db.NewSelect().TableExpr("jobs AS j").Join("JOIN runs AS r ON r.id = j.run_id").ColumnExpr("j.*").
		ColumnExpr("row_number() OVER (PARTITION BY j.image ORDER BY r.started DESC, r.id DESC) AS n").
		Where("j.action = ?", string(factory.Rebuild)).Where("j.image IN (?)", bun.List(cleaned(images))).Where("r.env = ?", string(env))
	var jobs []jobRow
	q := s.db.NewSelect().Model(&jobs).ModelTableExpr("(?) AS jobs", ranked).Order("image", "n")
	if limit > 0 {
		q = q.Where("n <= ?", limit)
	}
	if err := q.Scan(ctx); err != nil || len(jobs) == 0 {
		return tries, s.fail(ctx, "read tries", err)
	}
	runs, err := s.runRows(ctx, jobs)
	if err != nil {
		return nil, err
	}
	for _, job := range jobs {
		row := runs[job.RunID]
		row.Jobs = []*jobRow{&job}
		run, err := row.run()
		if err != nil {
			return nil, err
		}
		tries[job.Image] = append(tries[job.Image], run)
	}
	return tries, nil
}

// runRows returns the runs that jobs belong to, by id and without their jobs.
func (s *Store) runRows(ctx context.Context, jobs []jobRow) (map[string]runRow, error) {
	ids := map[string]bool{}
	for _, j := range jobs {
		ids[j.RunID] = true
	}
	var rows []runRow
	if err := s.db.NewSelect().Model(&rows).Where("id IN (?)", bun.List(slices.Collect(maps.Keys(ids)))).Scan(ctx); err != nil {
		return nil, s.fail(ctx, "read runs", err)
	}
	byID := map[string]runRow{}
	for _, r := range rows {
		byID[r.ID] = r
	}
	return byID, nil
}

func cleaned(names []string) []string {
	all := make([]string, 0, len(names))
	for _, name := range names {
		all = append(all, clean(name))
	}
	return all
}
