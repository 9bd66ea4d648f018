package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

type releaseRow struct {
	bun.BaseModel `bun:"table:releases,alias:releases"`

	ID         string `bun:",pk"`
	Image      string
	Owner      string
	Repository string
	Digest     string
	Tag        string
	Reason     string
	Created    time.Time
	RunID      string
	Supersedes string
	Content    string
	Inputs     *string

	Source, Artifact, Lock, Controls, Tests, Signatures, Steps string // JSON
}

type inputsRow struct {
	bun.BaseModel `bun:"table:inputs,alias:inputs"`

	Digest string `bun:",pk"`
	Size   int64
	Gzip   []byte
}

// AddRelease records a release with its inputs. It never changes afterwards: the same content again is harmless, another content
// under the same id is ErrConflict, and so is a repository:tag that names another digest. When repository:tag names this very
// digest already, under another id, the first record stands and nothing is added: a digest is released once under a tag.
// Without id, image, repository, digest, tag and time it is ErrInvalid.
func (s *Store) AddRelease(ctx context.Context, r factory.Release) error {
	row, err := encode(r)
	if err != nil {
		return err
	}
	inputs, err := pack(r.Inputs)
	if err != nil {
		return err
	}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if inputs != nil {
			row.Inputs = &inputs.Digest
			if _, err := tx.NewInsert().Model(inputs).On("CONFLICT (digest) DO NOTHING").Exec(ctx); err != nil {
				return err
			}
		}
		res, err := tx.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return s.recorded(ctx, tx, row)
	})
	return s.fail(ctx, "record release "+r.ID, err)
}

// recorded decides about a release that the database did not take, because of its id or of its tag.
func (s *Store) recorded(ctx context.Context, tx bun.Tx, row releaseRow) error {
	var have []releaseRow
	err := tx.NewSelect().Model(&have).Column("id", "digest", "repository", "tag", "content").
		Where("id = ? OR (repository = ? AND tag = ?)", row.ID, row.Repository, row.Tag).Scan(ctx)
	for _, h := range have {
		switch {
		case h.ID == row.ID && h.Content == row.Content:
		case h.ID == row.ID:
			return &factory.Problem{Kind: factory.ErrConflict, What: "release " + row.ID + " is recorded already, with other content", Hint: "factory show " + row.ID}
		case h.Digest != row.Digest:
			return &factory.Problem{Kind: factory.ErrConflict, What: fmt.Sprintf("%s:%s is %s already, not %s", row.Repository, row.Tag, h.Digest, row.Digest),
				Hint: "a tag never moves; see factory show " + h.ID}
		default:
			s.Log.InfoContext(ctx, "release was recorded before", "release", h.ID, "tag", row.Repository+":"+row.Tag, "notRecorded", row.ID)
		}
	}
	return err
}

// Inputs returns the tar of the files that made a release, nil when it was recorded without. Content that is not what was
// recorded is ErrUnverified, no such release ErrNotFound.
func (s *Store) Inputs(ctx context.Context, releaseID string) ([]byte, error) {
	var digest *string
	found, err := s.one(ctx, s.db.NewSelect().Table("releases").Column("inputs").Where("id = ?", releaseID), &digest)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, s.noRelease(ctx, releaseID)
	case digest == nil:
		return nil, nil
	}
	var row inputsRow
	if _, err := s.one(ctx, s.db.NewSelect().Model(&row).Where("digest = ?", *digest)); err != nil {
		return nil, err
	}
	return unpack(releaseID, row)
}

func pack(tar []byte) (*inputsRow, error) {
	if len(tar) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(tar); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return &inputsRow{Digest: string(factory.DigestOf(tar)), Size: int64(len(tar)), Gzip: b.Bytes()}, nil
}

func unpack(id string, row inputsRow) ([]byte, error) {
	bad := func(err error) ([]byte, error) {
		return nil, &factory.Problem{Kind: factory.ErrUnverified, What: "inputs of release " + id + " are not what was recorded", Cause: err,
			Hint: "restore a backup of the database"}
	}
	z, err := gzip.NewReader(bytes.NewReader(row.Gzip))
	if err != nil {
		return bad(err)
	}
	tar, err := io.ReadAll(io.LimitReader(z, row.Size+1))
	if err != nil || string(factory.DigestOf(tar)) != row.Digest {
		return bad(err)
	}
	return tar, nil
}

// encode makes the row of r, without its inputs.
func encode(r factory.Release) (releaseRow, error) {
	r.Created, r.Reason = instant(r.Created), clean(r.Reason)
	for field, ok := range map[string]bool{
		"id": plain(r.ID), "image": plain(r.Image), "repository": plain(r.Repository), "digest": r.Digest != "",
		"tag": r.Tag != factory.Tag{}, "time": r.Created.Year() > 1,
	} {
		if !ok {
			return releaseRow{}, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("release %q has no proper %s", r.ID, field)}
		}
	}
	row := releaseRow{ID: r.ID, Image: r.Image, Owner: clean(r.Owner), Repository: r.Repository, Digest: string(r.Digest), Tag: r.Tag.String(),
		Reason: r.Reason, Created: r.Created, RunID: clean(r.Run), Supersedes: clean(r.Supersedes)}
	for to, part := range row.parts(&r) {
		b, err := json.Marshal(part)
		if err != nil {
			return row, fmt.Errorf("release %s: %w", r.ID, err)
		}
		*to = string(b)
	}
	whole, err := json.Marshal(r)
	if err != nil {
		return row, fmt.Errorf("release %s: %w", r.ID, err)
	}
	row.Content = string(factory.DigestOf(append(whole, factory.DigestOf(r.Inputs)...)))
	if _, err := row.release(); err != nil {
		return row, &factory.Problem{Kind: factory.ErrInvalid, What: "release " + r.ID + " could be written but not read again", Cause: err}
	}
	return row, nil
}

// parts pairs the columns that are JSON with the fields of r that they hold.
func (row *releaseRow) parts(r *factory.Release) map[*string]any {
	return map[*string]any{&row.Source: &r.Source, &row.Artifact: &r.Artifact, &row.Lock: &r.Lock, &row.Controls: &r.Controls,
		&row.Tests: &r.Tests, &row.Signatures: &r.Signatures, &row.Steps: &r.Steps}
}

// release is the reverse of encode. Columns that were not selected leave their fields empty.
func (row releaseRow) release() (factory.Release, error) {
	r := factory.Release{ID: row.ID, Image: row.Image, Owner: row.Owner, Repository: row.Repository, Digest: factory.Digest(row.Digest),
		Reason: row.Reason, Created: row.Created.UTC(), Run: row.RunID, Supersedes: row.Supersedes}
	if err := r.Tag.UnmarshalText([]byte(row.Tag)); err != nil {
		return r, damaged("release "+row.ID, "tag", err)
	}
	for from, part := range row.parts(&r) {
		if *from == "" {
			continue
		}
		if err := json.Unmarshal([]byte(*from), part); err != nil {
			return r, damaged("release "+row.ID, fmt.Sprintf("%T", part), err)
		}
	}
	return r, nil
}
