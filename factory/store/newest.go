package store

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	deb "github.com/knqyf263/go-deb-version"
	rpm "github.com/knqyf263/go-rpm-version"
	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

// newestRelease is what is known of an image's newest release, to tell whether a finding that its scan did not have is fixed.
type newestRelease struct {
	id       string
	scanned  bool
	data     factory.Database        // of its last scan
	unseen   []string                // packages that this scan did not look at
	packages map[string][]packageRow // by name; empty = not known
}

// lacks reports whether the release is without the finding, beyond doubt: data that knew it, or newer data of that kind, does not find
// it any more; or the lock has its package no longer, or in a version that fixes it. Of a package that was not looked at nothing is
// beyond doubt.
func (n newestRelease) lacks(row *findingRow) (bool, error) {
	if slices.Contains(n.unseen, row.Package) {
		return false, nil
	}
	if n.scanned && string(n.data.Kind) == row.Kind && !instant(n.data.Updated).Before(row.Updated) {
		return true, nil
	}
	f, err := readFinding(row.Image, row.Finding)
	kind, _, _ := strings.Cut(f.Purl, "/")
	if err != nil || len(n.packages) == 0 || kind != "pkg:deb" && kind != "pkg:rpm" {
		return false, err // of what is no package of an archive, a lock says nothing
	}
	fixes := func(p packageRow) bool {
		if kind == "pkg:rpm" {
			return f.Fixed != "" && !rpm.NewVersion(p.Version).LessThan(rpm.NewVersion(f.Fixed))
		}
		fixed, err := deb.NewVersion(f.Fixed)
		have, bad := deb.NewVersion(p.SourceVersion) // in which advisories are written
		return err == nil && bad == nil && !have.LessThan(fixed)
	}
	return !slices.ContainsFunc(n.packages[row.Package], func(p packageRow) bool { return !fixes(p) }), nil
}

// close marks a finding as fixed if the release lacks it.
func (n newestRelease) close(row *findingRow, at time.Time) error {
	fixed, err := n.lacks(row)
	if fixed {
		row.FixedSince = &at
	}
	return err
}

// readNewest returns the image's newest release, the zero value when there is none.
func readNewest(ctx context.Context, tx bun.Tx, image string) (n newestRelease, err error) {
	err = tx.NewSelect().Table("releases").Column("id").Where("image = ?", image).Order("created DESC", "id DESC").Limit(1).Scan(ctx, &n.id)
	if none(err) {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	var database, unseen string
	switch err := tx.NewSelect().Table("scans").Column("database", "not_looked_at").Where("release_id = ?", n.id).Order("seq DESC").Limit(1).Scan(ctx, &database, &unseen); {
	case none(err):
	case err != nil:
		return n, err
	default:
		if err := json.Unmarshal([]byte(database), &n.data); err != nil {
			return n, damaged("release "+n.id, "database of its scan", err)
		}
		if n.unseen, err = readUnseen(unseen); err != nil {
			return n, damaged("release "+n.id, "packages that its scan did not look at", err)
		}
		n.scanned = true
	}
	var packages []packageRow
	if err := tx.NewSelect().Model(&packages).Where("release_id = ?", n.id).Scan(ctx); err != nil {
		return n, err
	}
	n.packages = map[string][]packageRow{}
	for _, p := range packages {
		n.packages[p.Name] = append(n.packages[p.Name], p)
	}
	return n, nil
}
