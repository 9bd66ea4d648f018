package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	problem := func(kind error) error { return fmt.Errorf("lock x: %w", &factory.Problem{Kind: kind, What: "w"}) }
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing", nil, 0},
		{"unexpected", errors.New("x"), 1},
		{"a problem without kind", problem(nil), 1},
		{"invalid", problem(factory.ErrInvalid), 2},
		{"not found", problem(factory.ErrNotFound), 2},
		{"conflict", problem(factory.ErrConflict), 2},
		{"blocked", problem(factory.ErrBlocked), 3},
		{"partial", errors.Join(errPartial, problem(factory.ErrUnverified)), 4},
		{"unverified", problem(factory.ErrUnverified), 5},
		{"unverified, and in conflict", errors.Join(problem(factory.ErrConflict), problem(factory.ErrUnverified)), 5},
		{"unavailable", problem(factory.ErrUnavailable), 6},
		{"unavailable, and invalid", errors.Join(problem(factory.ErrInvalid), problem(factory.ErrUnavailable)), 6},
		{"busy", problem(factory.ErrBusy), 7},
		{"interrupted", errors.Join(errInterrupted, problem(factory.ErrUnavailable)), 130},
		{"cancelled", fmt.Errorf("x: %w", context.Canceled), 130},
		{"told already", silentError{factory.ErrInvalid}, 2},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%s: exit %d, want %d", c.name, got, c.want)
		}
	}
	for code := range 8 {
		if !strings.Contains(exitHelp, fmt.Sprintf("\n  %d  ", code)) {
			t.Errorf("help does not explain exit code %d", code)
		}
	}
}

func TestErrorLines(t *testing.T) {
	t.Parallel()
	a := &factory.Problem{Kind: factory.ErrInvalid, What: "bad", Where: factory.Position{File: "a.yaml", Line: 3, Column: 7}, Hint: "do a"}
	b := &factory.Problem{Kind: factory.ErrUnavailable, What: "down", Cause: errors.New("refused"), Hint: "do b"}
	for _, c := range []struct {
		name string
		err  error
		want []string
	}{
		{"plain", errors.New("x"), []string{"x"}},
		{"problem", a, []string{"a.yaml:3:7: bad", "  → do a"}},
		{"wrapped", fmt.Errorf("lock x: %w", a), []string{"lock x: a.yaml:3:7: bad", "  → do a"}},
		{"joined", errors.Join(a, nil, b), []string{"a.yaml:3:7: bad", "  → do a", "down: refused", "  → do b"}},
		{"joined in a join", errors.Join(errors.Join(a, errors.New("x")), b), []string{"a.yaml:3:7: bad", "  → do a", "x", "down: refused", "  → do b"}},
		{"a join that was wrapped", fmt.Errorf("lock x: %w", fmt.Errorf("toolbox: %w (really)", errors.Join(a, b))),
			[]string{"lock x: toolbox: a.yaml:3:7: bad (really)", "  → do a", "lock x: toolbox: down: refused (really)", "  → do b"}},
		{"the same from several", errors.Join(a, b, a, fmt.Errorf("x: %w", a)), []string{"a.yaml:3:7: bad", "  → do a", "down: refused", "  → do b", "x: a.yaml:3:7: bad", "  → do a"}},
		{"two causes in one sentence", fmt.Errorf("%w while %w", errors.New("x"), a), []string{"x while a.yaml:3:7: bad", "  → do a"}},
		{"the hint of a cause", &factory.Problem{What: "outer", Cause: a}, []string{"outer: a.yaml:3:7: bad", "  → do a"}},
		{"several lines", errors.New("apt said:\n  E: one\n  E: two"), []string{"apt said:", "    E: one", "    E: two"}},
		{"what plays with the terminal", errors.New("x\x1b[2Jy"), []string{"x·[2Jy"}},
		{"a custom wrapper", &verdict{error: errors.Join(a, b)}, []string{"a.yaml:3:7: bad", "  → do a", "down: refused", "  → do b"}},
	} {
		if got := errorLines(c.err); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s:\n%q\nwant\n%q", c.name, got, c.want)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	a := &factory.Problem{Kind: factory.ErrInvalid, What: "bad", Where: factory.Position{File: "a.yaml", Line: 3}, Hint: "do a", Cause: errors.New("why")}
	for _, c := range []struct {
		name   string
		asJSON bool
		err    error
		want   string
	}{
		{"nothing", false, nil, ""},
		{"told already", true, fmt.Errorf("x: %w", silentError{a}), ""},
		{"for a person", false, a, "factory: a.yaml:3: bad: why\nfactory:   → do a\n"},
		{"for a program", true, a, `{"error":"a.yaml:3: bad: why (do a)","exit":2,"problems":[{"cause":"why","hint":"do a","what":"bad","where":{"file":"a.yaml","line":3}}]}` + "\n"},
		{"no problem, for a program", true, errors.New("x"), `{"error":"x","exit":1,"problems":[]}` + "\n"},
	} {
		var out strings.Builder
		report(world{Stderr: &out}, c.asJSON, c.err)
		if out.String() != c.want {
			t.Errorf("%s: %q, want %q", c.name, out.String(), c.want)
		}
	}
}

func TestWantsJSON(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"": false, "images": false, "images --json": true, "images --json=true": true, "images --json=false": false, "show -- --json": false,
		"--progress json images": true, "images --progress=json": true, "images --progress": false, "images --progress plain": false,
		"FACTORY_PROGRESS images": true, "FACTORY_PROGRESS images --progress plain": false,
	} {
		args := strings.Fields(line)
		env := func(string) (string, bool) { return "", false }
		if len(args) > 0 && args[0] == "FACTORY_PROGRESS" {
			args = args[1:]
			env = func(name string) (string, bool) { return "json", name == "FACTORY_PROGRESS" }
		}
		if got := wantsJSON(args, env); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}
