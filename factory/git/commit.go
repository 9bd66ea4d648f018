package git

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// Commit commits what paths hold now, exactly those, and returns the new commit. Other files stay as they are, be they changed,
// staged, new or ignored. When nothing changed it returns "" and makes no commit. The user's hooks run.
func (r Repo) Commit(ctx context.Context, message string, paths []string) (string, error) {
	now, err := r.look(ctx, paths)
	if err != nil {
		return "", err
	}
	if !now.repository {
		return "", errNoRepository
	}
	untracked, err := r.others(ctx, paths, "--exclude-standard")
	if err != nil {
		return "", err
	}
	ignored, err := r.others(ctx, paths, "--exclude-standard", "--ignored") // git would never commit them by itself
	if err != nil {
		return "", err
	}
	changed := slices.DeleteFunc(now.changed, func(f string) bool { return slices.Contains(ignored, f) })
	if len(changed) == 0 {
		return "", nil
	}
	identity, err := r.identity(ctx)
	if err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp("", "factory-commit-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	file := filepath.Join(tmp, "message")
	if err := os.WriteFile(file, []byte(message), 0o600); err != nil {
		return "", err
	}
	const listed, ended = "--pathspec-from-file=-", "--pathspec-file-nul"
	if list := strings.Join(untracked, "\x00"); list != "" {
		if _, err := r.run(ctx, call{args: []string{"add", "--intent-to-add", listed, ended}, stdin: list}); err != nil {
			return "", err
		}
	}
	_, err = r.run(ctx, call{
		args:  []string{"commit", "--quiet", "--only", "--cleanup=whitespace", "--file=" + file, listed, ended},
		stdin: strings.Join(changed, "\x00"), set: identity,
	})
	if err != nil {
		r.forget(context.WithoutCancel(ctx), untracked)
		return "", err
	}
	return r.line(ctx, "rev-parse", "HEAD")
}

// forget makes new files untracked again after a commit that did not come about.
func (r Repo) forget(ctx context.Context, files []string) {
	if len(files) > 0 {
		_, _ = r.run(ctx, call{args: []string{"update-index", "-z", "--force-remove", "--stdin"}, stdin: strings.Join(files, "\x00")})
	}
}

// identity returns the environment that says who commits: nothing when git knows.
func (r Repo) identity(ctx context.Context) ([]string, error) {
	_, author := r.line(ctx, "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT")
	_, committer := r.line(ctx, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT")
	switch {
	case author == nil && committer == nil:
		return nil, nil
	case r.Name == "" || r.Email == "":
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "git does not know who commits",
			Hint: "git config --global user.name NAME; git config --global user.email ADDRESS"}
	}
	return []string{"GIT_AUTHOR_NAME=" + r.Name, "GIT_AUTHOR_EMAIL=" + r.Email,
		"GIT_COMMITTER_NAME=" + r.Name, "GIT_COMMITTER_EMAIL=" + r.Email}, nil
}
