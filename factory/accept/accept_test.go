package accept_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/accept"
	"github.com/imagefactory/imagefactory/factory/factorytest"
)

var amd64 = factory.Platform{OS: "linux", Architecture: "amd64"}

func packed(user string, tests factory.Tests) factory.Packed {
	var p factory.Packed
	p.Job.Image = factory.Image{
		Name: "debian-12", Distro: factory.Distro{Family: "debian", Release: "12"}, Tests: tests,
		Config: factory.Config{User: user, Env: []string{"LANG=C.UTF-8", "PATH=/bin"}, Workdir: "/work"},
	}
	p.Artifact.Platforms = []factory.PlatformImage{{Platform: amd64}}
	return p
}

type opener struct{ err error }

func (o opener) Open(_ context.Context, _ factory.Artifact, p factory.Platform) (factory.Root, error) {
	return factory.Root{Platform: p}, o.err
}

// run tests an image for real and returns name → what is wrong.
func run(t *testing.T, p factory.Packed) (map[string]string, factory.Tested, error) {
	t.Helper()
	tester := accept.Tester{Runner: factorytest.NewChroot(t, image(t)), Opener: opener{}}
	tested, err := tester.Test(t.Context(), p)
	details := map[string]string{}
	for _, r := range tested.Results {
		if r.Passed != (r.Detail == "") || r.Platform != amd64 {
			t.Errorf("odd result %+v", r)
		}
		details[r.Name] = r.Detail
	}
	return details, tested, err
}

