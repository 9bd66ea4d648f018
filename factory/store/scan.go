package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

type scanRow struct {
	bun.BaseModel `bun:"table:scans,alias:scans"`

	ReleaseID string
	At        time.Time
	Scanner   string
	Database  string
	Packages  int
	Counts    string
	// NotLookedAt is JSON, like Database and Counts.
	NotLookedAt string
}

// occurrenceRow is a finding of a release's last scan.
type occurrenceRow struct {
	bun.BaseModel `bun:"table:occurrences,alias:occurrences"`

	ReleaseID     string `bun:",pk"`
	Image         string
	Vulnerability string `bun:",pk"`
	Package       string `bun:",pk"`
	Finding       string
}

// Remember returns the scan with what is remembered of its findings filled in, as if it were the scan of the image's newest
// release: what a gate needs to know before there is a release. It records nothing. Findings come back sorted, one for each key.
func (s *Store) Remember(ctx context.Context, image string, scan factory.Scan) (factory.Scan, error) {
	scan, err := proper(scan)
	if err != nil {
		return scan, err
	}
	known, err := readHistory(ctx, s.db, image)
	if err != nil {
		return scan, s.fail(ctx, "read the findings of "+image, err)
	}
	for i, f := range scan.Findings {
		row, _, err := known.sight(image, f, scan, true)
		if err != nil {
			return scan, err
		}
		row.fill(&scan.Findings[i])
	}
	return scan, nil
}

// SaveScan records another scan of a release and returns it with what is remembered of its findings. It is the release's
// LatestScan from then on; recording it again is harmless. A scan without a time, or with a finding that has no proper name, is
// ErrInvalid; an unknown release is ErrNotFound.
//
// A finding is (image, vulnerability, package); neither rebuild, nor version, tag or waiver makes another one of it.
//   - First seen and fix seen are the earliest instants at which a scan of any of the image's releases saw it, or saw it with a fix. They never
//     move later. A clock that ran back makes them earlier, so that a deadline can come too early and never too late.
//   - Which scan is the last is decided by the order of recording, whatever their times.
//   - Only the image's newest release opens and closes. What its scan has is open, also when it had been fixed: then with
//     the first seen of old. What its scan lacks is fixed since the time of that scan, provided that the release lacks it
//     beyond doubt: the data is of the kind that saw it last, and not older; or the package is not in the lock any more; or it
//     is there in a version that fixes it. So a weaker kind of data closes nothing merely by not knowing it, and no scan
//     closes a finding of a package that it did not look at.
//   - The scan of an older release adds what nobody knew, open or, where the newest lacks it in that sense, as fixed.
func (s *Store) SaveScan(ctx context.Context, releaseID string, scan factory.Scan) (factory.Scan, error) {
	scan, err := proper(scan)
	if err != nil {
		return scan, err
	}
	var image string
	switch found, err := s.one(ctx, s.db.NewSelect().Table("releases").Column("image").Where("id = ?", releaseID), &image); {
	case err != nil:
		return scan, err
	case !found:
		return scan, s.noRelease(ctx, releaseID)
	}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) (err error) {
		if err := s.lockImage(ctx, tx, image); err != nil {
			return err
		}
		scan, err = s.saveScan(ctx, tx, releaseID, image, scan)
		return err
	})
	return scan, s.fail(ctx, "record a scan of release "+releaseID, err)
}

// saveScan is SaveScan for who has the image locked.
func (s *Store) saveScan(ctx context.Context, tx bun.Tx, releaseID, image string, scan factory.Scan) (factory.Scan, error) {
	newest, err := readNewest(ctx, tx, image)
	if err != nil {
		return scan, err
	}
	known, err := readHistory(ctx, tx, image)
	if err != nil {
		return scan, err
	}
	if newest.id == releaseID {
		newest.scanned, newest.data, newest.unseen = true, scan.Database, scan.NotLookedAt
	}
	scan.Findings = slices.Clone(scan.Findings)
	changed := make([]*findingRow, 0, len(scan.Findings))
	doubtful := maps.Clone(known) // what may have to be closed
	occurrences := make([]occurrenceRow, 0, len(scan.Findings))
	for i, f := range scan.Findings {
		row, added, err := known.sight(image, f, scan, newest.id == releaseID)
		if err != nil {
			return scan, err
		}
		delete(doubtful, f.Key())
		if added && newest.id != releaseID {
			if err := newest.close(row, scan.At); err != nil {
				return scan, err
			}
		}
		changed = append(changed, row)
		row.fill(&scan.Findings[i])
		bare, err := bareFinding(f)
		if err != nil {
			return scan, err
		}
		occurrences = append(occurrences, occurrenceRow{ReleaseID: releaseID, Image: image, Vulnerability: f.Vulnerability, Package: f.Package, Finding: bare})
	}
	if newest.id == releaseID {
		for _, row := range doubtful {
			if row.FixedSince != nil {
				continue
			}
			if err := newest.close(row, scan.At); err != nil {
				return scan, err
			}
			if row.FixedSince != nil {
				changed = append(changed, row)
			}
		}
	}
	return scan, writeScan(ctx, tx, releaseID, scan, changed, occurrences)
}

