package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

type documentRow struct {
	bun.BaseModel `bun:"table:documents,alias:documents"`

	ReleaseID string `bun:",pk"`
	Kind      string `bun:",pk"`
	Name      string `bun:",pk"`
	Platform  string
	MediaType string
	Digest    string
}

// documentRows checks a release's documents: each is what its digest says, and there is one of a kind and name.
func documentRows(r factory.Release) ([]documentRow, error) {
	rows := make([]documentRow, 0, len(r.Documents))
	seen := map[string]bool{}
	for _, d := range r.Documents {
		name := string(d.Kind) + " " + d.Name
		var wrong string
		switch {
		case !plain(string(d.Kind)) || d.Name == "" || clean(d.Name) != d.Name || clean(d.MediaType) != d.MediaType:
			wrong = "has no proper kind, name and media type"
		case seen[name]:
			wrong = "is there twice"
		case d.Digest != factory.DigestOf(d.Data):
			wrong = "is not what its digest says"
		}
		if wrong != "" {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("release %s: document %.120q %s", r.ID, name, wrong)}
		}
		seen[name] = true
		rows = append(rows, documentRow{ReleaseID: r.ID, Kind: string(d.Kind), Name: d.Name, Platform: d.Platform.String(), MediaType: d.MediaType, Digest: string(d.Digest)})
	}
	return rows, nil
}

// Documents returns a release's documents without their Data, sorted by kind and name; nil when it has none. No such release is
// ErrNotFound.
func (s *Store) Documents(ctx context.Context, releaseID string) ([]factory.Document, error) {
	var rows []documentRow
	if err := s.db.NewSelect().Model(&rows).Where("release_id = ?", releaseID).Order("kind", "name").Scan(ctx); err != nil {
		return nil, s.fail(ctx, "read documents of release "+releaseID, err)
	}
	if len(rows) == 0 {
		if found, err := s.one(ctx, s.db.NewSelect().Table("releases").Column("id").Where("id = ?", releaseID), new(string)); err != nil || found {
			return nil, err
		}
		return nil, s.noRelease(ctx, releaseID)
	}
	documents := make([]factory.Document, 0, len(rows))
	for _, row := range rows {
		d := factory.Document{Kind: factory.DocumentKind(row.Kind), Name: row.Name, MediaType: row.MediaType, Digest: factory.Digest(row.Digest)}
		if row.Platform != "" { // empty: of no platform
			if err := d.Platform.UnmarshalText([]byte(row.Platform)); err != nil {
				return nil, damaged("release "+releaseID, "platform of "+row.Name, err)
			}
		}
		documents = append(documents, d)
	}
	return documents, nil
}

// Document returns a release's document with its Data. Data that is not what was recorded is ErrUnverified; no such release or
// document is ErrNotFound, and says which documents there are.
func (s *Store) Document(ctx context.Context, releaseID string, kind factory.DocumentKind, name string) (factory.Document, error) {
	all, err := s.Documents(ctx, releaseID)
	if err != nil {
		return factory.Document{}, err
	}
	i := slices.IndexFunc(all, func(d factory.Document) bool { return d.Kind == kind && d.Name == name })
	if i < 0 {
		var names []string
		for _, d := range all {
			names = append(names, string(d.Kind)+" "+d.Name)
		}
		hint := cmp.Or(strings.Join(names, ", "), "none; it was released before documents were kept")
		return factory.Document{}, &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("release %s has no document %.120q", releaseID, string(kind)+" "+name), Hint: "it has: " + hint}
	}
	d := all[i]
	d.Data, err = s.blob(ctx, string(d.Digest), fmt.Sprintf("document %s %s of release %s", kind, name, releaseID))
	return d, err
}
