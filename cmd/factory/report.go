package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// wantsJSON decides how errors are told before, and even when, the flags cannot be read.
func wantsJSON(args []string, env func(string) (string, bool)) bool {
	mode, _ := env("FACTORY_PROGRESS")
	for i, a := range args {
		if a == "--" {
			break
		}
		if a == "--json" || a == "--json=true" {
			return true
		}
		if v, ok := strings.CutPrefix(a, "--progress="); ok {
			mode = v
		} else if a == "--progress" && i+1 < len(args) {
			mode = args[i+1]
		}
	}
	return mode == "json"
}

// report tells a person, or with --json a program, what went wrong.
func report(w world, asJSON bool, err error) {
	var silent silentError
	if err == nil || errors.As(err, &silent) {
		return
	}
	if asJSON {
		_ = json.NewEncoder(w.Stderr).Encode(map[string]any{"error": err.Error(), "exit": exitCode(err), "problems": problemsJSON(err)})
		return
	}
	for _, line := range errorLines(err) {
		fmt.Fprintln(w.Stderr, "factory: "+line)
	}
}

// silentError was told already.
type silentError struct{ error }

func (e silentError) Unwrap() error { return e.error }

// errorLines is one line for each problem, and a hint line where there is one. What is joined is told one by one, each with
// what was wrapped around the whole, and the same thing once.
func errorLines(err error) []string {
	var lines []string
	told := map[string]bool{}
	for _, m := range unjoined("", "", err) {
		if told[m.text+m.hint] {
			continue
		}
		told[m.text+m.hint] = true
		for i, line := range strings.Split(m.text, "\n") {
			if i > 0 {
				line = "    " + strings.TrimSpace(line)
			}
			lines = append(lines, clean(line))
		}
		if m.hint != "" {
			lines = append(lines, "  → "+clean(m.hint))
		}
	}
	return lines
}

type message struct{ text, hint string }

// unjoined splits err into what was joined. Before and after are the words of those who wrapped it.
func unjoined(before, after string, err error) (all []message) {
	_, isProblem := err.(*factory.Problem)
	if list, ok := err.(interface{ Unwrap() []error }); ok && !isProblem {
		var texts []string
		for _, e := range list.Unwrap() {
			texts = append(texts, e.Error())
			all = append(all, unjoined(before, after, e)...)
		}
		if strings.Join(texts, "\n") == err.Error() {
			return all
		}
	} else if inner := errors.Unwrap(err); inner != nil {
		if b, a, found := strings.Cut(err.Error(), inner.Error()); found {
			return unjoined(before+b, a+after, inner)
		}
	}
	m := message{before + err.Error() + after, hintOf(err)}
	if m.hint != "" {
		m.text = strings.Replace(m.text, " ("+m.hint+")", "", 1)
	}
	return []message{m}
}

// hintOf is the outermost hint in err.
func hintOf(err error) string {
	if p, ok := err.(*factory.Problem); ok && p.Hint != "" {
		return p.Hint
	}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if hint := hintOf(inner); hint != "" {
				return hint
			}
		}
	case interface{ Unwrap() error }:
		return hintOf(e.Unwrap())
	}
	return ""
}

func problemsJSON(err error) []map[string]any {
	all := []map[string]any{}
	for _, p := range factory.Problems(err) {
		m := map[string]any{"what": p.What, "where": p.Where, "hint": p.Hint}
		if p.Cause != nil {
			m["cause"] = p.Cause.Error()
		}
		all = append(all, m)
	}
	return all
}