func writeScan(ctx context.Context, tx bun.Tx, releaseID string, scan factory.Scan, changed []*findingRow, occurrences []occurrenceRow) error {
	for rows := range slices.Chunk(changed, 200) {
		_, err := tx.NewInsert().Model(&rows).On("CONFLICT (image, vulnerability, package) DO UPDATE").
			Set("source = EXCLUDED.source, severity = EXCLUDED.severity, first_seen = EXCLUDED.first_seen, fix_seen = EXCLUDED.fix_seen, last_seen = EXCLUDED.last_seen").
			Set("fixed_since = EXCLUDED.fixed_since, kind = EXCLUDED.kind, updated = EXCLUDED.updated, finding = EXCLUDED.finding").Exec(ctx)
		if err != nil {
			return err
		}
	}
	if err := writeOccurrences(ctx, tx, releaseID, occurrences); err != nil {
		return err
	}
	row, err := encodeScan(releaseID, scan)
	if err != nil {
		return err
	}
	var last scanRow
	err = tx.NewSelect().Model(&last).Where("release_id = ?", releaseID).Order("seq DESC").Limit(1).Scan(ctx)
	if err == nil && last.At.Equal(row.At) && last.Scanner == row.Scanner && last.Database == row.Database && last.NotLookedAt == row.NotLookedAt {
		return nil // the same scan again
	}
	if err == nil || none(err) {
		_, err = tx.NewInsert().Model(&row).Exec(ctx)
	}
	return err
}

// writeOccurrences replaces what the release's last scan found; most nights there is nothing to replace.
func writeOccurrences(ctx context.Context, tx bun.Tx, releaseID string, now []occurrenceRow) error {
	var have []occurrenceRow
	if err := tx.NewSelect().Model(&have).Where("release_id = ?", releaseID).Scan(ctx); err != nil {
		return err
	}
	byName := func(a, b occurrenceRow) int {
		return cmp.Or(cmp.Compare(a.Vulnerability, b.Vulnerability), cmp.Compare(a.Package, b.Package))
	}
	slices.SortFunc(have, byName)
	slices.SortFunc(now, byName)
	if slices.Equal(have, now) {
		return nil
	}
	if _, err := tx.NewDelete().Table("occurrences").Where("release_id = ?", releaseID).Exec(ctx); err != nil {
		return err
	}
	for rows := range slices.Chunk(now, 200) {
		if _, err := tx.NewInsert().Model(&rows).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

func encodeScan(releaseID string, scan factory.Scan) (scanRow, error) {
	database, err := json.Marshal(scan.Database)
	if err != nil {
		return scanRow{}, err
	}
	counts, err := json.Marshal(scan.Counts())
	if err != nil {
		return scanRow{}, err
	}
	unseen, err := json.Marshal(append([]string{}, scan.NotLookedAt...))
	return scanRow{ReleaseID: releaseID, At: scan.At, Scanner: scan.Scanner, Database: string(database), Packages: scan.Packages, Counts: string(counts), NotLookedAt: string(unseen)}, err
}

func scanned(s factory.Scan) bool { return s.Scanner != "" || !s.At.IsZero() || len(s.Findings) > 0 }

// maxName is the longest name of a vulnerability or package, in bytes: PostgreSQL's indexes have a limit of their own.
const maxName = 500

// proper returns the scan as it is kept: storable text, instants of the database's precision, one finding for each key.
func proper(s factory.Scan) (factory.Scan, error) {
	bad := func(what string, args ...any) (factory.Scan, error) {
		return s, &factory.Problem{Kind: factory.ErrInvalid, What: "scan " + fmt.Sprintf(what, args...)}
	}
	s.At, s.Scanner = instant(s.At), clean(s.Scanner)
	if s.At.Year() <= 1 {
		return bad("has no time")
	}
	s.Findings = slices.Clone(s.Findings)
	for i := range s.Findings {
		f := &s.Findings[i]
		f.Vulnerability, f.Package, f.Source = clean(f.Vulnerability), clean(f.Package), clean(f.Source)
		if f.Severity == "" {
			f.Severity = factory.Unknown
		}
		if !plain(f.Vulnerability) || f.Package == "" || len(f.Vulnerability) > maxName || len(f.Package) > maxName || len(f.Source) > maxName {
			return bad("names a finding %.80q in package %.80q", f.Vulnerability, f.Package)
		}
	}
	s.Findings = factory.MergeFindings(s.Findings)
	var unseen []string // nil when there are none
	for _, name := range s.NotLookedAt {
		unseen = append(unseen, clean(name))
	}
	slices.Sort(unseen)
	s.NotLookedAt = slices.Compact(unseen)
	return s, nil
}
