package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

// above follows every prefix in byte order: no text of ours holds the last code point.
const above = "\U0010FFFF"

// one scans q's only row, into to or q's model, and reports whether there was one.
func (s *Store) one(ctx context.Context, q *bun.SelectQuery, to ...any) (bool, error) {
	err := q.Scan(ctx, to...)
	if none(err) {
		return false, nil
	}
	return err == nil, s.fail(ctx, "read the database", err)
}

// none reports that a query for one row found none.
func none(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// clean makes foreign text storable: PostgreSQL knows neither NUL nor broken UTF-8, and output of a program can be both.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// plain reports whether s can be a name: something, valid, without blanks and control characters.
func plain(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

func damaged(subject, part string, err error) error {
	return &factory.Problem{Kind: factory.ErrInvalid, What: subject + " is damaged in the database: " + part, Cause: err,
		Hint: "restore a backup of the database"}
}
