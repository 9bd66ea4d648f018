package openscap

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// lie is the problem of an evaluation that may not have looked.
func lie(what, said string) *factory.Problem {
	p := &factory.Problem{Kind: factory.ErrUnverified, What: what, Hint: "its results are not used; run again, and look at what changed in the toolbox, its content or the build service"}
	if said = tail(said); said != "" {
		p.Cause = errors.New(said)
	}
	return p
}

// judge turns what a view's step left into evaluations and documents, if every guard holds.
func judge(req request, rep report, files map[string][]byte, on factory.Platform) (viewed, error) {
	v := viewed{view: req.View, from: req.from, report: rep, canaries: req.expect.failing()}
	for _, name := range req.Contents {
		if len(rep.Devices) > 0 && rep.Widened[name] == 0 {
			return v, lie(fmt.Sprintf("the content has no device pattern that could be widened to %s", strings.Join(rep.Devices, ", ")), "")
		}
	}
	for _, e := range append(slices.Clone(req.Evaluations), req.Canary) {
		res, seconds, err := rep.result(e, files)
		if err != nil {
			return v, fmt.Errorf("%s: %w", e.Name, err)
		}
		if v.benchmark != "" && (v.benchmark != res.benchmark || v.version != res.version || v.tool != res.tool) {
			return v, fmt.Errorf("%s: %w", e.Name, lie("another benchmark or tool than in the evaluation before", ""))
		}
		v.benchmark, v.version, v.tool = res.benchmark, res.version, res.tool
		if e.Name == req.Canary.Name {
			return v, req.expect.judge(res.rules)
		}
		done := factory.Evaluation{View: req.View, Level: e.level, Profile: e.Profile, Platform: on, Rules: res.rules, Seconds: seconds}
		if e.partly(req) {
			req.from.answered(&done, v.evaluations[0].Rules)
		}
		if err := applies(done.Rules); err != nil {
			return v, fmt.Errorf("%s: %w", e.Name, err)
		}
		v.evaluations = append(v.evaluations, done)
		name := on.String() + " " + done.Name()
		v.documents = append(v.documents,
			factory.NewDocument(factory.ARF, name, on, "application/xml", files[e.Name+".arf.xml"]),
			factory.NewDocument(factory.ComplianceHTML, name, on, "text/html", files[e.Name+".html"]))
		if e.answers(req) {
			level1 := factory.Evaluation{View: req.View, Level: 1, Profile: req.from.profile1, Platform: on}
			req.from.answered(&level1, done.Rules)
			if err := applies(level1.Rules); err != nil {
				return v, fmt.Errorf("%s: %w", levelName(1), err)
			}
			v.evaluations = append(v.evaluations, level1)
		}
	}
	return v, nil
}

// partly reports whether level 2 answers for the rules that an evaluation of level 1 leaves out.
func (e evaluation) partly(req request) bool { return e.level == 1 && req.from.same != nil }

// answers reports whether an evaluation of level 2 answers for all of level 1.
func (e evaluation) answers(req request) bool {
	return e.level == 2 && e.Content == wholeCopy && req.from.same != nil && len(req.from.own) == 0
}

// applies refuses results that are about nothing.
func applies(rules []factory.RuleOutcome) error {
	if (factory.Evaluation{Rules: rules}).Score().Applicable() == 0 {
		return lie(fmt.Sprintf("none of %d rules applies: the content does not take this root filesystem for what it is", len(rules)), "")
	}
	return nil
}

// result reads what one run of oscap left, if its guards hold.
func (r report) result(e evaluation, files map[string][]byte) (result, float64, error) {
	i := slices.IndexFunc(r.Runs, func(x ran) bool { return x.Name == e.Name })
	if i < 0 {
		return result{}, 0, lie("it was not run", "")
	}
	run := r.Runs[i]
	switch {
	case run.Exit != 0 && run.Exit != 2: // 2: a rule failed
		return result{}, 0, lie(fmt.Sprintf("oscap ended with exit %d", run.Exit), run.Stderr)
	case strings.Contains(run.Stderr, "fsdev_init() failed"):
		return result{}, 0, lie("oscap did not find the local filesystems (fsdev_init() failed), so it did not walk them", run.Stderr)
	case e.Report && len(files[e.Name+".html"]) == 0:
		return result{}, 0, lie("oscap left no HTML report", run.Stderr)
	}
	for _, file := range []string{e.Name + ".arf.xml", e.Name + ".html"} {
		if n := len(files[file]); n > maxDocument {
			return result{}, 0, lie(fmt.Sprintf("%s has %d bytes", file, n), "")
		}
	}
	res, err := parseARF(files[e.Name+".arf.xml"])
	if err != nil {
		return res, 0, lie("its result cannot be read: "+err.Error(), run.Stderr)
	}
	return res, run.Seconds, r.counts(e, res)
}

// counts refuses a result that is about something else, or about nothing.
func (r report) counts(e evaluation, res result) error {
	if res.profile != e.Profile {
		return lie(fmt.Sprintf("profile %.120q was evaluated, not %s", res.profile, e.Profile), "")
	}
	if len(e.Rules) == 0 {
		return nil
	}
	for _, id := range e.Rules {
		id = strings.TrimPrefix(id, prefix)
		if !slices.Contains(r.Missing, id) && !slices.ContainsFunc(res.rules, func(o factory.RuleOutcome) bool { return o.Rule == id }) {
			return lie(fmt.Sprintf("rule %s has no result", id), "")
		}
	}
	if want := len(e.Rules); len(res.rules) > want {
		return lie(fmt.Sprintf("%d rules have a result, and %d were asked for", len(res.rules), want), "")
	}
	return nil
}
