package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

type entryRow struct {
	bun.BaseModel `bun:"table:ledger,alias:ledger"`

	ID         string
	ReleaseID  string
	Image      string
	Repository string
	Digest     string
	Env        string
	Tag        string
	At         time.Time
	Actor      string
	RunID      string
	Reason     string
	Revoked    bool
	Decision   string
}

// Promote records that a release came into one more environment, under one more tag. The same digest under the same
// repository:tag again is harmless and adds nothing. It is ErrConflict when repository:tag is another digest's, or when the digest
// is not the release's; ErrBlocked when the digest was revoked; ErrNotFound without the release; ErrInvalid when something of the
// entry is missing or its tag is of another environment. Whoever follows the image there gets a trigger in the same transaction.
func (s *Store) Promote(ctx context.Context, e factory.Entry) error {
	row, err := encodeEntry(e)
	if err != nil {
		return err
	}
	if e.Revoked || e.Tag.Env != e.Env || e.Env == "" {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%q is no tag for a promotion to %q", e.Tag.String(), e.Env)}
	}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var r releaseRow
		if err := s.lockImage(ctx, tx, row.Image); err != nil {
			return err
		}
		switch err := tx.NewSelect().Model(&r).Column("repository", "digest", "cause").Where("id = ?", row.ReleaseID).Scan(ctx); {
		case none(err):
			return &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("no release %.120q", row.ReleaseID), Hint: "factory releases lists them"}
		case err != nil:
			return err
		case r.Digest != row.Digest || r.Repository != row.Repository:
			return &factory.Problem{Kind: factory.ErrConflict, What: fmt.Sprintf("release %s is %s@%s, not %s@%s", row.ReleaseID, r.Repository, r.Digest, row.Repository, row.Digest)}
		}
		switch have, err := revocation(ctx, tx, row.Repository, row.Digest); {
		case err != nil:
			return err
		case have != nil:
			return &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("%s was revoked at %s: %s", row.Digest, have.At.UTC().Format(time.RFC3339), have.Reason),
				Hint: "promote a later release of " + row.Image}
		}
		if _, added, err := appendEntry(ctx, tx, row); err != nil || !added {
			return err
		}
		return s.addTriggers(ctx, tx, row, r.Cause)
	})
	return s.fail(ctx, "record the promotion of "+e.Repository+":"+e.Tag.String(), err)
}

// Revoke records that nobody may use a digest of a repository any more, in any environment and for good: it is out of force
// under every tag that it has or will get. The entry may lack Env and Tag. Revoking again is harmless, and the first revocation
// stands. Triggers about the digest that wait, or are dead, are superseded, and whoever was told of it gets a trigger about what is in
// force again. A digest that never came into an environment is ErrNotFound.
func (s *Store) Revoke(ctx context.Context, e factory.Entry) error {
	e.Revoked = true
	row, err := encodeEntry(e)
	if err != nil {
		return err
	}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		known, err := tx.NewSelect().Table("ledger").Where("repository = ? AND digest = ? AND NOT revoked", row.Repository, row.Digest).Exists(ctx)
		if err != nil {
			return err
		}
		if !known {
			return &factory.Problem{Kind: factory.ErrNotFound, What: row.Digest + " was never released to " + row.Repository, Hint: "factory releases lists what was"}
		}
		if have, err := revocation(ctx, tx, row.Repository, row.Digest); err != nil || have != nil {
			return err
		}
		if _, _, err = appendEntry(ctx, tx, row); err != nil {
			return err
		}
		if err := withdraw(ctx, tx, row); err != nil {
			return err
		}
		return s.goBack(ctx, tx, row)
	})
	return s.fail(ctx, "record the revocation of "+string(e.Digest), err)
}

// appendEntry adds a line and returns it; when its tag names its digest already, the line that says so.
func appendEntry(ctx context.Context, tx bun.Tx, row entryRow) (stands entryRow, added bool, err error) {
	if added, err = insert(ctx, tx, &row); err != nil || added {
		return row, added, err
	}
	var have []entryRow
	err = tx.NewSelect().Model(&have).Where("id = ? OR (repository = ? AND tag = ? AND NOT revoked)", row.ID, row.Repository, row.Tag).Order("seq").Scan(ctx)
	if err != nil {
		return row, false, err
	}
	for _, h := range have {
		switch {
		case h.Repository == row.Repository && h.Tag == row.Tag && h.Digest == row.Digest && h.Revoked == row.Revoked:
			row = h
		case h.ID == row.ID:
			return row, false, &factory.Problem{Kind: factory.ErrConflict, What: "ledger entry " + row.ID + " is recorded already, with other content"}
		default:
			return row, false, tagTaken(row.Repository, row.Tag, h.Digest, row.Digest, h.ReleaseID)
		}
	}
	return row, false, nil
}

// revocation returns the entry that revoked a digest, nil when none did.
func revocation(ctx context.Context, db bun.IDB, repository, digest string) (*entryRow, error) {
	var row entryRow
	err := db.NewSelect().Model(&row).Where("repository = ? AND digest = ? AND revoked", clean(repository), clean(digest)).Order("seq").Limit(1).Scan(ctx)
	if none(err) {
		return nil, nil
	}
	return &row, err
}

func encodeEntry(e factory.Entry) (entryRow, error) {
	for field, ok := range map[string]bool{"id": plain(e.ID), "image": plain(e.Image), "repository": plain(e.Repository), "digest": e.Digest != "",
		"time": e.At.Year() > 1, "tag": e.Revoked || e.Tag != factory.Tag{}} {
		if !ok {
			return entryRow{}, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("ledger entry %.80q has no proper %s", e.ID, field)}
		}
	}
	row := entryRow{ID: e.ID, ReleaseID: clean(e.Release), Image: e.Image, Repository: e.Repository, Digest: clean(string(e.Digest)), Env: clean(string(e.Env)),
		At: instant(e.At), Actor: clean(e.By), RunID: clean(e.Run), Reason: clean(e.Reason), Revoked: e.Revoked}
	tag, err := e.Tag.MarshalText()
	if err != nil {
		return row, err
	}
	decision, err := json.Marshal(e.Decision)
	row.Tag, row.Decision = string(tag), string(decision)
	return row, err
}

func (row entryRow) entry() (factory.Entry, error) {
	e := factory.Entry{ID: row.ID, Release: row.ReleaseID, Image: row.Image, Repository: row.Repository, Digest: factory.Digest(row.Digest), Env: factory.Env(row.Env),
		At: row.At.UTC(), By: row.Actor, Run: row.RunID, Reason: row.Reason, Revoked: row.Revoked}
	if err := cmp.Or(e.Tag.UnmarshalText([]byte(row.Tag)), json.Unmarshal([]byte(row.Decision), &e.Decision)); err != nil {
		return e, damaged("ledger entry "+row.ID, "tag or decision", err)
	}
	return e, nil
}
