package upstream

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/imagefactory/imagefactory/factory"
)

// updateinfoLimit is how large an updateinfo.xml may be, in bytes: ten times what the largest distribution has.
const updateinfoLimit = 1 << 30

var (
	onlyCVE     = regexp.MustCompile(`^` + cveID.String() + `$`)
	advisoryTag = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+~-]{0,99}$`)
)

// erratum is a security advisory of an RPM repository.
type erratum struct {
	id, title string
	severity  factory.Severity
	issued    time.Time // zero = nobody knows
	cves      []string  // sorted
	fixes     []fix
}

// fix is a package that an erratum brings.
type fix struct {
	name, evr string
	module    string // and its stream, as in nodejs:20; empty = none
}

// update is an element of updateinfo.xml.
type update struct {
	Type     string `xml:"type,attr"`
	ID       string `xml:"id"`
	Title    string `xml:"title"`
	Severity string `xml:"severity"`
	Issued   struct {
		Date string `xml:"date,attr"`
	} `xml:"issued"`
	References []struct {
		ID   string `xml:"id,attr"`
		Type string `xml:"type,attr"`
	} `xml:"references>reference"`
	Collections []struct {
		Module struct {
			Name   string `xml:"name,attr"`
			Stream string `xml:"stream,attr"`
		} `xml:"module"`
		Packages []struct {
			Name    string `xml:"name,attr"`
			Epoch   string `xml:"epoch,attr"`
			Version string `xml:"version,attr"`
			Release string `xml:"release,attr"`
			Arch    string `xml:"arch,attr"`
		} `xml:"package"`
	} `xml:"pkglist>collection"`
}

// parseUpdateinfo calls each with every security advisory of an updateinfo.xml, compressed or not.
func parseUpdateinfo(b []byte, each func(erratum)) error {
	r, err := decompress(b)
	if err != nil {
		return fmt.Errorf("updateinfo: %w", err)
	}
	dec := xml.NewDecoder(io.LimitReader(r, updateinfoLimit))
	root := false
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) && root {
			return nil
		}
		if err != nil {
			return fmt.Errorf("updateinfo: %w", err)
		}
		start, ok := token.(xml.StartElement)
		switch {
		case !ok:
		case !root:
			if start.Name.Local != "updates" {
				return fmt.Errorf("updateinfo: it begins with <%.40s>", start.Name.Local)
			}
			root = true
		case start.Name.Local != "update" || attribute(start, "type") != "security":
			err = dec.Skip()
		default:
			var u update
			if err = dec.DecodeElement(&u, &start); err == nil && advisoryTag.MatchString(u.ID) {
				each(u.erratum())
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

func (u update) erratum() erratum {
	e := erratum{id: u.ID, title: titleOf(u.Title), issued: issued(u.Issued.Date)}
	// A word that nobody knows says no more than none.
	if s, err := factory.ParseSeverity(strings.TrimSpace(u.Severity)); err == nil && s != factory.Unknown {
		e.severity = s
	}
	for _, r := range u.References {
		if strings.EqualFold(r.Type, "cve") && onlyCVE.MatchString(r.ID) {
			e.cves = append(e.cves, r.ID)
		}
	}
	slices.Sort(e.cves)
	e.cves = slices.Compact(e.cves)
	for _, c := range u.Collections {
		module := ""
		if c.Module.Name != "" {
			module = c.Module.Name + ":" + c.Module.Stream
		}
		for _, p := range c.Packages {
			f := fix{p.Name, p.Version + "-" + p.Release, module}
			if p.Epoch != "" && p.Epoch != "0" {
				f.evr = p.Epoch + ":" + f.evr
			}
			if p.Arch != "src" && p.Arch != "nosrc" && rpmName.MatchString(f.name) && evrText.MatchString(f.evr) {
				e.fixes = append(e.fixes, f)
			}
		}
	}
	return e
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

// decompress tells by the first bytes how metadata is compressed.
func decompress(b []byte) (io.Reader, error) {
	r := bytes.NewReader(b)
	switch {
	case bytes.HasPrefix(b, []byte("\x1f\x8b")):
		return gzip.NewReader(r)
	case bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")):
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(updateinfoLimit))
	case bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")):
		return xz.NewReader(r)
	case bytes.HasPrefix(b, []byte("BZh")):
		return bzip2.NewReader(r), nil
	}
	return r, nil
}
