package gate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// VEXMeta is what a VEX document says beyond a decision and its evidence.
type VEXMeta struct {
	// Author is who makes the statements, an organization's or a person's IRI or mail address. Empty: how the image's owner is
	// reached.
	Author string
	// Version is the factory's own, for the tooling field; may be empty.
	Version string
	// Repository is where the image is found, without tag or digest; may be empty.
	Repository string
	// Fixed are findings of earlier releases that the image is without. One that it still has is left out, and so is one of a package
	// that was not looked at.
	Fixed []factory.Finding
}

// The statuses of OpenVEX.
const (
	vexNotAffected = "not_affected"
	vexAffected    = "affected"
	vexFixed       = "fixed"
	vexUnder       = "under_investigation"
)

type vexDocument struct {
	Context    string         `json:"@context"`
	ID         string         `json:"@id"`
	Author     string         `json:"author"`
	Role       string         `json:"role"`
	Timestamp  time.Time      `json:"timestamp"`
	Version    int            `json:"version"`
	Tooling    string         `json:"tooling"`
	Statements []vexStatement `json:"statements"`
}

type vexStatement struct {
	Vulnerability vexVulnerability `json:"vulnerability"`
	Products      []vexProduct     `json:"products"`
	Status        string           `json:"status"`
	Notes         string           `json:"status_notes,omitempty"`
	Justification string           `json:"justification,omitempty"`
	Action        string           `json:"action_statement,omitempty"`
}

type vexVulnerability struct {
	Name string `json:"name"`
}

type vexProduct struct {
	ID            string            `json:"@id"`
	Identifiers   map[string]string `json:"identifiers"`
	Hashes        map[string]string `json:"hashes,omitempty"`
	Subcomponents []vexComponent    `json:"subcomponents"`
}

type vexComponent struct {
	ID string `json:"@id"`
}

// VEX returns an OpenVEX 0.2.0 document with one statement for each finding of e, as d decided about it, and for each of
// meta.Fixed. The product is the image by its digest, the subcomponent the package.
//
//   - A waiver with a justification: not_affected, with the waiver's reason as a note. (The published schema takes either a
//     justification or an impact statement, and the specification prefers the first.)
//   - A waiver without: affected, because accepting a risk does not make it go away; the action says until when and why.
//   - A fix that is not installed: affected, with what to install and until when the policy wants it done.
//   - No fix: affected, or under_investigation where the data source says so.
//
// Same input, same bytes. An image without any finding has a document without statements; the schema wants one at least,
// but readers take it, and it can be signed like the others. A decision about something else is ErrInvalid.
func VEX(e factory.Evidence, d factory.Decision, meta VEXMeta) ([]byte, error) {
	if d.Digest != e.Digest || d.Digest == "" || d.Env != e.Env {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("vex of %s for %s: the decision is about %s for %s", e.Digest.Short(), e.Env, d.Digest.Short(), d.Env)}
	}
	owner := e.Image.Owner.Team
	if len(e.Image.Owner.Contacts) > 0 {
		owner = e.Image.Owner.Contacts[0]
	}
	doc := vexDocument{
		Context: "https://openvex.dev/ns/v0.2.0", Author: cmp.Or(meta.Author, owner, "image factory"), Role: "image producer",
		Timestamp: d.At.UTC().Truncate(time.Second), Version: 1, Tooling: strings.TrimSpace("image factory " + meta.Version), Statements: []vexStatement{},
	}
	present := map[string]bool{}
	for _, f := range e.Scan.Findings {
		present[f.Key()] = true
		doc.Statements = append(doc.Statements, open(e, d, meta, f))
	}
	for _, f := range meta.Fixed {
		if !present[f.Key()] && !slices.Contains(e.Scan.NotLookedAt, f.Package) {
			doc.Statements = append(doc.Statements, gone(e, meta, f))
		}
	}
	slices.SortStableFunc(doc.Statements, compareStatements)
	doc.Statements = slices.CompactFunc(doc.Statements, func(a, b vexStatement) bool { return compareStatements(a, b) == 0 })
	b, err := encode(doc)
	if err != nil {
		return nil, fmt.Errorf("vex of %s: %w", e.Image.Name, err)
	}
	doc.ID = identify(b)
	return encode(doc)
}

func compareStatements(a, b vexStatement) int {
	return cmp.Or(
		cmp.Compare(a.Vulnerability.Name, b.Vulnerability.Name), cmp.Compare(a.Products[0].Subcomponents[0].ID, b.Products[0].Subcomponents[0].ID),
		cmp.Compare(a.Status, b.Status), cmp.Compare(a.Notes, b.Notes), cmp.Compare(a.Justification, b.Justification), cmp.Compare(a.Action, b.Action))
}

