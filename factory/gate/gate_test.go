package gate_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/gate"
)

func day(s string) factory.Date {
	d, err := factory.ParseDate(s)
	if err != nil {
		panic(err)
	}
	return d
}

func noon(s string) time.Time { return day(s).Time().Add(12 * time.Hour) }

var amd64 = factory.Platform{OS: "linux", Architecture: "amd64"}

// policy is one that good passes.
func policy() factory.Policy {
	return factory.Policy{
		Env: factory.Prod, Pack: "default", Digest: factory.DigestOf([]byte("policy")),
		Deadlines: map[factory.Severity]int{factory.Critical: 3, factory.High: 7, factory.Moderate: 21, factory.Low: 180},
		Clock:     factory.FromFixAvailable, Unknown: factory.High,
		Compliance: []factory.Floor{{View: factory.ContainerView, Level: 2, MinApplicable: 3}},
		Tests:      true, Committed: true, EndOfLife: "block",
		Database: factory.DatabaseDemand{Kinds: []factory.DatabaseKind{factory.TrivyDatabase}, MaxAge: 24},
	}
}

// rules are an evaluation's, one for each word: name=result.
func rules(words string) (all []factory.RuleOutcome) {
	for _, w := range strings.Fields(words) {
		rule, result, _ := strings.Cut(w, "=")
		all = append(all, factory.RuleOutcome{Rule: rule, Result: factory.RuleResult(result)})
	}
	return all
}

func evidence() factory.Evidence {
	at := noon("2026-11-23")
	return factory.Evidence{
		Image: factory.Image{
			Name: "debian-12", Platforms: []factory.Platform{amd64}, EndOfLife: day("2028-06-30"),
			Distro: factory.Distro{Family: "debian", Release: "12"}, Owner: factory.Owner{Team: "linux", Contacts: []string{"linux@example.com"}},
		},
		Env: factory.Prod, Digest: factory.DigestOf([]byte("image")), At: at,
		Source: factory.Source{Commit: strings.Repeat("ab", 20), Hash: "abababab"},
		Tests:  []factory.TestResult{{Name: "has a shell", Platform: amd64, Passed: true}, {Name: "speaks UTF-8", Platform: amd64, Passed: true}},
		Compliance: factory.Compliance{Evaluations: []factory.Evaluation{
			{View: factory.ContainerView, Level: 2, Platform: amd64, Rules: rules("a=pass b=pass c=pass d=notapplicable")},
		}},
		Scan: factory.Scan{
			Scanner: "trivy 0.74.0", At: at.Add(-time.Hour), Packages: 90,
			Database: factory.Database{Kind: factory.TrivyDatabase, Updated: at.Add(-6 * time.Hour)},
		},
	}
}

// finding is a critical one that is one day late.
func finding() factory.Finding {
	return factory.Finding{
		Vulnerability: "CVE-2026-1001", Package: "openssl", Version: "3.0.1", Fixed: "3.0.2", Severity: factory.Critical,
		Published: noon("2026-11-01"), FixedOn: noon("2026-11-19"), FirstSeen: noon("2026-11-20"), FixSeen: noon("2026-11-21"),
	}
}

func waiver() factory.Waiver {
	return factory.Waiver{ID: "CVE-2026-1001", Packages: []string{"openssl"}, Reason: "not reachable", By: "linux", Until: day("2026-12-31")}
}

// texts are the reasons as a line each: BLOCKS, the rule, what it says, and the deadline.
func texts(d factory.Decision) (all []string) {
	for _, r := range d.Reasons {
		s := r.Rule + ": " + r.Text
		if r.Blocks {
			s = "BLOCKS " + s
		}
		if !r.Deadline.IsZero() {
			s += " [" + r.Deadline.String() + "]"
		}
		all = append(all, s)
	}
	return all
}

func TestEverythingInOrderPasses(t *testing.T) {
	t.Parallel()
	d := gate.Decide(policy(), evidence())
	want := []string{
		"vulnerability: no finding in 90 packages, by trivy of 2026-11-23",
		"compliance: container level 2: 3 of 3, 1 not applicable",
		"tests: 2 acceptance tests passed",
		"database: 90 packages looked at, by trivy of 2026-11-23, 6 hours old",
		"source: the inputs are those of commit abababababab",
		"end-of-life: the distribution is supported until 2028-06-30, 585 days from now [2028-06-30]",
	}
	if got := texts(d); !d.Pass || !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if d.Image != "debian-12" || d.Env != factory.Prod || d.Digest != evidence().Digest || d.Pack != "default" || d.Policy != policy().Digest || !d.At.Equal(evidence().At) || d.Database.Kind != factory.TrivyDatabase {
		t.Errorf("%+v", d)
	}
	if _, err := factory.Approve(factory.Examined{Tested: factory.Tested{Packed: factory.Packed{
		Hardened: factory.Hardened{Built: factory.Built{Locked: factory.Locked{Job: factory.Job{Env: factory.Prod}}}}, Artifact: factory.Artifact{Digest: d.Digest},
	}}}, d); err != nil {
		t.Errorf("what passes is not approved: %v", err)
	}
}

