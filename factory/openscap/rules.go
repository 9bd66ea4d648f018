package openscap

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// readProfile remembers what a profile selects.
func (s *scan) readProfile(id string) error {
	rules := map[string]bool{}
	if len(s.selected) < maxRefs {
		s.selected[id] = rules
	}
	return s.children(func(e xml.StartElement) error {
		if id := attr(e, "idref"); e.Name.Local == "select" && attr(e, "selected") == "true" && len(rules) < maxRules {
			rules[strings.TrimPrefix(id, prefix)] = true
		}
		return s.skip()
	})
}

// rule remembers what the content says of a rule.
func (s *scan) rule(e xml.StartElement) error {
	r := factory.RuleOutcome{Rule: strings.TrimPrefix(attr(e, "id"), prefix), Severity: attr(e, "severity")}
	err := s.children(func(e xml.StartElement) (err error) {
		switch {
		case e.Name.Local == "title":
			r.Title, err = s.text()
		case e.Name.Local == "reference" && strings.HasPrefix(attr(e, "href"), cisRefs):
			var id string
			if id, err = s.text(); id != "" && len(r.Controls) < maxRefs {
				r.Controls = append(r.Controls, id)
			}
		default:
			err = s.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(s.known) >= maxRules {
		return fmt.Errorf("more than %d rules", maxRules)
	}
	slices.Sort(r.Controls)
	r.Controls = slices.Compact(r.Controls)
	s.known[r.Rule] = r
	return nil
}

// ruleResult takes the result of a rule that was evaluated.
func (s *scan) ruleResult(e xml.StartElement) error {
	r := factory.RuleOutcome{Rule: strings.TrimPrefix(attr(e, "idref"), prefix), Severity: attr(e, "severity")}
	err := s.children(func(e xml.StartElement) (err error) {
		var text string
		switch e.Name.Local {
		case "result":
			text, err = s.text()
			r.Result = factory.RuleResult(text)
		case "message":
			text, err = s.text()
			if r.Reason == "" {
				r.Reason = text
			}
		default:
			err = s.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	switch r.Result {
	case "notselected", "informational", "fixed":
		return nil
	case factory.RulePass, factory.RuleNotApplicable:
		r.Reason = ""
	case factory.RuleFail, factory.RuleNotChecked, factory.RuleUnknown, factory.RuleError:
	default:
		return fmt.Errorf("rule %.120s has the result %.40q", r.Rule, r.Result)
	}
	if r.Rule == "" || len(s.results) >= maxRules {
		return fmt.Errorf("a result of no rule, or more than %d results", maxRules)
	}
	s.results = append(s.results, r)
	return nil
}
