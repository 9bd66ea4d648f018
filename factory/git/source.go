package git

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// Source returns which commit made paths: the last one that touched them. When they hold changes that are not
// committed, files that git ignores among them, or no commit, the source is dirty and its hash is git's own hash of
// what the paths hold now. What r.Skip names never counts. The Inputs digest is left to the caller.
//
// Paths of which nothing exists are ErrNotFound. A repository of its own inside of them is ErrInvalid. In a clone whose history was cut off right there the answer would
// be wrong, and is ErrInvalid instead.
func (r Repo) Source(ctx context.Context, paths []string) (factory.Source, error) {
	now, err := r.look(ctx, paths)
	if err != nil {
		return factory.Source{}, err
	}
	if now.files == 0 {
		return factory.Source{}, &factory.Problem{Kind: factory.ErrNotFound, What: "none of the inputs exists: " + strings.Join(paths, ", ")}
	}
	source := factory.Source{Hash: now.tree[:8], Dirty: true}
	if now.repository {
		source.Remote = r.remoteURL(ctx)
	}
	if len(now.changed) > 0 || now.head == "" {
		return source, nil
	}
	commit, err := r.line(ctx, append([]string{"rev-list", "-1", now.head, "--"}, paths...)...)
	if err != nil {
		return factory.Source{}, err
	}
	if err := r.checkHistory(ctx, commit); err != nil {
		return factory.Source{}, err
	}
	source.Commit, source.Hash, source.Dirty = commit, commit[:8], false
	return source, nil
}

// checkHistory refuses a commit at which a shallow clone ends: it seems to have touched everything.
func (r Repo) checkHistory(ctx context.Context, commit string) error {
	file, err := r.line(ctx, "rev-parse", "--path-format=absolute", "--git-path", "shallow")
	if err != nil {
		return err
	}
	ends, err := os.ReadFile(file)
	if err != nil || !slices.Contains(strings.Fields(string(ends)), commit) {
		return nil // no such file: not shallow
	}
	return &factory.Problem{Kind: factory.ErrInvalid, What: "this clone's history ends before the commit that made the inputs",
		Hint: "git fetch --unshallow; in CI clone with full history (depth 0)"}
}

// state is what a set of paths holds, seen from a scratch index beside the user's.
type state struct {
	repository bool
	head       string   // commit; empty = none yet
	changed    []string // files that differ from head, relative to Dir
	files      int
	tree       string // hash of the tree that holds these files and nothing else
}

func (r Repo) look(ctx context.Context, paths []string) (s state, err error) {
	err = r.beside(ctx, paths, &s, func(git scratched) error {
		entries, err := r.differ(git, &s, paths, r.counted(paths))
		if err != nil {
			return err
		}
		git("", "read-tree", "--empty")
		git(list(entries), "update-index", "-z", "--index-info")
		s.tree = strings.TrimSpace(git("", "write-tree"))
		return nil
	})
	return s, err
}

// scratched runs git on an index beside the user's, until that fails: then it does nothing any more.
type scratched func(stdin string, args ...string) string

// beside lets f work on an index of its own, once it is known what kind of repository this is.
func (r Repo) beside(ctx context.Context, paths []string, s *state, f func(git scratched) error) error {
	if err := check(paths); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "factory-git-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	s.repository = true
	env, err := r.scratch(ctx, tmp, s)
	if err != nil {
		return err
	}
	if s.repository {
		if s.head, err = r.line(ctx, "rev-parse", "--quiet", "--verify", "HEAD^{commit}"); err != nil && exit(err) != 1 {
			return err
		}
	}
	var failed error
	err = f(func(stdin string, args ...string) (out string) {
		if failed == nil {
			out, failed = r.run(ctx, call{args: args, stdin: stdin, set: env})
		}
		return out
	})
	return cmp.Or(failed, err)
}

// others lists files that the user's index does not know.
func (r Repo) others(ctx context.Context, paths []string, which ...string) ([]string, error) {
	out, err := r.run(ctx, call{args: slices.Concat([]string{"ls-files", "-z", "-o"}, which, []string{"--"}, paths)})
	counts := r.counted(paths)
	return slices.DeleteFunc(fields(out), func(f string) bool { return !counts(f) }), err
}

