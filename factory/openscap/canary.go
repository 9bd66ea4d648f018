package openscap

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// canary is what is planted into a view's root filesystem, and what its rules must then say.
type canary struct {
	plants []string // names that prove.py knows
	expect map[string]factory.RuleResult
}

func (c canary) rules() []string { return slices.Sorted(maps.Keys(c.expect)) }

// failing are the rules that must fail, sorted.
func (c canary) failing() []string {
	return slices.DeleteFunc(c.rules(), func(id string) bool { return c.expect[id] != factory.RuleFail })
}

// judge refuses a canary evaluation that did not say what it had to say.
func (c canary) judge(results []factory.RuleOutcome) error {
	said := map[string]factory.RuleResult{}
	for _, r := range results {
		said[r.Rule] = r.Result
	}
	var wrong []string
	for _, id := range c.rules() {
		switch got := said[id]; {
		case got == c.expect[id]:
		case got == "":
			wrong = append(wrong, fmt.Sprintf("%s was not evaluated and had to be %s", id, c.expect[id]))
		default:
			wrong = append(wrong, fmt.Sprintf("%s is %s and had to be %s", id, got, c.expect[id]))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return lie("the canary evaluation did not find what was planted: "+strings.Join(wrong, "; "), "")
}
