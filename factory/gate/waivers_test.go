package gate_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/gate"
)

func TestWaivers(t *testing.T) {
	t.Parallel()
	const rule = "waiver: CVE-2026-1001 in openssl 3.0.1 (critical) is accepted by linux until "
	for _, c := range []struct {
		name  string
		edit  func(w W)
		pass  bool
		want  string // a reason
		lists [3]int // waived, expired, unmatched
	}{
		{"holds", func(W) {}, true, rule + "2026-12-31: not reachable [2026-12-31]", [3]int{1, 0, 0}},
		{"last day", func(w W) { w.Until = day("2026-11-23") }, true, rule + "2026-11-23: not reachable [2026-11-23]", [3]int{1, 0, 0}},
		{"every package", func(w W) { w.Packages = nil }, true, rule, [3]int{1, 0, 0}},
		{"ended yesterday", func(w W) { w.Until = day("2026-11-22") }, false, "waiver: the waiver for CVE-2026-1001 ended on 2026-11-22 and counts as absent", [3]int{0, 1, 0}},
		{"without end", func(w W) { w.Until = factory.Date{} }, false, "waiver: the waiver for CVE-2026-1001 has no end, so it counts as absent", [3]int{0, 1, 0}},
		{"for nothing", func(w W) { w.ID = "" }, false, "waiver: the waiver for  ended on", [3]int{0, 1, 0}},
		{"another vulnerability", func(w W) { w.ID = "CVE-2026-1002" }, false, "waiver: the waiver for CVE-2026-1002 covers nothing that was found, by trivy of 2026-11-23", [3]int{0, 0, 1}},
		{"another package", func(w W) { w.Packages = []string{"zlib"} }, false, "waiver: the waiver for CVE-2026-1001 covers nothing that was found", [3]int{0, 0, 1}},
		{"too long", func(w W) { w.Until = day("2027-12-31") }, true, "waiver: the waiver for CVE-2026-1001 holds for 403 days, until 2027-12-31: longer than a year is as good as for ever", [3]int{1, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e, w := evidence(), waiver()
			c.edit(&w)
			e.Scan.Findings, e.Image.Waivers = []factory.Finding{finding()}, []factory.Waiver{w}
			d := gate.Decide(policy(), e)
			if d.Pass != c.pass || !slices.ContainsFunc(texts(d), func(s string) bool { return strings.HasPrefix(s, c.want) }) {
				t.Errorf("pass %t: %q\nwant %q", d.Pass, texts(d), c.want)
			}
			if got := [3]int{len(d.Waived), len(d.Expired), len(d.Unmatched)}; got != c.lists {
				t.Errorf("%v waived, expired and unmatched, want %v", got, c.lists)
			}
		})
	}
}

func TestTheLongestWaiverCounts(t *testing.T) {
	t.Parallel()
	e, short := evidence(), waiver()
	short.Until, short.Packages = day("2026-11-30"), nil
	e.Scan.Findings, e.Image.Waivers = []factory.Finding{finding()}, []factory.Waiver{waiver(), short}
	d := gate.Decide(policy(), e)
	if want := []factory.Waived{{Subject: "CVE-2026-1001 openssl", Waiver: waiver()}}; !reflect.DeepEqual(d.Waived, want) || d.Unmatched != nil {
		t.Errorf("%+v, unmatched %+v", d.Waived, d.Unmatched)
	}
	// what is not due before its waiver ends is due at its deadline
	f := finding()
	f.Severity = factory.Low
	e.Scan.Findings, e.Image.Waivers = []factory.Finding{f}, []factory.Waiver{short}
	if next := gate.Decide(policy(), e).Next(); next.Deadline != day("2027-05-18") {
		t.Errorf("%+v", next)
	}
	// and what cannot be fixed does not become due
	f.Fixed = ""
	e.Scan.Findings = []factory.Finding{f}
	if d := gate.Decide(policy(), e); !d.Reasons[len(d.Reasons)-1].Deadline.IsZero() || len(d.Waived) != 1 {
		t.Errorf("%q", texts(d))
	}
}

