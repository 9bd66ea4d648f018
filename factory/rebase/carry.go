package rebase

import (
	"fmt"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// Carry is what a benchmark says of an image after a rebase, as far as it can be said without looking: every file of it was looked at in
// the image before or in the new base, so of each rule the worse of both results counts. Its Carried says so. What nobody evaluated in
// the image before stays unknown.
func Carry(image, base factory.Compliance, imageRef, baseRef string) factory.Compliance {
	c := image
	if c.Benchmark == "" && c.NoContent == "" {
		return c
	}
	c.Carried = fmt.Sprintf("not evaluated in this image: of each rule the worse of its results in %s, as it was before the rebase, and in %s, the new base", imageRef, baseRef)
	c.Evaluations = slices.Clone(image.Evaluations)
	for i, e := range c.Evaluations {
		e.Rules = slices.Clone(e.Rules)
		other := base.Find(e.View, e.Level, e.Platform)
		for k, r := range e.Rules {
			if other == nil {
				continue
			}
			at := slices.IndexFunc(other.Rules, func(o factory.RuleOutcome) bool { return o.Rule == r.Rule })
			if at >= 0 && rank(other.Rules[at].Result) > rank(r.Result) {
				e.Rules[k].Result, e.Rules[k].Reason = other.Rules[at].Result, other.Rules[at].Reason
			}
		}
		c.Evaluations[i] = e
	}
	return c
}

// rank orders results, the worst last.
func rank(r factory.RuleResult) int {
	return slices.Index([]factory.RuleResult{factory.RuleNotApplicable, factory.RulePass, factory.RuleWaived, factory.RuleNotChecked, factory.RuleUnknown, factory.RuleError, factory.RuleFail}, r)
}
