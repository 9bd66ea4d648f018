package upstream

import (
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// updateReader reads updateinfo.xml by tokens, so that no element needs more room than limits allow.
type updateReader struct {
	l     limits
	in    *meter
	dec   *xml.Decoder
	depth int
}

func (d *updateReader) next() (xml.Token, error) {
	d.in.token = 0
	token, err := d.dec.Token()
	if d.in.over != nil { // the decoder calls it a syntax error
		return nil, d.in.over
	}
	switch token.(type) {
	case xml.StartElement:
		if d.depth++; d.depth > d.l.depth {
			return nil, fmt.Errorf("its elements are nested more than %d deep", d.l.depth)
		}
	case xml.EndElement:
		d.depth--
	}
	return token, err
}

// skip reads on to the end of the element that was begun last.
func (d *updateReader) skip() error {
	for inside := d.depth; d.depth >= inside; {
		if _, err := d.next(); err != nil {
			return err
		}
	}
	return nil
}

// update reads an <update> whose start was read.
func (d *updateReader) update() (erratum, error) {
	u := update{l: d.l, texts: map[string][]byte{"id": nil, "title": nil, "severity": nil}}
	var where []string
	for inside := d.depth; ; {
		token, err := d.next()
		if err != nil {
			return erratum{}, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			where = append(where, t.Name.Local)
			err = u.begin(strings.Join(where, "/"), t)
		case xml.EndElement:
			if d.depth < inside {
				return u.whole(), nil
			}
			where = where[:len(where)-1]
		case xml.CharData:
			err = u.say(strings.Join(where, "/"), t)
		}
		if err != nil {
			return erratum{}, err
		}
	}
}

// update is an element of updateinfo.xml, as far as it was read.
type update struct {
	erratum
	l                    limits
	texts                map[string][]byte // of the elements that count
	references, packages int
	collection           int // its first fix
	module               string
}

func (u *update) begin(where string, e xml.StartElement) error {
	switch where {
	case "id", "title", "severity":
		u.texts[where] = nil
	case "issued":
		u.issued = issued(attribute(e, "date"))
	case "references/reference":
		if u.references++; u.references > u.l.references {
			return fmt.Errorf("an advisory has more than %d references", u.l.references)
		}
		if id := attribute(e, "id"); strings.EqualFold(attribute(e, "type"), "cve") && onlyCVE.MatchString(id) {
			u.cves = append(u.cves, id)
		}
	case "pkglist/collection":
		u.collection, u.module = len(u.fixes), ""
	case "pkglist/collection/module":
		if name := attribute(e, "name"); name != "" {
			u.module = name + ":" + attribute(e, "stream")
		}
		for i := u.collection; i < len(u.fixes); i++ {
			u.fixes[i].module = u.module
		}
	case "pkglist/collection/package":
		if u.packages++; u.packages > u.l.packages {
			return fmt.Errorf("an advisory has more than %d packages", u.l.packages)
		}
		u.brought(e)
	}
	return nil
}

// brought notes a package.
func (u *update) brought(e xml.StartElement) {
	f := fix{attribute(e, "name"), attribute(e, "version") + "-" + attribute(e, "release"), u.module}
	if epoch := attribute(e, "epoch"); epoch != "" && epoch != "0" {
		f.evr = epoch + ":" + f.evr
	}
	arch := attribute(e, "arch")
	switch {
	case arch == "src" || arch == "nosrc":
	case !rpmName.MatchString(f.name):
		u.opaque = true
	case !evrText.MatchString(f.evr):
		u.unread = append(u.unread, f.name)
	case len(u.fixes) == u.collection || u.fixes[len(u.fixes)-1] != f: // else the same for another machine
		u.fixes = append(u.fixes, f)
	}
}

func (u *update) say(where string, text []byte) error {
	said, counts := u.texts[where]
	if !counts {
		return nil
	}
	if len(said)+len(text) > u.l.text {
		return errors.New("the " + where + " of an advisory is longer than " + amount(int64(u.l.text)))
	}
	u.texts[where] = append(said, text...)
	return nil
}

// whole is what the element says.
func (u *update) whole() erratum {
	e := u.erratum
	e.id, e.title = strings.TrimSpace(string(u.texts["id"])), titleOf(string(u.texts["title"]))
	// A word that nobody knows says no more than none.
	if s, err := factory.ParseSeverity(strings.TrimSpace(string(u.texts["severity"]))); err == nil && s != factory.Unknown {
		e.severity = s
	}
	slices.Sort(e.cves)
	e.cves = slices.Compact(e.cves)
	if !advisoryTag.MatchString(e.id) {
		for _, f := range e.fixes {
			e.unread = append(e.unread, f.name)
		}
		e.opaque = e.opaque || len(e.unread) == 0
		e.id, e.fixes = "", nil
	}
	return e
}
