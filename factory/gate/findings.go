package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// checkFindings gives a reason for each finding that has a fix, and one for all that have none.
func (c *decider) checkFindings() {
	unfixed := map[factory.Severity]int{}
	open := 0
	for _, f := range c.evidence.Scan.Findings {
		w := c.waiverFor(f)
		switch {
		case w != nil:
			c.add(c.accepted(f, *w))
		case f.Fixed == "":
			unfixed[severity(f)]++
			open++
		default:
			c.add(c.fixable(f))
		}
	}
	if open > 0 {
		c.add(factory.Reason{Rule: ruleVulnerability, Text: fmt.Sprintf("%s without a fix (%s): nothing can be done yet, so no clock runs and none blocks", count(open, "finding"), bySeverity(unfixed))})
	}
	if n := c.evidence.Scan.Packages; len(c.evidence.Scan.Findings) == 0 && n > 0 {
		c.add(factory.Reason{Rule: ruleVulnerability, Text: fmt.Sprintf("no finding in %s, by %s", count(n, "package"), c.evidence.Scan.Database)})
	}
}

func bySeverity(counts map[factory.Severity]int) string {
	var parts []string
	for _, s := range factory.Severities() {
		if n := counts[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ")
}

// severity is f's own; what nobody knows as one is unknown.
func severity(f factory.Finding) factory.Severity {
	if slices.Contains(factory.Severities(), f.Severity) {
		return f.Severity
	}
	return factory.Unknown
}

// described is "CVE-2026-1 in openssl 3.0.1 (critical)".
func (c *decider) described(f factory.Finding) string {
	s := string(severity(f))
	if s == string(factory.Unknown) {
		s = "severity unknown"
		if counts := c.policy.Unknown; counts != factory.Unknown {
			s += ", counts as " + string(counts)
		}
	}
	return fmt.Sprintf("%s in %s %s (%s)", f.Vulnerability, f.Package, f.Version, s)
}

func (c *decider) fixable(f factory.Finding) factory.Reason {
	start, since := c.start(f)
	r := factory.Reason{
		Rule: ruleVulnerability, Subject: f.Key(), Severity: severity(f),
		Text: fmt.Sprintf("%s: fixed in %s%s", c.described(f), f.Fixed, since),
		Hint: fmt.Sprintf("get the fix: factory build --lock %s, or the next factory nightly; or accept it for a time in %s", c.evidence.Image.Name, c.waiversFile(factory.Waiver{})),
	}
	days, limited := c.limit(f)
	if !limited {
		r.Text += ", and no deadline: such findings never block"
		return r
	}
	r.Deadline = after(start, days)
	late := between(r.Deadline, c.day)
	r.Blocks = late > 0
	r.Text += ", due " + r.Deadline.String()
	switch {
	case late > 0:
		r.Text += ", " + count(late, "day") + " late"
	case late == 0:
		r.Text += ", which is today"
	default:
		r.Text += ", " + count(-late, "day") + " left"
	}
	return r
}

// accepted is the reason of a finding that a waiver covers. It blocks at the earliest when the waiver has ended and, had
// there been none, the deadline has passed too.
func (c *decider) accepted(f factory.Finding, w factory.Waiver) factory.Reason {
	r := factory.Reason{
		Rule: ruleWaiver, Subject: f.Key(), Severity: severity(f),
		Text: fmt.Sprintf("%s is accepted by %s until %s: %s", c.described(f), w.By, w.Until, w.Reason),
	}
	if days, limited := c.limit(f); limited && f.Fixed != "" {
		start, _ := c.start(f)
		r.Deadline = later(after(start, days), w.Until)
	}
	return r
}

const maxDays = 36500 // a century is as good as never, and every date stays one that can be written

// limit returns how many days a finding has; false when it never blocks.
func (c *decider) limit(f factory.Finding) (int, bool) {
	s := severity(f)
	if s == factory.Unknown {
		s = c.policy.Unknown
	}
	days, ok := c.policy.Deadlines[s]
	return min(max(days, 0), maxDays), ok && s != factory.Unknown
}

// start returns the day on which a finding's clock began to run, and what is known about that, in words. It is never before
// the fix was there. Whatever is dated after the scan that reports it counts as of that scan: a date in the future gives
// nobody more time.
func (c *decider) start(f factory.Finding) (factory.Date, string) {
	scan := c.evidence.Scan.At
	if scan.IsZero() || scan.After(c.evidence.At) {
		scan = c.evidence.At
	}
	known := func(times ...time.Time) factory.Date {
		for _, t := range times {
			if !t.IsZero() {
				return earlier(factory.DateOf(t), factory.DateOf(scan))
			}
		}
		return factory.DateOf(scan)
	}
	fixed := known(f.FixedOn, f.FixSeen, f.FirstSeen)
	var since string
	switch {
	case !f.FixedOn.IsZero():
		since = " since " + fixed.String()
	case !f.FixSeen.IsZero():
		since = ", known since " + fixed.String()
	default:
		since = fmt.Sprintf(" (nobody says since when, so since it was first seen on %s)", fixed)
	}
	start := fixed
	switch c.policy.Clock {
	case factory.FromFirstSeen:
		seen := known(f.FirstSeen)
		start, since = later(fixed, seen), since+", first seen "+seen.String()
	case factory.FromPublished:
		published := known(f.Published, f.FirstSeen)
		start = later(fixed, published)
		if f.Published.IsZero() {
			since += ", first seen " + published.String()
		} else {
			since += ", published " + published.String()
		}
	}
	return start, since
}

func after(d factory.Date, days int) factory.Date {
	return factory.DateOf(d.Time().AddDate(0, 0, days))
}

// between is the days from a to b.
func between(a, b factory.Date) int { return int(b.Time().Sub(a.Time()) / (24 * time.Hour)) }

func later(a, b factory.Date) factory.Date {
	if a.Time().After(b.Time()) {
		return a
	}
	return b
}

func earlier(a, b factory.Date) factory.Date {
	if a.Time().Before(b.Time()) {
		return a
	}
	return b
}
