package store

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

// findingRow is what is remembered of a finding across the releases of an image. See SaveScan for the rules.
type findingRow struct {
	bun.BaseModel `bun:"table:findings,alias:findings"`

	Image         string `bun:",pk"`
	Vulnerability string `bun:",pk"`
	Package       string `bun:",pk"`
	Source        string
	Severity      string
	FirstSeen     time.Time
	FixSeen       *time.Time
	LastSeen      time.Time
	FixedSince    *time.Time
	Kind          string    // of the data that saw it last in the image's newest release
	Updated       time.Time // likewise
	Finding       string    // as it was then, JSON
}

// history is what is remembered of one image, by finding's key.
type history map[string]*findingRow

func readHistory(ctx context.Context, db bun.IDB, image string) (history, error) {
	var rows []*findingRow
	if err := db.NewSelect().Model(&rows).Where("image = ?", clean(image)).Scan(ctx); err != nil {
		return nil, err
	}
	h := make(history, len(rows))
	for _, row := range rows {
		h[factory.Finding{Vulnerability: row.Vulnerability, Package: row.Package}.Key()] = row
	}
	return h, nil
}

// sight notes that s found f; newest says whether in the image's newest release. added reports that nobody knew it before.
func (h history) sight(image string, f factory.Finding, s factory.Scan, newest bool) (row *findingRow, added bool, err error) {
	row = h[f.Key()]
	if added = row == nil; added {
		row = &findingRow{Image: image, Vulnerability: f.Vulnerability, Package: f.Package, FirstSeen: s.At, LastSeen: s.At}
		h[f.Key()] = row
	}
	if s.At.Before(row.FirstSeen) {
		row.FirstSeen = s.At
	}
	if s.At.After(row.LastSeen) {
		row.LastSeen = s.At
	}
	if f.Fixed != "" && (row.FixSeen == nil || s.At.Before(*row.FixSeen)) {
		row.FixSeen = &s.At
	}
	if newest {
		row.FixedSince = nil
	}
	if added || newest {
		row.Source, row.Severity = sourceOf(f), string(f.Severity)
		row.Kind, row.Updated = string(s.Database.Kind), instant(s.Database.Updated)
		row.Finding, err = bareFinding(f)
	}
	return row, added, err
}

// fill puts what is remembered into f.
func (row *findingRow) fill(f *factory.Finding) {
	f.FirstSeen, f.FixSeen, f.FixedSince = row.FirstSeen.UTC(), time.Time{}, time.Time{}
	if row.FixSeen != nil {
		f.FixSeen = row.FixSeen.UTC()
	}
	if row.FixedSince != nil {
		f.FixedSince = row.FixedSince.UTC()
	}
}

// bareFinding is f as JSON, without what is remembered.
func bareFinding(f factory.Finding) (string, error) {
	f.FirstSeen, f.FixSeen, f.FixedSince = time.Time{}, time.Time{}, time.Time{}
	b, err := json.Marshal(f)
	return string(b), err
}

func readFinding(image, text string) (f factory.Finding, err error) {
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return f, damaged("finding of "+image, "content", err)
	}
	return f, nil
}

func sourceOf(f factory.Finding) string { return cmp.Or(f.Source, f.Package) }