// scratch returns an environment in which git writes its index and objects below tmp.
func (r Repo) scratch(ctx context.Context, tmp string, s *state) ([]string, error) {
	objects, err := r.line(ctx, "rev-parse", "--path-format=absolute", "--git-path", "objects")
	if err == errNoRepository {
		s.repository = false
		dir, err := filepath.Abs(r.Dir)
		if err != nil {
			return nil, err
		}
		bare := filepath.Join(tmp, "git")
		_, err = r.run(ctx, call{args: []string{"init", "--quiet", "--bare", "--template=", "--object-format=sha1", bare}})
		return []string{"GIT_DIR=" + bare, "GIT_WORK_TREE=" + dir, "GIT_INDEX_FILE=" + filepath.Join(tmp, "index")}, err
	}
	if err != nil {
		return nil, err
	}
	own := filepath.Join(tmp, "objects")
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(objects) + `"`
	return []string{"GIT_INDEX_FILE=" + filepath.Join(tmp, "index"), "GIT_OBJECT_DIRECTORY=" + own,
		"GIT_ALTERNATE_OBJECT_DIRECTORIES=" + quoted}, os.Mkdir(own, 0o700)
}

// differ brings a scratch index from head to what the paths hold now, as far as that counts, and returns its entries that do.
func (r Repo) differ(git scratched, s *state, paths []string, counts func(file string) bool) (entries []string, err error) {
	with := func(args ...string) []string { return append(append(args, "--"), paths...) }
	git("", "read-tree", cmp.Or(s.head, "--empty"))
	// An ignored file is no less an input than any other.
	files := slices.DeleteFunc(fields(git("", with("ls-files", "-z", "-c", "-o")...)), func(f string) bool { return !counts(f) })
	git(list(files), "update-index", "-z", "--add", "--remove", "--replace", "--stdin")
	entries = slices.DeleteFunc(fields(git("", with("ls-files", "-z", "-s")...)), func(e string) bool {
		_, file, _ := strings.Cut(e, "\t")
		return !counts(file)
	})
	s.files = len(entries)
	changes := with("diff-index", "-z", "--cached", "--no-renames", "--relative", "--name-only", s.head)
	if s.head == "" {
		changes = with("ls-files", "-z")
	}
	s.changed = fields(git("", changes...))
	return entries, checkInner(files, entries)
}

// fields splits a list whose entries end in NUL.
func fields(z string) []string {
	if z == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(z, "\x00"), "\x00")
}

// checkInner refuses a repository inside the paths: git knows at most its commit, and an image is made of its files.
func checkInner(files, entries []string) error {
	inner := func(name string) error {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "a repository of its own lies inside the inputs", Where: factory.Position{File: name},
			Hint: "keep a copy of its files instead, without .git"}
	}
	for _, f := range files {
		if name, ok := strings.CutSuffix(f, "/"); ok {
			return inner(name)
		}
	}
	for _, e := range entries {
		if mode, rest, _ := strings.Cut(e, " "); mode == "160000" {
			_, name, _ := strings.Cut(rest, "\t")
			return inner(name)
		}
	}
	return nil
}

// list is the opposite of fields.
func list(entries []string) string {
	if len(entries) == 0 {
		return ""
	}
	return strings.Join(entries, "\x00") + "\x00"
}

func (r Repo) remoteURL(ctx context.Context) string {
	to, err := r.target(ctx)
	if err != nil {
		to.remote = cmp.Or(r.Remote, "origin")
	}
	raw, err := r.line(ctx, "config", "--get", "remote."+to.remote+".url")
	if err != nil {
		return ""
	}
	return publicURL(raw)
}

// publicURL returns a remote's URL as it may be shown to anybody: no password, no token, no query; nothing for a folder of this machine.
func publicURL(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Scheme != "" && u.Host != "" {
		if u.Scheme != "ssh" || u.User == nil {
			u.User = nil
		} else {
			u.User = url.User(u.User.Username())
		}
		u.RawQuery, u.Fragment = "", ""
		return u.String()
	}
	host, repo, scp := strings.Cut(raw, ":")
	if !scp || repo == "" || strings.ContainsAny(host, "/\\ ") || strings.Contains(repo, "@") || strings.Contains(raw, "://") || strings.HasPrefix(repo, ":") {
		return ""
	}
	if user, name, found := strings.Cut(host, "@"); found && user == "" || strings.Contains(name, "@") {
		return ""
	}
	return raw
}
