package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

// errStands ends the transaction of a release that another one, recorded before, stands for.
var errStands = errors.New("recorded before")

// AddRelease records a release with its inputs and documents, its packages, its first line of the ledger, its scan and the
// triggers of whoever follows the image, all or nothing, and returns the release that stands. A release never changes afterwards: the same content again is harmless, another
// content under the same id is ErrConflict, and so is a repository:tag that names another digest. When repository:tag names this
// very digest already, by an earlier release or a promotion, that first release stands, is returned as Release would, and
// nothing is added: a digest is released once under a tag. Without id, image, repository, digest, tag and time, or with a
// document that is not what its digest says, it is ErrInvalid.
func (s *Store) AddRelease(ctx context.Context, r factory.Release) (factory.Release, error) {
	whole, err := encode(r)
	if err != nil {
		return factory.Release{}, err
	}
	stands := r.ID
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) (err error) {
		stands, err = s.addRelease(ctx, tx, whole)
		return err
	})
	if err != nil && !errors.Is(err, errStands) {
		return factory.Release{}, s.fail(ctx, "record release "+r.ID, err)
	}
	if stands != r.ID {
		s.Log.InfoContext(ctx, "release was recorded before", "release", stands, "tag", r.Tagged(), "notRecorded", r.ID)
		return s.whole(ctx, stands)
	}
	recorded, err := whole.row.release()
	recorded.Inputs, recorded.Documents = r.Inputs, r.Documents
	return recorded, err
}

// encoded is a release as rows, but for those that depend on what is there already.
type encoded struct {
	row       releaseRow
	blobs     []blobRow
	documents []documentRow
	packages  []packageRow
	entry     entryRow
	cause     string
	scan      factory.Scan
}

// addRelease returns the id of the release that stands, with errStands when that one was recorded before.
func (s *Store) addRelease(ctx context.Context, tx bun.Tx, e encoded) (string, error) {
	if err := saveBlobs(ctx, tx, e.blobs); err != nil {
		return "", err
	}
	if err := s.lockImage(ctx, tx, e.row.Image); err != nil {
		return "", err
	}
	switch added, err := insert(ctx, tx, &e.row); {
	case err != nil:
		return "", err
	case !added:
		return s.recorded(ctx, tx, e.row)
	}
	switch have, _, err := appendEntry(ctx, tx, e.entry); {
	case err != nil:
		return "", err
	case have.ReleaseID != e.row.ID:
		return have.ReleaseID, errStands
	}
	if len(e.documents) > 0 {
		if _, err := tx.NewInsert().Model(&e.documents).Exec(ctx); err != nil {
			return "", err
		}
	}
	if err := savePackages(ctx, tx, e.packages); err != nil {
		return "", err
	}
	if scanned(e.scan) {
		if _, err := s.saveScan(ctx, tx, e.row.ID, e.row.Image, e.scan); err != nil {
			return "", err
		}
	}
	return e.row.ID, s.addTriggers(ctx, tx, e.entry, e.cause)
}

// lockImage makes everybody else who records something of the image wait for the end of tx.
func (s *Store) lockImage(ctx context.Context, tx bun.Tx, image string) error {
	if !s.postgres() {
		return nil // a transaction on SQLite locks everything from its beginning
	}
	_, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?, hashtext(?))", applicationID, image)
	return err
}

// insert adds a row unless something unique is there already.
func insert(ctx context.Context, tx bun.Tx, row any) (added bool, err error) {
	res, err := tx.NewInsert().Model(row).On("CONFLICT DO NOTHING").Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// recorded decides about a release that the database did not take, because of its id or of its tag.
func (s *Store) recorded(ctx context.Context, tx bun.Tx, row releaseRow) (stands string, err error) {
	var have []releaseRow
	err = tx.NewSelect().Model(&have).Column("id", "digest", "repository", "tag", "content").
		Where("id = ? OR (repository = ? AND tag = ?)", row.ID, row.Repository, row.Tag).Scan(ctx)
	if err != nil {
		return "", err
	}
	for _, h := range have {
		switch {
		case h.ID == row.ID && h.Content == row.Content:
		case h.ID == row.ID:
			return "", &factory.Problem{Kind: factory.ErrConflict, What: "release " + row.ID + " is recorded already, with other content", Hint: "factory show " + row.ID}
		case h.Digest != row.Digest:
			return "", tagTaken(row.Repository, row.Tag, h.Digest, row.Digest, h.ID)
		}
		stands = h.ID
	}
	return stands, errStands
}

func tagTaken(repository, tag, has, wanted, release string) error {
	return &factory.Problem{Kind: factory.ErrConflict, What: fmt.Sprintf("%s:%s is %s already, not %s", repository, tag, has, wanted),
		Hint: "a tag never moves; see factory show " + release}
}
