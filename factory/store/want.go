package store

import (
	"context"
	"fmt"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Want asks whoever has the lease called name to give it back soon, and says what for. The request counts for ttl, so whoever waits
// repeats it, and who stopped waiting asks for nothing; taking the lease ends it. When nobody has the lease nothing happens.
func (s *Store) Want(ctx context.Context, name, what string, ttl time.Duration) error {
	if !plain(name) || clean(what) == "" || ttl <= 0 {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("nobody can want the lease %.80q for %.80q", name, what)}
	}
	_, err := s.db.NewUpdate().Table("leases").Set("wanted = ?, wanted_until = ?", clean(what), s.now().Add(ttl)).
		Where("name = ? AND held = ?", name, true).Exec(ctx)
	return s.fail(ctx, "ask for the lease "+name, err)
}

// Wanted returns what somebody who waits for the lease called name wants it for; empty = nobody waits.
func (s *Store) Wanted(ctx context.Context, name string) (string, error) {
	var row leaseRow
	found, err := s.one(ctx, s.db.NewSelect().Model(&row).Where("name = ? AND held = ?", name, true))
	if err != nil || !found || row.WantedUntil == nil || !s.now().Before(*row.WantedUntil) {
		return "", err
	}
	return row.Wanted, nil
}
