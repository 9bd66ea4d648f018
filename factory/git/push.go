package git

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// DefaultAttempts is how often Push tries when it is told 0.
const DefaultAttempts = 5

// target is where to push.
type target struct{ remote, ref string }

// Push sends the current branch to its remote. When somebody else was faster it puts our commits on top of theirs and
// tries again, at most attempts times in all (0 means DefaultAttempts). Our commits then have other hashes, so read Source again
// after Push. Local changes that are not committed stay as they are.
//
// The same files changed on both sides is ErrConflict and leaves the branch as it was; a remote that refuses is ErrBlocked.
func (r Repo) Push(ctx context.Context, attempts int) error {
	to, err := r.target(ctx)
	if err != nil {
		return err
	}
	attempts = cmp.Or(max(attempts, 0), DefaultAttempts)
	for tried := 1; ; tried++ {
		said, err := r.run(ctx, call{args: []string{"push", "--porcelain", "--", to.remote, "HEAD:" + to.ref}})
		reason := rejection(said)
		switch {
		case err == nil:
			return nil
		case reason == "":
			return fmt.Errorf("push to %s: %w", to.remote, err)
		case !lostRace(reason):
			return &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("%s refuses %s: %s", to.remote, to.ref, reason), Cause: err,
				Hint: "push to a branch that the factory may write, or open a pull request"}
		case tried == attempts:
			return &factory.Problem{Kind: factory.ErrConflict, What: fmt.Sprintf("somebody else was faster %d times in pushing to %s", tried, to.remote),
				Hint: "the commits are kept; push again", Cause: err}
		}
		if err := r.rebase(ctx, to); err != nil {
			return err
		}
	}
}

// target reads what the current branch follows.
func (r Repo) target(ctx context.Context) (target, error) {
	current, err := r.line(ctx, "symbolic-ref", "--quiet", "--short", "HEAD")
	if err != nil && exit(err) != 1 {
		return target{}, err
	}
	if current == "" && r.Branch == "" {
		return target{}, &factory.Problem{Kind: factory.ErrInvalid, What: "no branch is checked out, so there is none to push to",
			Hint: "git switch BRANCH, or configure the branch to push to"}
	}
	follows := func(what string) string {
		v, _ := r.line(ctx, "config", "--get", "branch."+current+"."+what)
		return v
	}
	to := target{remote: cmp.Or(r.Remote, follows("remote"), "origin"), ref: "refs/heads/" + r.Branch}
	if r.Branch == "" {
		to.ref = cmp.Or(follows("merge"), "refs/heads/"+current)
	}
	if url, _ := r.line(ctx, "config", "--get", "remote."+to.remote+".url"); url == "" && r.Remote == "" {
		return to, &factory.Problem{Kind: factory.ErrInvalid, What: "there is no remote " + to.remote + " to push to", Hint: "git remote add " + to.remote + " URL, or leave out --push"}
	}
	return to, nil
}

// rejection returns why the remote did not take the branch, from the output of push --porcelain.
func rejection(said string) string {
	for line := range strings.Lines(said) {
		if rest, ok := strings.CutPrefix(line, "!\t"); ok {
			_, reason, _ := strings.Cut(strings.TrimSpace(rest), "\t")
			return reason
		}
	}
	return ""
}

func lostRace(reason string) bool {
	for _, s := range []string{"fetch first", "non-fast-forward", "cannot lock ref", "update ref", "incorrect old value"} {
		if strings.Contains(reason, s) {
			return true
		}
	}
	return false
}

// rebase puts our commits on top of what the remote has, in a working tree of its own, and moves the branch only when that worked.
func (r Repo) rebase(ctx context.Context, to target) (err error) {
	identity, err := r.identity(ctx)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "factory-rebase-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	there := r
	there.Dir = filepath.Join(tmp, "tree")
	git := func(in Repo, args ...string) string {
		if err != nil {
			return ""
		}
		var out string
		out, err = in.run(ctx, call{args: append([]string{"-c", "core.hooksPath=/dev/null"}, args...), set: identity})
		return strings.TrimSpace(out)
	}
	git(r, "fetch", "--quiet", "--no-tags", "--", to.remote, to.ref)
	theirs := git(r, "rev-parse", "FETCH_HEAD")
	ours := git(r, "rev-parse", "HEAD")
	git(r, "worktree", "add", "--quiet", "--detach", there.Dir, ours)
	defer func() {
		_, _ = r.line(context.WithoutCancel(ctx), "worktree", "remove", "--force", there.Dir)
	}()
	if err != nil {
		return err
	}
	if git(there, "-c", "rebase.autoStash=false", "rebase", "--quiet", theirs); err != nil {
		return there.conflict(ctx, to, err)
	}
	rebased := git(there, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	return r.move(ctx, ours, rebased)
}

// conflict names the files that both sides changed.
func (r Repo) conflict(ctx context.Context, to target, err error) error {
	both, _ := r.run(ctx, call{args: []string{"diff", "-z", "--name-only", "--diff-filter=U"}})
	if both == "" {
		return err
	}
	return &factory.Problem{Kind: factory.ErrConflict, What: fmt.Sprintf("%s on %s changed the same files: %s", to.ref, to.remote, strings.Join(fields(both), ", ")),
		Hint: "git pull --rebase, solve it, then run the command again"}
}

// move takes the branch, the index and the files that differ from one commit to another. What the user changed
// or staged elsewhere stays.
func (r Repo) move(ctx context.Context, from, to string) error {
	_, _ = r.line(ctx, "update-index", "-q", "--refresh") // exits 1 when files are changed
	if _, err := r.line(ctx, "read-tree", "-m", "-u", from, to); err != nil {
		return &factory.Problem{Kind: factory.ErrConflict, What: "local changes are in the way of what the remote has", Cause: err,
			Hint: "commit or stash them, then run the command again"}
	}
	_, err := r.line(ctx, "update-ref", "-m", "factory: rebased before push", "HEAD", to, from)
	return err
}
