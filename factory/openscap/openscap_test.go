package openscap

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/factorytest"
)

func TestProve(t *testing.T) {
	t.Parallel()
	box, rec := &toolbox{faults: map[string]bool{"package_sudo_installed": true}}, &factorytest.Recorder{}
	arm := factory.Platform{OS: "linux", Architecture: "arm64"}
	proven, err := Prover{Runner: box, Events: rec.Events()}.Prove(t.Context(), hardened(debian12(), arm, amd64))
	must(t, err)
	c := proven.Compliance
	if c.Benchmark != "B-12" || c.Content != "SCAP Security Guide 0.1.82" || c.Tool != "OpenSCAP 1.4.2" || c.ContentDigest != factory.DigestOf(dataStream()) {
		t.Errorf("about: %+v", c)
	}
	var names []string
	for _, e := range c.Evaluations {
		names = append(names, e.Platform.Architecture+" "+e.Name()+": "+e.Score().String())
	}
	want := []string{"amd64 container level 1: 3 of 3, 1 not applicable", "amd64 container level 2: 3 of 3, 4 not applicable", "amd64 extended level 2: 61 of 62, 1 fail, 0 not applicable",
		"arm64 container level 1: 3 of 3, 1 not applicable", "arm64 container level 2: 3 of 3, 4 not applicable", "arm64 extended level 2: 61 of 62, 1 fail, 0 not applicable"}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	sudo := of(c.Find(factory.ExtendedView, 2, amd64), "package_sudo_installed")
	if sudo.Result != factory.RuleFail || sudo.Title != "Title of package_sudo_installed" || sudo.Severity != "high" || !slices.Equal(sudo.Controls, []string{"1.2", "5.4.1"}) {
		t.Errorf("%+v", sudo)
	}
	if !slices.Contains(c.Canaries, "file_permissions_unauthorized_world_writable") || !slices.IsSorted(c.Canaries) || len(c.Canaries) != 5 {
		t.Errorf("canaries %q", c.Canaries)
	}
	if len(c.Method) != 9 || !strings.Contains(c.Method[1], "admits overlay, wherever") {
		t.Errorf("method %q", c.Method)
	}
	if len(proven.Documents) != 8 || proven.Documents[0].Name != "linux/amd64 container level 2" || proven.Documents[0].Kind != factory.ARF || string(proven.Documents[3].Data) != "<html>level2" {
		t.Errorf("%d documents, first %s", len(proven.Documents), proven.Documents[0].Name)
	}
	if notes := rec.Messages(factory.Noted); len(notes) != 6 || !slices.Contains(notes, "linux/amd64: container level 2: 3 of 3, 4 not applicable") {
		t.Errorf("events %q", notes)
	}
	if box.reads != 1 || len(box.steps) != 5 {
		t.Errorf("the content was read %d times, and there were %d steps", box.reads, len(box.steps))
	}
	for i, s := range box.steps[1:] {
		if !s.InToolbox || s.Network || s.Toolbox || s.User != "" || len(s.Root.State) == 0 {
			t.Errorf("step %+v", s)
		}
		var req request
		must(t, json.Unmarshal(s.Files["/.prove/request.json"].Data, &req))
		if req.Path != "/usr/bin:/opt/bin" || len(req.Evaluations) != 1 || req.Evaluations[0].Name != "level2" || len(req.Contents) == 0 {
			t.Errorf("request %d: %+v", i, req)
		}
	}
}

// Switch each correction off, and the evaluation passes what it did not see: the guards must say so.
func TestALyingEvaluationIsCaught(t *testing.T) {
	t.Parallel()
	for off, says := range map[string]string{
		"device": "file_permissions_unauthorized_world_writable is pass and had to be fail",
		"proc":   "accounts_root_path_dirs_no_write is pass and had to be fail; file_permissions_unauthorized_world_writable is pass",
		"mtab":   "fsdev_init() failed",
	} {
		box := &toolbox{faults: map[string]bool{"file_permissions_unauthorized_world_writable": true}, ask: func(r *request) {
			r.Corrections = slices.DeleteFunc(r.Corrections, func(c string) bool { return c == off })
		}}
		proven, err := Prover{Runner: box}.Prove(t.Context(), hardened(debian12(), amd64))
		if !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), says) || len(proven.Compliance.Evaluations) != 0 || len(factory.Problems(err)) != 2 {
			t.Errorf("without %s: %v", off, err)
		}
	}
}

