package cosign

import (
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// conformity is the summary of what a benchmark says, with how it was measured.
type conformity struct {
	Benchmark     string         `json:"benchmark"`
	Content       string         `json:"content"`
	ContentDigest factory.Digest `json:"contentDigest"`
	Tool          string         `json:"tool"`
	Method        []string       `json:"method"`
	Canaries      []string       `json:"canaries"` // rules that had to fail on planted files, and did
	EvaluatedOn   time.Time      `json:"evaluatedOn"`
	Evaluations   []evaluation   `json:"evaluations"`
	Documents     []resource     `json:"documents"` // every rule's result, in full
	// Carried says of which images this is, when nothing was evaluated in the one that it is attested of.
	Carried string `json:"carried,omitempty"`
}

// evaluation is one profile, seen one way, on one platform. Rules are those that did not pass though they apply.
type evaluation struct {
	View     factory.View          `json:"view"`
	Level    int                   `json:"level"`
	Profile  string                `json:"profile"`
	Platform factory.Platform      `json:"platform"`
	Score    factory.Score         `json:"score"`
	Text     string                `json:"text"` // the score in words
	Rules    []factory.RuleOutcome `json:"rules"`
}

// complianceOf is the statement with what OpenSCAP found, waivers applied as they held when the gate decided.
func complianceOf(about []resource, a factory.Approved) (draft, error) {
	c := a.Proven.Compliance.Waive(a.Job.Image.Waivers, factory.DateOf(a.Decision.At))
	p := conformity{Benchmark: c.Benchmark, Content: c.Content, ContentDigest: c.ContentDigest, Tool: c.Tool, Method: c.Method, Canaries: c.Canaries,
		EvaluatedOn: seconds(a.At), Evaluations: []evaluation{}, Documents: listed(a.Proven.Documents, factory.ARF), Carried: c.Carried}
	for _, e := range c.Evaluations {
		p.Evaluations = append(p.Evaluations, evaluation{View: e.View, Level: e.Level, Profile: e.Profile, Platform: e.Platform, Score: e.Score(), Text: e.Score().String(),
			Rules: slices.DeleteFunc(slices.Clone(e.Rules), func(r factory.RuleOutcome) bool {
				return r.Result == factory.RulePass || r.Result == factory.RuleNotApplicable
			})})
	}
	return draftOf(ComplianceType, about, p)
}

// compliance shows the scores. How good they must be is for the gate to say, and for the reader.
func (v *verification) compliance() {
	const name = "compliance"
	st, why := newest(v, ComplianceType, rebuild, func(c conformity) time.Time { return c.EvaluatedOn })
	if st == nil {
		v.add(name, false, "%s", why)
		return
	}
	c := st.Predicate
	var scores []string
	for _, e := range c.Evaluations {
		text := factory.Evaluation{View: e.View, Level: e.Level}.Name() + ": " + e.Score.String()
		if len(v.manifests()) > 1 {
			text = e.Platform.String() + " " + text
		}
		scores = append(scores, text)
	}
	if scores == nil {
		v.add(name, true, "no benchmark was evaluated")
		return
	}
	if c.Carried != "" {
		c.Tool += "; CARRIED: " + c.Carried
	}
	v.add(name, true, "%s (%s, %s)", strings.Join(scores, "; "), c.Content, c.Tool)
}
