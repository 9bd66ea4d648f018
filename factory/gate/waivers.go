package gate

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// held is a waiver that is in force.
type held struct {
	factory.Waiver
	used bool // covers something that is there
}

// takeWaivers sorts out the waivers of the image that are in force on the day. The others count as absent.
func (c *decider) takeWaivers() {
	for _, w := range c.evidence.Image.Waivers {
		if w.ID == "" || !w.Holds(c.day) {
			c.decision.Expired = append(c.decision.Expired, w)
			continue
		}
		c.waivers = append(c.waivers, held{Waiver: w})
	}
	slices.SortStableFunc(c.decision.Expired, compareWaivers)
	slices.SortStableFunc(c.waivers, func(a, b held) int { return compareWaivers(a.Waiver, b.Waiver) })
}

// compareWaivers orders by what is waived; of several about one thing, the one that holds longest comes last.
func compareWaivers(a, b factory.Waiver) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), a.Until.Time().Compare(b.Until.Time()), slices.Compare(a.Packages, b.Packages),
		cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.By, b.By), cmp.Compare(a.Justification, b.Justification), cmp.Compare(a.Where.String(), b.Where.String()))
}

// waiverFor returns the waiver that covers a finding, of several the one that holds longest; nil when there is none. What an ancestor
// accepted of its packages, nobody accepted of those that were added above it.
func (c *decider) waiverFor(f factory.Finding) *factory.Waiver {
	return c.waiver(f.Key(), func(w factory.Waiver) bool {
		own, known := c.evidence.Own[w.Inherited]
		return w.Covers(f) && (w.Inherited == "" || known && !slices.Contains(own, f.Package))
	})
}

func (c *decider) waiver(subject string, covers func(factory.Waiver) bool) (found *factory.Waiver) {
	for i := range c.waivers {
		if covers(c.waivers[i].Waiver) {
			c.waivers[i].used = true
			found = &c.waivers[i].Waiver
		}
	}
	if found != nil {
		c.decision.Waived = append(c.decision.Waived, factory.Waived{Subject: subject, Waiver: *found})
	}
	return found
}

// longest is how far ahead a waiver should reach: a year, and some days to renew it.
const longest = 370

// tellWaivers reports what people should do about the image's waivers. None of it blocks.
func (c *decider) tellWaivers() {
	tell := func(w factory.Waiver, hint, format string, args ...any) {
		c.add(factory.Reason{Rule: ruleWaiver, Subject: w.ID, Text: fmt.Sprintf("the waiver for %s ", w.ID) + fmt.Sprintf(format, args...), Hint: hint})
	}
	for _, w := range c.decision.Expired {
		edit := c.waiversFile(w)
		if w.Until.IsZero() {
			tell(w, "give it an end in "+edit, "has no end, so it counts as absent")
			continue
		}
		tell(w, "renew it with a reason in "+edit+", or remove it", "ended on %s and counts as absent", w.Until)
	}
	for _, w := range c.waivers {
		edit := c.waiversFile(w.Waiver)
		if !w.used && w.Inherited == "" { // a parent's that covers nothing here may well cover something there
			c.decision.Unmatched = append(c.decision.Unmatched, w.Waiver)
			tell(w.Waiver, "remove it from "+edit, "covers nothing that was found, by %s", c.evidence.Scan.Database)
		}
		if n := between(c.day, w.Until); n > longest {
			tell(w.Waiver, "choose an earlier end in "+edit, "holds for %s, until %s: longer than a year is as good as for ever", count(n, "day"), w.Until)
		}
	}
	slices.SortStableFunc(c.decision.Waived, func(a, b factory.Waived) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), compareWaivers(a.Waiver, b.Waiver))
	})
	c.decision.Waived = slices.CompactFunc(c.decision.Waived, func(a, b factory.Waived) bool { // a rule in several evaluations
		return a.Subject == b.Subject && compareWaivers(a.Waiver, b.Waiver) == 0
	})
}
