package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

// FindingQuery narrows a list of findings.
type FindingQuery struct {
	Image         string      // only of this image; empty = all
	Release       string      // only what the last scan of the release with this id found; empty = any
	Vulnerability string      // only this id; empty = all
	Package       string      // only in the binary package, or those of the source package, of this name; empty = all
	Env           factory.Env // only what the last scans of the releases standing there found; empty = any
	Open, Fixed   bool        // only what the image's newest release has, or has no more; neither or both = all
	Limit         int         // at most so many; 0 or less = all
}

// Found is a finding in an image. Of a query by release or environment it is as it was found there, otherwise as it was found in the
// newest release that had it.
type Found struct {
	factory.Finding
	Image    string    `json:"image"`
	LastSeen time.Time `json:"lastSeen"` // in any release of the image
	// Releases are the ids of those whose last scan found it, the newest first: of those that were asked for.
	Releases []string `json:"releases"`
}

type foundRow struct {
	Image, Finding      string
	FirstSeen, LastSeen time.Time
	FixSeen, FixedSince *time.Time
	Releases            *string
}

// Findings returns findings, the worst first, then by id, package and image: one for each image, vulnerability and package.
func (s *Store) Findings(ctx context.Context, q FindingQuery) ([]Found, error) {
	var rows []foundRow
	if err := s.findings(q).Scan(ctx, &rows); err != nil {
		return nil, s.fail(ctx, "read findings", err)
	}
	all := make([]Found, 0, len(rows))
	for _, row := range rows {
		f, err := row.found()
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b Found) int { return cmp.Or(a.Finding.Compare(b.Finding), cmp.Compare(a.Image, b.Image)) })
	return all[:min(len(all), cmp.Or(max(q.Limit, 0), len(all)))], nil
}

// findings asks for foundRows.
func (s *Store) findings(q FindingQuery) *bun.SelectQuery {
	sel := s.db.NewSelect().TableExpr("findings AS f")
	for column, value := range map[string]string{"f.image": q.Image, "f.vulnerability": q.Vulnerability} {
		if value != "" {
			sel = sel.Where("? = ?", bun.Ident(column), clean(value))
		}
	}
	if q.Package != "" {
		sel = sel.Where("(f.package = ? OR f.source = ?)", clean(q.Package), clean(q.Package))
	}
	if q.Open != q.Fixed {
		sel = sel.Where("(f.fixed_since IS NULL) = ?", q.Open)
	}
	const remembered = "f.image, f.first_seen, f.last_seen, f.fix_seen, f.fixed_since"
	if q.Release != "" || q.Env != "" {
		sel = sel.ColumnExpr(remembered + ", o.finding, o.release_id AS releases").
			Join("JOIN occurrences AS o ON o.image = f.image AND o.vulnerability = f.vulnerability AND o.package = f.package")
		if q.Release != "" {
			sel = sel.Where("o.release_id = ?", q.Release)
		}
		if q.Env != "" {
			sel = sel.Where("o.release_id IN (?)", s.standing("release_id", q.Env))
		}
		return sel // how bad it is is in what was found there
	}
	sel = sel.ColumnExpr(remembered + ", f.vulnerability, f.package, f.finding").Limit(int64(max(q.Limit, 0))).
		OrderExpr("CASE f.severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'moderate' THEN 2 WHEN 'low' THEN 3 ELSE 4 END, f.vulnerability, f.package, f.image")
	return s.db.NewSelect().TableExpr("(?) AS f", sel).ColumnExpr(remembered+", f.finding").
		ColumnExpr("(?) AS releases", s.db.NewSelect().TableExpr("occurrences AS o").Join("JOIN releases AS r ON r.id = o.release_id").
			ColumnExpr("string_agg(o.release_id, ' ' ORDER BY r.created DESC, r.id DESC)").
			Where("o.image = f.image AND o.vulnerability = f.vulnerability AND o.package = f.package"))
}

func (row foundRow) found() (Found, error) {
	f := Found{Image: row.Image, LastSeen: row.LastSeen.UTC()}
	if row.Releases != nil {
		f.Releases = strings.Fields(*row.Releases)
	}
	finding, err := readFinding(row.Image, row.Finding)
	(&findingRow{FirstSeen: row.FirstSeen, FixSeen: row.FixSeen, FixedSince: row.FixedSince}).fill(&finding)
	f.Finding = finding
	return f, err
}
