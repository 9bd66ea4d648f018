package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Query narrows a list of releases.
type Query struct {
	Image      string      // only this image; empty = all
	Repository string      // only what was published there; empty = anywhere
	Env        factory.Env // only what came into it, by release or by promotion, revoked or not; empty = any
	Whole      bool        // with Signatures, Compliance, Scan and Decision too
	Limit      int         // at most so many; 0 or less = all
}

// bulky are the columns that lists leave out.
var bulky = []string{"signatures", "compliance", "scan", "decision"}

// Releases returns releases, newest first. They are without what is big: Inputs and Documents, and unless the query asks for
// them Signatures, Compliance, Scan and Decision. Release has all of it.
func (s *Store) Releases(ctx context.Context, q Query) ([]factory.Release, error) {
	var rows []releaseRow
	sel := s.db.NewSelect().Model(&rows).Order("created DESC", "id DESC").Limit(int64(max(q.Limit, 0)))
	if !q.Whole {
		sel = sel.ExcludeColumn(bulky...)
	}
	if q.Image != "" {
		sel = sel.Where("image = ?", clean(q.Image))
	}
	if q.Repository != "" {
		sel = sel.Where("repository = ?", clean(q.Repository))
	}
	if q.Env != "" {
		sel = sel.Where("id IN (SELECT release_id FROM ledger WHERE env = ? AND NOT revoked)", clean(string(q.Env)))
	}
	if err := sel.Scan(ctx); err != nil {
		return nil, s.fail(ctx, "read releases", err)
	}
	return releases(rows)
}

