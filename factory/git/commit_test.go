package git_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestCommitTakesExactlyThePaths(t *testing.T) {
	t.Parallel()
	r := repository(t)
	for _, f := range []string{"a/lock.json", "a/gone", "b/lock.json", "staged", "dirty"} {
		r.write(f, "1")
	}
	r.save("first")
	r.write("a/lock.json", "2")
	r.write("a/new", "n")
	r.remove("a/gone")
	r.write("b/lock.json", "2")
	r.write("staged", "2")
	r.git("add", "staged")
	r.write("staged", "3")
	r.write("dirty", "2")
	r.write("untracked", "u")
	r.write("also staged", "u")
	r.git("add", "also staged")

	message := "debian-12: lock\n\n# not a comment: openssl 3.0.15-1 -> 3.0.16-1 (CVE-2026-0001)\n"
	commit, err := r.Commit(t.Context(), message, []string{"a", "absent"})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.git("show", "--format=%B", "--name-status", "--no-renames", commit); got != strings.TrimSpace(message)+"\n\n\nD\ta/gone\nM\ta/lock.json\nA\ta/new" {
		t.Errorf("commit:\n%s", got)
	}
	if got := r.git("status", "--porcelain"); got != "A  \"also staged\"\n M b/lock.json\n M dirty\nMM staged\n?? untracked" {
		t.Errorf("status:\n%s", got)
	}
	if got := r.git("show", ":staged"); got != "2" {
		t.Errorf("staged content %q", got)
	}
	if got := source(t, r, "a"); got.Commit != commit || got.Dirty {
		t.Errorf("source %+v", got)
	}
	if again, err := r.Commit(t.Context(), message, []string{"a"}); again != "" || err != nil || r.git("rev-parse", "HEAD") != commit {
		t.Errorf("nothing changed, yet: %q, %v", again, err)
	}
}

func TestFirstCommit(t *testing.T) {
	t.Parallel()
	r := repository(t)
	r.write("a", "1")
	r.write("b", "1")
	commit, err := r.Commit(t.Context(), "first", []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.git("ls-tree", "--name-only", commit); got != "a" {
		t.Errorf("got %q", got)
	}
	if got := r.git("log", "-1", "--format=%an %ae %cn"); got != "Factory factory@example.invalid Factory" {
		t.Errorf("by %q", got)
	}
}

func TestCommitAsTheUser(t *testing.T) {
	t.Parallel()
	r := repository(t)
	r.git("config", "user.name", "Ada")
	r.git("config", "user.email", "ada@example.invalid")
	r.write("a", "1")
	if _, err := r.Commit(t.Context(), "first", []string{"a"}); err != nil {
		t.Fatal(err)
	}
	if got := r.git("log", "-1", "--format=%an %cn"); got != "Ada Ada" {
		t.Errorf("by %q", got)
	}
}

func TestCommitNeedsSomebody(t *testing.T) {
	t.Parallel()
	r := repository(t)
	r.Name = ""
	r.write("a", "1")
	_, err := r.Commit(t.Context(), "first", []string{"a"})
	if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "user.email") {
		t.Errorf("got %v", err)
	}
}

func TestCommitThatAHookRefuses(t *testing.T) {
	t.Parallel()
	r := repository(t)
	r.write("a", "1")
	r.save("first")
	hook := filepath.Join(r.Dir, ".git/hooks/pre-commit")
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho policy says no >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.write("a", "2")
	r.write("b", "new")
	if _, err := r.Commit(t.Context(), "second", []string{"a", "b"}); err == nil || !strings.Contains(err.Error(), "policy says no") {
		t.Errorf("got %v", err)
	}
	if got := r.git("status", "--porcelain"); got != "M a\n?? b" && got != " M a\n?? b" {
		t.Errorf("status %q", got)
	}
}

func TestCommitElsewhere(t *testing.T) {
	t.Parallel()
	bare := folder(t)
	bare.write("a", "1")
	if _, err := bare.Commit(t.Context(), "x", []string{"a"}); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("no repository: %v", err)
	}
	if _, err := bare.Commit(t.Context(), "x", nil); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("no paths: %v", err)
	}
	locked := repository(t)
	locked.write("a", "1")
	locked.write(".git/index.lock", "")
	if _, err := locked.Commit(t.Context(), "x", []string{"a"}); !errors.Is(err, factory.ErrBusy) {
		t.Errorf("locked: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := locked.Commit(ctx, "x", []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
