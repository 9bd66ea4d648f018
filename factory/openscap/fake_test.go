package openscap

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// toolbox is OpenSCAP in small: it evaluates a root filesystem that has a few faults, and passes what it does not look at, as the
// real one does when it is not corrected. edit may change what is asked, and what came of it.
type toolbox struct {
	faults map[string]bool // rules that fail
	ask    func(*request)
	edit   func(view factory.View, rep *report, files map[string][]byte)
	ship   func([]byte) []byte // changes the content
	exit   int                 // of everything but reading the content
	err    error
	says   string // of its version

	mu    sync.Mutex
	steps []factory.Step
	reads int // of the content
}

// looks says which correction a rule needs to see anything.
var looks = map[string]string{
	"file_permissions_unauthorized_world_writable": "device proc", "no_files_unowned_by_user": "device proc",
	"file_permissions_var_log_gdm": "mtab", "accounts_root_path_dirs_no_write": "proc",
	"accounts_user_dot_user_ownership": "mtab", "accounts_umask_etc_profile": "links",
}

// planted says which rule finds a plant.
var planted = map[string]string{
	"world-writable": "file_permissions_unauthorized_world_writable", "unowned": "no_files_unowned_by_user", "open-log": "file_permissions_var_log_gdm",
	"root-path": "accounts_root_path_dirs_no_write", "second-root": "accounts_no_uid_except_zero",
	"foreign-file": "accounts_user_dot_user_ownership", "linked": "accounts_umask_etc_profile", "package": "package_telnet-server_removed",
}

// small is the content: rules that apply everywhere, and those that need a kernel.
var everywhere = []string{"accounts_root_path_dirs_no_write", "file_permissions_unauthorized_world_writable", "file_permissions_var_log_gdm"}

// more are rules that only the content of an RPM distribution applies everywhere.
var more = []string{"accounts_umask_etc_profile", "package_telnet-server_removed", "package_telnet_removed"}

func (b *toolbox) Run(_ context.Context, s factory.Step) (factory.StepResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.steps = append(b.steps, s)
	if len(s.Args) == 3 && s.Args[0] == "/bin/cp" && b.err == nil {
		b.reads++
		data := dataStream()
		if b.ship != nil {
			data = b.ship(data)
		}
		return factory.StepResult{Output: map[string][]byte{"content.xml": data}}, nil
	}
	if b.err != nil || b.exit != 0 {
		return factory.StepResult{Exit: b.exit, Stderr: []byte("no such \x1bfile\n")}, b.err
	}
	if slices.Equal(s.Args, []string{"/usr/bin/oscap", "--version"}) && s.Output != "" {
		return factory.StepResult{Stdout: []byte(b.says)}, nil
	}
	var req request
	if err := json.Unmarshal(s.Files["/.prove/request.json"].Data, &req); err != nil {
		return factory.StepResult{}, err
	}
	if b.ask != nil {
		b.ask(&req)
	}
	rep := report{Schema: 2, Devices: []string{"overlay"}, Widened: map[string]int{"whole": 5, "short": 3}}
	if req.Packages == factory.RPM {
		rep.Links, rep.Dangling = 7, []string{"sshd_enable_warning_banner"}
	}
	files := map[string][]byte{}
	for _, e := range req.Evaluations {
		rep.Runs = append(rep.Runs, b.evaluate(req, e, b.faults, files))
	}
	faults := map[string]bool{}
	for _, p := range req.Plants {
		faults[planted[p]] = true
	}
	rep.Runs = append(rep.Runs, b.evaluate(req, req.Canary, faults, files))
	if b.edit != nil {
		b.edit(req.View, &rep, files)
	}
	if files["report.json"] == nil {
		files["report.json"], _ = json.Marshal(rep)
	}
	return factory.StepResult{Root: s.Root, Output: files}, nil
}