// releases reads what rows hold; a damaged one is an error.
func releases(rows []releaseRow) ([]factory.Release, error) {
	all := make([]factory.Release, 0, len(rows))
	for _, row := range rows {
		r, err := row.release()
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// Latest returns the newest release of an image as Releases would, nil when there is none.
func (s *Store) Latest(ctx context.Context, image string) (*factory.Release, error) {
	if image == "" {
		return nil, nil
	}
	all, err := s.Releases(ctx, Query{Image: image, Limit: 1})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// Release returns the whole release that ref names, with everything but its documents' Data. In this order ref is
// repository@digest (with or without a tag), a digest or its beginning, repository:tag, a tag, an id, an image or a repository
// (their newest release), the beginning of an id, the beginning of a digest without "sha256:". A tag is the release's own or one
// that it was promoted to. Where one digest was released several times under a repository, the newest is meant. Nothing found is
// ErrNotFound, several are ErrInvalid; both say what to type instead.
func (s *Store) Release(ctx context.Context, ref string) (factory.Release, error) {
	id, err := s.find(ctx, ref)
	if err != nil {
		return factory.Release{}, err
	}
	return s.whole(ctx, id)
}

// whole returns the release with the id.
func (s *Store) whole(ctx context.Context, id string) (factory.Release, error) {
	var row releaseRow
	found, err := s.one(ctx, s.db.NewSelect().Model(&row).Where("id = ?", id))
	if err != nil {
		return factory.Release{}, err
	}
	if !found {
		return factory.Release{}, s.noRelease(ctx, id)
	}
	r, err := row.release()
	if err != nil {
		return r, err
	}
	if r.Inputs, err = s.Inputs(ctx, id); err != nil {
		return r, err
	}
	r.Documents, err = s.Documents(ctx, id)
	return r, err
}

// candidate is what of a release decides whether it is meant.
type candidate struct {
	ID, Image, Repository, Digest, Tag string
	Created                            time.Time
}

func (c candidate) String() string { return fmt.Sprintf("%s (%s:%s)", c.ID, c.Repository, c.Tag) }

// lookup is one reading of a reference.
type lookup struct {
	where string
	args  []any
	// same is set when several are as good as their newest, provided that the asker cannot tell them apart.
	same func(a, b candidate) bool
}

func sameImage(a, b candidate) bool { return a.Image == b.Image }
func sameDigest(a, b candidate) bool {
	return a.Repository == b.Repository && a.Digest == b.Digest
}

func (s *Store) find(ctx context.Context, ref string) (string, error) {
	for _, l := range lookups(ref) {
		var found []candidate
		err := s.db.NewSelect().Table("releases").Column("id", "image", "repository", "digest", "tag", "created").
			Where(l.where, l.args...).Order("created DESC", "id DESC").Scan(ctx, &found)
		switch {
		case err != nil:
			return "", s.fail(ctx, "look for release "+ref, err)
		case len(found) == 0:
			continue
		case len(found) == 1, l.same != nil && !slices.ContainsFunc(found, func(c candidate) bool { return !l.same(found[0], c) }):
			return found[0].ID, nil
		}
		var names []string
		for _, c := range found {
			names = append(names, c.String())
		}
		return "", ambiguous(ref, "releases", names)
	}
	return "", s.noRelease(ctx, ref)
}

// lookups returns the readings of a reference, the most exact one first.
func lookups(ref string) []lookup {
	_, digest, at := strings.Cut(ref, "@")
	if ref == "" || clean(ref) != ref || ref == "sha256:" || at && (digest == "sha256:" || !strings.HasPrefix(digest, "sha256:")) {
		return nil
	}
	begins := func(column, prefix string, same func(a, b candidate) bool) lookup {
		return lookup{column + " >= ? AND " + column + " < ?", []any{prefix, prefix + above}, same}
	}
	if at {
		repository, tag := splitTag(strings.TrimSuffix(ref, "@"+digest))
		l := begins("digest", digest, sameDigest)
		l.where += " AND repository = ?"
		l.args = append(l.args, repository)
		if tag != "" {
			promoted := promotedTo(repository, tag)
			l.where += " AND " + promoted.where
			l.args = append(l.args, promoted.args...)
		}
		return []lookup{l}
	}
	if strings.HasPrefix(ref, "sha256:") {
		return []lookup{begins("digest", ref, sameDigest)}
	}
	if repository, tag := splitTag(ref); tag != "" {
		return []lookup{promotedTo(repository, tag)}
	}
	if _, err := factory.ParseTag(ref); err == nil {
		return []lookup{{"id IN (SELECT release_id FROM ledger WHERE tag = ? AND NOT revoked)", []any{ref}, nil}}
	}
	all := []lookup{{"id = ?", []any{ref}, nil}, {"image = ?", []any{ref}, sameImage}, {"repository = ?", []any{ref}, sameImage}, begins("id", ref, nil)}
	if strings.Trim(ref, "0123456789abcdef") == "" {
		all = append(all, begins("digest", "sha256:"+ref, sameDigest))
	}
	return all
}

// promotedTo finds what the ledger knows under a tag: releases by their own, and those that were promoted to it.
func promotedTo(repository, tag string) lookup {
	return lookup{"id IN (SELECT release_id FROM ledger WHERE repository = ? AND tag = ? AND NOT revoked)", []any{repository, tag}, nil}
}

// splitTag cuts host:5000/path:tag at its last colon, unless that one belongs to the port.
func splitTag(s string) (repository, tag string) {
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// noRelease explains that ref names nothing, with the nearest name there is.
func (s *Store) noRelease(ctx context.Context, ref string) error {
	p := &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("no release %.120q", ref), Hint: "factory releases lists them"}
	var known []candidate
	err := s.db.NewSelect().Table("releases").Column("id", "image", "repository", "digest", "tag", "created").
		Order("created DESC", "id DESC").Limit(500).Scan(ctx, &known)
	if err != nil {
		return s.fail(ctx, "look for release "+ref, err)
	}
	if len(known) == 0 {
		p.Hint = "nothing was released yet: factory nightly"
		return p
	}
	var names []string
	for _, c := range known {
		names = append(names, c.Image, c.Tag, c.ID, c.Repository+":"+c.Tag, c.Repository+"@"+c.Digest)
	}
	if n := nearest(ref, names); n != "" {
		p.Hint = "did you mean " + n + "? " + p.Hint
	}
	return p
}
