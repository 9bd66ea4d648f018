package git_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/git"
)

func source(t *testing.T, r tree, paths ...string) factory.Source {
	t.Helper()
	s, err := r.Source(t.Context(), paths)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSourceFollowsTheLastCommitOfThePaths(t *testing.T) {
	t.Parallel()
	r := repository(t)
	r.write("images/a/image.yaml", "a")
	r.write("roles/x/task.yml", "x")
	first := r.save("first")
	r.write("images/b/image.yaml", "b")
	second := r.save("second")
	r.write("roles/x/task.yml", "x2")
	third := r.save("third")

	for name, tc := range map[string]struct {
		paths []string
		want  string
	}{
		"own folder":    {[]string{"images/a"}, first},
		"other folder":  {[]string{"images/b"}, second},
		"with its role": {[]string{"images/a", "roles/x"}, third},
		"absent path":   {[]string{"images/a", "images/none"}, first},
	} {
		t.Run(name, func(t *testing.T) {
			if got := source(t, r, tc.paths...); got != (factory.Source{Commit: tc.want, Hash: tc.want[:8]}) {
				t.Errorf("got %+v, want %s", got, tc.want)
			}
		})
	}
}

func TestSourceDirty(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(tree){
		"changed":          func(r tree) { r.write("a/one", "2") },
		"new":              func(r tree) { r.write("a/two", "2") },
		"staged":           func(r tree) { r.write("a/two", "2"); r.git("add", "a/two") },
		"deleted":          func(r tree) { r.remove("a/one") },
		"mode":             func(r tree) { _ = os.Chmod(filepath.Join(r.Dir, "a/one"), 0o755) },
		"assume-unchanged": func(r tree) { r.git("update-index", "--assume-unchanged", "a/one"); r.write("a/one", "2") },
		"skip-worktree":    func(r tree) { r.git("update-index", "--skip-worktree", "a/one"); r.write("a/one", "2") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := repository(t)
			r.write("a/one", "1")
			r.write("a/kept", "k")
			r.write("b/one", "1")
			commit := r.save("first")
			change(r)
			before, objects := r.read(".git/index"), r.git("count-objects")
			got := source(t, r, "a")
			if !got.Dirty || got.Commit != "" || len(got.Hash) != 8 || got.Hash == commit[:8] {
				t.Errorf("got %+v", got)
			}
			if other := source(t, r, "b"); other.Dirty || other.Commit != commit {
				t.Errorf("the other folder: %+v", other)
			}
			if r.read(".git/index") != before || r.git("count-objects") != objects {
				t.Error("the user's repository was written to")
			}
		})
	}
}

