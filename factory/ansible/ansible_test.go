package ansible_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/ansible"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/factorytest"
)

const repository = "../.."

// recorded answers every step with a result that was recorded from a real run, and keeps the steps.
type recorded struct {
	result factory.StepResult
	err    error
	steps  []factory.Step
}

func (r *recorded) Run(_ context.Context, s factory.Step) (factory.StepResult, error) {
	r.steps = append(r.steps, s)
	res := r.result
	res.Root = factory.Root{Platform: s.Root.Platform, State: []byte("hardened")}
	return res, r.err
}

func played(t *testing.T, exit int, file string) *recorded {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return &recorded{result: factory.StepResult{Exit: exit, Output: map[string][]byte{"outcomes.json": b}}}
}

// packed are a real image's inputs, as a job carries them.
var packed = sync.OnceValues(func() ([]byte, error) {
	set, err := definition.Load(repository)
	if err != nil {
		return nil, err
	}
	img, err := set.Image("debian-12")
	if err != nil {
		return nil, err
	}
	inputs, _, err := definition.Pack(repository, img)
	return inputs, err
})

func built(t *testing.T, h factory.Hardening) factory.Built {
	t.Helper()
	var b factory.Built
	var err error
	if b.Inputs, err = packed(); err != nil {
		t.Fatal(err)
	}
	b.Job.Image = factory.Image{Name: "debian-12", Hardening: h}
	for _, arch := range []string{"amd64", "arm64"} {
		b.Roots = append(b.Roots, factory.Root{Platform: factory.Platform{OS: "linux", Architecture: arch}, State: []byte("built")})
	}
	return b
}

func level2() factory.Hardening {
	return factory.Hardening{Profile: "cis_debian", Level: 2, Scope: "container"}
}

