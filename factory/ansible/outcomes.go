package ansible

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// maxReport bounds the bytes of a report: a few hundred controls with what each changed.
const maxReport = 16 << 20

// report is what the callback plugin factory_outcomes writes.
type report struct {
	Schema   int       `json:"schema"`
	Outcomes []outcome `json:"outcomes"`
	Failures []failure `json:"failures"`
}

type outcome struct {
	Control string          `json:"control"`
	Outcome factory.Outcome `json:"outcome"`
	Reason  string          `json:"reason"`
	Changes []string        `json:"changes"`
	Task    string          `json:"task"`
	File    string          `json:"file"` // /.play/roles/.../pam.yml:3
}

type failure struct {
	Task    string `json:"task"`
	File    string `json:"file"`
	Message string `json:"message"`
}

func (r report) failed() bool {
	return len(r.Failures) > 0 || slices.ContainsFunc(r.Outcomes, func(o outcome) bool { return o.Outcome == factory.Failed })
}

// parseReport reads a report and refuses one with outcomes that are none, or without any.
func parseReport(b []byte) (report, error) {
	var r report
	bad := func(format string, args ...any) (report, error) {
		return report{}, &factory.Problem{What: "ansible's report: " + fmt.Sprintf(format, args...)}
	}
	switch {
	case len(b) == 0:
		return bad("there is none")
	case len(b) > maxReport:
		return bad("%d bytes", len(b))
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return bad("%v", err)
	}
	if r.Schema != 1 {
		return bad("schema %d, this factory reads 1", r.Schema)
	}
	known := []factory.Outcome{factory.Applied, factory.Already, factory.NotApplicable, factory.Exempt, factory.Failed}
	for _, o := range r.Outcomes {
		if o.Control == "" || !slices.Contains(known, o.Outcome) {
			return bad("control %.40q has the outcome %.40q", o.Control, o.Outcome)
		}
	}
	return r, nil
}

// outcomes puts report and catalogue together: every control exactly once.
func outcomes(c catalogue, r report, exempt map[string]exemption, absent map[string]string, on factory.Platform) ([]factory.ControlOutcome, error) {
	var errs []error
	seen := map[string]outcome{}
	for _, o := range r.Outcomes {
		if _, twice := seen[o.Control]; twice {
			errs = append(errs, fmt.Errorf("control %s has two outcomes", o.Control))
		}
		if c.find(o.Control) == nil {
			errs = append(errs, fmt.Errorf("control %.40q is not in the profile %s", o.Control, c.Profile))
		}
		seen[o.Control] = o
	}
	var out []factory.ControlOutcome
	for _, k := range c.Controls {
		o, ok := seen[k.ID]
		if !ok {
			errs = append(errs, fmt.Errorf("control %s has no outcome", k.ID))
		}
		co := factory.ControlOutcome{Control: k.ID, Title: k.Title, Platform: on, Outcome: o.Outcome, Reason: o.Reason}
		switch e, ok := exempt[k.ID]; {
		case ok && e.over:
			co.Reason = strings.TrimPrefix(co.Reason+"; "+ended(e.Exemption), "; ")
		case ok:
			co.Reason, co.Until = e.Reason, e.Until
		}
		if why := absent[k.ID]; why != "" && co.Outcome == factory.Exempt && co.Until.IsZero() {
			co.Outcome, co.Reason = factory.NotApplicable, why
		}
		out = append(out, co)
	}
	sortOutcomes(out)
	return out, errors.Join(errs...)
}

func sortOutcomes(all []factory.ControlOutcome) {
	slices.SortFunc(all, func(a, b factory.ControlOutcome) int {
		return cmp.Or(compareIDs(a.Control, b.Control), cmp.Compare(a.Platform.String(), b.Platform.String()))
	})
}

// compareIDs orders control ids number by number: 5.1.9 comes before 5.1.10.
func compareIDs(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		m, err1 := strconv.Atoi(x[i])
		n, err2 := strconv.Atoi(y[i])
		c := cmp.Compare(m, n)
		if err1 != nil || err2 != nil {
			c = cmp.Compare(x[i], y[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(a, b))
}

// summary counts outcomes for people: "31 applied, 42 already, 63 not applicable".
func summary(all []factory.ControlOutcome) string {
	var parts []string
	for _, kind := range []factory.Outcome{factory.Applied, factory.Already, factory.NotApplicable, factory.Exempt} {
		n := 0
		for _, o := range all {
			if o.Outcome == kind {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	return fmt.Sprintf("%d controls: %s", len(all), strings.Join(parts, ", "))
}
