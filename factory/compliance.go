package factory

import (
	"fmt"
	"slices"
)

// View is as what OpenSCAP was made to see a root filesystem.
type View string

// The views.
const (
	// ContainerView is the filesystem as the container that it becomes: rules that need a kernel do not apply.
	ContainerView View = "container"
	// ExtendedView is a machine's view, of a fixed list of rules that the benchmark's content applies only where there is
	// a kernel, but that concern plain files which every child image and every machine made from the image inherits.
	ExtendedView View = "extended"
)

// RuleResult is what came of one rule, in XCCDF's words, and Waived.
type RuleResult string

// The results of a rule. Whatever else XCCDF knows (informational, fixed, notselected) is no result of an evaluation.
const (
	RulePass          RuleResult = "pass"
	RuleFail          RuleResult = "fail"
	RuleNotApplicable RuleResult = "notapplicable"
	RuleNotChecked    RuleResult = "notchecked" // there is no check for it
	RuleUnknown       RuleResult = "unknown"
	RuleError         RuleResult = "error"
	RuleWaived        RuleResult = "waived" // it did not pass, and a waiver that holds says why that is accepted
)

// RuleOutcome is one rule of the benchmark's content in one evaluation.
type RuleOutcome struct {
	Rule     string     `json:"rule"` // accounts_tmout, without the content's prefix
	Title    string     `json:"title"`
	Severity string     `json:"severity,omitempty"` // XCCDF's: low, medium, high, unknown
	Controls []string   `json:"controls,omitempty"` // CIS ids that the content refers to, sorted
	Result   RuleResult `json:"result"`
	Reason   string     `json:"reason,omitempty"` // of the waiver, or what an error said
	Until    Date       `json:"until"`            // end of the waiver
}

// Evaluation is one profile, seen one way, on one platform.
type Evaluation struct {
	View     View     `json:"view"`
	Level    int      `json:"level"`   // CIS level, 1 or 2
	Profile  string   `json:"profile"` // XCCDF id
	Platform Platform `json:"platform"`
	// Rules is every rule that the profile selects (of the extended view: that its list names), sorted.
	Rules []RuleOutcome `json:"rules"`
	// Seconds is how long OpenSCAP took; 0 = another evaluation answered for all its rules (Compliance.Method says which).
	Seconds float64 `json:"seconds"`
}

// Name is how people call the evaluation: "container level 2", "extended level 2".
func (e Evaluation) Name() string { return fmt.Sprintf("%s level %d", e.View, e.Level) }

// Score counts an evaluation's rules by result. The zero value is the score of nothing.
type Score struct {
	Pass          int `json:"pass"`
	Fail          int `json:"fail"`
	Waived        int `json:"waived"`
	Other         int `json:"other"` // error, unknown, notchecked: neither passed nor failed
	NotApplicable int `json:"notApplicable"`
}

// Score counts.
func (e Evaluation) Score() (s Score) {
	for _, r := range e.Rules {
		switch r.Result {
		case RulePass:
			s.Pass++
		case RuleFail:
			s.Fail++
		case RuleWaived:
			s.Waived++
		case RuleNotApplicable:
			s.NotApplicable++
		default:
			s.Other++
		}
	}
	return s
}

// Applicable is how many rules could pass.
func (s Score) Applicable() int { return s.Pass + s.Fail + s.Waived + s.Other }

// String is the score as it is always shown: with what it leaves out.
func (s Score) String() string {
	text := fmt.Sprintf("%d of %d", s.Pass, s.Applicable())
	if s.Fail > 0 {
		text += fmt.Sprintf(", %d fail", s.Fail)
	}
	if s.Waived > 0 {
		text += fmt.Sprintf(", %d waived", s.Waived)
	}
	if s.Other > 0 {
		text += fmt.Sprintf(", %d undecided", s.Other)
	}
	return fmt.Sprintf("%s, %d not applicable", text, s.NotApplicable)
}

// Compliance is what OpenSCAP found in an image, with how it was measured. The zero value is "not evaluated".
type Compliance struct {
	Benchmark     string       `json:"benchmark"`     // XCCDF id of the benchmark
	Content       string       `json:"content"`       // SCAP Security Guide 0.1.82
	ContentDigest Digest       `json:"contentDigest"` // of the data stream as its package ships it
	Tool          string       `json:"tool"`          // OpenSCAP 1.4.2
	Method        []string     `json:"method"`        // what was changed so that it measures, a sentence each
	Canaries      []string     `json:"canaries"`      // rules that had to fail on planted files, and did
	Evaluations   []Evaluation `json:"evaluations"`   // sorted: platform, view, level
	// NoContent says why nothing could be evaluated: no benchmark content exists for the distribution. Nothing else is set then
	// but Tool and Method. It is never said of an evaluation that went wrong.
	NoContent string `json:"noContent,omitempty"`
	// Carried says of which images the results are, when nothing was evaluated in the image itself; empty = it was.
	Carried string `json:"carried,omitempty"`
}

// Find returns the evaluation of a view and level on a platform, nil when there is none. The zero platform means the first.
func (c Compliance) Find(v View, level int, p Platform) *Evaluation {
	i := slices.IndexFunc(c.Evaluations, func(e Evaluation) bool {
		return e.View == v && e.Level == level && (p == Platform{} || e.Platform == p)
	})
	if i < 0 {
		return nil
	}
	return &c.Evaluations[i]
}

// Waive marks rules that did not pass and that a waiver holding on day covers.
func (c Compliance) Waive(waivers []Waiver, day Date) Compliance {
	evaluations := slices.Clone(c.Evaluations)
	for i, e := range evaluations {
		rules := slices.Clone(e.Rules)
		for j, r := range rules {
			switch r.Result {
			case RulePass, RuleNotApplicable:
				continue
			}
			for _, w := range waivers {
				if w.ID == r.Rule && w.Holds(day) {
					rules[j].Result, rules[j].Reason, rules[j].Until = RuleWaived, w.Reason, w.Until
				}
			}
		}
		evaluations[i].Rules = rules
	}
	c.Evaluations = evaluations
	return c
}