func day(t *testing.T, s string) factory.Date {
	t.Helper()
	d, err := factory.ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestHardenReportsEveryControlOncePerPlatform(t *testing.T) {
	t.Parallel()
	runner, rec := played(t, 0, "applied.json"), &factorytest.Recorder{}
	h := ansible.Hardener{Runner: runner, Events: rec.Events()}
	got, err := h.Harden(t.Context(), built(t, level2()))
	if err != nil {
		t.Fatal(err)
	}
	catalogue := readCatalogue(t)
	if len(got.Controls) != 2*len(catalogue.Controls) {
		t.Fatalf("%d outcomes for %d controls on two platforms", len(got.Controls), len(catalogue.Controls))
	}
	counts := map[factory.Outcome]int{}
	for i, c := range got.Controls {
		counts[c.Outcome]++
		if c.Title == "" || (c.Reason == "") != (c.Outcome == factory.Applied || c.Outcome == factory.Already) {
			t.Errorf("control %s: title %q, outcome %s, reason %q", c.Control, c.Title, c.Outcome, c.Reason)
		}
		if i%2 == 1 && (got.Controls[i-1].Control != c.Control || got.Controls[i-1].Platform == c.Platform) {
			t.Errorf("control %s is not there once for each platform", c.Control)
		}
	}
	if counts[factory.Applied] < 40 || counts[factory.Already] < 40 || counts[factory.NotApplicable] < 40 {
		t.Errorf("outcomes: %v", counts)
	}
	ids := []string{}
	for _, c := range got.Controls {
		ids = append(ids, c.Control)
	}
	if !(slices.Index(ids, "5.1.9") < slices.Index(ids, "5.1.10") && slices.Index(ids, "5.1.22") < slices.Index(ids, "5.2.2")) {
		t.Errorf("not in the order of their numbers: %v", ids)
	}
	for _, root := range got.Roots {
		if string(root.State) != "hardened" {
			t.Errorf("root %s is %q", root.Platform, root.State)
		}
	}
	if notes := rec.Messages(factory.Noted); len(notes) != 2 || !strings.Contains(notes[0], "linux/amd64: 137 controls: ") {
		t.Errorf("notes: %q", notes)
	}
}

func TestStep(t *testing.T) {
	t.Parallel()
	runner := played(t, 0, "applied.json")
	hardening := level2()
	hardening.Vars = map[string]any{"cis_debian_password_length": 16}
	h := ansible.Hardener{Runner: runner}
	if _, err := h.Harden(t.Context(), built(t, hardening)); err != nil {
		t.Fatal(err)
	}
	step := runner.steps[0]
	if step.Name != "harden debian-12 linux/amd64" || !step.Toolbox || step.Network || step.Output != "/.out" {
		t.Errorf("step %q: toolbox %v, network %v, output %q", step.Name, step.Toolbox, step.Network, step.Output)
	}
	if !slices.Equal(step.Tmpfs, []string{"/tmp", "/run"}) {
		t.Errorf("tmpfs %v", step.Tmpfs)
	}
	tail := []string{"/.toolbox/usr/bin/ansible-playbook", "-i", "localhost,", "-c", "local", "-e", "@/.play/vars.json", "/.play/site.yml"}
	if want := factory.ToolboxPython(tail...); !slices.Equal(step.Args, want) {
		t.Errorf("args %q\nwant %q", step.Args, want)
	}
	for _, kv := range step.Env {
		name, value, _ := strings.Cut(kv, "=")
		if name == "PYTHONHOME" || name == "LD_LIBRARY_PATH" {
			t.Errorf("%s would be seen by programs of the target", name)
		}
		writes := []string{"HOME", "TMPDIR", "ANSIBLE_HOME", "ANSIBLE_LOCAL_TEMP", "ANSIBLE_REMOTE_TEMP"}
		if slices.Contains(writes, name) && value != "/tmp" && !strings.HasPrefix(value, "/tmp/") {
			t.Errorf("%s=%s is not on the tmpfs", name, value)
		}
	}
	for _, want := range []string{"PYTHONDONTWRITEBYTECODE=1", "LOCPATH=/.toolbox/usr/lib/locale", "RPM_CONFIGDIR=/.toolbox/usr/lib/rpm"} {
		if !slices.Contains(step.Env, want) {
			t.Errorf("%s is not set", want)
		}
	}
	for _, name := range []string{"ansible.cfg", "site.yml", "profiles/cis_debian.yaml", "callback_plugins/factory_outcomes.py",
		"roles/common/library/cis_controls.py", "roles/cis_debian/tasks/main.yml", "roles/cis_debian/templates/umask.sh.j2"} {
		want, err := os.ReadFile(filepath.Join(repository, "ansible", name))
		if err != nil || string(step.Files["/.play/"+name].Data) != string(want) {
			t.Errorf("/.play/%s is not the repository's (%v)", name, err)
		}
	}
	if plugin := string(step.Files["/.play/bin/action/cis_controls.py"].Data); !slices.Contains(step.Env, "ANSIBLE_ACTION_PLUGINS=/.play/bin/action") ||
		!strings.Contains(plugin, "class ActionModule") {
		t.Errorf("the module has a process of its own for every task: %q in %q", plugin, step.Env)
	}
	wrapper := step.Files["/.play/bin/python3"]
	if wrapper.Mode != 0o755 || !strings.HasSuffix(string(wrapper.Data), "/.toolbox/usr/bin/python3.13 -s \"$@\"\n") {
		t.Errorf("interpreter: %o %s", wrapper.Mode, wrapper.Data)
	}
	var vars map[string]any
	if err := json.Unmarshal(step.Files["/.play/vars.json"].Data, &vars); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"hardening_profile": "cis_debian", "hardening_scope": "container",
		"hardening_level": 2.0, "cis_debian_password_length": 16.0, "ansible_python_interpreter": "/.play/bin/python3"} {
		if vars[key] != want {
			t.Errorf("%s is %v, want %v", key, vars[key], want)
		}
	}
	catalogue, listed := readCatalogue(t), vars["hardening_catalogue"].(map[string]any)["controls"].([]any)
	if len(listed) != len(catalogue.Controls) {
		t.Errorf("%d controls in the play's catalogue, %d in the profile", len(listed), len(catalogue.Controls))
	}
	for i, c := range catalogue.Controls {
		b, err := json.Marshal(listed[i])
		if err != nil {
			t.Fatal(err)
		}
		got := struct {
			ID, Title       string
			Level           int
			Scope, Releases []string
		}{}
		if err := json.Unmarshal(b, &got); err != nil || got.ID != c.ID || got.Title != c.Title || got.Level != c.Level ||
			!slices.Equal(got.Scope, c.Scope) || !slices.Equal(got.Releases, c.Releases) {
			t.Errorf("the play reads %s as %s (%v)", c.ID, b, err)
		}
	}
	if list, ok := vars["hardening_exempt"].([]any); !ok || len(list) != 0 {
		t.Errorf("hardening_exempt is %v", vars["hardening_exempt"])
	}
}

func TestCheckChangesNothing(t *testing.T) {
	t.Parallel()
	runner := played(t, 0, "applied.json")
	got, err := ansible.Hardener{Runner: runner, Check: true}.Harden(t.Context(), built(t, level2()))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(runner.steps[0].Args, "--check") || string(got.Roots[1].State) != "built" {
		t.Errorf("args %v, root %s", runner.steps[0].Args, got.Roots[1].State)
	}
}

func TestNoProfileNoStep(t *testing.T) {
	t.Parallel()
	got, err := ansible.Hardener{}.Harden(t.Context(), built(t, factory.Hardening{}))
	if err != nil || len(got.Controls) != 0 || string(got.Roots[0].State) != "built" {
		t.Errorf("%v %v %v", got.Controls, got.Roots, err)
	}
}

