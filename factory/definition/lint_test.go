package definition_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

func TestLint(t *testing.T) {
	t.Parallel()
	p := definition.Profile{Name: "cis", Controls: []definition.Control{
		{ID: "1.1", Title: "made up"}, {ID: "1.2", Title: "of another benchmark", Explained: "not in the content"},
		{ID: "2.1", Title: "works"}, {ID: "2.2", Title: "idle"}, {ID: "2.3", Title: "needs a machine"}, {ID: "2.4", Title: "idle or not there", Explained: "verified only"},
	}}
	rule := func(id string, result factory.RuleResult, controls ...string) factory.RuleOutcome {
		return factory.RuleOutcome{Rule: id, Title: "Title", Result: result, Controls: controls}
	}
	known := []factory.RuleOutcome{rule("a", "", "2.1"), rule("b", "", "2.2", "2.3"), rule("c", "", "2.4"), rule("sudo", "", "5.2.1")}
	outcome := func(control string, o factory.Outcome) factory.ControlOutcome {
		return factory.ControlOutcome{Control: control, Outcome: o}
	}
	outcomes := []factory.ControlOutcome{outcome("2.1", factory.Already), outcome("2.1", factory.Applied), outcome("2.1", factory.Already),
		outcome("2.2", factory.Already), outcome("2.2", factory.Already), outcome("2.3", factory.NotApplicable), outcome("2.4", factory.NotApplicable), outcome("2.4", factory.Already)}
	waived := rule("sudo", factory.RuleWaived)
	waived.Reason = "no sudo here"
	old, new := []factory.RuleOutcome{waived, rule("a", factory.RuleFail, "2.1"), rule("z", factory.RulePass)}, []factory.RuleOutcome{rule("a", factory.RuleFail), rule("new", factory.RuleFail), rule("new", factory.RuleUnknown)}
	proven := []factory.Compliance{{Evaluations: []factory.Evaluation{{Rules: old}, {Rules: old}}}, {Evaluations: []factory.Evaluation{{Rules: new}}}}

	want := []definition.LintFinding{
		{Kind: definition.LintUnknown, Control: "1.1", Text: "no rule of any benchmark content refers to 1.1 made up"},
		{Kind: definition.LintUnknown, Control: "1.2", Text: "no rule of any benchmark content refers to 1.2 of another benchmark", Explained: "not in the content"},
		{Kind: definition.LintIdle, Control: "2.2", Text: "2.2 idle was in force already in every image"},
		{Kind: definition.LintIdle, Control: "2.4", Text: "2.4 idle or not there was in force already in every image", Explained: "verified only"},
		{Kind: definition.LintUnhandled, Rule: "new", Text: "rule new fails (Title), and no control is about it"},
		{Kind: definition.LintUnhandled, Rule: "sudo", Text: "rule sudo fails (Title), and no control is about it", Explained: "no sudo here"},
	}
	if got := p.Lint(known, outcomes, proven); !reflect.DeepEqual(got, want) {
		a, _ := json.MarshalIndent(got, "", " ")
		t.Errorf("%s", a)
	}
	if got := p.Lint(nil, nil, nil); len(got) != 0 {
		t.Errorf("nothing is known, and it says %+v", got)
	}
}