func TestRuleWaivers(t *testing.T) {
	t.Parallel()
	e, p := evidence(), policy()
	accept := func(rule, until string) factory.Waiver {
		return factory.Waiver{ID: rule, Reason: "by choice", By: "linux", Until: day(until)}
	}
	e.Compliance.Evaluations[0].Rules = rules("a=fail b=error c=pass d=pass")
	e.Compliance.Evaluations = append(e.Compliance.Evaluations, factory.Evaluation{View: factory.ExtendedView, Level: 2, Platform: amd64, Rules: rules("a=fail")})
	e.Image.Waivers = []factory.Waiver{accept("a", "2026-12-31"), accept("b", "2026-11-30"), accept("c", "2026-12-31")}
	d := gate.Decide(p, e)
	want := []string{
		"compliance: container level 2: 2 of 4, 2 waived, 0 not applicable",
		"waiver: b does not pass in container level 2 and is accepted until 2026-11-30: by choice [2026-11-30]",
		"waiver: a does not pass in container level 2 and is accepted until 2026-12-31: by choice [2026-12-31]",
		"compliance: extended level 2: 0 of 1, 1 waived, 0 not applicable; nothing is demanded of it",
	}
	for _, w := range want {
		if !slices.Contains(texts(d), w) {
			t.Errorf("%q is not in %q", w, texts(d))
		}
	}
	if !d.Pass || len(d.Waived) != 2 || len(d.Unmatched) != 1 || d.Unmatched[0].ID != "c" {
		t.Errorf("%+v %+v", d.Waived, d.Unmatched)
	}
	if e.Compliance.Evaluations[0].Rules[0].Result != factory.RuleFail {
		t.Error("the evidence was changed")
	}
	// one may fail: the waiver that ends first is not missed
	p.Compliance[0].MaxFail = 1
	if next := gate.Decide(p, e).Next(); next == nil || next.Subject != "a" || next.Deadline != day("2026-12-31") {
		t.Errorf("%+v", next)
	}
	// the day after its end a rule fails again
	p.Compliance[0].MaxFail = 0
	e.At = noon("2026-12-01")
	if d := gate.Decide(p, e); !strings.HasPrefix(texts(d)[0], "BLOCKS compliance: container level 2: 2 of 4, 1 waived, 1 undecided, 0 not applicable; 1 failing or undecided and at most 0 allowed: b") {
		t.Errorf("%q", texts(d))
	}
}

// A waiver of the parent's covers what the child has from there, and says where it stands.
func TestInheritedWaivers(t *testing.T) {
	t.Parallel()
	w := waiver()
	w.Inherited, w.Packages = "debian-12", nil
	decide := func(edit func(*factory.Evidence, W)) factory.Decision {
		e, w := evidence(), w
		e.Scan.Findings = []factory.Finding{finding()}
		edit(&e, &w)
		e.Image.Waivers = []factory.Waiver{w}
		return gate.Decide(policy(), e)
	}
	if d := decide(func(e *factory.Evidence, _ W) { e.Own = map[string][]string{"debian-12": {"zlib"}} }); !d.Pass || len(d.Waived) != 1 || d.Waived[0].Waiver.Inherited != "debian-12" {
		t.Errorf("%+v", d)
	}
	for name, own := range map[string]map[string][]string{
		"a package of the child's own":                   {"debian-12": {"openssl"}},
		"a package that its parent added":                {"debian-12": {"openssl"}, "debian-12-middle": {}},
		"a package of nobody knows whom":                 nil,
		"a package of a parent's, and not of that one's": {"debian-12-middle": {}},
	} {
		if d := decide(func(e *factory.Evidence, _ W) { e.Own = own }); d.Pass || len(d.Waived) != 0 || d.Unmatched != nil {
			t.Errorf("%s is waived by an ancestor: %+v", name, d)
		}
	}
	if d := decide(func(_ *factory.Evidence, w W) { w.ID = "CVE-2026-1002" }); d.Pass || d.Unmatched != nil {
		t.Errorf("%+v", d.Unmatched)
	}
	d := decide(func(_ *factory.Evidence, w W) { w.Until = day("2026-11-22") })
	if i := slices.IndexFunc(d.Reasons, func(r factory.Reason) bool { return r.Rule == "waiver" }); i < 0 || !strings.Contains(d.Reasons[i].Hint, "baseimages/debian-12/waivers.yaml") {
		t.Errorf("%+v", d.Reasons)
	}
}

type W = *factory.Waiver

// What speaks against the base is told, and blocks nothing.
func TestBase(t *testing.T) {
	t.Parallel()
	e := evidence()
	e.Base, e.Image.From = "it is built on debian-12 20261123-1a2b3c4d-dev, which is not in prod", "debian-12"
	d := gate.Decide(policy(), e)
	if i := slices.IndexFunc(d.Reasons, func(r factory.Reason) bool { return r.Rule == "base" }); !d.Pass || i < 0 || d.Reasons[i].Text != e.Base || d.Reasons[i].Subject != "debian-12" {
		t.Errorf("%+v", d)
	}
}
