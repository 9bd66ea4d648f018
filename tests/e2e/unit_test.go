package e2e_test

import (
	"path"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// unit does what systemd would with a service: its Environment, where the script says nothing else, and its ExecStart.
func unit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: unit N FILE")
	}
	var line []string
	for l := range strings.Lines(ts.ReadFile(args[1])) {
		switch key, v, _ := strings.Cut(strings.TrimSpace(l), "="); key {
		case "Environment":
			for _, pair := range strings.Fields(v) {
				if name, value, _ := strings.Cut(pair, "="); ts.Getenv(name) == "" {
					ts.Setenv(name, value)
				}
			}
		case "ExecStart":
			line = strings.Fields(v)
		}
	}
	if len(line) == 0 || !path.IsAbs(line[0]) || path.Base(line[0]) != "factory" {
		ts.Fatalf("%s does not start the factory: %q", args[1], line)
	}
	exits(ts, false, append([]string{args[0], "factory"}, line[1:]...))
}