// open is the statement about a finding that the image has.
func open(e factory.Evidence, d factory.Decision, meta VEXMeta, f factory.Finding) vexStatement {
	s := statement(e, meta, f, purl(e, f))
	s.Status = vexAffected
	i := slices.IndexFunc(d.Waived, func(w factory.Waived) bool { return w.Subject == f.Key() })
	switch {
	case i >= 0 && d.Waived[i].Waiver.Justification != "":
		w := d.Waived[i].Waiver
		s.Status, s.Justification = vexNotAffected, w.Justification
		s.Notes = fmt.Sprintf("%s (%s, until %s)", w.Reason, w.By, w.Until)
	case i >= 0:
		w := d.Waived[i].Waiver
		s.Action = fmt.Sprintf("The risk is accepted until %s by %s: %s", w.Until, w.By, w.Reason)
	case f.Fixed != "":
		s.Action = fmt.Sprintf("Use a newer release of the image, or update %s to %s.", f.Package, f.Fixed)
		if until := deadline(d, f); !until.IsZero() {
			s.Notes = fmt.Sprintf("the policy for %s (%s) wants it fixed by %s", d.Env, d.Pack, until)
		}
	case f.Status == vexUnder:
		s.Status, s.Notes = vexUnder, "there is no fix yet, and the data source has not said whether the package is affected"
	default:
		s.Action = "No fix is available yet; the image is rebuilt when there is one."
		if f.Status != "" {
			s.Notes = "the data source says " + f.Status
		}
	}
	return s
}

func deadline(d factory.Decision, f factory.Finding) factory.Date {
	for _, r := range d.Reasons {
		if r.Rule == ruleVulnerability && r.Subject == f.Key() {
			return r.Deadline
		}
	}
	return factory.Date{}
}

// gone is the statement about a finding that a rebuild has fixed. The finding knows the package's old version, so the
// package is named without any: in this image, it is the one there is.
func gone(e factory.Evidence, meta VEXMeta, f factory.Finding) vexStatement {
	s := statement(e, meta, f, versionless(purl(e, f)))
	s.Status = vexFixed
	s.Notes = "fixed"
	if f.Fixed != "" {
		s.Notes += " in " + f.Package + " " + f.Fixed
	}
	if !f.FixedSince.IsZero() {
		s.Notes += ", and in the image since " + factory.DateOf(f.FixedSince).String()
	}
	return s
}

func statement(e factory.Evidence, meta VEXMeta, f factory.Finding, component string) vexStatement {
	image := "pkg:oci/" + url.PathEscape(strings.ToLower(path.Base(cmp.Or(meta.Repository, e.Image.Name)))) + "@" + strings.Replace(string(e.Digest), ":", "%3A", 1)
	if meta.Repository != "" {
		image += "?repository_url=" + url.QueryEscape(meta.Repository)
	}
	return vexStatement{Vulnerability: vexVulnerability{Name: f.Vulnerability}, Products: []vexProduct{{
		ID: image, Identifiers: map[string]string{"purl": image}, Hashes: map[string]string{"sha-256": e.Digest.Hex()}, Subcomponents: []vexComponent{{ID: component}},
	}}}
}

// purl is the package's own, or as good a one as can be made.
func purl(e factory.Evidence, f factory.Finding) string {
	if f.Purl != "" {
		return f.Purl
	}
	d, version := e.Image.Distro, f.Version
	qualifiers := url.Values{}
	if d.Release != "" {
		qualifiers.Set("distro", d.Family+"-"+d.Release)
	}
	kind := cmp.Or(d.Format(), factory.RPM) // most of the families that the factory does not build
	if d.Family == "" || d.Family == "ubuntu" {
		kind = factory.Deb
	}
	if kind == factory.RPM { // whose epoch is no part of the version there
		if epoch, rest, found := strings.Cut(version, ":"); found {
			version = rest
			qualifiers.Set("epoch", epoch)
		}
	}
	escape := func(s string) string { return strings.ReplaceAll(url.PathEscape(s), "+", "%2B") }
	p := "pkg:" + string(kind) + "/" + escape(cmp.Or(d.Family, factory.Debian)) + "/" + escape(f.Package) + "@" + escape(version)
	if len(qualifiers) > 0 {
		p += "?" + qualifiers.Encode()
	}
	return p
}

func versionless(purl string) string {
	name, qualifiers, found := strings.Cut(purl, "?")
	if i := strings.LastIndexByte(name, '@'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	if found {
		return name + "?" + qualifiers
	}
	return name
}

// identify makes the document's IRI from its content: an UUID of version 8.
func identify(b []byte) string {
	h := []byte(factory.DigestOf(b).Hex()[:32])
	h[12], h[16] = '8', 'a'
	return fmt.Sprintf("urn:uuid:%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}

func encode(doc vexDocument) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(doc)
	return b.Bytes(), err
}
