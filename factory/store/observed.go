package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

// Sighting is a look at a repository, with what it showed.
type Sighting struct {
	factory.Look
	Images []factory.Observed // of this repository, each as it is now
	// Spared are tags that are there and were not read: what was seen under them before still counts.
	Spared []string
	// Blind is set when nobody knows which tags there are: all that was seen before still counts.
	Blind bool
}

type observedRow struct {
	bun.BaseModel `bun:"table:observed,alias:observed"`

	Repository string `bun:",pk"`
	Tag        string `bun:",pk"`
	Digest     string `bun:",pk"`
	Created    *time.Time
	Image      string
	ReleaseID  string
	Base       string
	FoundBy    string
	Layers     int
	OfLayers   int
	Dependent  string
	At         time.Time
	Gone       *time.Time
}

type lookRow struct {
	bun.BaseModel `bun:"table:looks,alias:looks"`

	Repository string `bun:",pk"`
	At         time.Time
	Tags       int
	Read       int
	Found      int
	Problem    string
}

// observedAtOnce is how many rows one statement writes: databases bound its parameters.
const observedAtOnce = 500

// Observe records looks at repositories, all or nothing, and returns how many images are gone since: what was seen in these
// repositories before and neither was seen now nor is spared. They stay in the database, with the time at which that was noticed. An
// image that comes back is not gone any more.
func (s *Store) Observe(ctx context.Context, all []Sighting) (gone int, err error) {
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		gone = 0
		for _, l := range all {
			n, err := observe(ctx, tx, l)
			if err != nil {
				return err
			}
			gone += n
		}
		return nil
	})
	return gone, s.fail(ctx, "record what was seen in "+fmt.Sprint(len(all))+" repositories", err)
}

func observe(ctx context.Context, tx bun.Tx, l Sighting) (gone int, err error) {
	if !plain(l.Repository) || l.At.Year() <= 1 {
		return 0, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("look at %.120q has no repository or time", l.Repository)}
	}
	look := lookRow{Repository: l.Repository, At: instant(l.At), Tags: l.Tags, Read: l.Read, Found: l.Found, Problem: clean(l.Problem)}
	if _, err := tx.NewInsert().Model(&look).On("CONFLICT (repository) DO UPDATE").
		Set("at = EXCLUDED.at, tags = EXCLUDED.tags, read = EXCLUDED.read, found = EXCLUDED.found, problem = EXCLUDED.problem").Exec(ctx); err != nil {
		return 0, err
	}
	rows := make([]observedRow, 0, len(l.Images))
	for _, o := range l.Images {
		row, err := encodeObserved(l.Repository, o)
		if err != nil {
			return 0, err
		}
		rows = append(rows, row)
	}
	for len(rows) > 0 {
		some := rows[:min(len(rows), observedAtOnce)]
		rows = rows[len(some):]
		if _, err := tx.NewInsert().Model(&some).On("CONFLICT (repository, tag, digest) DO UPDATE").
			Set("created = EXCLUDED.created, image = EXCLUDED.image, release_id = EXCLUDED.release_id, base = EXCLUDED.base, found_by = EXCLUDED.found_by").
			Set("layers = EXCLUDED.layers, of_layers = EXCLUDED.of_layers, dependent = EXCLUDED.dependent, at = EXCLUDED.at, gone = NULL").Exec(ctx); err != nil {
			return 0, err
		}
	}
	if l.Blind {
		return 0, nil
	}
	return vanish(ctx, tx, l)
}

