package upstream

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

var (
	onlyCVE     = regexp.MustCompile(`^` + cveID.String() + `$`)
	advisoryTag = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+~-]{0,99}$`)
)

// erratum is a security advisory of an RPM repository.
type erratum struct {
	id, title string // no id = it cannot be read
	severity  factory.Severity
	issued    time.Time // zero = nobody knows
	cves      []string  // sorted
	fixes     []fix
	// What cannot be read of it, so that nothing is known of these packages: their names, or that not even these can be told.
	unread []string
	opaque bool
}

// fix is a package that an erratum brings.
type fix struct {
	name, evr string
	module    string // and its stream, as in nodejs:20; empty = none
}

// parseUpdateinfo calls each with every security advisory of an updateinfo.xml, compressed or not, within limits.
func parseUpdateinfo(b []byte, l limits, each func(erratum)) error {
	r, err := decompress(b, l)
	if err != nil {
		return fmt.Errorf("updateinfo: %w", err)
	}
	in := &meter{Reader: bufio.NewReader(r), l: l}
	d := &updateReader{l: l, in: in, dec: xml.NewDecoder(in)}
	root := false
	for {
		token, err := d.next()
		if errors.Is(err, io.EOF) && root {
			return nil
		}
		if start, ok := token.(xml.StartElement); ok && err == nil {
			switch {
			case !root && start.Name.Local != "updates":
				err = fmt.Errorf("it begins with <%.40s>", start.Name.Local)
			case !root:
				root = true
			case start.Name.Local != "update" || !strings.EqualFold(strings.TrimSpace(attribute(start, "type")), "security"):
				err = d.skip()
			default:
				var e erratum
				if e, err = d.update(); err == nil {
					each(e)
				}
			}
		}
		if err != nil {
			return fmt.Errorf("updateinfo: %w", err)
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// issued reads a date in any of the forms that are in use; zero when it is none.
func issued(text string) time.Time {
	text = strings.TrimSuffix(strings.TrimSpace(text), " UTC")
	for _, form := range []string{time.DateTime, time.DateOnly, "2006-01-02 15:04", time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(form, text); err == nil && t.Year() > 1990 && t.Year() < 2300 {
			return t.UTC()
		}
	}
	return seconds(text)
}
