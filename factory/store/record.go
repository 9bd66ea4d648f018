package store

import (
	"encoding/json"
	"fmt"
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
	Cause      string
	Content    string
	Inputs     *string

	Parent, Rebased, Source, Artifact, Lock, Controls, Tests, Signatures, Steps, Compliance, Scan, Decision string // JSON
}

// encode makes the rows of r.
func encode(r factory.Release) (e encoded, err error) {
	if scanned(r.Scan) {
		if r.Scan, err = proper(r.Scan); err != nil {
			return e, err
		}
	}
	e.scan, e.cause = r.Scan, clean(r.Cause)
	if e.row, err = encodeRow(r); err != nil {
		return e, err
	}
	if e.documents, err = documentRows(r); err != nil {
		return e, err
	}
	e.entry, err = encodeEntry(factory.Entry{ID: r.ID, Release: r.ID, Image: r.Image, Repository: r.Repository, Digest: r.Digest, Env: r.Tag.Env,
		Tag: r.Tag, At: r.Created, By: r.Run, Run: r.Run, Reason: r.Reason, Decision: r.Decision})
	if err != nil {
		return e, err
	}
	e.packages = packageRows(r.ID, r.Lock)
	contents := make([][]byte, 0, 1+len(r.Documents))
	if len(r.Inputs) > 0 {
		contents = append(contents, r.Inputs)
		digest := string(factory.DigestOf(r.Inputs))
		e.row.Inputs = &digest
	}
	for _, d := range r.Documents {
		contents = append(contents, d.Data)
	}
	e.blobs, err = packAll(contents)
	return e, err
}

// encodeRow makes the row of r, without its inputs.
func encodeRow(r factory.Release) (releaseRow, error) {
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
		Reason: r.Reason, Created: r.Created, RunID: clean(r.Run), Supersedes: clean(r.Supersedes), Cause: clean(r.Cause)}
	for to, part := range row.parts(&r) {
		b, err := json.Marshal(part)
		if err != nil {
			return row, fmt.Errorf("release %s: %w", r.ID, err)
		}
		*to = string(b)
	}
	var err error
	if row.Content, err = content(r); err != nil {
		return row, fmt.Errorf("release %s: %w", r.ID, err)
	}
	if _, err := row.release(); err != nil {
		return row, &factory.Problem{Kind: factory.ErrInvalid, What: "release " + r.ID + " could be written but not read again", Cause: err}
	}
	return row, nil
}

// content is the digest of everything that a release says. What the first schema did not know is left out where a release does
// not have it, so that the releases of that time keep their digest.
func content(r factory.Release) (string, error) {
	whole, err := json.Marshal(struct {
		factory.Release
		Compliance factory.Compliance `json:"compliance,omitzero"`
		Scan       factory.Scan       `json:"scan,omitzero"`
		Decision   factory.Decision   `json:"decision,omitzero"`
		Documents  []factory.Document `json:"documents,omitempty"`
	}{r, r.Compliance, r.Scan, r.Decision, r.Documents})
	return string(factory.DigestOf(append(whole, factory.DigestOf(r.Inputs)...))), err
}

// parts pairs the columns that are JSON with the fields of r that they hold.
func (row *releaseRow) parts(r *factory.Release) map[*string]any {
	return map[*string]any{&row.Parent: &r.Parent, &row.Rebased: &r.Rebased, &row.Source: &r.Source, &row.Artifact: &r.Artifact, &row.Lock: &r.Lock, &row.Controls: &r.Controls,
		&row.Tests: &r.Tests, &row.Signatures: &r.Signatures, &row.Steps: &r.Steps,
		&row.Compliance: &r.Compliance, &row.Scan: &r.Scan, &row.Decision: &r.Decision}
}

// release is the reverse of encode. Columns that were not selected leave their fields empty.
func (row releaseRow) release() (factory.Release, error) {
	r := factory.Release{ID: row.ID, Image: row.Image, Owner: row.Owner, Repository: row.Repository, Digest: factory.Digest(row.Digest),
		Reason: row.Reason, Created: row.Created.UTC(), Run: row.RunID, Supersedes: row.Supersedes, Cause: row.Cause}
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