func TestGuards(t *testing.T) {
	t.Parallel()
	profile := contents["debian 12"].profiles[1]
	for says, edit := range map[string]func(factory.View, *report, map[string][]byte){
		"oscap ended with exit 134: an assert": func(_ factory.View, r *report, _ map[string][]byte) {
			r.Runs[0].Exit, r.Runs[0].Stderr = 134, "an assert"
		},
		"level2: it was not run":                             func(_ factory.View, r *report, _ map[string][]byte) { r.Runs = r.Runs[1:] },
		"canary: it was not run":                             func(_ factory.View, r *report, _ map[string][]byte) { r.Runs = r.Runs[:len(r.Runs)-1] },
		"no device pattern that could be widened to overlay": func(_ factory.View, r *report, _ map[string][]byte) { delete(r.Widened, "short") },
		"no HTML report":                                     func(_ factory.View, _ *report, f map[string][]byte) { delete(f, "level2.html") },
		"its result cannot be read: there is no test result": func(_ factory.View, _ *report, f map[string][]byte) { delete(f, "level2.arf.xml") },
		"its result cannot be read: XML syntax error":        func(_ factory.View, _ *report, f map[string][]byte) { f["level2.arf.xml"] = []byte("<a></b>") },
		`profile "other" was evaluated, not xccdf_`:          func(_ factory.View, _ *report, f map[string][]byte) { f["level2.arf.xml"] = arf("other", nil, "") },
		"none of 0 rules applies":                            func(_ factory.View, _ *report, f map[string][]byte) { f["level2.arf.xml"] = arf(profile, nil, "") },
		"none of 1 rules applies": func(_ factory.View, _ *report, f map[string][]byte) {
			f["level2.arf.xml"] = arf(profile, nil, one("a", "notapplicable"))
		},
		"another benchmark or tool": func(_ factory.View, _ *report, f map[string][]byte) {
			f["canary.arf.xml"] = swap(f["canary.arf.xml"], "0.1.82", "0.1.83")
		},
		"accounts_no_uid_except_zero was not evaluated and had to be": func(_ factory.View, r *report, f map[string][]byte) {
			r.Missing = []string{"accounts_no_uid_except_zero"}
			f["canary.arf.xml"] = swap(f["canary.arf.xml"], "accounts_no_uid", "no_uid")
		},
		"accounts_no_uid_except_zero is pass and had to be notapplicable": func(_ factory.View, _ *report, f map[string][]byte) {
			f["canary.arf.xml"] = swap(f["canary.arf.xml"], "notapplicable", "pass")
		},
		"the evaluation's report has schema 1":      func(_ factory.View, r *report, _ map[string][]byte) { r.Schema = 1 },
		"the evaluation's report: ":                 func(_ factory.View, _ *report, f map[string][]byte) { f["report.json"] = []byte("{") },
		"the evaluation's report has 1048577 bytes": func(_ factory.View, _ *report, f map[string][]byte) { f["report.json"] = make([]byte, maxReport+1) },
		"level2.html has 67108865 bytes":            func(_ factory.View, _ *report, f map[string][]byte) { f["level2.html"] = make([]byte, maxDocument+1) },
		"two evaluations of one image used different content or tools": func(v factory.View, _ *report, f map[string][]byte) {
			if v == factory.ExtendedView {
				for name := range f {
					f[name] = swap(f[name], "0.1.82", "0.1.83")
				}
			}
		},
	} {
		_, err := Prover{Runner: &toolbox{edit: edit}}.Prove(t.Context(), hardened(debian12(), amd64))
		if err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "prove debian-12") {
			t.Errorf("%s: %v", says, err)
		}
		if kind := errors.Is(err, factory.ErrUnverified); kind == strings.Contains(says, "'s report") {
			t.Errorf("%s: of the wrong kind: %v", says, err)
		}
	}
}

func one(rule, result string) string {
	return `<rule-result idref="` + rule + `"><result>` + result + `</result></rule-result>`
}

func swap(b []byte, old, now string) []byte { return []byte(strings.ReplaceAll(string(b), old, now)) }

func TestExtendedSetIsComplete(t *testing.T) {
	t.Parallel()
	e := evaluation{Name: "level2", Profile: "P", Rules: qualified([]string{"a", "b"})}
	for name, c := range map[string]struct {
		results, missing, says string
	}{
		"both":            {one("a", "pass") + one("b", "fail"), "", ""},
		"one is unknown":  {one("a", "pass"), "b", ""},
		"one is lost":     {one("a", "pass"), "", "rule b has no result"},
		"one is too many": {one("a", "pass") + one("b", "pass") + one("c", "pass"), "", "3 rules have a result, and 2 were asked for"},
	} {
		res, err := parseARF(arf("P", nil, c.results))
		must(t, err)
		err = report{Missing: strings.Fields(c.missing)}.counts(e, res)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	text := contents["debian 12"].method(viewed{view: factory.ExtendedView, report: report{Missing: []string{"gone_rule"}}})
	if !strings.Contains(strings.Join(text, "\n"), "does not have gone_rule of them") {
		t.Errorf("what the content lacks is not said: %q", text)
	}
	classes := map[string]int{}
	for line := range strings.Lines(extendedDebian) {
		if f := strings.Fields(line); f[0] != "#" {
			classes[f[0]]++
		}
	}
	if ids := contents["debian 13"].rules(); len(ids) != 62 || len(slices.Compact(ids)) != 62 || classes["accounts"] != 27 || classes["pam"] != 24 || classes["sudo"] != 6 || classes["banner"] != 3 || classes["file"] != 2 {
		t.Errorf("%d rules, %v", len(ids), classes)
	}
}

func TestProveSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, d := range []factory.Distro{{Family: "redhat", Release: "8"}, {Family: "debian", Release: "11"}} {
		_, err := Prover{}.Prove(t.Context(), hardened(d, amd64))
		if _, again := (Prover{}).Benchmark(t.Context(), d); !errors.Is(err, factory.ErrNotFound) || !strings.Contains(err.Error(), "no SCAP content exists for "+d.Family) || !errors.Is(again, factory.ErrNotFound) {
			t.Errorf("%v: %v", d, err)
		}
	}
	broken := errors.New("disk full")
	if _, err := (Prover{Runner: &toolbox{err: broken}}).Prove(t.Context(), hardened(debian12(), amd64)); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := (Prover{Runner: &toolbox{exit: 1}}).Prove(t.Context(), hardened(debian12(), amd64)); err == nil || !strings.Contains(err.Error(), "exit 1: no such file") {
		t.Error(err)
	}
	if got := tail(strings.Repeat("x", 5000)); len(got) > 2010 || !strings.HasPrefix(got, "…") {
		t.Errorf("%d bytes of output are kept", len(got))
	}
	if got := rootPath(factory.Image{}); got != "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" {
		t.Errorf("PATH of an image without one is %s", got)
	}
}
