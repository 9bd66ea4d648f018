package gate

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// checkCompliance holds every floor against what was evaluated, on each platform of the image.
func (c *decider) checkCompliance() {
	evaluations, floors := c.evaluations(), c.floors()
	if why := c.evidence.Compliance.NoContent; why != "" {
		c.add(c.withoutContent(why))
		if len(evaluations) == 0 {
			return
		}
	}
	for _, floor := range floors {
		for _, p := range c.platforms() {
			found := slices.ContainsFunc(evaluations, func(e factory.Evaluation) bool { return about(floor, e) && on(p, e.Platform) })
			if !found {
				e := factory.Evaluation{View: floor.View, Level: floor.Level, Platform: p}
				c.add(factory.Reason{
					Rule: ruleCompliance, Subject: c.evaluationName(e), Blocks: true,
					Text: c.evaluationName(e) + " was not evaluated", Hint: "build it again: factory build " + c.evidence.Image.Name,
				})
			}
		}
	}
	for _, e := range evaluations {
		mine := slices.DeleteFunc(slices.Clone(floors), func(f factory.Floor) bool { return !about(f, e) })
		if len(mine) == 0 {
			c.add(factory.Reason{Rule: ruleCompliance, Subject: c.evaluationName(e), Text: fmt.Sprintf("%s: %s; nothing is demanded of it", c.evaluationName(e), e.Score())})
		}
		for _, f := range mine {
			c.checkFloor(f, e)
		}
	}
}

// floors are, of each view and level, those for the image itself; where there is none those for its family, or else for all.
func (c *decider) floors() []factory.Floor {
	return slices.DeleteFunc(slices.Clone(c.policy.Compliance), func(f factory.Floor) bool {
		near := c.nearness(f)
		return near < 0 || slices.ContainsFunc(c.policy.Compliance, func(g factory.Floor) bool {
			return g.View == f.View && g.Level == f.Level && c.nearness(g) > near
		})
	})
}

// nearness orders floors by how narrowly they are about the image; what is about others is below 0.
func (c *decider) nearness(f factory.Floor) int {
	img := c.evidence.Image
	switch {
	case f.Image != "" && f.Image != img.Name, f.Family != "" && f.Family != img.Distro.Family:
		return -1
	case f.Image != "":
		return 2
	case f.Family != "":
		return 1
	}
	return 0
}

// withoutContent is the one reason of an image for which nothing could be evaluated, in place of one for each floor.
func (c *decider) withoutContent(why string) factory.Reason {
	r := factory.Reason{Rule: ruleCompliance, Subject: "no content", Text: "nothing was evaluated, so nothing is proven: " + why}
	if r.Blocks = c.policy.NoContent != "warn"; r.Blocks {
		r.Hint = "move to a release that has content, or let such images pass with noContent: warn in baseimages/policy.yaml"
	}
	return r
}

func about(f factory.Floor, e factory.Evaluation) bool { return f.View == e.View && f.Level == e.Level }

// on reports whether an evaluation's platform is the one that is asked for; an image without any asks for whatever there is.
func on(asked, p factory.Platform) bool { return asked == factory.Platform{} || asked == p }

func (c *decider) platforms() []factory.Platform {
	if len(c.evidence.Image.Platforms) == 0 {
		return []factory.Platform{{}}
	}
	return c.evidence.Image.Platforms
}

func (c *decider) evaluationName(e factory.Evaluation) string {
	if len(c.evidence.Image.Platforms) > 1 {
		return e.Name() + " on " + e.Platform.String()
	}
	return e.Name()
}

// evaluations returns what was evaluated with the image's waivers applied, and only these: what the evidence itself calls
// waived did not pass.
func (c *decider) evaluations() []factory.Evaluation {
	plain := c.evidence.Compliance
	plain.Evaluations = slices.Clone(plain.Evaluations)
	for i, e := range plain.Evaluations {
		e.Rules = slices.Clone(e.Rules)
		for j := range e.Rules {
			if e.Rules[j].Result == factory.RuleWaived {
				e.Rules[j].Result = factory.RuleFail
			}
		}
		plain.Evaluations[i] = e
	}
	var waivers []factory.Waiver
	for _, w := range c.waivers {
		waivers = append(waivers, w.Waiver)
	}
	evaluations := plain.Waive(waivers, c.day).Evaluations
	for _, e := range evaluations {
		for _, r := range e.Rules {
			if r.Result == factory.RuleWaived {
				c.waiver(r.Rule, func(w factory.Waiver) bool { return w.ID == r.Rule })
			}
		}
	}
	return evaluations
}

// checkFloor gives the reason of an evaluation, and one for each of its rules that a waiver keeps from blocking.
func (c *decider) checkFloor(f factory.Floor, e factory.Evaluation) {
	score := e.Score()
	failing, what := score.Fail+score.Other, c.evaluationName(e)
	r := factory.Reason{Rule: ruleCompliance, Subject: what, Text: fmt.Sprintf("%s: %s", what, score)}
	if few := score.Applicable() < f.MinApplicable; few {
		r.Blocks = true
		r.Text += fmt.Sprintf("; only %d apply and at least %d must, so the evaluation proves too little", score.Applicable(), f.MinApplicable)
		r.Hint = "look at what was evaluated: factory compliance REF --html FILE; for an image to which so little applies, a floor of its own in baseimages/policy.yaml"
	}
	if failing > f.MaxFail {
		r.Blocks = true
		r.Text += fmt.Sprintf("; %d failing or undecided and at most %d allowed: %s", failing, f.MaxFail, some(failingRules(e)))
		r.Hint = joined(r.Hint, "harden it (factory hardening lint shows what no task addresses), or accept a rule for a time in "+c.waiversFile(factory.Waiver{}))
	}
	c.add(r)
	c.waivedRules(e, max(f.MaxFail-failing, 0))
}

// joined is what two hints say, when there are two.
func joined(first, second string) string {
	if first == "" {
		return second
	}
	return first + "; and " + second
}

func failingRules(e factory.Evaluation) (names []string) {
	for _, r := range e.Rules {
		switch r.Result {
		case factory.RulePass, factory.RuleNotApplicable, factory.RuleWaived:
		default:
			names = append(names, r.Rule)
		}
	}
	slices.Sort(names)
	return names
}

// waivedRules tells each rule that is accepted. As their waivers end, the first few may fail within what the floor allows;
// for the others the end is the day that counts.
func (c *decider) waivedRules(e factory.Evaluation, allowed int) {
	rules := slices.DeleteFunc(slices.Clone(e.Rules), func(r factory.RuleOutcome) bool { return r.Result != factory.RuleWaived })
	slices.SortStableFunc(rules, func(a, b factory.RuleOutcome) int {
		return cmp.Or(a.Until.Time().Compare(b.Until.Time()), cmp.Compare(a.Rule, b.Rule))
	})
	for i, r := range rules {
		reason := factory.Reason{Rule: ruleWaiver, Subject: r.Rule, Text: fmt.Sprintf("%s does not pass in %s and is accepted until %s: %s", r.Rule, c.evaluationName(e), r.Until, r.Reason)}
		if i >= allowed {
			reason.Deadline = r.Until
		}
		c.add(reason)
	}
}
