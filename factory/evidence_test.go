package factory_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

func day(s string) factory.Date {
	d, err := factory.ParseDate(s)
	if err != nil {
		panic(err)
	}
	return d
}

func TestScoreSaysWhatItLeavesOut(t *testing.T) {
	rules := func(results ...factory.RuleResult) (all []factory.RuleOutcome) {
		for _, r := range results {
			all = append(all, factory.RuleOutcome{Rule: "r", Result: r})
		}
		return all
	}
	for want, results := range map[string][]factory.RuleResult{
		"0 of 0, 0 not applicable":                                nil,
		"2 of 2, 1 not applicable":                                {factory.RulePass, factory.RulePass, factory.RuleNotApplicable},
		"1 of 6, 1 fail, 1 waived, 3 undecided, 0 not applicable": {factory.RulePass, factory.RuleFail, factory.RuleWaived, factory.RuleError, factory.RuleUnknown, factory.RuleNotChecked},
	} {
		e := factory.Evaluation{View: factory.ContainerView, Level: 2, Rules: rules(results...)}
		if got := e.Score().String(); got != want || e.Name() != "container level 2" {
			t.Errorf("%s: %q, want %q", e.Name(), got, want)
		}
	}
}

func TestWaiveCoversWhatDidNotPass(t *testing.T) {
	amd := factory.Platform{OS: "linux", Architecture: "amd64"}
	c := factory.Compliance{Evaluations: []factory.Evaluation{{View: factory.ExtendedView, Level: 2, Platform: amd, Rules: []factory.RuleOutcome{
		{Rule: "a", Result: factory.RuleFail}, {Rule: "b", Result: factory.RulePass}, {Rule: "c", Result: factory.RuleFail}, {Rule: "d", Result: factory.RuleNotApplicable}, {Rule: "e", Result: factory.RuleNotChecked},
	}}}}
	until := day("2026-12-31")
	var waivers []factory.Waiver
	for _, id := range []string{"a", "b", "d", "e"} {
		waivers = append(waivers, factory.Waiver{ID: id, Reason: "because", Until: until})
	}
	var got []factory.RuleResult
	for _, r := range c.Waive(waivers, until).Evaluations[0].Rules {
		got = append(got, r.Result)
	}
	want := []factory.RuleResult{factory.RuleWaived, factory.RulePass, factory.RuleFail, factory.RuleNotApplicable, factory.RuleWaived}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("results %v, want %v", got, want)
	}
	if c.Evaluations[0].Rules[0].Result != factory.RuleFail {
		t.Error("waiving changed its argument")
	}
	if after := c.Waive(waivers, day("2027-01-01")); after.Evaluations[0].Score().Waived != 0 {
		t.Error("a waiver held past its last day")
	}
	if c.Find(factory.ExtendedView, 2, amd) == nil || c.Find(factory.ExtendedView, 2, factory.Platform{}) == nil || c.Find(factory.ExtendedView, 1, amd) != nil {
		t.Error("evaluation not found, or one too many")
	}
}

func TestSeverities(t *testing.T) {
	for text, want := range map[string]factory.Severity{"CRITICAL": factory.Critical, "Important": factory.High, "MEDIUM": factory.Moderate, "negligible": factory.Low, "": factory.Unknown} {
		if got, err := factory.ParseSeverity(text); err != nil || got != want {
			t.Errorf("%q: %s %v", text, got, err)
		}
	}
	var s factory.Severity
	if err := json.Unmarshal([]byte(`"awful"`), &s); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("error %v", err)
	}
	all := factory.Severities()
	for i := range all[1:] {
		if all[i].Compare(all[i+1]) <= 0 {
			t.Errorf("%s is not worse than %s", all[i], all[i+1])
		}
	}
}

