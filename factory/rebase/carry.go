package rebase

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// Carry is what a benchmark says of an image after a rebase, as far as it can be said without looking: every file of it was looked at in
// the image before or in the new base, so of each rule the worse of both results counts. Its Carried says so. What was evaluated in one
// of them alone is unknown, and so is everything where only the base has content: nobody knows what an evaluation would find.
func Carry(image, base factory.Compliance, imageRef, baseRef string) factory.Compliance {
	c := image
	if c.Benchmark == "" && c.NoContent == "" {
		return c
	}
	c.Carried = fmt.Sprintf("not evaluated in this image: of each rule the worse of its results in %s, as it was before the rebase, and in %s, the new base", imageRef, baseRef)
	if image.ContentDigest != base.ContentDigest {
		c.Carried += fmt.Sprintf("; with different contents: %s, and %s", cmp.Or(image.Content, "none"), cmp.Or(base.Content, "none"))
	}
	if base.NoContent == "" {
		c.NoContent = ""
	}
	c.Evaluations = slices.Clone(image.Evaluations)
	for i, e := range c.Evaluations {
		other := base.Find(e.View, e.Level, e.Platform)
		if other == nil {
			other = &factory.Evaluation{}
		}
		c.Evaluations[i].Rules = worse(e.Rules, other.Rules)
	}
	return c
}

// worse are the rules of two evaluations, sorted, each with the worse result.
func worse(image, base []factory.RuleOutcome) (all []factory.RuleOutcome) {
	one := func(rules []factory.RuleOutcome, r factory.RuleOutcome, where string) factory.RuleOutcome {
		if i := slices.IndexFunc(rules, func(o factory.RuleOutcome) bool { return o.Rule == r.Rule }); i >= 0 {
			return rules[i]
		}
		return factory.RuleOutcome{Rule: r.Rule, Severity: r.Severity, Result: factory.RuleUnknown, Reason: "it was not evaluated in the " + where}
	}
	add := func(a, b factory.RuleOutcome) {
		if rank(b.Result) > rank(a.Result) {
			a.Result, a.Reason = b.Result, b.Reason
		}
		all = append(all, a)
	}
	for _, r := range image {
		add(r, one(base, r, "new base"))
	}
	for _, r := range base {
		if !slices.ContainsFunc(image, func(o factory.RuleOutcome) bool { return o.Rule == r.Rule }) {
			add(r, one(nil, r, "image before the rebase"))
		}
	}
	slices.SortStableFunc(all, func(a, b factory.RuleOutcome) int { return cmp.Compare(a.Rule, b.Rule) })
	return all
}

// rank orders results, the worst last.
func rank(r factory.RuleResult) int {
	return slices.Index([]factory.RuleResult{factory.RuleNotApplicable, factory.RulePass, factory.RuleWaived, factory.RuleNotChecked, factory.RuleUnknown, factory.RuleError, factory.RuleFail}, r)
}
