package store

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

// RetryTriggers lets triggers wait again, from their first attempt on: dead ones, and canaries whose build failed; without ids, all
// that are dead. It returns how many they were. An id of another one is ErrConflict, an unknown one ErrNotFound, and then none is retried.
func (s *Store) RetryTriggers(ctx context.Context, ids ...string) (int, error) {
	may := func(row triggerRow) string {
		if row.State == dead || row.State == delivered && row.Fate == failed && !row.Done {
			return ""
		}
		return "not dead"
	}
	return s.decide(ctx, "retry triggers", ids, may, func(q *bun.UpdateQuery) *bun.UpdateQuery {
		if len(ids) == 0 {
			q = q.Where("state = ?", dead)
		}
		return q.Where("state IN (?, ?)", dead, delivered).Set("state = ?, attempts = 0, due = ?, ended = NULL, claimed = NULL, handle = '', fate = ''", waiting, s.now())
	})
}

// ExcuseTriggers lets those go that canaries hold back, whatever became of these, and notes why. Its errors are those of RetryTriggers:
// canaries can be excused that are not superseded and not known to have the digest.
func (s *Store) ExcuseTriggers(ctx context.Context, why string, ids ...string) (int, error) {
	may := func(row triggerRow) string {
		switch {
		case !row.Canary:
			return "no canary, and holds nobody back"
		case row.State == superseded, row.Done:
			return "one that holds nobody back"
		}
		return ""
	}
	return s.decide(ctx, "excuse triggers", ids, may, func(q *bun.UpdateQuery) *bun.UpdateQuery {
		return q.Set("fate = ?, answer = ?", excused, clean("excused: "+why)).Where("canary")
	})
}

// DropTriggers ends triggers that wait or are dead, and notes why: nobody is told of them. Its errors are those of RetryTriggers.
func (s *Store) DropTriggers(ctx context.Context, why string, ids ...string) (int, error) {
	may := func(row triggerRow) string {
		if row.State == waiting || row.State == dead {
			return ""
		}
		return "nothing that is left to be told"
	}
	return s.decide(ctx, "drop triggers", ids, may, func(q *bun.UpdateQuery) *bun.UpdateQuery {
		return q.Set("state = ?, ended = ?, answer = ?, claimed = NULL", superseded, s.now(), clean("dropped: "+why)).Where("state IN (?, ?)", waiting, dead)
	})
}

// decide changes triggers as a person wants them, all or none. may says why one cannot be; empty = it can.
func (s *Store) decide(ctx context.Context, what string, ids []string, may func(triggerRow) string, change func(*bun.UpdateQuery) *bun.UpdateQuery) (n int, err error) {
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		for _, id := range ids {
			var row triggerRow
			switch err := tx.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); {
			case none(err):
				return noTrigger(id)
			case err != nil:
				return err
			}
			if no := may(row); no != "" {
				return &factory.Problem{Kind: factory.ErrConflict, What: fmt.Sprintf("trigger %s is %s, %s", id, row.State, no), Hint: "factory triggers show " + id}
			}
		}
		q := change(tx.NewUpdate().Table("triggers"))
		if len(ids) > 0 {
			q = q.Where("id IN (?)", bun.List(ids))
		}
		res, err := q.Exec(ctx)
		if err != nil {
			return err
		}
		changed, err := res.RowsAffected()
		n = int(changed)
		return err
	})
	return n, s.fail(ctx, what, err)
}
