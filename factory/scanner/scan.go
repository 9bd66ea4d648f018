package scanner

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// The media types of SBOMs.
const (
	CycloneDXType = "application/vnd.cyclonedx+json"
	SPDXType      = "application/spdx+json"
)

// question is a request about one platform.
type question struct {
	Request
	what     string
	platform factory.Platform
}

// Scan scans every platform of a packed image and writes its SBOMs. Name is what these call it. A package that was not looked at on
// one platform is in Scan.NotLookedAt, also when it was looked at on another. ErrNotFound when no database is open.
func (c *Client) Scan(ctx context.Context, name string, a factory.Artifact) (factory.Scanned, error) {
	layout, err := filepath.Abs(a.Layout)
	if err != nil {
		return factory.Scanned{}, err
	}
	var all []question
	for _, p := range a.Platforms {
		all = append(all, question{what: "scan " + name + " " + p.Platform.String(), platform: p.Platform,
			Request: Request{Op: Image, Layout: layout, Digest: p.Digest, Name: name, Platform: &p.Platform}})
	}
	if len(all) == 0 {
		return factory.Scanned{}, &factory.Problem{Kind: factory.ErrInvalid, What: "scanner: scan " + name + ": the image has no platforms"}
	}
	return c.answers(ctx, "scan "+name, all)
}

// Match finds the vulnerabilities of stored SBOMs, of which it takes those in CycloneDX's form, one for each platform of an
// image. ErrUnverified when a document is not what its digest says, ErrNotFound when there is none or no database is open.
func (c *Client) Match(ctx context.Context, sboms []factory.Document) (factory.Scan, error) {
	var all []question
	for _, d := range sboms {
		if d.Kind != factory.CycloneDX {
			continue
		}
		if len(d.Data) > MaxFrame/4*3 { // as it travels
			return factory.Scan{}, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("scanner: SBOM %s has %d bytes, more than a message can carry", d.Name, len(d.Data))}
		}
		if factory.DigestOf(d.Data) != d.Digest {
			return factory.Scan{}, &factory.Problem{Kind: factory.ErrUnverified, What: "scanner: SBOM " + d.Name + " is not what its digest says", Hint: "scan the image itself again"}
		}
		all = append(all, question{what: "match SBOM " + d.Name, platform: d.Platform, Request: Request{Op: SBOM, SBOM: d.Data}})
	}
	if len(all) == 0 {
		return factory.Scan{}, &factory.Problem{Kind: factory.ErrNotFound, What: "scanner: no SBOM in CycloneDX's form to match", Hint: "scan the image itself"}
	}
	scanned, err := c.answers(ctx, all[0].what, all)
	return scanned.Scan, err
}

// answers asks everything at once, of one process and one database. When the scanner does not survive it, or says something that
// a bad database may be behind, all of the database is read elsewhere; if it is good, the scanner opens it anew and is asked
// once more.
func (c *Client) answers(ctx context.Context, what string, all []question) (factory.Scanned, error) {
	s, dir, suspect, err := c.answersOnce(ctx, what, 1, all)
	if !suspect || ctx.Err() != nil {
		return s, err
	}
	if _, bad := c.Check(ctx, dir); errors.Is(bad, factory.ErrUnverified) {
		return factory.Scanned{}, bad
	}
	if dead(err) != nil {
		return s, err // alone, and twice
	}
	if err := c.forget(ctx); err != nil {
		return factory.Scanned{}, err
	}
	s, _, suspect, err = c.answersOnce(ctx, what, everybody, all)
	if suspect {
		err = errors.Join(err, c.forget(ctx))
	}
	return s, err
}

// answersOnce also returns the folder of the database, and whether that may be what is wrong.
func (c *Client) answersOnce(ctx context.Context, what string, width int64, all []question) (s factory.Scanned, dir string, suspect bool, err error) {
	var fault *Fault
	err = c.do(ctx, what, width, job{matches: true, run: func(v *conversation, db database) (err error) {
		dir = db.dir
		s, fault, err = c.collect(ctx, v, all)
		s.Scan.Database = db.Database
		return err
	}})
	if err == nil {
		return s, dir, false, nil
	}
	d := dead(err)
	return factory.Scanned{}, dir, fault.suspect() || d != nil && d.during == "", err
}

// collect joins the answers. It also returns the fault that the scanner answered with, if any.
func (c *Client) collect(ctx context.Context, v *conversation, all []question) (s factory.Scanned, fault *Fault, err error) {
	calls := make([]*call, len(all))
	for i, q := range all {
		if calls[i], err = v.send(q.Request, q.what, c.timeout()); err != nil {
			return s, nil, err
		}
	}
	s.Scan.Findings = []factory.Finding{}
	for i, q := range all {
		reply, err := calls[i].wait(ctx)
		if err != nil {
			return s, nil, err
		}
		if reply.Error != nil {
			return s, reply.Error, reply.Error.problem(q.what)
		}
		if err := add(&s, q, *reply.Result); err != nil {
			return s, nil, err
		}
	}
	slices.Sort(s.Scan.NotLookedAt)
	s.Scan.NotLookedAt = slices.Compact(s.Scan.NotLookedAt)
	s.Scan.Findings = factory.MergeFindings(s.Scan.Findings)
	s.Scan.Scanner = v.greeting.Name + " " + v.greeting.Version
	if c.Now != nil {
		s.Scan.At = c.Now()
	}
	return s, nil, nil
}

// add joins one answer to the scan.
func add(s *factory.Scanned, q question, r Result) error {
	if r.Distro == "" || r.Packages < 0 || r.Packages == 0 && len(r.NotLookedAt) == 0 {
		return nothing(q.what, r)
	}
	if slices.Contains(r.NotLookedAt, "") {
		return &factory.Problem{Kind: factory.ErrUnverified, What: "scanner: " + q.what + ": a package without a name"}
	}
	s.Scan.Packages += r.Packages
	s.Scan.NotLookedAt = append(s.Scan.NotLookedAt, r.NotLookedAt...)
	for _, f := range r.Findings {
		if f.Vulnerability == "" || f.Package == "" {
			return &factory.Problem{Kind: factory.ErrUnverified, What: "scanner: " + q.what + ": a finding without vulnerability or package"}
		}
		if f.Platforms = nil; q.platform != (factory.Platform{}) {
			f.Platforms = []factory.Platform{q.platform}
		}
		s.Scan.Findings = append(s.Scan.Findings, f)
	}
	if q.Op == Image {
		name := q.platform.String()
		s.Documents = append(s.Documents,
			factory.NewDocument(factory.CycloneDX, name, q.platform, CycloneDXType, r.CycloneDX),
			factory.NewDocument(factory.SPDX, name, q.platform, SPDXType, r.SPDX))
	}
	return nil
}
