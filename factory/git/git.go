// Package git knows which commit made an image's inputs, commits new locks and pushes them.
//
// Rules: it drives the git program, so that the user's own configuration, credentials and hooks hold; paths are
// literal and never options or patterns; the user's index, working tree and stash change only where a commit or
// a rebase of the factory's own commits must change them; nothing is ever forced.
package git

import (
	"bytes"
	"context"
	"errors"
	"path"
	"path/filepath"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/proc"
)

// Repo is a working tree. It need not be under git: then every input counts as not committed.
type Repo struct {
	Dir string // paths are relative to it, usually the top of the working tree; empty = current directory
	// Env is the whole environment of git, KEY=value; nil inherits the factory's.
	Env []string
	// Name and Email sign commits when git has no user.name and user.email of its own.
	Name, Email string
	// Remote to push to and to name in provenance; empty = what the current branch follows, else origin.
	Remote string
	// Skip reports the names of files and folders that are nobody's input wherever they lie below a path: they make nothing
	// dirty and are not committed. nil = none.
	Skip func(name string) bool
	// Branch to push to; empty = what the current branch follows, else the branch of the same name.
	Branch string
}

// call is one run of git.
type call struct {
	args  []string
	stdin string
	set   []string // changes to the environment
}

// fixed makes git answer in one language, never ask, take paths literally and look only where it is told.
var fixed = []string{
	"LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_LITERAL_PATHSPECS=1", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_EDITOR=true",
	"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
	"GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX",
}

func (r Repo) run(ctx context.Context, c call) (string, error) {
	var stdout bytes.Buffer
	cmd := proc.Command{
		Args: append([]string{"git"}, c.args...), Dir: r.Dir, Env: r.Env, Set: append(fixed[:len(fixed):len(fixed)], c.set...),
		Stdin: strings.NewReader(c.stdin), Stdout: &stdout,
	}
	_, err := cmd.Run(ctx)
	return stdout.String(), r.explain(err)
}

// line runs git and returns its output without the newline at the end.
func (r Repo) line(ctx context.Context, args ...string) (string, error) {
	out, err := r.run(ctx, call{args: args})
	return strings.TrimSuffix(out, "\n"), err
}

// exit returns git's exit code, or 0 when err is something else.
func exit(err error) int {
	var e *proc.ExitError
	if errors.As(err, &e) && e.Cause == nil {
		return e.Exit
	}
	return 0
}

var errNoRepository = &factory.Problem{Kind: factory.ErrNotFound, What: "not a git repository", Hint: "git init, or work in a clone"}

// explain turns what git says into what a person can act on.
func (r Repo) explain(err error) error {
	if exit(err) == 0 {
		return err
	}
	var e *proc.ExitError
	errors.As(err, &e)
	says := func(texts ...string) bool {
		for _, t := range texts {
			if strings.Contains(e.Tail, t) {
				return true
			}
		}
		return false
	}
	switch {
	case says("dubious ownership"):
		dir, _ := filepath.Abs(r.Dir)
		return &factory.Problem{Kind: factory.ErrInvalid, What: "git does not trust " + dir + ", which belongs to another user",
			Hint: "git config --global --add safe.directory " + dir, Cause: err}
	case says("not a git repository"):
		return errNoRepository
	case says("index.lock': File exists"):
		return &factory.Problem{Kind: factory.ErrBusy, What: "another git works in this repository",
			Hint: "try again when it has ended; if none runs, remove the index.lock that is named", Cause: err}
	case says("Authentication failed", "could not read Username", "could not read Password", "Permission denied", "Host key verification failed"):
		return &factory.Problem{Kind: factory.ErrUnavailable, What: "the remote does not let us in",
			Hint: "give git a credential helper or an ssh key that needs no questions", Cause: err}
	case says("Could not read from remote repository", "access '", "does not appear to be a git repository"):
		return &factory.Problem{Kind: factory.ErrUnavailable, What: "the remote repository does not answer", Cause: err}
	}
	return err
}

// counted returns whether a file counts as one of paths: it is one of them, or lies below one and is not skipped there. What paths name
// themselves always counts.
func (r Repo) counted(paths []string) func(file string) bool {
	asked := map[string]bool{}
	for _, p := range paths {
		asked[p] = true
	}
	skipped := func(name string) bool { return r.Skip != nil && r.Skip(name) }
	return func(file string) bool {
		at := strings.TrimSuffix(file, "/") // a repository of its own is listed so
		for !asked[at] {
			if at == "." || at == "/" || skipped(path.Base(at)) {
				return false
			}
			at = path.Dir(at)
		}
		return true
	}
}

// check refuses paths that lead out of Dir.
func check(paths []string) error {
	for _, p := range paths {
		if !filepath.IsLocal(filepath.FromSlash(p)) || path.Clean(p) != p || strings.ContainsRune(p, 0) {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "the path " + strings.ToValidUTF8(p, "?") + " leaves the repository or is not clean"}
		}
	}
	if len(paths) == 0 {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "no paths"}
	}
	return nil
}