func TestNothingBlocks(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]factory.Decision{
		"no policy":   gate.Decide(factory.Policy{}, evidence()),
		"no evidence": gate.Decide(policy(), factory.Evidence{}),
		"neither":     gate.Decide(factory.Policy{}, factory.Evidence{}),
	} {
		if d.Pass || len(d.Blocking()) == 0 {
			t.Errorf("%s passes: %q", name, texts(d))
		}
	}
}

// Each demand, broken alone: what it says, and that nothing else blocks.
func TestReasons(t *testing.T) {
	t.Parallel()
	arm64 := factory.Platform{OS: "linux", Architecture: "arm64"}
	type P = *factory.Policy
	type E = *factory.Evidence
	for _, c := range []struct {
		name string
		edit func(p P, e E)
		want string
	}{
		{"no policy for it", func(p P, _ E) { p.Env = "" }, "BLOCKS policy: there is no policy for prod, so nothing may enter it"},
		{"another policy", func(p P, _ E) { p.Env = factory.Dev }, "BLOCKS policy: the policy is for dev and the image is to enter prod"},
		{"no deadlines", func(p P, _ E) { p.Deadlines = nil }, "BLOCKS policy: the policy has no deadlines, so no finding would ever block"},
		{"clock", func(p P, _ E) { p.Clock = "noon" }, `BLOCKS policy: the policy's clock is "noon"; it is first-seen, fix-available or published`},
		{"unknown", func(p P, _ E) { p.Unknown = "" }, "BLOCKS policy: the policy does not say what an unknown severity counts as"},
		{"end of life", func(p P, _ E) { p.EndOfLife = "ignore" }, `BLOCKS policy: the policy says "ignore" of images past their end of life; it is warn or block`},
		{"no content", func(p P, _ E) { p.NoContent = "ignore" }, `BLOCKS policy: the policy says "ignore" of images that no benchmark content exists for; it is warn or block`},
		{"revoked", func(_ P, e E) { e.Revoked = "leaked a key" }, "BLOCKS revoked: this digest was revoked: leaked a key"},

		{"not evaluated", func(_ P, e E) { e.Compliance = factory.Compliance{} }, "BLOCKS compliance: container level 2 was not evaluated"},
		{"another level evaluated", func(p P, _ E) { p.Compliance[0].Level = 1 }, "BLOCKS compliance: container level 1 was not evaluated"},
		{"another level, told", func(p P, _ E) { p.Compliance = nil }, "compliance: container level 2: 3 of 3, 1 not applicable; nothing is demanded of it"},
		{"too few apply", func(p P, _ E) { p.Compliance[0].MinApplicable = 4 }, "BLOCKS compliance: container level 2: 3 of 3, 1 not applicable; only 3 apply and at least 4 must, so the evaluation proves too little"},
		{"fails", func(_ P, e E) { e.Compliance.Evaluations[0].Rules = rules("b=fail a=error c=pass d=pass") },
			"BLOCKS compliance: container level 2: 2 of 4, 1 fail, 1 undecided, 0 not applicable; 2 failing or undecided and at most 0 allowed: a, b"},
		{"many fail", func(_ P, e E) {
			e.Compliance.Evaluations[0].Rules = rules("a=fail b=fail c=fail d=fail e=fail f=fail g=fail")
		}, "at most 0 allowed: a, b, c, d, e and 2 more"},
		{"fails are allowed", func(p P, e E) {
			p.Compliance[0].MaxFail, e.Compliance.Evaluations[0].Rules = 2, rules("b=fail a=error c=pass d=pass")
		}, "compliance: container level 2: 2 of 4, 1 fail, 1 undecided, 0 not applicable"},
		{"evidence says waived", func(_ P, e E) { e.Compliance.Evaluations[0].Rules = rules("a=waived b=pass c=pass") }, "BLOCKS compliance: container level 2: 2 of 3, 1 fail"},
		{"one platform evaluated", func(_ P, e E) {
			e.Image.Platforms = append(e.Image.Platforms, arm64)
			e.Tests = append(e.Tests, factory.TestResult{Name: "x", Platform: arm64, Passed: true})
		}, "BLOCKS compliance: container level 2 on linux/arm64 was not evaluated"},

		{"no tests", func(_ P, e E) { e.Tests = nil }, "BLOCKS tests: no acceptance test ran"},
		{"a test failed", func(_ P, e E) { e.Tests[0].Passed = false }, "BLOCKS tests: 1 of 2 acceptance tests failed: has a shell"},
		{"tests of one platform", func(p P, e E) {
			e.Image.Platforms, p.Compliance = append(e.Image.Platforms, arm64), nil
		}, "BLOCKS tests: no acceptance test ran on linux/arm64"},
		{"tests do not count", func(p P, e E) { p.Tests, e.Tests[0].Passed = false, false }, "tests: 1 of 2 acceptance tests failed: has a shell"},

		{"dirty", func(_ P, e E) { e.Source = factory.Source{Dirty: true} }, "BLOCKS source: the inputs are not committed, so nobody can look up what the image was made of"},
		{"no commit", func(_ P, e E) { e.Source = factory.Source{} }, "BLOCKS source: nobody knows which commit the inputs are of"},
		{"dirty does not count", func(p P, e E) { p.Committed, e.Source = false, factory.Source{Dirty: true} }, "source: the inputs are not committed"},

		{"not scanned", func(_ P, e E) { e.Scan = factory.Scan{} }, "BLOCKS database: the image was not scanned: no vulnerability data was used"},
		{"empty scan", func(_ P, e E) { e.Scan.Packages = 0 }, "BLOCKS database: the scanner looked at no package, so that it found nothing proves nothing"},
		{"one package was not looked at", func(_ P, e E) { e.Scan.NotLookedAt = []string{"bash"} },
			"BLOCKS database: the vulnerability data knows nothing about 1 package, so that nothing was found there proves nothing: bash"},
		{"many were not looked at", func(_ P, e E) { e.Scan.NotLookedAt = strings.Fields("g f e d c b a a") },
			"BLOCKS database: the vulnerability data knows nothing about 7 packages, so that nothing was found there proves nothing: a, b, c, d, e and 2 more"},
		{"scan in the future", func(_ P, e E) { e.Scan.At = noon("2026-11-25") }, "BLOCKS database: the scan is dated 2026-11-25, in the future: a clock moved"},
		{"kind", func(_ P, e E) { e.Scan.Database.Kind = factory.ArchiveDatabase },
			"BLOCKS database: the vulnerability data is archive advisories of 2026-11-23 (fixes only); prod takes trivy only"},
		{"no kind is good enough", func(p P, _ E) { p.Database.Kinds = nil }, "BLOCKS database: the vulnerability data is trivy of 2026-11-23; prod takes nothing only"},
		{"old", func(_ P, e E) { e.Scan.Database.Updated = e.At.Add(-25 * time.Hour) }, "BLOCKS database: the vulnerability data is trivy of 2026-11-22, 25 hours old; at most 24 hours is allowed"},
		{"as old as may be", func(_ P, e E) { e.Scan.Database.Updated = e.At.Add(-24 * time.Hour) }, "database: 90 packages looked at, by trivy of 2026-11-22, 24 hours old"},
		{"very old", func(_ P, e E) { e.Scan.Database.Updated = noon("2026-01-01") }, "BLOCKS database: the vulnerability data is trivy of 2026-01-01, 326 days old"},
		{"without date", func(_ P, e E) { e.Scan.Database.Updated = time.Time{} }, "BLOCKS database: the vulnerability data has no date, so it may be of any age"},
		{"clock moved", func(_ P, e E) { e.Scan.Database.Updated = e.At.Add(25 * time.Hour) }, "BLOCKS database: the vulnerability data is trivy of 2026-11-24, in the future: a clock moved"},
		{"clocks differ a little", func(_ P, e E) { e.Scan.Database.Updated = e.At.Add(time.Hour) }, "database: 90 packages looked at, by trivy of 2026-11-23, 0 hours old"},

		{"support ended", func(_ P, e E) { e.Image.EndOfLife = day("2026-11-22") }, "BLOCKS end-of-life: support of the distribution ended on 2026-11-22, 1 day ago: nobody fixes it any more [2026-11-22]"},
		{"support ends today", func(_ P, e E) { e.Image.EndOfLife = day("2026-11-23") }, "end-of-life: the distribution is supported until 2026-11-23, 0 days from now [2026-11-23]"},
		{"support ended, warned", func(p P, e E) { e.Image.EndOfLife, p.EndOfLife = day("2026-11-22"), "warn" }, "end-of-life: support of the distribution ended on 2026-11-22, 1 day ago: nobody fixes it any more"},
		{"no end", func(_ P, e E) { e.Image.EndOfLife = factory.Date{} }, "BLOCKS end-of-life: nobody says when the distribution's support ends"},
		{"no platforms", func(_ P, e E) { e.Image.Platforms = nil }, "tests: 2 acceptance tests passed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, e := policy(), evidence()
			c.edit(&p, &e)
			d := gate.Decide(p, e)
			all := texts(d)
			if !slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, c.want) }) {
				t.Errorf("got  %q\nwant %q", all, c.want)
			}
			blocks := strings.HasPrefix(c.want, "BLOCKS") || c.name == "many fail"
			if d.Pass == blocks || len(d.Blocking()) > 1 {
				t.Errorf("pass is %t: %q", d.Pass, all)
			}
			for _, r := range d.Blocking() {
				if r.Hint == "" {
					t.Errorf("%q: nobody says what to do", r.Text)
				}
			}
		})
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	const one = "CVE-2026-1001 in openssl 3.0.1 (critical): "
	type P = *factory.Policy
	type F = *factory.Finding
	for _, c := range []struct {
		name string
		edit func(p P, f F)
		want string
	}{
		{"a day late", func(P, F) {}, "BLOCKS vulnerability: " + one + "fixed in 3.0.2 since 2026-11-19, due 2026-11-22, 1 day late [2026-11-22]"},
		{"the last day", func(_ P, f F) { f.FixedOn = noon("2026-11-20") }, "vulnerability: " + one + "fixed in 3.0.2 since 2026-11-20, due 2026-11-23, which is today [2026-11-23]"},
		{"a second before midnight", func(_ P, f F) { f.FixedOn = day("2026-11-20").Time().Add(-time.Second) }, "BLOCKS vulnerability: " + one + "fixed in 3.0.2 since 2026-11-19"},
		{"somewhere else it is tomorrow", func(_ P, f F) {
			f.FixedOn = time.Date(2026, 11, 20, 3, 0, 0, 0, time.FixedZone("", 4*3600)) // 23:00 of the day before
		}, "BLOCKS vulnerability: " + one + "fixed in 3.0.2 since 2026-11-19"},
		{"days left", func(_ P, f F) { f.Severity = factory.High }, "vulnerability: CVE-2026-1001 in openssl 3.0.1 (high): fixed in 3.0.2 since 2026-11-19, due 2026-11-26, 3 days left [2026-11-26]"},
		{"fix seen", func(_ P, f F) { f.FixedOn = time.Time{} }, "vulnerability: " + one + "fixed in 3.0.2, known since 2026-11-21, due 2026-11-24, 1 day left [2026-11-24]"},
		{"first seen is all", func(_ P, f F) { f.FixedOn, f.FixSeen = time.Time{}, time.Time{} },
			"vulnerability: " + one + "fixed in 3.0.2 (nobody says since when, so since it was first seen on 2026-11-20), due 2026-11-23, which is today [2026-11-23]"},
		{"nothing is known", func(_ P, f F) { f.FixedOn, f.FixSeen, f.FirstSeen = time.Time{}, time.Time{}, time.Time{} },
			"vulnerability: " + one + "fixed in 3.0.2 (nobody says since when, so since it was first seen on 2026-11-23), due 2026-11-26, 3 days left [2026-11-26]"},
		{"a fix in the future", func(_ P, f F) { f.FixedOn = noon("2099-01-01") }, "vulnerability: " + one + "fixed in 3.0.2 since 2026-11-23, due 2026-11-26, 3 days left [2026-11-26]"},
		{"no deadline", func(p P, f F) { f.Severity = factory.Low; delete(p.Deadlines, factory.Low) },
			"vulnerability: CVE-2026-1001 in openssl 3.0.1 (low): fixed in 3.0.2 since 2026-11-19, and no deadline: such findings never block"},
		{"unknown counts", func(p P, f F) { f.Severity, p.Unknown = factory.Unknown, factory.Critical },
			"BLOCKS vulnerability: CVE-2026-1001 in openssl 3.0.1 (severity unknown, counts as critical): fixed in 3.0.2 since 2026-11-19, due 2026-11-22"},
		{"unknown never", func(p P, f F) {
			f.Severity, p.Unknown, p.Deadlines[factory.Unknown] = "", factory.Unknown, 0
		}, "vulnerability: CVE-2026-1001 in openssl 3.0.1 (severity unknown): fixed in 3.0.2 since 2026-11-19, and no deadline: such findings never block"},
		{"no fix", func(_ P, f F) { f.Fixed = "" }, "vulnerability: 1 finding without a fix (1 critical): nothing can be done yet, so no clock runs and none blocks"},
		{"no days at all", func(p P, f F) { p.Deadlines[factory.Critical] = -5; f.FixedOn = noon("2026-11-23") }, "vulnerability: " + one + "fixed in 3.0.2 since 2026-11-23, due 2026-11-23, which is today"},
		{"more days than there are", func(p P, _ F) { p.Deadlines[factory.Critical] = 1 << 40 }, "vulnerability: " + one + "fixed in 3.0.2 since 2026-11-19, due 2126-10-26"},

		{"from first seen", func(p P, _ F) { p.Clock = factory.FromFirstSeen }, "vulnerability: " + one + "fixed in 3.0.2 since 2026-11-19, first seen 2026-11-20, due 2026-11-23, which is today [2026-11-23]"},
		{"first seen, fixed later", func(p P, f F) { p.Clock, f.FixedOn = factory.FromFirstSeen, noon("2026-11-22") }, "vulnerability: " + one + "fixed in 3.0.2 since 2026-11-22, first seen 2026-11-20, due 2026-11-25"},
		{"first seen, nobody knows", func(p P, f F) { p.Clock, f.FirstSeen = factory.FromFirstSeen, time.Time{} }, "vulnerability: " + one + "fixed in 3.0.2 since 2026-11-19, first seen 2026-11-23, due 2026-11-26"},
		{"from published", func(p P, f F) { p.Clock, f.FixedOn = factory.FromPublished, noon("2026-10-01") }, "BLOCKS vulnerability: " + one + "fixed in 3.0.2 since 2026-10-01, published 2026-11-01, due 2026-11-04, 19 days late [2026-11-04]"},
		{"published, fixed later", func(p P, _ F) { p.Clock = factory.FromPublished }, "BLOCKS vulnerability: " + one + "fixed in 3.0.2 since 2026-11-19, published 2026-11-01, due 2026-11-22"},
		{"published, nobody knows", func(p P, f F) { p.Clock, f.Published = factory.FromPublished, time.Time{} }, "vulnerability: " + one + "fixed in 3.0.2 since 2026-11-19, first seen 2026-11-20, due 2026-11-23"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, e, f := policy(), evidence(), finding()
			c.edit(&p, &f)
			e.Scan.Findings = []factory.Finding{f}
			d := gate.Decide(p, e)
			if got := texts(d)[0]; !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if d.Pass == strings.HasPrefix(c.want, "BLOCKS") {
				t.Errorf("pass is %t", d.Pass)
			}
		})
	}
}

