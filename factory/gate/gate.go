// Package gate decides whether an image may enter an environment, and gives every reason.
//
// Rules of this package:
//
//   - It is pure: a policy and the evidence come in, a decision goes out. Same input, same decision, byte for byte.
//   - It fails closed: what was not measured, not said or not understood blocks. The zero Policy and the zero Evidence block.
//   - Everything that it looked at becomes a reason that a person can read, whether it blocks or not; a decision blocks when
//     one of its reasons does, and never otherwise.
//   - Days are UTC days. A deadline is the last day on which something does not block.
//   - What cannot be fixed never blocks. A waiver only ever takes a reason to block away, and only on the days it holds.
package gate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// What a reason is about. The worst come first.
const (
	rulePolicy        = "policy" // the policy itself cannot be applied
	ruleRevoked       = "revoked"
	ruleVulnerability = "vulnerability"
	ruleCompliance    = "compliance"
	ruleTests         = "tests"
	ruleDatabase      = "database"
	ruleSource        = "source"
	ruleEndOfLife     = "end-of-life"
	ruleBase          = "base"
	ruleWaiver        = "waiver"
	ruleCarried       = "carried"
)

var rules = []string{rulePolicy, ruleRevoked, ruleVulnerability, ruleCompliance, ruleTests, ruleDatabase, ruleSource, ruleEndOfLife, ruleBase, ruleWaiver, ruleCarried}

// Decide says whether the image of e may enter the environment of p, as things stood at e.At. Reasons come sorted: what
// blocks first, then by rule, by severity and by deadline.
func Decide(p factory.Policy, e factory.Evidence) factory.Decision {
	c := &decider{policy: p, evidence: e, day: factory.DateOf(e.At)}
	c.decision = factory.Decision{
		Image: e.Image.Name, Env: e.Env, Digest: e.Digest, At: e.At.UTC().Round(0), Pack: p.Pack, Policy: p.Digest,
		Reasons: []factory.Reason{}, Database: e.Scan.Database,
	}
	c.decision.Database.Updated = e.Scan.Database.Updated.UTC().Round(0)
	c.takeWaivers()
	c.checkPolicy()
	c.checkRevoked()
	c.checkFindings()
	c.checkCompliance()
	c.checkTests()
	c.checkDatabase()
	c.checkSource()
	c.checkEndOfLife()
	c.checkBase()
	c.tellWaivers()
	c.tellCarried()
	slices.SortStableFunc(c.decision.Reasons, compareReasons)
	c.decision.Pass = len(c.decision.Blocking()) == 0
	return c.decision
}

// decider is one decision under way.
type decider struct {
	policy   factory.Policy
	evidence factory.Evidence
	day      factory.Date // that is decided about
	waivers  []held       // those in force
	decision factory.Decision
}

func (c *decider) add(r factory.Reason) { c.decision.Reasons = append(c.decision.Reasons, r) }

func compareReasons(a, b factory.Reason) int {
	return cmp.Or(
		first(b.Blocks, a.Blocks), cmp.Compare(slices.Index(rules, a.Rule), slices.Index(rules, b.Rule)), b.Severity.Compare(a.Severity),
		compareDeadlines(a.Deadline, b.Deadline), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Text, b.Text))
}

func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// compareDeadlines orders by day; what has none comes last.
func compareDeadlines(a, b factory.Date) int {
	if c := first(a.IsZero(), b.IsZero()); c != 0 {
		return c
	}
	return a.Time().Compare(b.Time())
}

// checkPolicy blocks when the policy cannot be applied, which nobody may take for a policy that demands nothing.
func (c *decider) checkPolicy() {
	p := c.policy
	block := func(format string, args ...any) {
		c.add(factory.Reason{Rule: rulePolicy, Subject: string(p.Env), Blocks: true, Text: fmt.Sprintf(format, args...), Hint: "factory check shows what is wrong with baseimages/policy.yaml"})
	}
	switch {
	case p.Env == "":
		block("there is no policy for %s, so nothing may enter it", name(string(c.evidence.Env), "the environment"))
	case p.Env != c.evidence.Env:
		block("the policy is for %s and the image is to enter %s", p.Env, name(string(c.evidence.Env), "no environment"))
	}
	if len(p.Deadlines) == 0 {
		block("the policy has no deadlines, so no finding would ever block")
	}
	switch p.Clock {
	case factory.FromFirstSeen, factory.FromFixAvailable, factory.FromPublished:
	default:
		block("the policy's clock is %.40q; it is first-seen, fix-available or published", p.Clock)
	}
	if !slices.Contains(factory.Severities(), p.Unknown) {
		block("the policy does not say what an unknown severity counts as")
	}
	if !slices.Contains([]string{"", "warn", "block"}, p.EndOfLife) {
		block("the policy says %.40q of images past their end of life; it is warn or block", p.EndOfLife)
	}
	if !slices.Contains([]string{"", "warn", "block"}, p.NoContent) {
		block("the policy says %.40q of images that no benchmark content exists for; it is warn or block", p.NoContent)
	}
	if c.evidence.At.IsZero() {
		block("nobody says at what time this is decided")
	}
}

func (c *decider) checkRevoked() {
	if why := c.evidence.Revoked; why != "" {
		c.add(factory.Reason{
			Rule: ruleRevoked, Subject: c.evidence.Digest.Short(), Blocks: true, Text: "this digest was revoked: " + why,
			Hint: "a revocation is for ever; build a new release: factory build --lock " + c.evidence.Image.Name,
		})
	}
}

// checkBase looks at the release that a child is built on. What nobody may use is in the child too.
func (c *decider) checkBase() {
	e := c.evidence
	if e.BaseRevoked != "" {
		c.add(factory.Reason{
			Rule: ruleBase, Subject: e.Image.From, Blocks: true, Text: "it is built on a release that was revoked: " + e.BaseRevoked,
			Hint: fmt.Sprintf("build both anew: factory build --lock %s %s", e.Image.From, e.Image.Name),
		})
	}
	if e.Base != "" {
		c.add(factory.Reason{Rule: ruleBase, Subject: e.Image.From, Text: e.Base})
	}
}

// tellCarried says which evidence is that of other images: it counts, and nobody shall take it for more than it is.
func (c *decider) tellCarried() {
	for _, text := range c.evidence.Carried {
		c.add(factory.Reason{Rule: ruleCarried, Text: text})
	}
}

func name(s, otherwise string) string { return cmp.Or(s, otherwise) }

// count is "1 day", "2 days".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// some names the first few of many.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// waiversFile is where a waiver stands, or could stand.
func (c *decider) waiversFile(w factory.Waiver) string {
	if w.Inherited != "" {
		return "baseimages/" + w.Inherited + "/waivers.yaml"
	}
	return "baseimages/" + c.evidence.Image.Name + "/waivers.yaml"
}
