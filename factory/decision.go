package factory

import (
	"slices"
	"time"
)

// Clock says when a finding's deadline begins to run. It never runs while there is no fix.
type Clock string

// The clocks.
const (
	FromFirstSeen    Clock = "first-seen"    // when the factory first saw it in the image
	FromFixAvailable Clock = "fix-available" // when the fix was published, or first seen where nobody says
	FromPublished    Clock = "published"     // when the vulnerability was published, or first seen where nobody says
)

// Policy is what one environment demands.
type Policy struct {
	Env Env `json:"env"`
	// Pack names where the deadlines come from; Source is its publication.
	Pack   string `json:"pack"`
	Source string `json:"source,omitempty"`
	// Deadlines are days by severity, from the start of the clock; a severity that is not here has none and never blocks.
	Deadlines map[Severity]int `json:"deadlines"`
	Clock     Clock            `json:"clock"`
	// Unknown is the severity that an unknown one counts as; Unknown itself: it never blocks.
	Unknown Severity `json:"unknown"`
	// Compliance are floors; an evaluation that a floor names must exist.
	Compliance []Floor `json:"compliance,omitempty"`
	// NoContent is what happens to an image for whose distribution no benchmark content exists: warn or block; empty = block.
	NoContent string `json:"noContent,omitempty"`
	// Tests demands that acceptance tests ran and all passed.
	Tests bool `json:"tests"`
	// Committed demands that the inputs are committed.
	Committed bool           `json:"committed"`
	Database  DatabaseDemand `json:"database"`
	// EndOfLife is what happens to an image past its distribution's end of life: warn or block.
	EndOfLife string   `json:"endOfLife,omitempty"`
	Digest    Digest   `json:"digest"` // of the policy's text: which one decided
	Where     Position `json:"where"`
}

// Floor is the least that an evaluation may reach.
type Floor struct {
	// Image limits the floor to one image, and takes the place of those for its family and for all; empty = not limited so.
	Image string `json:"image,omitempty"`
	// Family limits the floor to one family of distributions, and takes the place of one without for it; empty = all others.
	Family string `json:"family,omitempty"`
	View   View   `json:"view"`
	Level  int    `json:"level"`
	// MaxFail is how many rules may fail or stay undecided; waived ones do not count.
	MaxFail int `json:"maxFail"`
	// MinApplicable is how many rules must at least apply: an evaluation of nothing proves nothing.
	MinApplicable int `json:"minApplicable"`
}

// DatabaseDemand is what a policy demands of the vulnerability data.
type DatabaseDemand struct {
	Kinds  []DatabaseKind `json:"kinds"`
	MaxAge Hours          `json:"maxAge"`
	// ArchiveMaxAge is MaxAge for archive changelogs; 0 = MaxAge too. They are as old as the signed Release file of the
	// security suite, which stays the same for days when nothing is published.
	ArchiveMaxAge Hours `json:"archiveMaxAge,omitempty"`
}

// Limit is how old data of a kind may be.
func (d DatabaseDemand) Limit(k DatabaseKind) time.Duration {
	if k == ArchiveDatabase && d.ArchiveMaxAge > 0 {
		return d.ArchiveMaxAge.Duration()
	}
	return d.MaxAge.Duration()
}

// Hours is a length of time in hours.
type Hours int

// Duration returns h as a time.Duration.
func (h Hours) Duration() time.Duration { return time.Duration(h) * time.Hour }

// Evidence is all that the gate may look at.
type Evidence struct {
	Image      Image            `json:"image"` // its waivers are in force as they stand here
	Env        Env              `json:"env"`
	Digest     Digest           `json:"digest"`
	Source     Source           `json:"source"`
	Tests      []TestResult     `json:"tests"`
	Controls   []ControlOutcome `json:"controls"`
	Compliance Compliance       `json:"compliance"` // waivers not applied
	Scan       Scan             `json:"scan"`       // findings with their history
	Revoked    string           `json:"revoked,omitempty"`
	// Own says of each image that this one is built on which packages it has beyond that one's release, by name. A waiver inherited
	// from there covers nothing of these, and nothing at all where the release is not known and so nothing stands here.
	Own map[string][]string `json:"own,omitempty"`
	// Parent is the release that a child is built on; nil = it has none.
	Parent *Base `json:"parent,omitempty"`
	// Base is what speaks against that release, for a warning; empty = nothing.
	Base string `json:"base,omitempty"`
	// BaseRevoked is why that release was revoked; empty = it was not.
	BaseRevoked string `json:"baseRevoked,omitempty"`
	// Carried says, a sentence each, which of this is about other images: of a rebase, that nothing was tested or evaluated anew.
	Carried []string  `json:"carried,omitempty"`
	At      time.Time `json:"at"` // the instant that is decided about
}

// Reason is one thing that the gate looked at and what it says of it.
type Reason struct {
	Rule     string   `json:"rule"`              // policy, revoked, vulnerability, compliance, tests, database, source, end-of-life, base, waiver, carried
	Subject  string   `json:"subject,omitempty"` // CVE-2026-1234 openssl; container level 2
	Blocks   bool     `json:"blocks"`
	Text     string   `json:"text"` // a sentence that explains, with figures
	Severity Severity `json:"severity,omitempty"`
	Deadline Date     `json:"deadline"`       // last day on which it does not block; zero = none
	Hint     string   `json:"hint,omitempty"` // what to do about it
}

// Waived is a finding or rule that a waiver accepts.
type Waived struct {
	Subject string `json:"subject"`
	Waiver  Waiver `json:"waiver"`
}

// Decision is what the gate says of an image and an environment. The zero value blocks.
type Decision struct {
	Image   string    `json:"image"`
	Env     Env       `json:"env"`
	Digest  Digest    `json:"digest"`
	At      time.Time `json:"at"`
	Pass    bool      `json:"pass"`
	Pack    string    `json:"pack"`
	Policy  Digest    `json:"policy"`
	Reasons []Reason  `json:"reasons"` // what blocks first
	Waived  []Waived  `json:"waived,omitempty"`
	// Expired waivers count as absent; Unmatched ones cover nothing that is there.
	Expired   []Waiver `json:"expired,omitempty"`
	Unmatched []Waiver `json:"unmatched,omitempty"`
	Database  Database `json:"database"`
}

// Blocking returns the reasons that block.
func (d Decision) Blocking() []Reason {
	return slices.DeleteFunc(slices.Clone(d.Reasons), func(r Reason) bool { return !r.Blocks })
}

// Next returns the reason whose deadline comes first, nil when nothing has one.
func (d Decision) Next() *Reason {
	var next *Reason
	for i, r := range d.Reasons {
		if !r.Deadline.IsZero() && (next == nil || r.Deadline.Time().Before(next.Deadline.Time())) {
			next = &d.Reasons[i]
		}
	}
	return next
}
