package openscap

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestParseARF(t *testing.T) {
	t.Parallel()
	undecided := `<rule-result idref="u"><result>unknown</result><message severity="info">no   probe</message><message>more</message></rule-result>`
	res, err := parseARF(arf("P", []string{"b"}, one("z", "pass")+one(prefix+"b", "fail")+undecided+one("i", "informational")))
	must(t, err)
	if len(res.rules) != 3 || res.rules[0].Rule != "b" || res.rules[1].Reason != "no probe" || res.rules[2].Title != "" || res.profile != "P" || res.rules[0].Severity != "low" {
		t.Errorf("%+v", res)
	}
	good := string(arf("P", []string{"b"}, one("b", "pass")))
	for name, c := range map[string]struct{ in, says string }{
		"cut in the results": {good[:strings.Index(good, "<result>")], "unexpected EOF"},
		"cut in a title":     {good[:strings.Index(good, "</x:title>")], "unexpected EOF"},
		"cut in a profile":   {good[:strings.Index(good, "</x:Profile>")], "unexpected EOF"},
		"cut in the rest":    {good[:strings.Index(good, "<a><b/>")+3], "unexpected EOF"},
		"no such result":     {strings.Replace(good, ">pass<", ">perhaps<", 1), `rule b has the result "perhaps"`},
		"twice":              {string(arf("P", nil, one("b", "pass")+one("b", "fail"))), "rule b has two results"},
		"nameless":           {string(arf("P", nil, one("", "pass"))), "a result of no rule"},
	} {
		if _, err := parseARF([]byte(c.in)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A hostile document is refused before it costs much.
func TestHostileXML(t *testing.T) {
	for name, c := range map[string]struct{ in, says string }{
		"deep":            {strings.Repeat("<a>", 1<<20), "more than 200 nested elements"},
		"deep inside":     {`<TestResult xmlns="` + xccdf + `">` + strings.Repeat("<a>", 1<<20), "more than 200 nested elements"},
		"wide":            {"<a " + strings.Repeat(`b="" `, 4<<20) + "/>", "a tag or text of more than"},
		"long":            {"<a>" + strings.Repeat("x", 16<<20), "a tag or text of more than"},
		"entities":        {`<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>`, "invalid character entity"},
		"too many rules":  {string(arf("P", numbered(maxRules+1), "")), "more than 10000 rules"},
		"too many result": {string(arf("P", nil, oneOf(numbered(maxRules+1)))), "more than 10000 results"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := parseARF([]byte(c.in))
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20 {
			t.Errorf("%s: %d MiB", name, used>>20)
		}
	}
}

func numbered(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint("r", i))
	}
	return ids
}

func oneOf(ids []string) (all string) {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(one(id, "pass"))
	}
	return b.String()
}

func FuzzParseARF(f *testing.F) {
	f.Add(arf("P", []string{"a", "b"}, one("a", "pass")+one("b", "fail")))
	f.Add([]byte(`<TestResult xmlns="` + xccdf + `" version="1"><profile idref="p"/><rule-result idref="x"><result>error</result></rule-result></TestResult>`))
	f.Add([]byte("<a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		res, err := parseARF(b)
		if err != nil {
			return
		}
		if !slices.IsSortedFunc(res.rules, byRule) {
			t.Error("not sorted")
		}
		for _, r := range res.rules {
			if r.Rule == "" || r.Result == "" || len(r.Title) > maxText || len(r.Reason) > maxText {
				t.Errorf("accepted %+v", r)
			}
		}
	})
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte(`{"schema":1,"content":"","runs":[{"name":"level2","exit":0}]}`))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseReport(b); err == nil && r.Schema != 1 {
			t.Errorf("accepted schema %d", r.Schema)
		}
	})
}

// copying is a toolbox that has one file.
type copying struct {
	content []byte
	exit    int
	err     error
}

func (c copying) Run(_ context.Context, s factory.Step) (factory.StepResult, error) {
	if !s.InToolbox || s.Args[1] != "/usr/share/xml/scap/ssg/content/ssg-debian12-ds.xml" {
		return factory.StepResult{}, fmt.Errorf("step %+v", s)
	}
	return factory.StepResult{Exit: c.exit, Output: map[string][]byte{"content.xml": c.content}}, c.err
}

func TestBenchmark(t *testing.T) {
	t.Parallel()
	profile := contents["debian 12"].profiles[1]
	rules, err := Prover{Runner: copying{content: arf(profile, []string{"b", "accounts_no_uid_except_zero"}, "")}}.Benchmark(t.Context(), debian12())
	if err != nil || len(rules) != 1 || rules[0].Rule != "accounts_no_uid_except_zero" || rules[0].Result != "" || len(rules[0].Controls) != 2 {
		t.Errorf("%+v %v", rules, err)
	}
	broken := errors.New("disk full")
	for name, c := range map[string]struct {
		box  copying
		kind error
	}{
		"not there":  {copying{exit: 1}, factory.ErrNotFound},
		"no profile": {copying{content: arf("other", []string{"b"}, "")}, factory.ErrNotFound},
		"no toolbox": {copying{err: broken}, broken},
	} {
		if _, err := (Prover{Runner: c.box}).Benchmark(t.Context(), debian12()); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Prover{Runner: copying{content: []byte("<a>")}}).Benchmark(t.Context(), debian12()); err == nil || !strings.Contains(err.Error(), "ssg-debian12-ds.xml: ") {
		t.Error(err)
	}
}
