package ansible

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestReportsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, says string }{
		"empty":           {"", "there is none"},
		"cut":             {`{"schema":1,"outcomes":[{"cont`, "unexpected end"},
		"schema":          {`{"schema":2}`, "schema 2"},
		"unknown outcome": {`{"schema":1,"outcomes":[{"control":"1.1","outcome":"fine"}]}`, `"fine"`},
		"no control":      {`{"schema":1,"outcomes":[{"outcome":"applied"}]}`, `control ""`},
		"huge":            {strings.Repeat(" ", maxReport+1), "bytes"},
	} {
		if _, err := parseReport([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReportAndCatalogueMustMatch(t *testing.T) {
	t.Parallel()
	c := catalogue{Profile: "p", Controls: []control{{ID: "1.1"}, {ID: "1.2"}}}
	r := report{Outcomes: []outcome{{Control: "1.1", Outcome: factory.Applied}, {Control: "1.1", Outcome: factory.Already}, {Control: "9"}}}
	_, err := outcomes(c, r, nil, nil, factory.Platform{})
	for _, want := range []string{"control 1.1 has two outcomes", `control "9" is not in the profile p`, "control 1.2 has no outcome"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestCompareIDs(t *testing.T) {
	t.Parallel()
	sorted := []string{"1.5", "1.5.3", "1.10", "1.x", "2.1", "10.1", "a"}
	got := slices.Clone(sorted)
	slices.Reverse(got)
	slices.SortFunc(got, compareIDs)
	if !slices.Equal(got, sorted) {
		t.Errorf("sorted %v", got)
	}
}

func TestCleanKeepsTheEnd(t *testing.T) {
	t.Parallel()
	got := clean(strings.Repeat("noise\n", 50) + strings.Repeat("é", 3000) + "\xff\x00end")
	if !strings.HasSuffix(got, "é?end") || !strings.HasPrefix(got, "…") || len(got) > 4010 {
		t.Errorf("%d bytes: %.20q", len(got), got)
	}
}

func FuzzReport(f *testing.F) {
	// The large recordings are in the other tests: mutating them is slow and finds nothing more.
	refused, err := os.ReadFile("testdata/refused.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(refused)
	f.Add([]byte(`{"schema":1,"outcomes":[{"control":"1.1","outcome":"applied","changes":["a"]},{"control":"1.2","outcome":"exempt","reason":"r"}]}`))
	f.Add([]byte(`{"schema":1,"outcomes":[{"control":"1.1","outcome":"failed","file":"/.play/x.yml:-9"}],"failures":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReport(b)
		if err != nil {
			return
		}
		c := catalogue{}
		for _, o := range r.Outcomes {
			if c.find(o.Control) == nil {
				c.Controls = append(c.Controls, control{ID: o.Control})
			}
		}
		all, err := outcomes(c, r, nil, nil, factory.Platform{OS: "linux", Architecture: "amd64"})
		if len(all) != len(c.Controls) || (err == nil) != (len(all) == len(r.Outcomes)) {
			t.Errorf("%d outcomes for %d controls: %v", len(all), len(c.Controls), err)
		}
		if r.failed() && blocked(r, factory.StepResult{Exit: 2}).Error() == "" {
			t.Error("a failure without a word")
		}
		for _, o := range r.Outcomes {
			if p := position(o.File); p.Line < 0 {
				t.Errorf("line %d", p.Line)
			}
		}
	})
}