func TestFindingsOfSeveralPlatformsAreOne(t *testing.T) {
	amd, arm := factory.Platform{OS: "linux", Architecture: "amd64"}, factory.Platform{OS: "linux", Architecture: "arm64"}
	got := factory.MergeFindings([]factory.Finding{
		{Vulnerability: "CVE-2", Package: "zlib1g", Severity: factory.Low, Platforms: []factory.Platform{arm}},
		{Vulnerability: "CVE-1", Package: "openssl", Severity: factory.High, Platforms: []factory.Platform{amd}, Fixed: "2"},
		{Vulnerability: "CVE-2", Package: "zlib1g", Severity: factory.Critical, SeverityBy: "nvd", Platforms: []factory.Platform{amd}, Fixed: "3"},
	})
	want := []factory.Finding{
		{Vulnerability: "CVE-2", Package: "zlib1g", Severity: factory.Critical, SeverityBy: "nvd", Platforms: []factory.Platform{amd, arm}, Fixed: "3"},
		{Vulnerability: "CVE-1", Package: "openssl", Severity: factory.High, Platforms: []factory.Platform{amd}, Fixed: "2"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("merged %+v", got)
	}
	if counts := (factory.Scan{Findings: got}).Counts(); counts[factory.Critical] != 1 || counts[factory.High] != 1 || counts[factory.Low] != 0 {
		t.Errorf("counts %v", counts)
	}
}

func TestWaiverFollowsVulnerabilityAndPackage(t *testing.T) {
	f := factory.Finding{Vulnerability: "CVE-2026-1", Package: "libssl3", Source: "openssl", Version: "3.0"}
	newer := f
	newer.Version = "3.1"
	for _, c := range []struct {
		waiver factory.Waiver
		covers bool
	}{
		{factory.Waiver{ID: "CVE-2026-1"}, true},
		{factory.Waiver{ID: "CVE-2026-1", Packages: []string{"openssl"}}, true},
		{factory.Waiver{ID: "CVE-2026-1", Packages: []string{"zlib1g", "libssl3"}}, true},
		{factory.Waiver{ID: "CVE-2026-1", Packages: []string{"zlib1g"}}, false},
		{factory.Waiver{ID: "CVE-2026-2"}, false},
	} {
		if c.waiver.Covers(f) != c.covers || c.waiver.Covers(newer) != c.covers || f.Key() != newer.Key() {
			t.Errorf("%+v covers %v", c.waiver, !c.covers)
		}
	}
}

func TestDatabasesAreNamedForWhatTheyAre(t *testing.T) {
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	for want, d := range map[string]factory.Database{
		"no database":         {},
		"trivy of 2026-11-23": {Kind: factory.TrivyDatabase, Updated: at},
		"archive advisories of 2026-11-23 (fixes only)": {Kind: factory.ArchiveDatabase, Updated: at},
	} {
		if d.String() != want {
			t.Errorf("%q, want %q", d, want)
		}
	}
}

// Only a decision that passes and is about this image and environment approves.
func TestApprove(t *testing.T) {
	digest := factory.DigestOf([]byte("image"))
	e := factory.Examined{}
	e.Artifact.Digest, e.Job.Env = digest, factory.Prod
	e.Proven.Documents = []factory.Document{factory.NewDocument(factory.ARF, "a", factory.Platform{}, "application/xml", []byte("x"))}
	e.Scanned.Documents = []factory.Document{factory.NewDocument(factory.SPDX, "b", factory.Platform{}, "application/json", []byte("{}"))}
	if len(e.Documents()) != 2 || e.Documents()[0].Digest != factory.DigestOf([]byte("x")) {
		t.Errorf("documents %v", e.Documents())
	}
	pass := factory.Decision{Env: factory.Prod, Digest: digest, Pass: true}
	vex := factory.NewDocument(factory.OpenVEX, "dev", factory.Platform{}, "application/json", []byte("{}"))
	if a, err := factory.Approve(e, pass, vex); err != nil || !a.Valid() || len(a.Documents()) != 3 {
		t.Errorf("%v", err)
	}
	for name, spoil := range map[string]func(d *factory.Decision){
		"blocks":              func(d *factory.Decision) { d.Pass = false },
		"another digest":      func(d *factory.Decision) { d.Digest = factory.DigestOf(nil) },
		"another environment": func(d *factory.Decision) { d.Env = factory.Dev },
		"a blocking reason":   func(d *factory.Decision) { d.Reasons = []factory.Reason{{Blocks: true}} },
	} {
		d := pass
		spoil(&d)
		if a, err := factory.Approve(e, d); !errors.Is(err, factory.ErrBlocked) || a.Valid() {
			t.Errorf("%s: approved, %v", name, err)
		}
	}
	if (factory.Approved{Examined: e, Decision: pass}).Valid() {
		t.Error("an approval that nobody gave is valid")
	}
}

func TestDecisionTellsWhatComesNext(t *testing.T) {
	d := factory.Decision{Reasons: []factory.Reason{{Rule: "a", Blocks: true}, {Rule: "b", Deadline: day("2026-12-02")}, {Rule: "c", Deadline: day("2026-12-01")}}}
	if next := d.Next(); next == nil || next.Rule != "c" {
		t.Errorf("next %v", next)
	}
	if b := d.Blocking(); len(b) != 1 || b[0].Rule != "a" || len(d.Reasons) != 3 {
		t.Errorf("blocking %v", b)
	}
	if (factory.Decision{}).Next() != nil || factory.Hours(36).Duration() != 36*time.Hour {
		t.Error("nothing has a deadline, or hours are none")
	}
}