func TestExemptions(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		until  string
		holds  bool
		reason string
	}{
		"holds":                    {"2027-01-01", true, "monitored elsewhere"},
		"holds on its last day":    {"2026-11-23", true, "monitored elsewhere"},
		"is over the day after":    {"2026-11-22", false, "its exemption ended on 2026-11-22"},
		"without an end is absent": {"", false, "its exemption has no end and does not count"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner, rec := played(t, 0, "applied.json"), &factorytest.Recorder{}
			exemption := factory.Exemption{Control: "5.4.3.2", Reason: "monitored elsewhere"}
			if c.until != "" {
				exemption.Until = day(t, c.until)
			}
			hardening := level2()
			hardening.Exempt = []factory.Exemption{exemption}
			h := ansible.Hardener{Runner: runner, Now: new(factorytest.Clock).Now, Events: rec.Events()}
			got, err := h.Harden(t.Context(), built(t, hardening))
			if err != nil {
				t.Fatal(err)
			}
			var vars struct {
				Exempt []string `json:"hardening_exempt"`
			}
			if err := json.Unmarshal(runner.steps[0].Files["/.play/vars.json"].Data, &vars); err != nil {
				t.Fatal(err)
			}
			if asked := slices.Contains(vars.Exempt, "5.4.3.2"); asked != c.holds {
				t.Errorf("the play was told of the exemption: %v", asked)
			}
			i := slices.IndexFunc(got.Controls, func(o factory.ControlOutcome) bool { return o.Control == "5.4.3.2" })
			if o := got.Controls[i]; o.Reason != c.reason || o.Until.IsZero() == c.holds {
				t.Errorf("reason %q until %s", o.Reason, o.Until)
			}
			if warned := len(rec.Messages(factory.Warned)) == 1; warned == c.holds {
				t.Errorf("warnings: %q", rec.Messages(factory.Warned))
			}
		})
	}
}

func TestWrongDefinitionsAreRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change func(*factory.Hardening)
		says   []string
	}{
		"profile": {func(h *factory.Hardening) { h.Profile = "cis_plan9" }, []string{`no hardening profile "cis_plan9"`}},
		"path":    {func(h *factory.Hardening) { h.Profile = "../../etc/x" }, []string{"no hardening profile"}},
		"all at once": {func(h *factory.Hardening) {
			h.Scope, h.Level = "pod", 3
			h.Exempt = []factory.Exemption{{Control: "9.9.9", Where: factory.Position{File: "image.yaml", Line: 7}}}
			h.Vars = map[string]any{"cis_debian_typo": 1, "hardening_level": 1}
		}, []string{`scope "pod"`, "level 3", `image.yaml:7: profile cis_debian has no control "9.9.9"`,
			`no variable "cis_debian_typo"`, `no variable "hardening_level"`}},
		"value": {func(h *factory.Hardening) { h.Vars = map[string]any{"cis_debian_banner": func() {}} }, []string{"hardening.vars"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hardening := level2()
			c.change(&hardening)
			runner := &recorded{}
			h := ansible.Hardener{Runner: runner, Now: new(factorytest.Clock).Now}
			_, err := h.Harden(t.Context(), built(t, hardening))
			if !errors.Is(err, factory.ErrInvalid) || len(runner.steps) != 0 {
				t.Fatalf("%v after %d steps", err, len(runner.steps))
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	ioErr := errors.New("build service is gone")
	cases := map[string]struct {
		runner *recorded
		kind   error
		says   []string
	}{
		"control": {played(t, 2, "failed.json"), factory.ErrBlocked, []string{
			"harden debian-12 linux/amd64: ", "ansible/roles/cis_debian/tasks/pam.yml:", "control 5.3.1.3 failed in task",
			"package libpam-pwquality is not installed"}},
		"control, exit 0": {played(t, 0, "failed.json"), factory.ErrBlocked, []string{"control 5.3.1.3 failed"}},
		"task": {played(t, 2, "refused.json"), factory.ErrBlocked, []string{
			"ansible/roles/common/tasks/main.yml:3: task \"common : Refuse switches", "unknown there: 9.9"}},
		"another distribution": {played(t, 2, "otherdistro.json"), factory.ErrBlocked, []string{
			"ansible/roles/rpm/tasks/main.yml:7: task \"rpm : Refuse another distribution", "cis_rhel is for RedHat 9, and this is Amazon 2"}},
		"ansible": {&recorded{result: factory.StepResult{Exit: 4, Stderr: []byte("[ERROR]: the playbook\x1b[31m could not be found\n")}},
			nil, []string{"ansible-playbook ended with exit 4: [ERROR]: the playbook[31m could not be found"}},
		"no report": {&recorded{result: factory.StepResult{Stdout: []byte("PLAY RECAP")}}, nil, []string{"ansible's report: there is none", "PLAY RECAP"}},
		"runner":    {&recorded{err: ioErr}, ioErr, []string{"harden debian-12 linux/amd64: build service is gone"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ansible.Hardener{Runner: c.runner}.Harden(t.Context(), built(t, level2()))
			if err == nil || (c.kind != nil && !errors.Is(err, c.kind)) {
				t.Fatalf("got %v", err)
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
		})
	}
}