// vanish marks what the look should have shown and did not.
func vanish(ctx context.Context, tx bun.Tx, l Sighting) (gone int, err error) {
	var before []observedRow
	if err := tx.NewSelect().Model(&before).Column("repository", "tag", "digest").Where("repository = ? AND gone IS NULL", l.Repository).Scan(ctx); err != nil {
		return 0, err
	}
	there := map[[2]string]bool{}
	for _, o := range l.Images {
		there[[2]string{o.Tag, string(o.Digest)}] = true
	}
	spared := map[string]bool{}
	for _, tag := range l.Spared {
		spared[tag] = true
	}
	for _, row := range before {
		if there[[2]string{row.Tag, row.Digest}] || spared[row.Tag] {
			continue
		}
		gone++
		if _, err := tx.NewUpdate().Model(&row).WherePK().Set("gone = ?", instant(l.At)).Exec(ctx); err != nil {
			return 0, err
		}
	}
	return gone, nil
}

func encodeObserved(repository string, o factory.Observed) (observedRow, error) {
	if o.Repository != repository || !plain(o.Tag) || !plain(o.Image) || o.Digest == "" || o.At.Year() <= 1 {
		return observedRow{}, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("image %.120q seen in %s has no proper tag, digest, base or time", o.Repository+":"+o.Tag, repository)}
	}
	row := observedRow{Repository: o.Repository, Tag: o.Tag, Digest: clean(string(o.Digest)), Image: o.Image, ReleaseID: clean(o.Release), Base: clean(string(o.Base)),
		FoundBy: clean(o.By), Layers: o.Layers, OfLayers: o.Of, Dependent: clean(o.Dependent), At: instant(o.At)}
	if !o.Created.IsZero() {
		created := instant(o.Created)
		row.Created = &created
	}
	return row, nil
}

func (row observedRow) observed() factory.Observed {
	o := factory.Observed{Repository: row.Repository, Tag: row.Tag, Digest: factory.Digest(row.Digest), Image: row.Image, Release: row.ReleaseID, Base: factory.Digest(row.Base),
		By: row.FoundBy, Layers: row.Layers, Of: row.OfLayers, Dependent: row.Dependent, At: row.At.UTC()}
	if row.Created != nil {
		o.Created = row.Created.UTC()
	}
	if row.Gone != nil {
		gone := row.Gone.UTC()
		o.Gone = &gone
	}
	return o
}

// ObservedQuery narrows what was seen.
type ObservedQuery struct {
	Image string // only what is built on this one; empty = all
	Gone  bool   // with what is gone
}

// Observed returns what was seen in registries, by repository, tag and time.
func (s *Store) Observed(ctx context.Context, q ObservedQuery) ([]factory.Observed, error) {
	var rows []observedRow
	sel := s.db.NewSelect().Model(&rows).Order("repository", "tag", "at", "digest")
	if q.Image != "" {
		sel = sel.Where("image = ?", clean(q.Image))
	}
	if !q.Gone {
		sel = sel.Where("gone IS NULL")
	}
	if err := sel.Scan(ctx); err != nil {
		return nil, s.fail(ctx, "read what was seen", err)
	}
	all := make([]factory.Observed, 0, len(rows))
	for _, row := range rows {
		all = append(all, row.observed())
	}
	return all, nil
}

// Looks returns the last look at each repository that was ever looked at, by repository.
func (s *Store) Looks(ctx context.Context) ([]factory.Look, error) {
	var rows []lookRow
	if err := s.db.NewSelect().Model(&rows).Order("repository").Scan(ctx); err != nil {
		return nil, s.fail(ctx, "read the looks at repositories", err)
	}
	all := make([]factory.Look, 0, len(rows))
	for _, row := range rows {
		all = append(all, factory.Look{Repository: row.Repository, At: row.At.UTC(), Tags: row.Tags, Read: row.Read, Found: row.Found, Problem: row.Problem})
	}
	return all, nil
}

// Bases returns every release, newest first, with no more than it takes to recognise it below another image.
func (s *Store) Bases(ctx context.Context) ([]factory.Release, error) {
	var rows []releaseRow
	if err := s.db.NewSelect().Model(&rows).Column("id", "image", "owner", "repository", "digest", "tag", "created", "artifact").Order("created DESC", "id DESC").Scan(ctx); err != nil {
		return nil, s.fail(ctx, "read releases", err)
	}
	return releases(rows)
}
