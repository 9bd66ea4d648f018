package store

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

// TriggerQuery narrows a list of triggers.
type TriggerQuery struct {
	State     factory.TriggerState // only these; empty = all
	Dependent string               // only its; empty = all
	Limit     int                  // at most so many; 0 or less = all
}

// Triggers returns triggers, newest first.
func (s *Store) Triggers(ctx context.Context, q TriggerQuery) ([]factory.Trigger, error) {
	var rows []triggerRow
	sel := s.db.NewSelect().Model(&rows).Order("created DESC", "id DESC").Limit(int64(max(q.Limit, 0)))
	if q.State != "" {
		sel = sel.Where("state = ?", clean(string(q.State)))
	}
	if q.Dependent != "" {
		sel = sel.Where("dependent = ?", clean(q.Dependent))
	}
	return s.triggers(ctx, sel, &rows)
}

// LastTriggers returns the newest trigger of each dependent, by its name.
func (s *Store) LastTriggers(ctx context.Context) (map[string]factory.Trigger, error) {
	var rows []triggerRow
	newest := s.db.NewSelect().Table("triggers").ColumnExpr("id, row_number() OVER (PARTITION BY dependent ORDER BY created DESC, id DESC) AS n")
	all, err := s.triggers(ctx, s.db.NewSelect().Model(&rows).Where("id IN (SELECT id FROM (?) AS newest WHERE n = 1)", newest), &rows)
	last := map[string]factory.Trigger{}
	for _, t := range all {
		last[t.Dependent] = t
	}
	return last, err
}

// CountTriggers returns how many triggers there are in each state.
func (s *Store) CountTriggers(ctx context.Context) (map[factory.TriggerState]int, error) {
	var rows []struct {
		State factory.TriggerState
		N     int
	}
	if err := s.db.NewSelect().Table("triggers").ColumnExpr("state, count(*) AS n").Group("state").Scan(ctx, &rows); err != nil {
		return nil, s.fail(ctx, "count triggers", err)
	}
	counts := map[factory.TriggerState]int{}
	for _, row := range rows {
		counts[row.State] = row.N
	}
	return counts, nil
}

// Trigger returns the trigger with an id, or the one whose id begins like that. Nothing found is ErrNotFound, several are ErrInvalid.
func (s *Store) Trigger(ctx context.Context, id string) (factory.Trigger, error) {
	var rows []triggerRow
	id = clean(id)
	found, err := s.triggers(ctx, s.db.NewSelect().Model(&rows).Where("id >= ? AND id < ?", id, id+above).Order("id").Limit(10), &rows)
	switch {
	case err != nil:
		return factory.Trigger{}, err
	case id == "" || len(found) == 0:
		return factory.Trigger{}, noTrigger(id)
	case len(found) > 1 && found[0].ID != id:
		var names []string
		for _, t := range found {
			names = append(names, t.ID)
		}
		return factory.Trigger{}, ambiguous(id, "triggers", names)
	}
	return found[0], nil
}

func noTrigger(id string) error {
	return &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("no trigger %.120q", id), Hint: "factory triggers list"}
}

func (s *Store) triggers(ctx context.Context, q *bun.SelectQuery, rows *[]triggerRow) ([]factory.Trigger, error) {
	if err := q.Scan(ctx); err != nil {
		return nil, s.fail(ctx, "read triggers", err)
	}
	all := make([]factory.Trigger, 0, len(*rows))
	for _, row := range *rows {
		t, err := row.trigger()
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}
