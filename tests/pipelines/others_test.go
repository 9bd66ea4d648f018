package pipelines

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, filepath.Join(path...)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Keys are looked at as far as this house has rules about them: no module has GitLab's schema without being a program of another language.
func TestGitLab(t *testing.T) {
	t.Parallel()
	var all map[string]any
	if err := yaml.Unmarshal([]byte(read(t, "gitlab", "factory.gitlab-ci.yml")), &all); err != nil {
		t.Fatal(err)
	}
	stages, _ := all["stages"].([]any)
	if all["workflow"] == nil || all["variables"].(map[string]any)["GIT_DEPTH"] != "0" {
		t.Error("no workflow, or a clone without its history")
	}
	jobs, groups := 0, map[any]string{}
	started := conditions(all["workflow"])
	for name, v := range all {
		if slices.Contains([]string{"workflow", "stages", "variables"}, name) {
			continue
		}
		job := v.(map[string]any)
		if parent, ok := job["extends"].(string); ok {
			for k, inherited := range all[parent].(map[string]any) {
				if job[k] == nil {
					job[k] = inherited
				}
			}
		}
		if strings.HasPrefix(name, ".") {
			continue
		}
		jobs++
		for _, key := range []string{"stage", "tags", "timeout", "rules", "script"} {
			if job[key] == nil {
				t.Errorf("%s has no %s", name, key)
			}
		}
		if !slices.Contains(stages, job["stage"]) {
			t.Errorf("%s: there is no stage %v", name, job["stage"])
		}
		if job["interruptible"] == false && job["resource_group"] == nil {
			t.Errorf("%s may run twice at once", name)
		}
		if group := job["resource_group"]; group != nil && groups[group] != "" {
			t.Errorf("%s waits for %s, which should yield to it", name, groups[group])
		} else if group != nil {
			groups[group] = name
		}
		for _, when := range conditions(job) {
			if !slices.Contains(started, when) {
				t.Errorf("%s: the workflow never begins for %s", name, when)
			}
		}
	}
	if jobs != 3 || len(started) != 4 {
		t.Errorf("%d jobs, %q", jobs, started)
	}
}

// conditions are those of a workflow's or a job's rules.
func conditions(of any) (all []any) {
	rules, _ := of.(map[string]any)["rules"].([]any)
	for _, r := range rules {
		all = append(all, r.(map[string]any)["if"])
	}
	return all
}

// What a factory's trigger says of itself comes to the factory that it starts.
func TestCauseIsPassedOn(t *testing.T) {
	t.Parallel()
	if !strings.Contains(read(t, "gitlab", "factory.gitlab-ci.yml"), `"trigger" && $FACTORY_CAUSE`) { // a variable is in the environment
		t.Error("GitLab")
	}
	if !strings.Contains(read(t, "jenkins", "Jenkinsfile"), "string(name: 'FACTORY_CAUSE'") { // a parameter is, too
		t.Error("Jenkins")
	}
	w := workflows(t)["nightly.yml"]
	steps := w.Jobs["nightly"].Steps
	if w.On["repository_dispatch"] == nil || steps[len(steps)-1].Env["FACTORY_CAUSE"] != "${{ github.event.client_payload.cause }}" {
		t.Error("GitHub")
	}
}

// Groovy pastes into what is in double quotes: a shell gets its text in single ones. There is no parser of Groovy here: brackets
// are counted, and what every pipeline must have is looked for.
func TestJenkinsfiles(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Jenkinsfile", "Jenkinsfile.emergency"} {
		t.Run(name, func(t *testing.T) { jenkinsfile(t, read(t, "jenkins", name)) })
	}
}

func jenkinsfile(t *testing.T, text string) {
	code := regexp.MustCompile(`(?m)//.*$`).ReplaceAllString(text, "")
	bare := regexp.MustCompile(`'[^'\n]*'`).ReplaceAllString(code, "''")
	var open []rune
	pairs := map[rune]rune{'}': '{', ')': '(', ']': '['}
	for _, r := range bare {
		switch r {
		case '{', '(', '[':
			open = append(open, r)
		case '}', ')', ']':
			if len(open) == 0 || open[len(open)-1] != pairs[r] {
				t.Fatalf("%q closes nothing", r)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("never closed: %q", open)
	}
	if strings.Contains(bare, `"`) || strings.Contains(bare, "'''") {
		t.Error("a text that Groovy fills in: use single quotes")
	}
	for _, want := range []string{"pipeline {", "disableConcurrentBuilds()", "agent none"} {
		if !strings.Contains(code, want) {
			t.Errorf("no %s", want)
		}
	}
	if n, limits := strings.Count(code, "stage("), strings.Count(code, "timeout("); n != limits {
		t.Errorf("%d stages, %d timeouts", n, limits)
	}
}

// The units are read by systemd itself. What ExecStart says is run by tests/e2e: systemd is hardly ever the first process of a
// machine that tests.
func TestUnits(t *testing.T) {
	t.Parallel()
	service, timer := read(t, "systemd", "factory-nightly.service"), read(t, "systemd", "factory-nightly.timer")
	for _, want := range []string{"\nType=oneshot\n", "\nKillMode=mixed\n", "\nProtectSystem=strict\n", "\nProtectHome=yes\n"} {
		if !strings.Contains(service, want) {
			t.Errorf("the service has no %s", strings.TrimSpace(want))
		}
	}
	if !strings.Contains(timer, "\nPersistent=true\n") {
		t.Error("a machine that was off misses its night")
	}
	if strings.Contains(service, "NoNewPrivileges=yes") || strings.Contains(service, "RestrictSUIDSGID=yes") {
		t.Error("images have setuid files, which could not be made")
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze here")
	}
	dir := t.TempDir()
	verify := func(service string) (string, error) {
		for name, text := range map[string]string{"factory-nightly.service": service, "factory-nightly.timer": timer} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", filepath.Join(dir, "factory-nightly.timer"), filepath.Join(dir, "factory-nightly.service")).CombinedOutput()
		return string(out), err
	}
	here := strings.Replace(service, "/usr/local/bin/factory", "/bin/true", 1) // it is not installed where tests run
	if out, err := verify(here); err != nil || strings.Contains(out, "factory-nightly") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := verify(strings.Replace(here, "ProtectHome=yes", "ProtectHomes=yes", 1)); err == nil && !strings.Contains(out, "ProtectHomes") {
		t.Errorf("what is wrong is not found: %s", out)
	}
}

// A secret never stands in an argument, where every user of the machine reads it.
func TestNoSecretInArguments(t *testing.T) {
	t.Parallel()
	secretive := regexp.MustCompile(`(?i)(factory|git|curl|cosign) .*(--heartbeat[ =]|://[^ ]*:[^ ]*@|--password[ =])`)
	for _, bad := range []string{"factory nightly --heartbeat $URL", "git push https://user:$TOKEN@git.example.com/x", "cosign login --password $P"} {
		if !secretive.MatchString(bad) {
			t.Errorf("%q is not found", bad)
		}
	}
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for line := range strings.Lines(string(b)) {
			if secretive.MatchString(line) && !strings.Contains(line, "--password-stdin") {
				t.Errorf("%s: %s", path, strings.TrimSpace(line))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
