// Package e2e_test is the specification of the command line: each script in testdata/script says what a user types, and
// what must come out of it. Nothing here needs root, a build service or a network beyond loopback.
package e2e_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/e2e/fixture"
)

// binary is the folder with the factory under test, covered is where it leaves its coverage.
var binary, covered string

// TestMain is a small scanner instead of tests when the factory starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		if err := fixture.ServeScanner(); err != nil && !errors.Is(err, io.EOF) {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code, err := prepared(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// prepared runs the tests with the binary in FACTORY_BIN, or else with one built for the occasion.
func prepared(tests func() int) (int, error) {
	tmp, err := os.MkdirTemp("", "factory-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(tmp)
	covered = cmp.Or(os.Getenv("FACTORY_COVERDIR"), os.Getenv("GOCOVERDIR")) // go test sets the latter to a folder of its own
	if covered == "" {
		covered = filepath.Join(tmp, "coverage")
	}
	if covered, err = filepath.Abs(covered); err != nil {
		return 1, err
	}
	if err := os.MkdirAll(covered, 0o755); err != nil {
		return 1, err
	}
	bin := os.Getenv("FACTORY_BIN")
	if bin == "" {
		bin = filepath.Join(tmp, "bin", "factory")
		build := exec.Command("go", "build", "-cover", "-covermode=atomic", "-coverpkg=./cmd/...,./factory/...", "-o", bin, "./cmd/factory")
		build.Dir = filepath.Join("..", "..")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("%w\n%s", err, out)
		}
	}
	// Scripts call it factory, whatever its file is called.
	binary = filepath.Join(tmp, "path")
	if bin, err = filepath.Abs(bin); err != nil {
		return 1, err
	}
	if err := os.Mkdir(binary, 0o755); err != nil {
		return 1, err
	}
	if err := os.Symlink(bin, filepath.Join(binary, "factory")); err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	for _, scanner := range scanners {
		if err := os.Symlink(self, filepath.Join(binary, scanner)); err != nil {
			return 1, err
		}
	}
	return tests(), nil
}

// scanners are names that the small scanner has.
var scanners = []string{"small-scanner", "second-scanner"}

func TestScripts(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"), RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: commands,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", binary+string(filepath.ListSeparator)+os.Getenv("PATH"))
			env.Setenv("GOCOVERDIR", covered)
			env.Setenv("ROOT", root)
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("TZ", "UTC")
			// Where nothing else is said, an address that nobody else can have.
			env.Setenv("FACTORY_REGISTRY_ADDR", "127.0.0.1:0")
			// And vulnerability data that knows nothing.
			env.Setenv("FACTORY_SCANNER", "small-scanner")
			env.Setenv("SCANNER", filepath.Join(binary, "small-scanner"))
			env.Setenv("FACTORY_VULNERABILITIES", filepath.Join(env.WorkDir, "data"))
			return errors.Join(os.Mkdir(filepath.Join(env.WorkDir, "home"), 0o755),
				fixture.Data{Kind: factory.TrivyDatabase, Updated: time.Now().UTC().Truncate(time.Second)}.Write(filepath.Join(env.WorkDir, "data")))
		},
	})
}

// Every command of the tree has a place in the specification.
func TestEveryCommandIsSpecified(t *testing.T) {
	t.Parallel()
	help, err := exec.Command(filepath.Join(binary, "factory"), "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(help), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	scripts, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range scripts {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	for line := range strings.Lines(list) {
		name := strings.Fields(line)[0]
		if !strings.Contains(all.String(), "factory "+name) {
			t.Errorf("no script runs factory %s", name)
		}
	}
	if strings.Count(list, "\n") < 10 {
		t.Errorf("help lists no commands:\n%s", help)
	}
}