// What git ignores is read all the same when an image is made, so the commit alone does not make it.
func TestIgnoredFilesAreDirty(t *testing.T) {
	t.Parallel()
	for name, ignore := range map[string]func(tree){
		".gitignore":   func(r tree) { r.write("a/.gitignore", "x.yml\n") },
		"info/exclude": func(r tree) { r.write(".git/info/exclude", "x.yml\n") },
		"whole folder": func(r tree) { r.write(".git/info/exclude", "deep/\n") },
		"global": func(r tree) {
			r.write("excludes", "x.yml\n")
			r.git("config", "core.excludesFile", filepath.Join(r.Dir, "excludes"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := repository(t)
			r.write("a/one", "1")
			r.write("b", "1")
			ignore(r)
			commit := r.save("first")
			if got := source(t, r, "a"); got.Dirty {
				t.Fatalf("before: %+v", got)
			}
			clean := r.git("rev-parse", "HEAD:a")
			r.write("a/deep/x.yml", "task")
			if status := r.git("status", "--porcelain"); status != "" {
				t.Fatalf("git sees %s", status)
			}
			got := source(t, r, "a")
			if !got.Dirty || got.Commit != "" || got.Hash == clean[:8] {
				t.Errorf("got %+v", got)
			}
			if got := source(t, r, "b"); got.Commit != commit {
				t.Errorf("the other: %+v", got)
			}
			if made, err := r.Commit(t.Context(), "x", []string{"a"}); made != "" || err != nil {
				t.Errorf("committed it: %s, %v", made, err)
			}
			r.git("add", "-f", "a/deep/x.yml")
			if made := r.save("taken in"); source(t, r, "a").Commit != made {
				t.Errorf("committed although ignored: %+v", source(t, r, "a"))
			}
		})
	}
}

func TestLeftoversDoNotCount(t *testing.T) {
	t.Parallel()
	r := repository(t)
	r.Skip = func(name string) bool { return strings.HasPrefix(name, ".") || name == "cache" }
	r.write(".gitignore", "cache\n")
	r.write("a/one", "1")
	r.write("a/.editor", "1")
	commit := r.save("first")
	r.write("a/.lock-123", "half")
	r.write("a/cache/x", "x")
	r.write("a/.editor", "2")
	for _, path := range []string{"a", "a/one"} {
		if got := source(t, r, path); got.Dirty || got.Commit != commit {
			t.Errorf("%s: %+v, want %s", path, got, commit)
		}
	}
	if got := source(t, r, "."); got.Dirty {
		t.Errorf("everything: %+v", got)
	}
	if made, err := r.Commit(t.Context(), "x", []string{"a"}); made != "" || err != nil {
		t.Errorf("committed a leftover: %s, %v", made, err)
	}
	if got := source(t, r, "a/.lock-123"); !got.Dirty {
		t.Errorf("named itself: %+v", got)
	}
	r.write("a/two", "2")
	dirty := source(t, r, "a")
	r.remove("a/.lock-123")
	if again := source(t, r, "a"); !dirty.Dirty || again != dirty {
		t.Errorf("its hash holds leftovers: %+v, %+v", dirty, again)
	}
	made, err := r.Commit(t.Context(), "x", []string{"a"})
	if err != nil || r.git("show", "--format=", "--name-only", made) != "a/two" {
		t.Errorf("%v, %s", err, r.git("show", "--format=", "--name-only", made))
	}
}

// A repository inside the inputs is read as files, but git takes it for a link, or does not look at all.
func TestRepositoryInsideTheInputs(t *testing.T) {
	t.Parallel()
	for name, add := range map[string]func(tree){
		"new":     func(tree) {},
		"ignored": func(r tree) { r.write(".git/info/exclude", "inner\n") },
		"submodule": func(r tree) {
			r.git("-c", "advice.addEmbeddedRepo=false", "add", "a")
			r.git("commit", "-q", "-m", "submodule")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, inner := repository(t), repository(t)
			r.write("a/one", "1")
			r.save("first")
			inner.write("task.yml", "x")
			inner.save("theirs")
			if err := os.CopyFS(filepath.Join(r.Dir, "a/inner"), os.DirFS(inner.Dir)); err != nil {
				t.Fatal(err)
			}
			add(r)
			_, err := r.Source(t.Context(), []string{"a"})
			if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "a/inner") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The hash of what is not committed is the same everywhere: it is that of git's tree of these files.
func TestDirtyHashIsGitsOwn(t *testing.T) {
	t.Parallel()
	bare, unborn, changed := folder(t), repository(t), repository(t)
	changed.write("a/image.yaml", "old")
	changed.save("first")
	for _, r := range []tree{bare, unborn, changed} {
		r.write("a/image.yaml", "new")
		r.write("a/deep/er/file", "f")
		r.write("other", "x")
	}
	changed.git("add", "-A")
	want := changed.git("write-tree", "--prefix=a/")
	for name, r := range map[string]tree{"no repository": bare, "no commit": unborn, "changed": changed} {
		got := source(t, r, "a")
		if !got.Dirty || got.Commit != "" {
			t.Errorf("%s: %+v", name, got)
		}
		if again := source(t, bare, "a"); got.Hash != again.Hash {
			t.Errorf("%s: %s, without a repository %s", name, got.Hash, again.Hash)
		}
	}
	// "a" is the only entry of the tree that Source hashes.
	tree := exec.Command("git", "mktree", "--missing")
	tree.Dir, tree.Env, tree.Stdin = changed.Dir, changed.Env, strings.NewReader("040000 tree "+want+"\ta\n")
	out, err := tree.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := source(t, bare, "a").Hash; got != string(out[:8]) {
		t.Errorf("got %s, git says %s", got, out)
	}
	changed.write("a/image.yaml", "newer")
	if source(t, changed, "a").Hash == source(t, bare, "a").Hash {
		t.Error("other content, same hash")
	}
}

func TestSourceRefuses(t *testing.T) {
	t.Parallel()
	r := repository(t)
	r.write("a", "1")
	r.save("first")
	for name, tc := range map[string]struct {
		paths []string
		kind  error
	}{
		"nothing":  {nil, factory.ErrInvalid},
		"absolute": {[]string{"/etc/passwd"}, factory.ErrInvalid},
		"outside":  {[]string{"../x"}, factory.ErrInvalid},
		"unclean":  {[]string{"a/../a"}, factory.ErrInvalid},
		"NUL":      {[]string{"a\x00b"}, factory.ErrInvalid},
		"absent":   {[]string{"none"}, factory.ErrNotFound},
	} {
		if _, err := r.Source(t.Context(), tc.paths); !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostileNames(t *testing.T) {
	t.Parallel()
	r := repository(t)
	names := []string{"-n", "--all", ":(top)x", "*", "a b", "é\n\"q\"", "[x]"}
	for i, name := range names {
		r.write(name+"/file", name)
		want, err := r.Commit(t.Context(), "add", []string{name})
		if err != nil || len(want) != 40 {
			t.Fatalf("%q: %q, %v", name, want, err)
		}
		for _, earlier := range names[:i] {
			if source(t, r, earlier).Commit == want {
				t.Errorf("%q took %q along", name, earlier)
			}
		}
		if got := source(t, r, name); got.Commit != want {
			t.Errorf("%q: %+v, want %s", name, got, want)
		}
	}
}

func TestSourceInASubfolderAndAWorktree(t *testing.T) {
	t.Parallel()
	r := repository(t)
	r.write("sub/a/one", "1")
	commit := r.save("first")
	sub := r
	sub.Dir = filepath.Join(r.Dir, "sub")
	if got := source(t, sub, "a"); got.Commit != commit {
		t.Errorf("subfolder: %+v", got)
	}
	linked := r
	linked.Dir = filepath.Join(t.TempDir(), "odd:\"name")
	r.git("worktree", "add", "-q", "-b", "other", linked.Dir)
	linked.write("sub/a/one", "2")
	if got := source(t, linked, "sub/a"); !got.Dirty {
		t.Errorf("worktree: %+v", got)
	}
	moved, err := linked.Commit(t.Context(), "two", []string{"sub/a"})
	if err != nil || source(t, linked, "sub/a").Commit != moved || source(t, r, "sub/a").Commit != commit {
		t.Errorf("worktree commit %q, %v", moved, err)
	}
}

func TestEnvironmentOfAHookIsIgnored(t *testing.T) {
	t.Parallel()
	other, r := repository(t), repository(t)
	other.write("a", "other")
	other.save("other")
	r.write("a", "mine")
	commit := r.save("mine")
	r.Env = append(r.Env, "GIT_DIR="+other.Dir+"/.git", "GIT_INDEX_FILE=/nonexistent/index", "GIT_WORK_TREE="+other.Dir)
	if got := source(t, r, "a"); got.Commit != commit {
		t.Errorf("got %+v, want %s", got, commit)
	}
}

func TestShallowClone(t *testing.T) {
	t.Parallel()
	r := repository(t)
	r.write("a", "1")
	first := r.save("first")
	r.write("b", "1")
	second := r.save("second")
	r.write("b", "2")
	third := r.save("third")
	c := folder(t)
	c.git("clone", "-q", "--depth=2", "file://"+r.Dir, ".")
	if got := source(t, c, "b"); got.Commit != third {
		t.Errorf("within the history: %+v", got)
	}
	_, err := c.Source(t.Context(), []string{"a"})
	if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "--unshallow") {
		t.Errorf("beyond the history: %v; it must not be %s", err, second)
	}
	c.git("fetch", "-q", "--unshallow")
	if got := source(t, c, "a"); got.Commit != first {
		t.Errorf("whole history: %+v", got)
	}
}

func TestRemoteIsNamed(t *testing.T) {
	t.Parallel()
	r := repository(t)
	r.write("a", "1")
	r.save("first")
	if got := source(t, r, "a").Remote; got != "" {
		t.Errorf("no remote: %q", got)
	}
	r.git("remote", "add", "origin", "https://user:token@git.example.invalid/team/images.git")
	if got := source(t, r, "a").Remote; got != "https://git.example.invalid/team/images.git" {
		t.Errorf("got %q", got)
	}
	r.git("remote", "add", "fork", "git@example.invalid:me/images.git")
	r.git("checkout", "-q", "--detach")
	r.Remote = "fork"
	if got := source(t, r, "a").Remote; got != "git@example.invalid:me/images.git" {
		t.Errorf("got %q", got)
	}
}

func TestForeignOwner(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("giving files away needs root")
	}
	r := repository(t)
	r.write("a", "1")
	r.save("first")
	for _, p := range []string{r.Dir, r.Dir + "/.git"} {
		if err := os.Chown(p, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.Source(t.Context(), []string{"a"})
	if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "safe.directory "+r.Dir) {
		t.Errorf("got %v", err)
	}
}

func TestGitIsMissing(t *testing.T) {
	t.Parallel()
	r := git.Repo{Dir: filepath.Join(t.TempDir(), "none")}
	if _, err := r.Source(t.Context(), []string{"a"}); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}
