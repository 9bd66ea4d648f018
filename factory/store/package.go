package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

type packageRow struct {
	bun.BaseModel `bun:"table:packages,alias:packages"`

	ReleaseID     string `bun:",pk"`
	Platform      string `bun:",pk"`
	Name          string `bun:",pk"`
	Version       string
	Source        string
	SourceVersion string
	Arch          string `bun:",pk"`
}

func packageRows(id string, l factory.Lock) (rows []packageRow) {
	for _, locked := range l.Platforms {
		for _, p := range locked.Packages {
			rows = append(rows, packageRow{ReleaseID: id, Platform: locked.Platform.String(), Name: clean(p.Name), Version: clean(p.Version),
				Source: clean(cmp.Or(p.Source, p.Name)), SourceVersion: clean(cmp.Or(p.SourceVersion, p.Version)), Arch: clean(p.Arch)})
		}
	}
	return rows
}

func savePackages(ctx context.Context, tx bun.Tx, rows []packageRow) error {
	for some := range slices.Chunk(rows, 500) {
		if _, err := tx.NewInsert().Model(&some).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Holding is one package in one release.
type Holding struct {
	Release    string           `json:"release"` // id
	Image      string           `json:"image"`
	Repository string           `json:"repository"`
	Digest     factory.Digest   `json:"digest"` // of the release's index
	Tag        factory.Tag      `json:"tag"`    // the release's first
	Created    time.Time        `json:"created"`
	Platform   factory.Platform `json:"platform"`

	Name          string `json:"name"`
	Version       string `json:"version"`
	Source        string `json:"source"`        // the name where the lock says nothing else
	SourceVersion string `json:"sourceVersion"` // the version where the lock says nothing else
	Arch          string `json:"arch"`          // all, or noarch, where the package is of no architecture
}

// Holding returns every release whose lock has the package, whatever its version: a binary package of that name, or every one
// that was built from a source package of that name. Newest release first; of one release by name and platform.
func (s *Store) Holding(ctx context.Context, pkg string) ([]Holding, error) {
	var rows []struct {
		packageRow
		Image, Repository, Digest, Tag string
		Created                        time.Time
	}
	err := s.db.NewSelect().TableExpr("packages AS p").Join("JOIN releases AS r ON r.id = p.release_id").
		ColumnExpr("p.release_id, p.platform, p.name, p.version, p.source, p.source_version, p.arch, r.image, r.repository, r.digest, r.tag, r.created").
		Where("p.name = ? OR p.source = ?", clean(pkg), clean(pkg)).
		OrderExpr("r.created DESC, r.id DESC, p.name, p.platform, p.arch").Scan(ctx, &rows)
	if err != nil {
		return nil, s.fail(ctx, "look for package "+pkg, err)
	}
	all := make([]Holding, 0, len(rows))
	for _, row := range rows {
		h := Holding{Release: row.ReleaseID, Image: row.Image, Repository: row.Repository, Digest: factory.Digest(row.Digest), Created: row.Created.UTC(),
			Name: row.Name, Version: row.Version, Source: row.Source, SourceVersion: row.SourceVersion, Arch: row.Arch}
		if err := cmp.Or(h.Tag.UnmarshalText([]byte(row.Tag)), h.Platform.UnmarshalText([]byte(row.Platform))); err != nil {
			return nil, damaged("release "+row.ReleaseID, "tag or platform", err)
		}
		all = append(all, h)
	}
	return all, nil
}
