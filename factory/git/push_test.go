package git_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// shared gives a bare remote with one commit, and clones of it.
func shared(t *testing.T, clones int) (tree, []tree) {
	t.Helper()
	origin := repository(t)
	origin.write("a/lock.json", "1")
	origin.write("b/lock.json", "1")
	origin.write("readme", "1")
	origin.save("first")
	remote := folder(t)
	remote.git("clone", "-q", "--bare", origin.Dir, ".")
	var all []tree
	for range clones {
		all = append(all, remote.clone())
	}
	return remote, all
}

func (r tree) commit(t *testing.T, path, content string) string {
	t.Helper()
	r.write(path, content)
	commit, err := r.Commit(t.Context(), "lock "+path, []string{path})
	if err != nil {
		t.Fatal(err)
	}
	return commit
}

func TestPush(t *testing.T) {
	t.Parallel()
	remote, c := shared(t, 1)
	commit := c[0].commit(t, "a/lock.json", "2")
	if err := c[0].Push(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if got := remote.git("rev-parse", "main"); got != commit {
		t.Errorf("remote has %s, want %s", got, commit)
	}
	if err := c[0].Push(t.Context(), 1); err != nil {
		t.Errorf("nothing to push: %v", err)
	}
}

func TestLostRaceKeepsEverything(t *testing.T) {
	t.Parallel()
	remote, c := shared(t, 2)
	theirs := c[0].commit(t, "a/lock.json", "theirs")
	if err := c[0].Push(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	r := c[1]
	before := r.commit(t, "b/lock.json", "ours")
	r.write("readme", "staged")
	r.git("add", "readme")
	r.write("readme", "dirty")
	r.write("untracked", "u")
	if err := r.Push(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	after := source(t, r, "b/lock.json")
	if after.Dirty || after.Commit == before || remote.git("rev-parse", "main") != after.Commit || r.git("rev-parse", "HEAD~1") != theirs {
		t.Errorf("after the push: %+v", after)
	}
	if got := r.git("status", "--porcelain"); got != "MM readme\n?? untracked" {
		t.Errorf("status %q", got)
	}
	if r.read("a/lock.json") != "theirs" || r.read("readme") != "dirty" || r.git("show", ":readme") != "staged" {
		t.Error("files are not what they should be")
	}
	if got := r.git("worktree", "list", "--porcelain"); strings.Count(got, "worktree ") != 1 {
		t.Errorf("left behind: %s", got)
	}
	if got := r.git("symbolic-ref", "HEAD"); got != "refs/heads/main" {
		t.Errorf("on %s", got)
	}
}

func TestRacingClones(t *testing.T) {
	t.Parallel()
	remote, clones := shared(t, 4)
	var wg sync.WaitGroup
	for i, c := range clones {
		wg.Go(func() {
			name := "image" + string(rune('0'+i))
			c.write(name, "new")
			if _, err := c.Commit(t.Context(), name, []string{name}); err != nil {
				t.Error(err)
			}
			if err := c.Push(t.Context(), 20); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := remote.git("rev-list", "--count", "main"); got != "5" {
		t.Errorf("%s commits, want 5", got)
	}
	if got := remote.git("ls-tree", "--name-only", "main"); got != "a\nb\nimage0\nimage1\nimage2\nimage3\nreadme" {
		t.Errorf("files %q", got)
	}
}

func TestPushConflict(t *testing.T) {
	t.Parallel()
	_, c := shared(t, 2)
	c[0].commit(t, "a/lock.json", "theirs")
	if err := c[0].Push(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ours := c[1].commit(t, "a/lock.json", "ours")
	err := c[1].Push(t.Context(), 0)
	if !errors.Is(err, factory.ErrConflict) || !strings.Contains(err.Error(), "a/lock.json") {
		t.Errorf("got %v", err)
	}
	if c[1].git("rev-parse", "HEAD") != ours || c[1].git("status", "--porcelain") != "" || c[1].read("a/lock.json") != "ours" {
		t.Error("the clone is not as it was")
	}
	if got := c[1].git("worktree", "list", "--porcelain"); strings.Count(got, "worktree ") != 1 {
		t.Errorf("left behind: %s", got)
	}
}

func TestPushWithLocalChangesInTheWay(t *testing.T) {
	t.Parallel()
	_, c := shared(t, 2)
	c[0].commit(t, "readme", "theirs")
	if err := c[0].Push(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ours := c[1].commit(t, "a/lock.json", "ours")
	c[1].write("readme", "mine, not committed")
	err := c[1].Push(t.Context(), 3)
	if !errors.Is(err, factory.ErrConflict) || !strings.Contains(err.Error(), "readme") {
		t.Errorf("got %v", err)
	}
	if c[1].git("rev-parse", "HEAD") != ours || c[1].read("readme") != "mine, not committed" {
		t.Error("the clone is not as it was")
	}
}

func TestPushGivesUp(t *testing.T) {
	t.Parallel()
	remote, c := shared(t, 2)
	c[0].commit(t, "a/lock.json", "theirs")
	if err := c[0].Push(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	theirs := remote.git("rev-parse", "main")
	c[1].commit(t, "b/lock.json", "ours")
	if err := c[1].Push(t.Context(), 1); !errors.Is(err, factory.ErrConflict) || !strings.Contains(err.Error(), "faster 1 times") {
		t.Errorf("got %v", err)
	}
	if got := remote.git("rev-parse", "main"); got != theirs {
		t.Error("forced")
	}
}

func TestPushRefused(t *testing.T) {
	t.Parallel()
	remote, c := shared(t, 1)
	hook := filepath.Join(remote.Dir, "hooks/pre-receive")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho branch is protected >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c[0].commit(t, "a/lock.json", "2")
	err := c[0].Push(t.Context(), 3)
	if !errors.Is(err, factory.ErrBlocked) || !strings.Contains(err.Error(), "declined") {
		t.Errorf("got %v", err)
	}
}

func TestPushNowhere(t *testing.T) {
	t.Parallel()
	_, c := shared(t, 1)
	r := c[0]
	commit := r.commit(t, "a/lock.json", "2")
	r.git("remote", "set-url", "origin", filepath.Join(t.TempDir(), "none.git"))
	if err := r.Push(t.Context(), 2); !errors.Is(err, factory.ErrUnavailable) {
		t.Errorf("no such remote: %v", err)
	}
	r.git("remote", "remove", "origin")
	if err := r.Push(t.Context(), 2); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "git remote add origin") {
		t.Errorf("no remote at all: %v", err)
	}
	r.git("checkout", "-q", "--detach")
	if err := r.Push(t.Context(), 2); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("detached: %v", err)
	}
	if _, err := folder(t).Source(t.Context(), []string{"x"}); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("empty folder: %v", err)
	}
	if err := folder(t).Push(t.Context(), 1); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("no repository: %v of %s", err, commit)
	}
}

func TestPushToANamedBranch(t *testing.T) {
	t.Parallel()
	remote, c := shared(t, 2)
	theirs := c[0].commit(t, "a/lock.json", "theirs")
	if err := c[0].Push(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	r := c[1]
	r.git("checkout", "-q", "--detach") // as CI does
	r.Branch, r.Remote = "main", "origin"
	r.commit(t, "b/lock.json", "ours")
	if err := r.Push(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if remote.git("rev-parse", "main") != r.git("rev-parse", "HEAD") || r.git("rev-parse", "HEAD~1") != theirs {
		t.Error("the branch is not what was pushed")
	}
}