// evaluate is one run of oscap.
func (b *toolbox) evaluate(req request, e evaluation, faults map[string]bool, files map[string][]byte) ran {
	run := ran{Name: e.Name, Seconds: 1.5, Stderr: "WARNING: nothing that matters\n"}
	if !slices.Contains(req.Corrections, "mtab") {
		run.Stderr += "E: oscap: fsdev_init() failed.\n"
	}
	rules := append(slices.Clone(everywhere), "accounts_no_uid_except_zero", "package_sudo_installed", "sudo_add_use_pty", "no_files_unowned_by_user")
	if len(e.Rules) > 0 {
		rules = slices.DeleteFunc(slices.Clone(e.Rules), func(string) bool { return false })
	}
	var results strings.Builder
	for i, id := range rules {
		rules[i] = strings.TrimPrefix(id, prefix)
		result := "pass"
		switch id := rules[i]; {
		case req.View == factory.ContainerView && !slices.Contains(everywhere, id) && !slices.Contains(more, id):
			result = "notapplicable"
		case faults[id] && !slices.ContainsFunc(strings.Fields(looks[id]), func(c string) bool { return !slices.Contains(req.Corrections, c) }):
			result = "fail"
			run.Exit = 2
		}
		fmt.Fprintf(&results, `<rule-result idref="%s" severity="high"><result>%s</result></rule-result>`, prefix+rules[i], result)
	}
	files[e.Name+".arf.xml"] = arf(e.Profile, rules, results.String())
	if e.Report {
		files[e.Name+".html"] = []byte("<html>" + e.Name)
	}
	return run
}

// arf is a small document in the form of a real one.
func arf(profile string, rules []string, results string) []byte {
	var known strings.Builder
	for _, id := range rules {
		fmt.Fprintf(&known, `<x:Group id="g"><x:Rule id="%s" severity="low"><x:title>Title <h:b xmlns:h="urn:h">of</h:b>
			%s</x:title><x:description><a><b/></a></x:description><x:reference href="https://www.cisecurity.org/benchmark/debian_linux/">5.4.1</x:reference>
			<x:reference href="https://www.cisecurity.org/benchmark/debian_linux/">1.2</x:reference><x:reference href="https://example.com/">R1</x:reference></x:Rule></x:Group>`, prefix+id, id)
	}
	return fmt.Appendf(nil, `<?xml version="1.0"?><arf:all xmlns:arf="urn:arf" xmlns:x="%s"><x:Benchmark id="B-12">
		<x:Profile id="%s"><x:title>P</x:title><x:select idref="%saccounts_no_uid_except_zero" selected="true"/><x:select idref="other" selected="false"/></x:Profile>%s</x:Benchmark>
		<TestResult xmlns="%s" version="0.1.82" test-system="cpe:/a:redhat:openscap:1.4.2"><benchmark id="B-12"/><profile idref="%s"/>%s
		<rule-result idref="off"><result>notselected</result></rule-result></TestResult><more/></arf:all>`,
		xccdf, profile, prefix, known.String(), xccdf, profile, results)
}

// dataStream is a content in small: level 1 selects the first rules of everywhere, level 2 all.
func dataStream() []byte {
	var out strings.Builder
	fmt.Fprintf(&out, `<ds:all xmlns:ds="urn:ds" xmlns:x="%s">`+"\n", xccdf)
	rules := append(slices.Clone(everywhere), "accounts_no_uid_except_zero", "package_sudo_installed")
	for level, ids := range [][]string{rules[:4], rules} {
		for _, profiles := range [][2]string{debianProfiles, rpmProfiles} {
			fmt.Fprintf(&out, "<x:Profile id=%q>", profiles[level])
			for _, id := range ids {
				fmt.Fprintf(&out, `<x:select idref="%s%s" selected="true"/>`, prefix, id)
			}
			out.WriteString("</x:Profile>\n")
		}
	}
	for _, id := range rules {
		fmt.Fprintf(&out, `<x:Rule id="%s%s"><x:title>%s</x:title><x:fix>rm -rf /</x:fix></x:Rule>`+"\n", prefix, id, id)
	}
	out.WriteString("</ds:all>")
	return []byte(out.String())
}

var amd64 = factory.Platform{OS: "linux", Architecture: "amd64"}

func hardened(d factory.Distro, platforms ...factory.Platform) (h factory.Hardened) {
	h.Job.Image = factory.Image{Name: "debian-12", Distro: d, Config: factory.Config{Env: []string{"A=b", "PATH=/usr/bin:/opt/bin"}}}
	for _, p := range platforms {
		h.Roots = append(h.Roots, factory.Root{Platform: p, State: []byte(p.Architecture)})
	}
	return h
}

func debian12() factory.Distro { return factory.Distro{Family: "debian", Release: "12"} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// of returns the result of a rule in an evaluation.
func of(e *factory.Evaluation, rule string) factory.RuleOutcome {
	i := slices.IndexFunc(e.Rules, func(r factory.RuleOutcome) bool { return r.Rule == rule })
	if i < 0 {
		return factory.RuleOutcome{Result: cmp.Or(factory.RuleResult("none"))}
	}
	return e.Rules[i]
}
