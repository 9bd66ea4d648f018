package upstream

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"time"
)

// releaseFile is what this package reads of an InRelease file. Its signature is apt's business.
type releaseFile struct {
	Date       time.Time
	ValidUntil time.Time // zero = for ever
}

// parseRelease reads the fields before the first checksum.
func parseRelease(b []byte) (r releaseFile, err error) {
	sc := bufio.NewScanner(bytes.NewReader(b))
	for sc.Scan() {
		key, value, ok := strings.Cut(sc.Text(), ": ")
		var into *time.Time
		switch {
		case ok && key == "Date" && r.Date.IsZero():
			into = &r.Date
		case ok && key == "Valid-Until" && r.ValidUntil.IsZero():
			into = &r.ValidUntil
		default:
			continue
		}
		if *into, err = time.Parse(time.RFC1123, strings.TrimSpace(value)); err != nil || !strings.HasSuffix(value, "UTC") {
			return releaseFile{}, fmt.Errorf("release file: %s %.60q is not a time in UTC", key, value)
		}
	}
	if err := sc.Err(); err != nil {
		return releaseFile{}, fmt.Errorf("release file: %w", err)
	}
	if r.Date.IsZero() {
		return releaseFile{}, fmt.Errorf("release file: no Date")
	}
	return r, nil
}

// listName is the name under which apt keeps the file of a URL.
func listName(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	var b strings.Builder
	for _, c := range []byte(rest) {
		switch {
		case c == '/':
			b.WriteByte('_')
		case c <= ' ' || c >= 0x7f || strings.IndexByte("\\|{}[]<>\"^~_=!@#$%&*", c) >= 0:
			fmt.Fprintf(&b, "%%%02x", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
