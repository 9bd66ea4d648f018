package gate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/gate"
)

// world makes policies and evidence at random, most of them close to what lets an image pass, so that a decision often
// hangs on a single thing.
type world struct{ *rand.Rand }

func (w world) oneIn(n int) bool { return w.IntN(n) == 0 }

func pick[T any](w world, all ...T) T { return all[w.IntN(len(all))] }

// time is within some weeks before the day that is decided about, sometimes after it, sometimes not known.
func (w world) time() time.Time {
	if w.oneIn(4) {
		return time.Time{}
	}
	return noon("2026-11-23").Add(-time.Duration(w.IntN(40*24)-24) * time.Hour)
}

func (w world) policy() factory.Policy {
	p := policy()
	p.Clock = pick(w, factory.FromFirstSeen, factory.FromFixAvailable, factory.FromPublished)
	p.Unknown = pick(w, factory.Severities()...)
	for _, s := range factory.Severities() {
		if p.Deadlines[s] = w.IntN(30); w.oneIn(4) {
			delete(p.Deadlines, s)
		}
	}
	p.Compliance[0].MaxFail, p.Compliance[0].MinApplicable = w.IntN(3), 1+w.IntN(4)
	p.Tests, p.Committed, p.EndOfLife = w.oneIn(2), w.oneIn(2), pick(w, "warn", "block")
	p.Database.MaxAge = factory.Hours(12 + w.IntN(48))
	return p
}

func (w world) finding() factory.Finding {
	return factory.Finding{
		Vulnerability: fmt.Sprintf("CVE-2026-%04d", 1000+w.IntN(6)), Package: pick(w, "bash", "openssl", "zlib"), Source: pick(w, "", "openssl"),
		Version: "1", Fixed: pick(w, "", "2", "2"), Severity: pick(w, append(factory.Severities(), "")...), Status: pick(w, "", "affected", "under_investigation"),
		FixedOn: w.time(), FixSeen: w.time(), FirstSeen: w.time(), Published: w.time(),
	}
}

func (w world) waiver() factory.Waiver {
	return factory.Waiver{
		ID: pick(w, fmt.Sprintf("CVE-2026-%04d", 1000+w.IntN(7)), "a", "b", "c"), Packages: pick(w, nil, []string{"openssl"}, []string{"bash", "zlib"}),
		Reason: pick(w, "why", "because"), By: "linux", Until: factory.DateOf(noon("2026-11-23").AddDate(0, 0, w.IntN(60)-20)),
		Justification: pick(w, "", "", "component_not_present"),
	}
}

func (w world) evidence() factory.Evidence {
	e := evidence()
	for range w.IntN(4) {
		e.Scan.Findings = append(e.Scan.Findings, w.finding())
	}
	for range w.IntN(3) {
		e.Image.Waivers = append(e.Image.Waivers, w.waiver())
	}
	all := e.Compliance.Evaluations[0].Rules
	for i := range all {
		all[i].Result = pick(w, factory.RulePass, factory.RulePass, factory.RuleFail, factory.RuleError, factory.RuleNotApplicable)
	}
	if w.oneIn(4) {
		e.Compliance.Evaluations = append(e.Compliance.Evaluations, factory.Evaluation{View: factory.ExtendedView, Level: 2, Platform: amd64, Rules: rules("a=fail")})
	}
	if w.oneIn(8) {
		e.Tests[0].Passed = false
	}
	if w.oneIn(8) {
		e.Source = factory.Source{Dirty: true}
	}
	if w.oneIn(8) {
		e.Image.EndOfLife = day("2026-11-20")
	}
	if w.oneIn(8) {
		e.Scan.NotLookedAt = []string{"tar", "zlib"}[:1+w.IntN(2)]
	}
	e.Scan.Database.Updated = e.At.Add(-time.Duration(w.IntN(40)) * time.Hour)
	return e
}

