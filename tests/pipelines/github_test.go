package pipelines

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/downstream"
	"github.com/imagefactory/imagefactory/tests/forge"
)

var folder = filepath.Join("..", "..", "pipelines")

// workflow is what the rules of this house are about; the rest is actionlint's.
type workflow struct {
	On          map[string]any    `yaml:"on"`
	Permissions map[string]string `yaml:"permissions"`
	Concurrency any               `yaml:"concurrency"`
	Jobs        map[string]struct {
		RunsOn      any               `yaml:"runs-on"`
		Timeout     int               `yaml:"timeout-minutes"`
		Permissions map[string]string `yaml:"permissions"`
		If          string            `yaml:"if"`
		Steps       []struct {
			Uses string         `yaml:"uses"`
			Run  string         `yaml:"run"`
			With map[string]any `yaml:"with"`
			Env  map[string]any `yaml:"env"`
		} `yaml:"steps"`
	} `yaml:"jobs"`
}

func workflows(t *testing.T) map[string]workflow {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "github", "*.yml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%v: %v", files, err)
	}
	all := map[string]workflow{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var w workflow
		if err := yaml.Unmarshal(b, &w); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[filepath.Base(f)] = w
	}
	return all
}

// GitHub's own rules: keys, contexts, expressions, cron, shells.
func TestActionlint(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the actionlint command")
	}
	bin := filepath.Join(t.TempDir(), "actionlint")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "github.com/rhysd/actionlint/cmd/actionlint")
	build.Dir = filepath.Join("..", "tools", "actionlint")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	lint := func(files ...string) (string, error) {
		args := []string{"-shellcheck=", "-pyflakes=", "-config-file", filepath.Join(folder, "github", "actionlint.yaml")}
		out, err := exec.CommandContext(t.Context(), bin, append(args, files...)...).CombinedOutput()
		return string(out), err
	}
	files, err := filepath.Glob(filepath.Join(folder, "github", "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := lint(files...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.yml")
	if err := os.WriteFile(wrong, []byte("on: {schedule: [{cron: '61 2 * * *'}]}\njobs: {a: {runs-on: ubuntu-24.04, steps: [{run: 'echo ${{ nothing.at.all }}'}]}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := lint(wrong); err == nil || !strings.Contains(out, "cron") || !strings.Contains(out, "nothing") {
		t.Errorf("what is wrong is not found: %v\n%s", err, out)
	}
}

var (
	pinned  = regexp.MustCompile(`uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	pasted  = regexp.MustCompile(`\$\{\{`)
	allowed = map[string]map[string]string{"nightly.yml": {"contents": "write"}, "emergency.yml": {"contents": "write"}}
)

// An action is code of somebody else: pinned by commit, with the version for people, and the same pin everywhere.
func TestActionsArePinned(t *testing.T) {
	t.Parallel()
	pins := map[string]string{}
	for name := range workflows(t) {
		b, err := os.ReadFile(filepath.Join(folder, "github", name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "#") || !strings.Contains(line, "uses:") {
				continue
			}
			if !pinned.MatchString(line) {
				t.Errorf("%s: %s: pin it by commit, with its version behind it", name, line)
			}
			action, pin, _ := strings.Cut(line, "@")
			if pins[action] != "" && pins[action] != pin {
				t.Errorf("%s: %s is %s elsewhere", name, line, pins[action])
			}
			pins[action] = pin
		}
	}
	if len(pins) < 3 {
		t.Errorf("pins found: %v", pins)
	}
}

// Nothing is allowed that is not said, a job cannot hang for ever, and nothing from outside is pasted into a shell.
func TestWorkflowsAreNarrow(t *testing.T) {
	t.Parallel()
	for name, w := range workflows(t) {
		_, called := w.On["workflow_call"]
		if w.Permissions == nil || len(w.Permissions) > 0 {
			t.Errorf("%s: permissions: {} at the top is missing", name)
		}
		if w.Concurrency == nil && !called {
			t.Errorf("%s: no concurrency", name)
		}
		for id, job := range w.Jobs {
			if job.Timeout == 0 || job.Timeout > 240 {
				t.Errorf("%s: %s: timeout-minutes: %d", name, id, job.Timeout)
			}
			for what, grant := range job.Permissions {
				if !(what == "contents" && grant == "read") && allowed[name][what] != grant {
					t.Errorf("%s: %s: may %s %s", name, id, grant, what)
				}
			}
			if job.Permissions == nil {
				t.Errorf("%s: %s: says nothing of permissions", name, id)
			}
			for _, step := range job.Steps {
				if pasted.MatchString(step.Run) {
					t.Errorf("%s: %s: an expression in a shell: give it by env\n%s", name, id, step.Run)
				}
				if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["fetch-depth"] != uint64(0) {
					t.Errorf("%s: %s: fetch-depth is %v", name, id, step.With["fetch-depth"])
				}
			}
		}
	}
}

// Whoever opens a pull request runs code: without secrets, and never on the runner that has the keys.
func TestPullRequestsGetNothing(t *testing.T) {
	t.Parallel()
	w := workflows(t)["pull-request.yml"]
	b, err := os.ReadFile(filepath.Join(folder, "github", "pull-request.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "secrets.") || slices.Collect(maps.Keys(w.On))[0] != "pull_request" || len(w.On) != 1 {
		t.Errorf("it has secrets, or is for more than pull requests: %v", w.On)
	}
	for id, job := range w.Jobs {
		labels, own := job.RunsOn.([]any)
		if own && (slices.Contains(labels, any("factory")) || !strings.Contains(job.If, "head.repo.full_name == github.repository")) {
			t.Errorf("%s runs on %v if %q", id, labels, job.If)
		}
	}
}

// What the factory sends is what a dependent's workflow takes: an input that is not declared is refused by GitHub.
func TestDependentsTakeWhatIsSent(t *testing.T) {
	t.Parallel()
	w := workflows(t)["rebuild-on-base.yml"]
	dispatched, _ := w.On["repository_dispatch"].(map[string]any)
	if !slices.Equal(dispatched["types"].([]any), []any{downstream.DefaultEvent}) {
		t.Errorf("its events are %v", dispatched)
	}
	manual, _ := w.On["workflow_dispatch"].(map[string]any)
	inputs, _ := manual["inputs"].(map[string]any)
	hub := &forge.GitHub{Token: "t0ken"}
	repo := hub.Add("a/b", map[string]string{"x": "y"})
	repo.Workflow("rebuild-on-base.yml", slices.Collect(maps.Keys(inputs))...)
	n := factory.Notice{
		Trigger:   factory.Trigger{ID: "cause", Key: "key", Ref: "registry.example.com/base/x@sha256:" + strings.Repeat("0a", 32)},
		Dependent: factory.Dependent{Repository: "a/b", Tell: factory.Tell{How: factory.TellWorkflowDispatch, Workflow: "rebuild-on-base.yml"}},
	}
	server := factory.Server{ID: "git", URL: forge.Serve(t, hub)}
	if _, err := (&downstream.Client{}).Tell(t.Context(), server, hub.Token, n); err != nil || len(repo.Started()) != 1 || len(repo.Started()[0].Payload) != len(inputs) {
		t.Errorf("%v: %+v", err, repo.Started())
	}
	n.Dependent.Tell.How = factory.TellRepositoryDispatch
	if _, err := (&downstream.Client{}).Tell(t.Context(), server, hub.Token, n); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(folder, "github", "rebuild-on-base.yml"))
	if err != nil {
		t.Fatal(err)
	}
	read := regexp.MustCompile(`client_payload\.(\w+)`).FindAllStringSubmatch(string(b), -1)
	for _, m := range read {
		if _, sent := repo.Started()[1].Payload[m[1]]; !sent {
			t.Errorf("%s is read and not sent", m[0])
		}
	}
	if len(read) < 3 {
		t.Errorf("it reads %v", read)
	}
}
