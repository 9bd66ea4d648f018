package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/uptrace/bun"
	"golang.org/x/sync/errgroup"

	"github.com/imagefactory/imagefactory/factory"
)

// blobRow is content that is known by its digest and shared by whoever has the same.
type blobRow struct {
	bun.BaseModel `bun:"table:blobs,alias:blobs"`

	Digest string `bun:",pk"`
	Size   int64
	Gzip   []byte
}

// packAll compresses the contents, each once, in the order of their digests: in which everybody writes them, so that two
// who have several in common do not wait for each other.
func packAll(contents [][]byte) ([]blobRow, error) {
	rows := make([]blobRow, len(contents))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, b := range contents {
		g.Go(func() (err error) {
			rows[i], err = pack(b)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(rows, func(a, b blobRow) int { return cmp.Compare(a.Digest, b.Digest) })
	return slices.CompactFunc(rows, func(a, b blobRow) bool { return a.Digest == b.Digest }), nil
}

func pack(content []byte) (blobRow, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(content); err != nil {
		return blobRow{}, err
	}
	if err := z.Close(); err != nil {
		return blobRow{}, err
	}
	return blobRow{Digest: string(factory.DigestOf(content)), Size: int64(len(content)), Gzip: b.Bytes()}, nil
}

func saveBlobs(ctx context.Context, tx bun.Tx, rows []blobRow) error {
	for _, row := range rows {
		if _, err := tx.NewInsert().Model(&row).On("CONFLICT (digest) DO NOTHING").Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// blob returns what has the digest; what is the subject of an error: "inputs of release x".
func (s *Store) blob(ctx context.Context, digest, what string) ([]byte, error) {
	var row blobRow
	if _, err := s.one(ctx, s.db.NewSelect().Model(&row).Where("digest = ?", digest)); err != nil {
		return nil, err
	}
	content, err := row.unpack()
	if err != nil || string(factory.DigestOf(content)) != digest {
		return nil, &factory.Problem{Kind: factory.ErrUnverified, What: what + " is not what was recorded", Cause: err, Hint: "restore a backup of the database"}
	}
	return content, nil
}

func (row blobRow) unpack() ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(row.Gzip))
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(z, row.Size+1))
	if err == nil && int64(len(content)) != row.Size {
		err = fmt.Errorf("%d bytes were recorded", row.Size)
	}
	return content, err
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
	return s.blob(ctx, *digest, "the tar of inputs of release "+releaseID)
}
