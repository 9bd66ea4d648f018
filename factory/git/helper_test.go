package git_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory/git"
)

// tree is a working tree with git's configuration of its own.
type tree struct {
	git.Repo
	t testing.TB
}

func environment(t testing.TB, extra ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_DATE=2026-11-23T00:00:00Z",
		"GIT_COMMITTER_DATE=2026-11-23T00:00:00Z", "GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_KEY_0=init.defaultBranch", "GIT_CONFIG_VALUE_0=main",
		"GIT_CONFIG_KEY_1=log.showSignature", "GIT_CONFIG_VALUE_1=true"}, extra...)
}

// folder is a tree without a repository.
func folder(t testing.TB) tree {
	return tree{git.Repo{Dir: t.TempDir(), Env: environment(t), Name: "Factory", Email: "factory@example.invalid"}, t}
}

func repository(t testing.TB) tree {
	r := folder(t)
	r.git("init", "-q")
	return r
}

// git runs git as the user would and returns what it prints.
func (r tree) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.Dir
	cmd.Env = append(r.Env, "GIT_AUTHOR_NAME=User", "GIT_AUTHOR_EMAIL=u@example.invalid", "GIT_COMMITTER_NAME=User", "GIT_COMMITTER_EMAIL=u@example.invalid")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

func (r tree) write(name, content string) {
	r.t.Helper()
	path := filepath.Join(r.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r tree) remove(name string) {
	r.t.Helper()
	if err := os.RemoveAll(filepath.Join(r.Dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

func (r tree) read(name string) string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.Dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// save commits everything as the user would and returns the commit.
func (r tree) save(message string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "-m", message)
	return r.git("rev-parse", "HEAD")
}

func (r tree) clone() tree {
	r.t.Helper()
	c := folder(r.t)
	c.git("clone", "-q", r.Dir, ".")
	return c
}
