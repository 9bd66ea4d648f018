package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// called finds a command line of the factory where a pipeline runs it: a shell step, or a unit's ExecStart.
var called = regexp.MustCompile(`(?m)^\s*(?:- |- run: |sh '|ExecStart=)(?:bin/|/usr/local/bin/)factory ([^'\n]*)`)

// What pipelines call exists: the command, its flags, the number of its arguments.
func TestPipelinesCallWhatExists(t *testing.T) {
	t.Parallel()
	found := map[string]int{}
	dir := filepath.Join("..", "..", "pipelines")
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, m := range called.FindAllStringSubmatch(read(t, path), -1) {
			found[filepath.Base(filepath.Dir(path))]++
			checkCall(t, path, strings.Fields(strings.ReplaceAll(m[1], `"`, "")))
		}
		return nil
	}))
	for _, system := range []string{"github", "gitlab", "jenkins", "systemd"} {
		if found[system] == 0 {
			t.Errorf("pipelines/%s never calls the factory", system)
		}
	}
}

func checkCall(t *testing.T, path string, args []string) {
	t.Helper()
	cmd, rest, err := newRoot(newDesk(t).world()).Find(args)
	if err != nil || !cmd.HasParent() {
		t.Errorf("%s: factory %s: no such command", path, strings.Join(args, " "))
		return
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("%s: factory %s: %v", path, strings.Join(args, " "), err)
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		t.Errorf("%s: factory %s: %v", path, strings.Join(args, " "), err)
	}
}