func TestUnfixedFindingsAreCounted(t *testing.T) {
	t.Parallel()
	e := evidence()
	for i, s := range []factory.Severity{factory.Low, factory.Unknown, factory.Low, "bad"} {
		f := finding()
		f.Fixed, f.Severity, f.Package = "", s, string(rune('a'+i))
		e.Scan.Findings = append(e.Scan.Findings, f)
	}
	if got, want := texts(gate.Decide(policy(), e))[0], "vulnerability: 4 findings without a fix (2 low, 2 unknown): nothing can be done yet, so no clock runs and none blocks"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Archive changelogs are as old as the archive's newest Release file, so they have a limit of their own.
func TestArchiveDataHasItsOwnLimit(t *testing.T) {
	demand := factory.DatabaseDemand{MaxAge: 24, ArchiveMaxAge: 168}
	if demand.Limit(factory.TrivyDatabase) != 24*time.Hour || demand.Limit(factory.ArchiveDatabase) != 168*time.Hour {
		t.Errorf("limits %v and %v", demand.Limit(factory.TrivyDatabase), demand.Limit(factory.ArchiveDatabase))
	}
	if (factory.DatabaseDemand{MaxAge: 24}).Limit(factory.ArchiveDatabase) != 24*time.Hour {
		t.Error("without a limit of its own, it is not the general one that counts")
	}
}
