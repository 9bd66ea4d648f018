package store

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

// Holder says who has a lease, for whoever wants it next.
type Holder struct {
	Run     string // id
	Command string // nightly, build
	Host    string
	PID     int
	Since   time.Time // zero = the moment of Acquire
}

// String reads "factory nightly, process 4711 on build1, run 01JD..., since 2026-11-23 02:00:00 UTC".
func (h Holder) String() string {
	s := fmt.Sprintf("factory %s, process %d on %s", cmp.Or(h.Command, "(unknown command)"), h.PID, cmp.Or(h.Host, "(unknown host)"))
	if h.Run != "" {
		s += ", run " + h.Run
	}
	if !h.Since.IsZero() {
		s += ", since " + h.Since.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	return s
}

// Lease is the right to be the only one at something until it expires or is released. It is safe for concurrent use.
type Lease struct {
	store      *Store
	name       string
	ttl        time.Duration
	generation int64

	mu      sync.Mutex
	expires time.Time
}

type leaseRow struct {
	bun.BaseModel `bun:"table:leases,alias:leases"`

	Name       string `bun:",pk"`
	Generation int64
	Held       bool
	RunID      string
	Command    string
	Host       string
	PID        int `bun:"pid"`
	Since      time.Time
	Expires    time.Time

	Wanted      string
	WantedUntil *time.Time
}

func (r leaseRow) holder() Holder {
	return Holder{Run: r.RunID, Command: r.Command, Host: r.Host, PID: r.PID, Since: r.Since}
}

// Acquire takes the lease called name for ttl. When somebody has it the error is ErrBusy and says who.
//
// A lease that has expired is taken over, and so is one whose holder is on the same host and not Alive any more. The run that
// held it, if still Running, becomes Interrupted in the same transaction, with a verdict that names the run that noticed.
func (s *Store) Acquire(ctx context.Context, name string, holder Holder, ttl time.Duration) (*Lease, error) {
	if !plain(name) || ttl <= 0 {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("no lease %.80q for %v", name, ttl)}
	}
	now := s.now()
	if holder.Since.IsZero() {
		holder.Since = now
	}
	l := &Lease{store: s, name: name, ttl: ttl, expires: now.Add(ttl)}
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		row, err := s.lockLease(ctx, tx, name)
		if err != nil {
			return err
		}
		if row.Held {
			why := s.over(row, holder, now)
			if why == "" {
				return busy(name, row)
			}
			if err := s.interrupt(ctx, tx, row, holder, why); err != nil {
				return err
			}
		}
		l.generation = row.Generation + 1
		_, err = tx.NewUpdate().Model(&leaseRow{Name: name, Generation: l.generation, Held: true, RunID: clean(holder.Run), Command: clean(holder.Command),
			Host: clean(holder.Host), PID: holder.PID, Since: instant(holder.Since), Expires: l.expires}).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return nil, s.fail(ctx, "take the lease "+name, err)
	}
	return l, nil
}

// lockLease returns the lease's row, which nobody else can change before tx ends.
func (s *Store) lockLease(ctx context.Context, tx bun.Tx, name string) (row leaseRow, err error) {
	epoch := time.Unix(0, 0).UTC()
	_, err = tx.NewInsert().Model(&leaseRow{Name: name, Since: epoch, Expires: epoch}).On("CONFLICT (name) DO NOTHING").Exec(ctx)
	if err != nil {
		return row, err
	}
	q := tx.NewSelect().Model(&row).Where("name = ?", name)
	if s.postgres() {
		q = q.For("UPDATE") // a transaction on SQLite locks everything from its beginning
	}
	return row, q.Scan(ctx)
}

// over says why a lease can be taken from its holder; empty = it cannot.
func (s *Store) over(row leaseRow, next Holder, now time.Time) string {
	switch {
	case !now.Before(row.Expires):
		return "its lease ended at " + row.Expires.UTC().Format("2006-01-02 15:04:05 UTC") + " without being renewed"
	case s.Alive != nil && row.Host == clean(next.Host) && !s.Alive(row.PID):
		return fmt.Sprintf("its process %d on %s is gone", row.PID, row.Host)
	}
	return ""
}

func (s *Store) interrupt(ctx context.Context, tx bun.Tx, row leaseRow, next Holder, why string) error {
	s.Log.WarnContext(ctx, "lease taken over", "lease", row.Name, "from", row.holder().String(), "by", next.String(), "because", why)
	if row.RunID == next.Run {
		return nil
	}
	by := "run " + next.Run
	if next.Run == "" {
		by = next.String()
	}
	_, err := tx.NewUpdate().Table("runs").Set("state = ?, verdict = ?", string(factory.Interrupted), clean("interrupted: "+why+"; noticed by "+by)).
		Where("id = ? AND state = ?", row.RunID, string(factory.Running)).Exec(ctx)
	return err
}

func busy(name string, row leaseRow) error {
	return &factory.Problem{Kind: factory.ErrBusy, What: name + " is held by " + row.holder().String(),
		Hint: fmt.Sprintf("wait for it, or stop it on %s: kill %d; if it is dead already, its lease ends at %s",
			cmp.Or(row.Host, "its host"), row.PID, row.Expires.UTC().Format("15:04:05 UTC"))}
}

// Renew makes the lease last ttl from now on. When it was taken over or released meanwhile the error is ErrConflict; any other
// error says nothing about the lease.
func (l *Lease) Renew(ctx context.Context) error {
	expires := l.store.now().Add(l.ttl)
	switch ours, err := l.update(ctx, "renew", "expires = ?", expires); {
	case err != nil:
		return err
	case !ours:
		return l.lost(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if expires.After(l.expires) {
		l.expires = expires
	}
	return nil
}

// Release gives the lease back. Releasing twice is harmless; ErrConflict says that it was lost before.
func (l *Lease) Release(ctx context.Context) error {
	ours, err := l.update(ctx, "release", "held = ?", false)
	if err != nil || ours {
		return err
	}
	var row leaseRow
	found, err := l.store.one(ctx, l.store.db.NewSelect().Model(&row).Where("name = ? AND generation = ?", l.name, l.generation))
	if err != nil || found {
		return err
	}
	return l.lost(ctx)
}

// update changes the lease's row if it is still ours.
func (l *Lease) update(ctx context.Context, doing, set string, value any) (ours bool, err error) {
	res, err := l.store.db.NewUpdate().Table("leases").Set(set, value).
		Where("name = ? AND generation = ? AND held = ?", l.name, l.generation, true).Exec(ctx)
	var n int64
	if err == nil {
		n, err = res.RowsAffected()
	}
	return n == 1, l.store.fail(ctx, doing+" the lease "+l.name, err)
}

func (l *Lease) lost(ctx context.Context) error {
	var row leaseRow
	found, err := l.store.one(ctx, l.store.db.NewSelect().Model(&row).Where("name = ?", l.name))
	if err != nil {
		return err
	}
	what := "the lease " + l.name + " was released"
	if found && row.Generation != l.generation {
		what = "the lease " + l.name + " was taken over by " + row.holder().String()
	}
	return &factory.Problem{Kind: factory.ErrConflict, What: what, Hint: "whatever this run has not published yet is left to the other one"}
}