// each tries a property on many worlds, and wants both verdicts to come up among them.
func each(t *testing.T, try func(t *testing.T, w world, p factory.Policy, e factory.Evidence) factory.Decision) {
	t.Helper()
	t.Parallel()
	w := world{rand.New(rand.NewPCG(3, 1))}
	verdicts := map[bool]int{}
	for i := range 1500 {
		p, e := w.policy(), w.evidence()
		verdicts[try(t, w, p, e).Pass]++
		if t.Failed() {
			t.Fatalf("world %d", i)
		}
	}
	if verdicts[true] < 150 || verdicts[false] < 150 {
		t.Errorf("the worlds are too much alike: %v", verdicts)
	}
}

func encoded(t *testing.T, d factory.Decision) []byte {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAFindingNeverHelps(t *testing.T) {
	each(t, func(t *testing.T, w world, p factory.Policy, e factory.Evidence) factory.Decision {
		before := gate.Decide(p, e)
		e.Scan.Findings = append(slices.Clone(e.Scan.Findings), w.finding())
		if after := gate.Decide(p, e); after.Pass && !before.Pass {
			t.Errorf("%q\nand with one more %q", texts(before), texts(after))
		}
		return before
	})
}

func TestTimeNeverHurtsForLongerDeadlines(t *testing.T) {
	each(t, func(t *testing.T, w world, p factory.Policy, e factory.Evidence) factory.Decision {
		before := gate.Decide(p, e)
		p.Deadlines = maps.Clone(p.Deadlines)
		for s := range p.Deadlines {
			if p.Deadlines[s] += w.IntN(10); w.oneIn(5) {
				delete(p.Deadlines, s)
			}
		}
		if len(p.Deadlines) == 0 { // that is no longer deadline, but none
			return before
		}
		if after := gate.Decide(p, e); before.Pass && !after.Pass {
			t.Errorf("%q\nand with more days %q", texts(before), texts(after))
		}
		return before
	})
}

// As time goes by, what blocks goes on blocking: nothing becomes good by waiting. (Evidence that is dated in the future is
// another matter: there the clock is wrong, and waiting is what puts it right.)
func TestWaitingNeverHelps(t *testing.T) {
	each(t, func(t *testing.T, w world, p factory.Policy, e factory.Evidence) factory.Decision {
		before := gate.Decide(p, e)
		e.At = e.At.Add(time.Duration(w.IntN(60*24)) * time.Hour)
		after := gate.Decide(p, e)
		if after.Pass && !before.Pass {
			t.Errorf("%q\nand later %q", texts(before), texts(after))
		}
		blocks := func(d factory.Decision) map[string]bool {
			all := map[string]bool{}
			for _, r := range d.Blocking() {
				all[r.Rule+" "+r.Subject] = true
			}
			return all
		}
		later := blocks(after)
		for r := range blocks(before) {
			if !later[r] {
				t.Errorf("%s blocked, and does not any more: %q\n%q", r, texts(before), texts(after))
			}
		}
		return before
	})
}

func TestAWaiverNeverHurts(t *testing.T) {
	each(t, func(t *testing.T, w world, p factory.Policy, e factory.Evidence) factory.Decision {
		before := gate.Decide(p, e)
		e.Image.Waivers = append(slices.Clone(e.Image.Waivers), w.waiver())
		after := gate.Decide(p, e)
		if before.Pass && !after.Pass {
			t.Errorf("%q\nand with a waiver %q", texts(before), texts(after))
		}
		if n := len(after.Expired) + len(after.Unmatched) + len(after.Waived); n == 0 {
			t.Errorf("the waiver is nowhere: %+v", after)
		}
		for _, held := range after.Waived {
			for _, r := range after.Blocking() {
				if r.Subject == held.Subject {
					t.Errorf("waived, and blocks: %+v", r)
				}
			}
			if !held.Waiver.Holds(factory.DateOf(e.At)) {
				t.Errorf("an ended waiver was used: %+v", held)
			}
		}
		return before
	})
}

// What nobody looked at blocks, by a reason of its own, whatever else there is; a waiver is about what is known and takes nothing of
// that away.
func TestWhatWasNotLookedAtBlocks(t *testing.T) {
	each(t, func(t *testing.T, w world, p factory.Policy, e factory.Evidence) factory.Decision {
		before := gate.Decide(p, e)
		e.Scan.NotLookedAt = append(slices.Clone(e.Scan.NotLookedAt), pick(w, "bash", "openssl", "zlib"))
		e.Image.Waivers = append(slices.Clone(e.Image.Waivers), w.waiver())
		after := gate.Decide(p, e)
		if after.Pass || !slices.ContainsFunc(after.Blocking(), func(r factory.Reason) bool {
			return r.Rule == "database" && strings.Contains(r.Text, "knows nothing about") && strings.Contains(r.Hint, "factory db build")
		}) {
			t.Errorf("%q", texts(after))
		}
		return before
	})
}

// The order in which things are listed says nothing.
func TestOrderDoesNotMatter(t *testing.T) {
	each(t, func(t *testing.T, w world, p factory.Policy, e factory.Evidence) factory.Decision {
		before := gate.Decide(p, e)
		e.Scan.Findings, e.Image.Waivers, e.Tests = slices.Clone(e.Scan.Findings), slices.Clone(e.Image.Waivers), slices.Clone(e.Tests)
		w.Shuffle(len(e.Scan.Findings), func(i, j int) {
			e.Scan.Findings[i], e.Scan.Findings[j] = e.Scan.Findings[j], e.Scan.Findings[i]
		})
		w.Shuffle(len(e.Image.Waivers), func(i, j int) {
			e.Image.Waivers[i], e.Image.Waivers[j] = e.Image.Waivers[j], e.Image.Waivers[i]
		})
		e.Scan.NotLookedAt = append(slices.Clone(e.Scan.NotLookedAt), e.Scan.NotLookedAt...)
		slices.Reverse(e.Scan.NotLookedAt)
		slices.Reverse(e.Tests)
		slices.Reverse(e.Compliance.Evaluations)
		if a, b := encoded(t, before), encoded(t, gate.Decide(p, e)); !bytes.Equal(a, b) {
			t.Errorf("%s\n%s", a, b)
		}
		return before
	})
}

func TestWhatHasNoFixNeverBlocks(t *testing.T) {
	each(t, func(t *testing.T, w world, p factory.Policy, e factory.Evidence) factory.Decision {
		e.Scan.Findings = slices.DeleteFunc(e.Scan.Findings, func(f factory.Finding) bool { return f.Fixed != "" })
		d := gate.Decide(p, e)
		for _, r := range d.Blocking() {
			if r.Rule == "vulnerability" {
				t.Errorf("%+v", r)
			}
		}
		return d
	})
}

// A decision and its reasons never contradict each other, it survives being written down, and deciding again, on the same
// evidence, which is left as it was, comes out the same.
func TestDecisionsAreWhatTheySay(t *testing.T) {
	each(t, func(t *testing.T, w world, p factory.Policy, e factory.Evidence) factory.Decision {
		was, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		d := gate.Decide(p, e)
		if d.Pass != (len(d.Blocking()) == 0) || !slices.IsSortedFunc(d.Reasons, func(a, b factory.Reason) int {
			return map[[2]bool]int{{false, true}: 1, {true, false}: -1}[[2]bool{a.Blocks, b.Blocks}]
		}) {
			t.Errorf("%+v", d)
		}
		for _, r := range d.Reasons {
			if r.Text == "" || r.Rule == "" || r.Blocks && r.Hint == "" || r.Blocks && !r.Deadline.IsZero() && !r.Deadline.Time().Before(e.At) {
				t.Errorf("%+v", r)
			}
		}
		var back factory.Decision
		if err := json.Unmarshal(encoded(t, d), &back); err != nil || !reflect.DeepEqual(back, d) {
			t.Errorf("%v\n%+v\n%+v", err, d, back)
		}
		if now, err := json.Marshal(e); err != nil || !bytes.Equal(was, now) {
			t.Errorf("the evidence was changed: %v", err)
		}
		if !bytes.Equal(encoded(t, gate.Decide(p, e)), encoded(t, d)) {
			t.Error("twice decided, two decisions")
		}
		return d
	})
}
