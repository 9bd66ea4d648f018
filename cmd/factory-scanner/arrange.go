package main

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"

	rpm "github.com/knqyf263/go-rpm-version"
)

// row is an advisory in its place.
type row struct {
	part
	name string // that packages are looked up by
	factory.Advisory
}

// part is where the advisories of one release are.
type part struct {
	bucket  string
	title   string // the bucket, and the release too where all have one bucket
	release string
	*family
}

// contents are what is in a database.
type contents struct {
	rows    []row               // sorted
	parts   map[string]part     // by title; also those without advisories
	known   map[string][]string // packages of each part, sorted
	updated time.Time
}

// arrange sorts advisories and keeps one for each part, package and vulnerability. Of a changelog that is the oldest, as the first
// mention is the fix; of updateinfo the one with the last fix, as a vulnerability is named again where an earlier fix was not the end of it.
func arrange(lists []factory.Advisories) (c contents, err error) {
	c.parts, c.known = map[string]part{}, map[string][]string{}
	for _, l := range lists {
		if err := c.add(l); err != nil {
			return c, err
		}
	}
	if len(lists) == 0 {
		return c, &factory.Problem{Kind: factory.ErrInvalid, What: "no advisories of any distribution to make a database of"}
	}
	for title, names := range c.known {
		c.known[title] = slices.Compact(slices.Sorted(slices.Values(names)))
	}
	slices.SortFunc(c.rows, func(a, b row) int { return cmp.Or(a.about(b), a.before(b)) })
	c.rows = slices.CompactFunc(c.rows, func(a, b row) bool { return a.about(b) == 0 })
	return c, nil
}

// add adds the advisories of one release.
func (c *contents) add(l factory.Advisories) error {
	f, release, err := buildable(l.Distro)
	if err != nil {
		return err
	}
	p := part{f.bucketOf(release), f.titleOf(release), release, f}
	if l.Updated.IsZero() {
		return &factory.Problem{Kind: factory.ErrInvalid, What: p.title + ": the advisories do not say when they were read"}
	}
	if c.updated.IsZero() || l.Updated.Before(c.updated) {
		c.updated = l.Updated.UTC()
	}
	c.parts[p.title] = p
	names := append(c.known[p.title], l.Known...)
	for _, a := range l.List {
		if a.Source == "" || a.Vulnerability == "" || a.Fixed == "" || len(a.Source)+len(a.Module)+len(a.Vulnerability)+len(a.ID) > 1000 {
			return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s: advisory %.80q of %.80q in version %.80q is incomplete", p.title, a.Vulnerability, a.Source, a.Fixed)}
		}
		if f.rpm && a.Module == "" && modular.MatchString(a.Fixed) {
			names = append(names, anyStream(a.Source)) // of which stream it is nobody can say
			continue
		}
		c.rows = append(c.rows, p.row(a))
	}
	c.known[p.title] = names
	return nil
}

// modular is how the version of a module's package looks: 1:20.9.0-1.module+el9.3.0+20593+0a1b2c3d.
var modular = regexp.MustCompile(`\.module[+_]`)

func (p part) row(a factory.Advisory) row {
	r := row{p, a.Source, a}
	if p.rpm {
		r.name, r.Fixed = streamed(a.Module, a.Source), strings.TrimPrefix(a.Fixed, "0:")
	}
	return r
}

// about orders rows by what they are about.
func (r row) about(s row) int {
	return cmp.Or(cmp.Compare(r.bucket, s.bucket), cmp.Compare(r.name, s.name), cmp.Compare(r.Vulnerability, s.Vulnerability), cmp.Compare(r.title, s.title))
}

// before orders rows about the same; the first one counts.
func (r row) before(s row) int {
	order := cmp.Or(r.Date.Compare(s.Date), cmp.Compare(r.Fixed, s.Fixed), cmp.Compare(r.Title, s.Title), cmp.Compare(r.ID, s.ID), cmp.Compare(r.Severity, s.Severity))
	if r.rpm {
		last := rpm.NewVersion(s.Fixed)
		return cmp.Or(last.Compare(rpm.NewVersion(r.Fixed)), order)
	}
	return order
}
