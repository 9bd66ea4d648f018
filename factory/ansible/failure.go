package ansible

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/imagefactory/imagefactory/factory"
)

const exemptHint = "mend the image or the role, or exempt the control with a reason and an end (hardening.exempt)"

// blocked makes the error of a run that did not end well: a Problem for each control that failed, one for each task that
// failed otherwise, and what Ansible said when it did not get that far.
func blocked(r report, res factory.StepResult) error {
	var errs []error
	tasks := map[string]bool{}
	for _, o := range r.Outcomes {
		if o.Outcome == factory.Failed {
			tasks[o.Task] = true
			errs = append(errs, &factory.Problem{Kind: factory.ErrBlocked, Where: position(o.File), Hint: exemptHint,
				What: fmt.Sprintf("control %s failed in task %q", o.Control, o.Task), Cause: errors.New(clean(o.Reason))})
		}
	}
	for _, f := range r.Failures {
		if !tasks[f.Task] {
			errs = append(errs, &factory.Problem{Kind: factory.ErrBlocked, Where: position(f.File),
				What: fmt.Sprintf("task %q failed", f.Task), Cause: errors.New(clean(f.Message))})
		}
	}
	if len(errs) == 0 || len(res.Stderr) > 0 {
		errs = append(errs, said(res))
	}
	return errors.Join(errs...)
}

// said is what ansible-playbook itself had to say.
func said(res factory.StepResult) error {
	text := clean(string(res.Stderr))
	if text == "" {
		text = clean(string(res.Stdout))
	}
	return &factory.Problem{What: fmt.Sprintf("ansible-playbook ended with exit %d", res.Exit),
		Cause: errors.New(text)}
}

// position turns a path in the step into one in the repository.
func position(file string) factory.Position {
	rest, ok := strings.CutPrefix(file, playDir+"/")
	if !ok {
		return factory.Position{}
	}
	name, line, _ := strings.Cut(rest, ":")
	n, err := strconv.Atoi(line)
	if err != nil || n < 0 {
		n = 0
	}
	return factory.Position{File: home + "/" + name, Line: n}
}

// clean keeps the last lines of foreign output, without control characters.
func clean(s string) string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(s, "?")), "\n")
	lines = lines[max(0, len(lines)-20):]
	s = strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.Join(lines, "\n"))
	if len(s) > 4000 {
		s = "…" + strings.ToValidUTF8(s[len(s)-4000:], "")
	}
	return s
}
