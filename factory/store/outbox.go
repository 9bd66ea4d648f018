package store

import (
	"context"
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
// and nobody else has claimed them. A claim ends when SettleTriggers says what came of it, or at that instant; one that lasts more than
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

// SettleTriggers records what came of claimed triggers: State, Due, Ended, Answer, URL, Done, Handle and Fate, and ends the claims. It
// does nothing to one that somebody else has claimed since, or that does not wait any more; but what was delivered was delivered, also
// when something newer had come meanwhile. What a person has excused stays excused.
func (s *Store) SettleTriggers(ctx context.Context, all ...factory.Trigger) error {
	if len(all) == 0 {
		return nil
	}
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		for _, t := range all {
			if err := settle(ctx, tx, t); err != nil {
				return err
			}
		}
		return nil
	})
	return s.fail(ctx, "record what came of triggers", err)
}

func settle(ctx context.Context, tx bun.Tx, t factory.Trigger) error {
	q := tx.NewUpdate().Table("triggers").
		Set("state = ?, due = ?, url = ?, done = ?, handle = ?, claimed = NULL", string(t.State), instant(t.Due), clean(t.URL), t.Done, clean(t.Handle)).
		Set("answer = CASE WHEN fate = ? THEN answer ELSE ? END", excused, clean(t.Answer)).Set("fate = CASE WHEN fate = ? THEN fate ELSE ? END", excused, string(t.Fate))
	if t.Ended != nil {
		q = q.Set("ended = ?", instant(*t.Ended))
	}
	from := []string{waiting}
	if t.State == factory.TriggerDelivered {
		from = []string{waiting, superseded, delivered}
	}
	_, err := q.Where("id = ? AND attempts = ? AND state IN (?)", t.ID, t.Attempts, bun.List(from)).Exec(ctx)
	return err
}