func compare(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, detail := range want {
		if found, ok := got[name]; !ok || found != detail {
			t.Errorf("%s\n got: %q (present: %v)\nwant: %q", name, found, ok, detail)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d results, want %d: %q", len(got), len(want), got)
	}
}

func TestEverythingHolds(t *testing.T) {
	t.Parallel()
	details, tested, err := run(t, packed("app", factory.Tests{
		Commands: []factory.CommandTest{
			{Name: "as root", Run: []string{"/bin/probe", "who"}, User: "0", Stdout: `^0 0 \[0 44\] /work /root C.UTF-8 \n$|^0 0 \[44\] /work /root C.UTF-8 \n$`},
			{Name: "as the image's user", Run: []string{"probe", "who"}, Stdout: `^1000 1000 \[.*44\] /work /home/app C.UTF-8 \n$`},
			{Name: "as a number", Run: []string{"probe", "who"}, User: "65532:44", Stdout: `^65532 44 \[\] /work / `},
			{Name: "as a named group", Run: []string{"probe", "who"}, User: "1000:media", Stdout: `^1000 44 \[\] /work /home/app `},
			{Name: "prints its release", Run: []string{"probe", "say", "Debian 12\n", "warn"}, Stdout: `(?m)^debian|^Debian \d+$`, Stderr: "warn"},
			{Name: "exits", Run: []string{"probe", "exit", "on purpose"}, Exit: 4, Stderr: "on purpose"},
			{Name: "leaves a daemon", Run: []string{"probe", "daemon"}},
			{Name: "no shell takes part", Run: []string{"probe", "say", "$HOME; `id`", ""}, Stdout: "^\\$HOME; `id`$"},
		},
		Files: []factory.FileTest{
			{Path: "/etc/motd", Type: "file", Mode: "0644", Owner: "root:root", Contains: "to debian"},
			{Path: "/etc/link", Type: "symlink"}, {Path: "/tmp", Type: "directory", Mode: "1777"}, {Path: "/bin/su", Mode: "4755"},
			{Path: "/etc/machine-id", Absent: true}, {Path: "/etc/motd/none", Absent: true},
		},
		Packages: factory.PackageTest{Present: []string{"bash"}, Absent: []string{"curl", "perl"}},
		Users:    []factory.UserTest{{Name: "app", UID: 1000, GID: 1000, Home: "/home/app", Shell: "/bin/probe"}},
		Setuid:   []string{"/bin/su", "/tmp/deep/sg", "/bin/absent"},
		NonRoot:  true,
	}))
	if err != nil {
		t.Error(err)
	}
	want := map[string]string{}
	for _, r := range tested.Results {
		want[r.Name] = ""
	}
	compare(t, details, want)
	var names []string
	for _, r := range tested.Results {
		names = append(names, r.Name)
	}
	if len(names) != 20 || names[0] != "command: as root" || names[8] != "file: /etc/motd" ||
		!slices.Equal(names[14:], []string{"package: bash is installed", "package: curl is absent", "package: perl is absent",
			"user: app", "setuid: no file beyond the list", "non-root: the image's user"}) {
		t.Errorf("names and order: %q", names)
	}
}

func TestEverythingBreaks(t *testing.T) {
	t.Parallel()
	details, _, err := run(t, packed("0:1000", factory.Tests{
		Commands: []factory.CommandTest{
			{Name: "exit", Run: []string{"probe", "exit", "a\x1b[31m"}, Where: factory.Position{File: "tests.yaml", Line: 3}},
			{Name: "stdout", Run: []string{"probe", "say", "one", "two"}, Stdout: "^two$", Stderr: "^one$"},
			{Name: "flood", Run: []string{"probe", "flood"}, Stdout: "END$"},
			{Name: "hang", Run: []string{"probe", "hang"}, Timeout: 1},
			{Name: "signal", Run: []string{"probe", "die"}},
			{Name: "missing", Run: []string{"no-such-program"}},
			{Name: "nobody", Run: []string{"probe", "who"}, User: "ghost"},
			{Name: "no group", Run: []string{"probe", "who"}, User: "app:ghosts"},
			{Name: "huge", Run: []string{"probe", "who"}, User: "99999999999"},
			{Name: "pattern", Run: []string{"probe", "who"}, Stdout: "("},
		},
		Files: []factory.FileTest{
			{Path: "/etc/motd", Type: "directory", Mode: "0600", Owner: "app:app", Contains: "absent"},
			{Path: "/etc/link", Type: "file", Contains: "welcome"},
			{Path: "/etc/pipe", Contains: "x"},
			{Path: "/etc/big", Contains: "x"},
			{Path: "/etc/passwd", Absent: true}, {Path: "/none"}, {Path: "/nul\x00"},
		},
		Packages: factory.PackageTest{Present: []string{"perl", "vim", "curl"}, Absent: []string{"bash", "vim"}},
		Users: []factory.UserTest{
			{Name: "app", UID: 1001, GID: 7, Home: "/srv", Shell: "/bin/sh"}, {Name: "ghost"},
		},
		Setuid:  []string{"/bin/su-link"},
		NonRoot: true,
	}))
	for name, detail := range details {
		if strings.ContainsRune(detail, '\x1b') {
			t.Errorf("%s: %q reaches the terminal", name, detail)
		}
	}
	if got := details["command: flood"]; !strings.HasPrefix(got, `stdout "xxx`) || !strings.HasSuffix(got, `"... (cut off) does not match "END$"`) {
		t.Errorf("flood: %q", got)
	}
	delete(details, "command: flood")
	if got := details["command: huge"]; !strings.HasPrefix(got, "not started: ") {
		t.Errorf("huge: %q", got)
	}
	delete(details, "command: huge")
	if got := details["file: /nul\x00"]; !strings.Contains(got, "embedded null") {
		t.Errorf("NUL: %q", got)
	}
	delete(details, "file: /nul\x00")
	compare(t, details, map[string]string{
		"command: exit":                   `exit 4, expected 0, stderr "reason: a\x1b[31m"`,
		"command: stdout":                 `stdout "one" does not match "^two$", stderr "two" does not match "^one$"`,
		"command: hang":                   "did not end within 1 s",
		"command: signal":                 "died of signal 9, expected exit 0",
		"command: missing":                `not started: "[Errno 2] No such file or directory: 'no-such-program'"`,
		"command: nobody":                 `not started: "no user 'ghost' in /etc/passwd"`,
		"command: no group":               `not started: "no group 'ghosts' in /etc/group"`,
		"command: pattern":                "stdout: bad pattern: error parsing regexp: missing closing ): `(`",
		"file: /etc/motd":                 `type file, expected directory, mode 0644, expected 0600, owner root:root, expected app:app, does not contain "absent"`,
		"file: /etc/link":                 `type symlink, expected file, content: "[Errno 40] Too many levels of symbolic links: '/etc/link'"`,
		"file: /etc/pipe":                 `content: "not a regular file"`,
		"file: /etc/big":                  `content: "larger than 32 MiB"`,
		"file: /etc/passwd":               "is there, a file, expected none",
		"file: /none":                     "is not there",
		"package: perl is installed":      "is not installed",
		"package: vim is installed":       `is "half-configured"`,
		"package: curl is installed":      `is "config-files"`,
		"package: bash is absent":         `is "installed"`,
		"package: vim is absent":          `is "half-configured"`,
		"user: app":                       "uid 1000, expected 1001, gid 1000, expected 7, home /home/app, expected /srv, shell /bin/probe, expected /bin/sh",
		"user: ghost":                     "is not in /etc/passwd",
		"setuid: no file beyond the list": `"/bin/su" is not on the list, "/tmp/deep/sg" is not on the list`,
		"non-root: the image's user":      `"0:1000" is root`,
	})
	var problem *factory.Problem
	if !errors.Is(err, factory.ErrBlocked) || !errors.As(err, &problem) || problem.Where.String() != "tests.yaml:3" {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"debian-12: 26 of 26 acceptance tests do not hold", "command: exit (linux/amd64): exit 4", "and 16 more"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
}

// What a program of the image does, even as root, changes no other test's result.
func TestHostileProgram(t *testing.T) {
	t.Parallel()
	details, _, _ := run(t, packed("app", factory.Tests{
		Commands: []factory.CommandTest{
			{Name: "root forges", Run: []string{"probe", "forge"}, User: "0:0"},
			{Name: "user forges", Run: []string{"probe", "forge"}, Stdout: "^$"},
			{Name: "user still is who he was", Run: []string{"probe", "who"}, Stdout: "^1000 "},
		},
		Files:  []factory.FileTest{{Path: "/etc/motd", Contains: "absent"}},
		Setuid: []string{"/bin/su"},
	}))
	compare(t, details, map[string]string{
		"command: root forges":              "",
		"command: user forges":              "",
		"command: user still is who he was": "",
		"file: /etc/motd":                   `does not contain "absent"`,
		"setuid: no file beyond the list":   `"/tmp/deep/sg" is not on the list`,
	})
}

func TestNoAccounts(t *testing.T) {
	t.Parallel()
	dir := image(t)
	for _, path := range []string{"etc/passwd", "etc/group", "var/lib/dpkg/status"} {
		if err := os.Remove(filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/motd", filepath.Join(dir, "etc/passwd")); err != nil {
		t.Fatal(err)
	}
	tester := accept.Tester{Runner: factorytest.NewChroot(t, dir), Opener: opener{}}
	tested, err := tester.Test(t.Context(), packed("65532", factory.Tests{
		Commands: []factory.CommandTest{{Name: "runs", Run: []string{"probe", "who"}, Stdout: "^65532 0 "}},
		Files:    []factory.FileTest{{Path: "/etc/motd", Owner: "root:root"}},
		Packages: factory.PackageTest{Absent: []string{"curl"}},
		Users:    []factory.UserTest{{Name: "app"}},
		Setuid:   []string{"/bin/su", "/tmp/deep/sg"},
		NonRoot:  true,
	}))
	if !errors.Is(err, factory.ErrBlocked) {
		t.Error(err)
	}
	for _, r := range tested.Results {
		if want := strings.HasPrefix(r.Name, "command") || strings.HasPrefix(r.Name, "setuid"); r.Passed != want {
			t.Errorf("%+v", r)
		}
	}
}

type runner func(factory.Step) (factory.StepResult, error)

func (f runner) Run(_ context.Context, s factory.Step) (factory.StepResult, error) { return f(s) }

var one = factory.Tests{
	Commands: []factory.CommandTest{{Name: "c", Run: []string{"x"}}}, Files: []factory.FileTest{{Path: "/f"}},
	Packages: factory.PackageTest{Present: []string{"p"}}, Users: []factory.UserTest{{Name: "u"}}, NonRoot: true,
}

// A result that is missing is a failed test.
func TestMissingResults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		result factory.StepResult
		says   string
	}{
		"died":      {factory.StepResult{Exit: 137, Stderr: []byte("Traceback\nMemoryError\n")}, `the test program died with exit 137: "MemoryError"`},
		"nothing":   {factory.StepResult{}, "the test program left no results"},
		"cut off":   {output(`{"files":[{"exists":true`), "the test program's results are damaged"},
		"unknown":   {output(`{"passed":true}`), "the test program's results are damaged"},
		"two":       {output(`{}{}`), "the test program's results are damaged"},
		"empty":     {output(`{}`), ""},
		"null":      {output(`null`), ""},
		"fewer":     {output(`{"files":[],"commands":[],"read":{"/etc/passwd":{"error":"gone"}}}`), ""},
		"no passwd": {output(`{"files":[],"commands":[],"read":{"/etc/passwd":{},"/var/lib/dpkg/status":{}}}`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen factorytest.Recorder
			tester := accept.Tester{Opener: opener{}, Events: seen.Events(), Runner: runner(func(factory.Step) (factory.StepResult, error) { return tc.result, nil })}
			p := packed("", one)
			p.Artifact.Platforms = append(p.Artifact.Platforms, factory.PlatformImage{Platform: factory.Platform{OS: "linux", Architecture: "arm64"}})
			tested, err := tester.Test(t.Context(), p)
			if !errors.Is(err, factory.ErrBlocked) || len(tested.Results) != 12 || len(seen.Messages(factory.Warned)) != 12 {
				t.Errorf("%d results, %v", len(tested.Results), err)
			}
			for _, r := range tested.Results {
				if r.Passed || r.Detail == "" || tc.says != "" && r.Detail != tc.says {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

func output(s string) factory.StepResult {
	return factory.StepResult{Output: map[string][]byte{"results.json": []byte(s)}}
}

func TestTestsThatCannotRun(t *testing.T) {
	t.Parallel()
	down := errors.New("build service is down")
	for name, tester := range map[string]accept.Tester{
		"open": {Opener: opener{down}},
		"run":  {Opener: opener{}, Runner: runner(func(factory.Step) (factory.StepResult, error) { return factory.StepResult{}, down })},
	} {
		_, err := tester.Test(t.Context(), packed("", one))
		if !errors.Is(err, down) || errors.Is(err, factory.ErrBlocked) || !strings.HasPrefix(err.Error(), "test debian-12 linux/amd64: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStep(t *testing.T) {
	t.Parallel()
	var step factory.Step
	tester := accept.Tester{Opener: opener{}, Runner: runner(func(s factory.Step) (factory.StepResult, error) {
		step = s
		return output(`{"setuid":{"paths":[]}}`), nil
	})}
	if _, err := tester.Test(t.Context(), packed("app", factory.Tests{})); err != nil {
		t.Error(err)
	}
	if !step.Toolbox || step.Fresh || step.Network || step.User != "" || step.Output != "/.out" || step.Root.Platform != amd64 {
		t.Errorf("got %+v", step)
	}
	refresh := packed("app", factory.Tests{})
	refresh.Fresh = "20261123-1"
	if _, err := tester.Test(t.Context(), refresh); err != nil || !step.Fresh {
		t.Errorf("a refresh takes old results: %v", err)
	}
	if tests := step.Files["/.accept/tests.json"]; !json.Valid(tests.Data) || !strings.Contains(string(tests.Data), `"commands":[]`) {
		t.Errorf("request %s", tests.Data)
	}
}

func TestOtherFamily(t *testing.T) {
	t.Parallel()
	p := packed("app", one)
	p.Job.Image.Distro.Family = "plan9"
	tester := accept.Tester{Opener: opener{}, Runner: runner(func(factory.Step) (factory.StepResult, error) { return output(`{}`), nil })}
	_, err := tester.Test(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), `family "plan9"`) {
		t.Errorf("got %v", err)
	}
}
