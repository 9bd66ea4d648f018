package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

// OpenTriggers returns what is left to deliver: every trigger that waits, also one that somebody is delivering, and the canaries
// of the same digests in the same environments, whatever became of them. Urgent ones first, then the oldest.
func (s *Store) OpenTriggers(ctx context.Context) ([]factory.Trigger, error) {
	var rows []triggerRow
	return s.triggers(ctx, s.db.NewSelect().Model(&rows).
		Where("state = ? OR canary AND state <> ? AND EXISTS (SELECT 1 FROM triggers AS o WHERE o.state = ? AND o.repository = triggers.repository AND o.digest = triggers.digest AND o.env = triggers.env)",
			waiting, superseded, waiting).Order("urgent DESC", "created", "id"), &rows)
}

// ClaimTriggers takes triggers to deliver them until an instant, and returns those that it got, with one more attempt: they waited,
// and nobody else has claimed them. A claim ends when SettleTrigger says what came of it, or at that instant; one that lasts more than
// twice as long as this one was made by a clock that was wrong, and counts for nothing.
func (s *Store) ClaimTriggers(ctx context.Context, ids []string, until time.Time) ([]factory.Trigger, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	now, until := s.now(), instant(until)
	var rows []triggerRow
	_, err := s.db.NewUpdate().Table("triggers").Set("attempts = attempts + 1, claimed = ?", until).
		Where("id IN (?) AND state = ? AND (claimed IS NULL OR claimed <= ? OR claimed > ?)", bun.List(ids), waiting, now, until.Add(until.Sub(now))).
		Returning("*").Exec(ctx, &rows)
	if err != nil {
		return nil, s.fail(ctx, "claim triggers", err)
	}
	got := map[string]factory.Trigger{}
	for _, row := range rows {
		if got[row.ID], err = row.trigger(); err != nil {
			return nil, err
		}
	}
	var all []factory.Trigger
	for _, id := range ids { // in the order in which they were asked for
		if t, ok := got[id]; ok {
			all = append(all, t)
		}
	}
	return all, nil
}

// SettleTrigger records what came of a claimed trigger: State, Due, Ended, Answer, URL and Done, and ends the claim. It does nothing
// when somebody else has claimed it since, or when it does not wait any more; but what was delivered was delivered, also when
// something newer had come meanwhile.
func (s *Store) SettleTrigger(ctx context.Context, t factory.Trigger) error {
	q := s.db.NewUpdate().Table("triggers").
		Set("state = ?, due = ?, answer = ?, url = ?, done = ?, claimed = NULL", string(t.State), instant(t.Due), clean(t.Answer), clean(t.URL), t.Done)
	if t.Ended != nil {
		q = q.Set("ended = ?", instant(*t.Ended))
	}
	from := []string{waiting}
	if t.State == factory.TriggerDelivered {
		from = []string{waiting, superseded, delivered}
	}
	_, err := q.Where("id = ? AND attempts = ? AND state IN (?)", t.ID, t.Attempts, bun.List(from)).Exec(ctx)
	return s.fail(ctx, "record what came of trigger "+t.ID, err)
}

// RetryTriggers lets dead triggers wait again, from their first attempt on; without ids, all of them. It returns how many they
// were. An id of one that is not dead is ErrConflict, an unknown one ErrNotFound, and then none is retried.
func (s *Store) RetryTriggers(ctx context.Context, ids ...string) (n int, err error) {
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		for _, id := range ids {
			var row triggerRow
			switch err := tx.NewSelect().Model(&row).Column("state").Where("id = ?", id).Scan(ctx); {
			case none(err):
				return noTrigger(id)
			case err != nil:
				return err
			case row.State != dead:
				return &factory.Problem{Kind: factory.ErrConflict, What: fmt.Sprintf("trigger %s is %s, not dead", id, row.State), Hint: "factory triggers show " + id}
			}
		}
		q := tx.NewUpdate().Table("triggers").Set("state = ?, attempts = 0, due = ?, ended = NULL, claimed = NULL", waiting, s.now()).Where("state = ?", dead)
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
	return n, s.fail(ctx, "retry triggers", err)
}
