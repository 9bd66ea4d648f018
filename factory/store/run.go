package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

type runRow struct {
	bun.BaseModel `bun:"table:runs,alias:runs"`

	ID       string `bun:",pk"`
	Command  string
	Env      string
	Host     string
	PID      int `bun:"pid"`
	Started  time.Time
	Finished *time.Time
	State    string
	Verdict  string
	Jobs     []*jobRow `bun:"rel:has-many,join:id=run_id"`
}

type jobRow struct {
	bun.BaseModel `bun:"table:jobs,alias:jobs"`

	RunID     string `bun:",pk"`
	Image     string `bun:",pk"`
	Action    string
	Reason    string
	ReleaseID string
	Ref       string
	Digest    string
	Error     string
	Steps     string
	Basis     string
}

// BeginRun records that run exists, with the jobs it has so far. An empty State means Running. An id that was used before
// is ErrConflict.
func (s *Store) BeginRun(ctx context.Context, run factory.Run) error {
	if !plain(run.ID) {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%.80q is not a run id", run.ID)}
	}
	row := &runRow{ID: run.ID, Command: clean(run.Command), Env: clean(string(run.Env)), Host: clean(run.Host), PID: run.PID, Started: instant(run.Started),
		State: string(cmp.Or(run.State, factory.Running)), Verdict: clean(run.Verdict)}
	if run.Finished != nil {
		at := instant(*run.Finished)
		row.Finished = &at
	}
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
			return err
		}
		for _, job := range run.Jobs {
			if err := saveJob(ctx, tx, run.ID, job); err != nil {
				return err
			}
		}
		return nil
	})
	return s.fail(ctx, "record run "+run.ID, err)
}

// SaveJob records what a run did with an image so far; a later call for the same image replaces it, also after the run's end:
// what happened, happened. A run that was never begun is ErrNotFound.
func (s *Store) SaveJob(ctx context.Context, runID string, job factory.RunJob) error {
	err := saveJob(ctx, s.db, runID, job)
	if dangling(err) {
		return noRun(runID)
	}
	return s.fail(ctx, "record "+job.Image+" in run "+runID, err)
}

func saveJob(ctx context.Context, db bun.IDB, runID string, job factory.RunJob) error {
	steps, err := json.Marshal(job.Steps)
	if err != nil {
		return err
	}
	row := &jobRow{RunID: runID, Image: clean(job.Image), Action: string(job.Action), Reason: clean(job.Reason), ReleaseID: clean(job.Release),
		Ref: clean(job.Ref), Digest: string(job.Digest), Error: clean(job.Error), Steps: string(steps), Basis: string(job.Basis)}
	_, err = db.NewInsert().Model(row).On("CONFLICT (run_id, image) DO UPDATE").
		Set("action = EXCLUDED.action, reason = EXCLUDED.reason, release_id = EXCLUDED.release_id, ref = EXCLUDED.ref").
		Set("digest = EXCLUDED.digest, error = EXCLUDED.error, steps = EXCLUDED.steps, basis = EXCLUDED.basis").Exec(ctx)
	return err
}

// FinishRun records the end of a run that is Running. Doing so again with the same state is harmless; a run that ended
// otherwise, because a later one noticed that it had died for instance, is ErrConflict and stays as it is.
func (s *Store) FinishRun(ctx context.Context, runID string, state factory.RunState, verdict string) error {
	res, err := s.db.NewUpdate().Table("runs").Set("state = ?, verdict = ?, finished = ?", string(state), clean(verdict), s.now()).
		Where("id = ? AND state = ?", runID, string(factory.Running)).Exec(ctx)
	if err != nil {
		return s.fail(ctx, "finish run "+runID, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return s.fail(ctx, "finish run "+runID, err)
	}
	var have runRow
	switch found, err := s.one(ctx, s.db.NewSelect().Model(&have).Where("id = ?", runID)); {
	case err != nil:
		return err
	case !found:
		return noRun(runID)
	case have.State == string(state):
		return nil
	}
	return &factory.Problem{Kind: factory.ErrConflict, What: fmt.Sprintf("run %s has ended already: %s", runID, have.State), Hint: have.Verdict}
}

// Runs returns the newest runs with their jobs, newest first. A limit of 0 or less means all.
func (s *Store) Runs(ctx context.Context, limit int) ([]factory.Run, error) {
	return s.runs(ctx, func(q *bun.SelectQuery) *bun.SelectQuery { return q.Limit(int64(max(limit, 0))) })
}

// Run returns the one run whose id begins with prefix; the whole id always means that run. None is ErrNotFound, several are
// ErrInvalid with the candidates in the hint.
func (s *Store) Run(ctx context.Context, prefix string) (factory.Run, error) {
	runs, err := s.runs(ctx, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("id >= ? AND id < ?", clean(prefix), clean(prefix)+above)
	})
	switch {
	case err != nil:
		return factory.Run{}, err
	case prefix == "" || len(runs) == 0:
		return factory.Run{}, noRun(prefix)
	}
	var ids []string
	for _, r := range runs {
		if r.ID == prefix || len(runs) == 1 {
			return r, nil
		}
		ids = append(ids, r.ID)
	}
	return factory.Run{}, ambiguous(prefix, "runs", ids)
}

func (s *Store) runs(ctx context.Context, narrow func(*bun.SelectQuery) *bun.SelectQuery) ([]factory.Run, error) {
	var rows []runRow
	q := s.db.NewSelect().Model(&rows).Relation("Jobs", func(q *bun.SelectQuery) *bun.SelectQuery { return q.Order("image") }).
		Order("started DESC", "id DESC")
	if err := narrow(q).Scan(ctx); err != nil {
		return nil, s.fail(ctx, "read runs", err)
	}
	runs := make([]factory.Run, 0, len(rows))
	for _, row := range rows {
		run, err := row.run()
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	return runs, nil
}

func (row runRow) run() (factory.Run, error) {
	run := factory.Run{ID: row.ID, Command: row.Command, Env: factory.Env(row.Env), Host: row.Host, PID: row.PID, Started: row.Started.UTC(),
		State: factory.RunState(row.State), Verdict: row.Verdict}
	if row.Finished != nil {
		at := row.Finished.UTC()
		run.Finished = &at
	}
	for _, j := range row.Jobs {
		job := factory.RunJob{Image: j.Image, Action: factory.Action(j.Action), Reason: j.Reason, Release: j.ReleaseID, Ref: j.Ref,
			Digest: factory.Digest(j.Digest), Error: j.Error, Basis: factory.Digest(j.Basis)}
		if err := json.Unmarshal([]byte(j.Steps), &job.Steps); err != nil {
			return run, damaged("run "+row.ID, "steps", err)
		}
		run.Jobs = append(run.Jobs, job)
	}
	return run, nil
}

func noRun(id string) error {
	return &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("no run %.80q", id), Hint: "factory runs lists them"}
}

func ambiguous(ref, what string, candidates []string) error {
	if more := len(candidates) - 8; more > 0 {
		candidates = append(candidates[:8:8], fmt.Sprintf("and %d more", more))
	}
	return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%.80q could be several %s", ref, what),
		Hint: "say which: " + strings.Join(candidates, ", ")}
}
