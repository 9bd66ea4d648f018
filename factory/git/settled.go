package git

import (
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
)

// errNoHistory is why nothing is settled before the first commit.
var errNoHistory = errors.New("no commit yet")

// farthest is how many commits back Settled looks.
const farthest = 2000

// Settled returns the sources of those sets of paths, by name, that one look at everything settles: all is committed, and between the
// commit that made them and now there is no merge. They are what Source says. The others are left out, whatever the reason: ask Source.
func (r Repo) Settled(ctx context.Context, asked map[string][]string) map[string]factory.Source {
	open := owners{}
	var union []string
	for name, paths := range asked {
		for _, p := range paths {
			open[p] = append(open[p], name)
		}
		union = append(union, paths...)
	}
	slices.Sort(union)
	union = slices.Compact(union)
	if open["."] != nil || r.shallow(ctx) {
		return nil
	}
	var now state
	var entries []string
	var past history
	var work sync.WaitGroup
	err := r.beside(ctx, union, &now, func(git scratched) (err error) {
		if now.head == "" {
			return errNoHistory
		}
		work.Go(func() { past = r.history(ctx, now.head) })
		entries, err = r.differ(git, &now, wide(union), r.counted(union))
		return err
	})
	work.Wait()
	if err != nil || past.err != nil {
		return nil
	}
	waiting := map[string]bool{}
	for _, entry := range entries { // of those that have no changes, what is there now is what is in head
		_, file, _ := strings.Cut(entry, "\t")
		open.each(file, func(name string) { waiting[name] = true })
	}
	for _, file := range now.changed {
		open.each(file, func(name string) { delete(waiting, name) })
	}
	return past.trace(open, waiting)
}

// wide names the folders of paths instead of these where there are many in one: git compares each file with each path.
func wide(paths []string) (all []string) {
	beside := map[string]int{}
	for _, p := range paths {
		beside[path.Dir(p)]++
	}
	for _, p := range paths {
		if dir := path.Dir(p); dir != "." && beside[dir] > 16 {
			p = dir
		}
		all = append(all, p)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// owners is whose the paths are.
type owners map[string][]string

// each calls f for whoever has the file, or a folder that it lies in.
func (o owners) each(file string, f func(name string)) {
	for p := file; p != "." && p != "/"; p = path.Dir(p) {
		for _, name := range o[p] {
			f(name)
		}
	}
}

// history is what led to head, as git tells it.
type history struct {
	log, remote string
	err         error
}

// history is asked for while others ask what changed since.
func (r Repo) history(ctx context.Context, head string) (h history) {
	h.log, h.err = r.run(ctx, call{args: []string{"-c", "log.showRoot=true", "log", "-z", "--raw", "--no-abbrev", "--no-renames", "--relative", "--no-show-signature",
		"--no-color", "--no-notes", "--ignore-submodules=none", "-n", strconv.Itoa(farthest), "--format=%H %P", head, "--"}})
	if h.err == nil {
		h.remote = r.remoteURL(ctx)
	}
	return h
}

// trace walks back from head, up to the first merge, and gives each commit to those who waited for one that touched their files.
func (h history) trace(open owners, waiting map[string]bool) map[string]factory.Source {
	found := map[string]factory.Source{}
	commit := ""
	tokens := fields(h.log)
	for i := 0; i < len(tokens) && len(waiting) > 0; i++ {
		token := strings.TrimLeft(tokens[i], "\n")
		if !strings.HasPrefix(token, ":") { // a commit and its parents; what changed begins with a colon, and its path comes next
			ids := strings.Fields(token)
			if len(ids) > 2 {
				break
			}
			if len(ids) > 0 {
				commit = ids[0]
			}
			continue
		}
		if i++; i < len(tokens) && len(commit) >= 8 {
			open.each(tokens[i], func(name string) {
				if waiting[name] {
					found[name] = factory.Source{Commit: commit, Hash: commit[:8], Remote: h.remote}
					delete(waiting, name)
				}
			})
		}
	}
	return found
}

// shallow reports whether the clone's history was cut off, or may have been.
func (r Repo) shallow(ctx context.Context) bool {
	file, err := r.line(ctx, "rev-parse", "--path-format=absolute", "--git-path", "shallow")
	if err != nil {
		return true
	}
	_, err = os.Stat(file)
	return !os.IsNotExist(err)
}
