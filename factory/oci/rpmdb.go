package oci

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"modernc.org/sqlite"
)

// rpm's database is one of three forms, by release. Each holds a header for every package; what else it has are indexes of
// these. They are read here and not by a library, because what comes out of a root may be made to harm: nothing is followed
// that lies outside of the file, and together the headers are never larger than it.

const maxPackages = 1 << 17 // in one root; the largest distribution has half of that

var (
	errCorrupt = errors.New("the package database is damaged")
	sqliteMark = []byte("SQLite format 3\x00")
	ndbMark    = []byte("RpmP")
)

// headersOf returns the headers of all packages in a database.
func headersOf(db []byte) ([][]byte, error) {
	c := &collection{left: len(db)}
	var err error
	switch {
	case bytes.HasPrefix(db, sqliteMark):
		err = c.sqlite(db)
	case bytes.HasPrefix(db, ndbMark):
		err = c.ndb(db)
	default:
		err = c.berkeley(db)
	}
	return c.headers, err
}

// collection is what was found so far, and how much more there can be.
type collection struct {
	headers [][]byte
	left    int // bytes
}

func (c *collection) add(header []byte) error {
	if c.left -= len(header); c.left < 0 || len(c.headers) >= maxPackages {
		return fmt.Errorf("%w: it holds more than fits in", errCorrupt)
	}
	c.headers = append(c.headers, header)
	return nil
}

// sqlite reads the form of RHEL 9 and Amazon Linux 2023.
func (c *collection) sqlite(b []byte) (err error) {
	if len(b) < 100 {
		return errCorrupt
	}
	b = bytes.Clone(b)
	b[18], b[19] = 1, 1 // no write-ahead log: what is not in the file itself no consumer can rely on
	defer func() {
		if err != nil && !errors.Is(err, errCorrupt) {
			err = fmt.Errorf("%w: %w", errCorrupt, err)
		}
	}()
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file::memory:?_pragma=trusted_schema(0)&_pragma=cell_size_check(1)")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := sqlite.Limit(conn, 0, len(b)); err != nil { // SQLITE_LIMIT_LENGTH: of one value
		return err
	}
	if err := conn.Raw(func(d any) error { return d.(interface{ Deserialize([]byte) error }).Deserialize(b) }); err != nil {
		return err
	}
	var kind, text string
	if err := conn.QueryRowContext(ctx, "SELECT type, sql FROM sqlite_schema WHERE name = 'Packages'").Scan(&kind, &text); err != nil {
		return err
	}
	// A view, or a column that is computed, could be anything.
	if kind != "table" || !sqliteTable.MatchString(strings.Join(strings.Fields(text), " ")) {
		return fmt.Errorf("%w: its table of packages is another: %.200q", errCorrupt, text)
	}
	rows, err := conn.QueryContext(ctx, "SELECT blob FROM Packages ORDER BY hnum")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var header []byte
		if err := rows.Scan(&header); err != nil {
			return err
		}
		if err := c.add(header); err != nil {
			return err
		}
	}
	return rows.Err()
}

// sqliteTable is how every rpm makes its table of packages.
var sqliteTable = regexp.MustCompile(`^CREATE TABLE ['"]?Packages['"]? ?\( ?hnum INTEGER PRIMARY KEY AUTOINCREMENT ?, ?blob BLOB NOT NULL ?\)$`)

// ndb reads the form of SUSE: a table of slots, each with the place of a header, in units of 16 bytes.
func (c *collection) ndb(b []byte) error {
	const unit, page = 16, 4096
	if len(b) < 2*unit {
		return errCorrupt
	}
	pages := uint64(binary.LittleEndian.Uint32(b[12:]))
	if pages*page > uint64(len(b)) {
		return errCorrupt
	}
	for at := uint64(2 * unit); at < pages*page; at += unit {
		slot := b[at : at+unit]
		number, place := binary.LittleEndian.Uint32(slot[4:]), unit*uint64(binary.LittleEndian.Uint32(slot[8:]))
		switch {
		case string(slot[:4]) != "Slot":
			return errCorrupt
		case number == 0:
			continue
		case place+unit > uint64(len(b)):
			return errCorrupt
		}
		blob := b[place:]
		size := uint64(binary.LittleEndian.Uint32(blob[12:]))
		if string(blob[:4]) != "BlbS" || binary.LittleEndian.Uint32(blob[4:]) != number || unit+size > uint64(len(blob)) {
			return errCorrupt
		}
		if err := c.add(blob[unit : unit+size]); err != nil {
			return err
		}
	}
	return nil
}
