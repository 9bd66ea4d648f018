// Package system_test tells stories of the whole factory with real parts: the driver as a program, its own buildkitd, the
// archives of this host, Ansible, cosign, registries and databases.
//
// Rules: a story only does what a person or a machine can do from outside; it waits for events, processes and conditions, and
// never for time to pass; whatever it starts, it ends. What is dear is made once: the toolbox, one build cache and one night of
// releases serve every story that does not ask for its own. Stories need root, runc and mmdebstrap. Where these are missing they are
// skipped, and with CI=true or FACTORY_TEST_SYSTEM=required they fail.
package system_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// scratch is where everything of this run lies.
var scratch string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(inScratch(m))
}

func inScratch(m *testing.M) (exit int) {
	var err error
	if scratch, err = os.MkdirTemp("", "factory-system-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if os.Getenv("FACTORY_TEST_KEEP") == "" {
		defer func() {
			if err := os.RemoveAll(scratch); err != nil { // a killed run left a mount that no later one took away
				fmt.Fprintln(os.Stderr, err)
				exit = 1
			}
		}()
	}
	if dir := os.Getenv("FACTORY_COVERDIR"); dir != "" { // go test sets GOCOVERDIR to a folder of its own
		os.Setenv("GOCOVERDIR", dir)
	}
	if os.Getenv("GOCOVERDIR") == "" { // else the driver complains on stderr
		dir := filepath.Join(scratch, "coverage")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Setenv("GOCOVERDIR", dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	// What a developer has set must not change the stories.
	for _, name := range []string{"BUILDKIT_HOST", "FACTORY_DIR", "FACTORY_STATE", "FACTORY_REGISTRY", "FACTORY_REGISTRY_ADDR", "FACTORY_DATABASE", "FACTORY_ENV", "FACTORY_PROGRESS", "FACTORY_VULNERABILITIES", "FACTORY_SCANNER"} {
		os.Unsetenv(name)
	}
	return m.Run()
}

// missing says why no story can be told here; nil = it can.
var missing = sync.OnceValue(func() error {
	if os.Geteuid() != 0 {
		return errors.New("not root: buildkitd and mmdebstrap need to be")
	}
	for _, program := range []string{"runc", "mmdebstrap", "git", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			return err
		}
	}
	return nil
})

// needs skips the story where it cannot be told, or fails it where it must be.
func needs(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("the whole factory takes minutes")
	}
	err := missing()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" || os.Getenv("FACTORY_TEST_SYSTEM") == "required" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// root is the repository.
var root = sync.OnceValue(func() string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		panic(err)
	}
	return dir
})

// driver is the program under test, built so that it counts what it executes.
var driver = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("FACTORY_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	bin := filepath.Join(scratch, "bin", "factory")
	build := exec.Command("go", "build", "-cover", "-covermode=atomic", "-coverpkg=./cmd/...,./factory/...", "-o", bin, "./cmd/factory")
	build.Dir = root()
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the driver: %w\n%s", err, out)
	}
	daemon := filepath.Join(root(), "bin", "buildkitd")
	if _, err := os.Stat(daemon); err != nil {
		return "", fmt.Errorf("%w: make bin/buildkitd", err)
	}
	scanner := filepath.Join(root(), "bin", "factory-scanner")
	if _, err := os.Stat(scanner); err != nil {
		return "", fmt.Errorf("%w: make bin/factory-scanner", err)
	}
	return bin, errors.Join(os.Symlink(daemon, filepath.Join(scratch, "bin", "buildkitd")), os.Symlink(scanner, filepath.Join(scratch, "bin", "factory-scanner")))
})

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
