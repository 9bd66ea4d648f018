package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// LatestScan returns the scan of a release that was recorded last, with what is remembered of its findings by now; nil when the
// release was never scanned. No such release is ErrNotFound.
func (s *Store) LatestScan(ctx context.Context, releaseID string) (*factory.Scan, error) {
	var rows []struct {
		scanRow
		Image               *string
		Finding             *string
		FirstSeen           time.Time
		FixSeen, FixedSince *time.Time
	}
	last := s.db.NewSelect().Table("scans").Where("release_id = ?", releaseID).Order("seq DESC").Limit(1)
	err := s.db.NewSelect().TableExpr("(?) AS s", last).
		Join("LEFT JOIN occurrences AS o ON o.release_id = s.release_id").
		Join("LEFT JOIN findings AS f ON f.image = o.image AND f.vulnerability = o.vulnerability AND f.package = o.package").
		ColumnExpr("s.at, s.scanner, s.database, s.packages, s.not_looked_at, o.image, o.finding, f.first_seen, f.fix_seen, f.fixed_since").Scan(ctx, &rows)
	if err != nil {
		return nil, s.fail(ctx, "read the last scan of release "+releaseID, err)
	}
	if len(rows) == 0 {
		_, err := s.Documents(ctx, releaseID) // knows whether there is such a release
		return nil, err
	}
	scan := &factory.Scan{Scanner: rows[0].Scanner, At: rows[0].At.UTC(), Packages: rows[0].Packages}
	if err := json.Unmarshal([]byte(rows[0].Database), &scan.Database); err != nil {
		return nil, damaged("release "+releaseID, "database of its scan", err)
	}
	if scan.NotLookedAt, err = readUnseen(rows[0].NotLookedAt); err != nil {
		return nil, damaged("release "+releaseID, "packages that its scan did not look at", err)
	}
	for _, row := range rows {
		if row.Finding == nil {
			continue // nothing was found
		}
		f, err := readFinding(*row.Image, *row.Finding)
		if err != nil {
			return nil, err
		}
		(&findingRow{FirstSeen: row.FirstSeen, FixSeen: row.FixSeen, FixedSince: row.FixedSince}).fill(&f)
		scan.Findings = append(scan.Findings, f)
	}
	slices.SortFunc(scan.Findings, factory.Finding.Compare)
	return scan, nil
}

// readUnseen reads names; nil when there are none.
func readUnseen(text string) (names []string, err error) {
	if err := json.Unmarshal([]byte(text), &names); err != nil || len(names) == 0 {
		return nil, err
	}
	return names, nil
}
