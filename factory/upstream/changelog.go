package upstream

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"
)

// What is looked at of a changelog; whatever is beyond is passed over.
const (
	changelogLimit = 32 << 20 // unpacked bytes
	lineLimit      = 16 << 10 // bytes of a line
	itemLimit      = 64 << 10 // bytes of an item
)

// entry is one upload in a Debian changelog.
type entry struct {
	source, version string
	suites          []string // that it was meant for
	rebuild         bool     // a binNMU: the same source again
	date            time.Time
	title           string    // what it says first
	fixes           []mention // in the order of the text, an id may be there twice
	names           bool      // an id is somewhere in its text, even if only to say that nothing was wrong
}

// mention is a vulnerability that an entry speaks of as something that it mends.
type mention struct{ id, title string }

var (
	changelogHead = regexp.MustCompile(`^([a-z0-9][a-z0-9+.-]*) \(([^ ()]+)\)((?: [A-Za-z0-9][A-Za-z0-9+.-]*)+);(.*)$`)
	binaryVersion = regexp.MustCompile(`\+b[0-9]+$`)
	binaryOnly    = regexp.MustCompile(`(?i)\bbinary-only=yes\b`)
)

// entries reads a changelog in the form of Debian's policy, the newest entry first, as far as it can be read. Whatever is
// not an entry is passed over.
func entries(r io.Reader) iter.Seq[entry] {
	return func(yield func(entry) bool) {
		var e entry
		var item strings.Builder
		flush := func() {
			e.read(item.String())
			item.Reset()
		}
		for line := range textLines(io.LimitReader(r, changelogLimit)) {
			if m := changelogHead.FindStringSubmatch(line); m != nil {
				flush()
				if e.version != "" && !yield(e) {
					return
				}
				e = entry{source: m[1], version: m[2], suites: strings.Fields(m[3]), rebuild: binaryVersion.MatchString(m[2]) || binaryOnly.MatchString(m[4])}
				continue
			}
			text := strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(line, " -- "):
				flush()
				e.date = trailerDate(line)
			case text == "" || strings.IndexByte("*-+[", text[0]) >= 0:
				flush()
				fallthrough
			case item.Len()+len(text) < itemLimit:
				item.WriteString(text + "\n")
			}
		}
		flush()
		if e.version != "" {
			yield(e)
		}
	}
}

// textLines are the lines of r until it ends or cannot be read any more, without what is beyond lineLimit.
func textLines(r io.Reader) iter.Seq[string] {
	return func(yield func(string) bool) {
		br := bufio.NewReaderSize(r, lineLimit)
		for {
			b, err := br.ReadSlice('\n')
			line := strings.TrimRight(string(b), "\r\n")
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = br.ReadSlice('\n')
			}
			if line != "" || err == nil {
				if !yield(line) {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
}

var trailerForms = []string{"Mon, _2 Jan 2006 15:04:05 -0700", "_2 Jan 2006 15:04:05 -0700", "Mon, _2 Jan 2006 15:04:05 MST"}

// trailerDate is when the entry was made; zero when its last line does not say so.
func trailerDate(line string) time.Time {
	_, text, _ := strings.Cut(line, ">")
	text = strings.Join(strings.Fields(text), " ")
	for _, form := range trailerForms {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// unpackChangelog opens a compressed changelog; one that is none is empty.
func unpackChangelog(compressed []byte) io.Reader {
	zr, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return strings.NewReader("")
	}
	return zr
}

// changelogCVEs returns the CVE ids that a compressed Debian changelog names as mended in its entries newer than old, sorted,
// once each. A changelog that ends early counts as far as it goes: the newest entries come first.
func changelogCVEs(compressed []byte, old string) (ids []string) {
	for e := range entries(unpackChangelog(compressed)) {
		if compareVersions(e.version, old) <= 0 {
			break
		}
		for _, m := range e.fixes {
			if strings.HasPrefix(m.id, "CVE-") {
				ids = append(ids, m.id)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
