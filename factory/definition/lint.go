package definition

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// LintKind says what is odd about a profile.
type LintKind string

// The kinds of lint finding.
const (
	LintUnknown   LintKind = "unknown control"  // no benchmark content refers to it
	LintIdle      LintKind = "never changes"    // it was in force already in every image that was made
	LintUnhandled LintKind = "unaddressed rule" // it fails, and no control of the profile is about it
)

// LintFinding is one thing in which a profile and what is known of it do not agree.
type LintFinding struct {
	Kind    LintKind `json:"kind"`
	Control string   `json:"control,omitempty"`
	Rule    string   `json:"rule,omitempty"`
	Text    string   `json:"text"`
	// Explained is why it is in order; empty = somebody has to look.
	Explained string           `json:"explained,omitempty"`
	Where     factory.Position `json:"where"`
}

// Lint compares the profile with what is known: the rules of every benchmark content (of all releases), the outcomes of every
// control in newly made images, and what independent evaluations said. A rule that a waiver covers is explained by it.
// The findings are sorted; what is explained is among them.
func (p Profile) Lint(benchmarks []factory.RuleOutcome, outcomes []factory.ControlOutcome, proven []factory.Compliance) []LintFinding {
	var found []LintFinding
	about := map[string][]string{} // controls by rule: the content of some releases refers to none
	known := map[string]bool{}
	for _, r := range benchmarks {
		about[r.Rule] = append(about[r.Rule], r.Controls...)
		for _, id := range r.Controls {
			known[id] = true
		}
	}
	idle := idleControls(outcomes)
	for _, c := range p.Controls {
		if len(benchmarks) > 0 && !known[c.ID] {
			found = append(found, LintFinding{Kind: LintUnknown, Control: c.ID, Explained: c.Explained, Where: c.Where,
				Text: fmt.Sprintf("no rule of any benchmark content refers to %s %s", c.ID, c.Title)})
		}
		if idle[c.ID] {
			found = append(found, LintFinding{Kind: LintIdle, Control: c.ID, Explained: c.Explained, Where: c.Where,
				Text: fmt.Sprintf("%s %s was in force already in every image", c.ID, c.Title)})
		}
	}
	return append(found, p.unaddressed(about, proven)...)
}

// idleControls are those that were looked after, and never had anything to do.
func idleControls(outcomes []factory.ControlOutcome) map[string]bool {
	idle := map[string]bool{}
	for _, o := range outcomes {
		switch was, seen := idle[o.Control]; o.Outcome {
		case factory.Already:
			idle[o.Control] = was || !seen
		case factory.NotApplicable: // says nothing
		default:
			idle[o.Control] = false
		}
	}
	return idle
}

// unaddressed are the rules that did not pass and that no control is about, once each.
func (p Profile) unaddressed(about map[string][]string, proven []factory.Compliance) (found []LintFinding) {
	for _, c := range proven {
		for _, e := range c.Evaluations {
			for _, r := range e.Rules {
				if r.Result != factory.RuleFail && r.Result != factory.RuleWaived {
					continue
				}
				if slices.ContainsFunc(slices.Concat(r.Controls, about[r.Rule]), func(id string) bool { _, ok := p.Control(id); return ok }) {
					continue
				}
				found = append(found, LintFinding{Kind: LintUnhandled, Rule: r.Rule, Explained: r.Reason, Where: p.Where,
					Text: fmt.Sprintf("rule %s fails (%s), and no control is about it", r.Rule, r.Title)})
			}
		}
	}
	slices.SortFunc(found, func(a, b LintFinding) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Explained, b.Explained)) // what is not explained first
	})
	return slices.CompactFunc(found, func(a, b LintFinding) bool { return a.Rule == b.Rule })
}
