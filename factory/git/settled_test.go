package git_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// settled are the names that Settled knows, each of which must be what Source says.
func settled(t *testing.T, r tree, asked map[string][]string) []string {
	t.Helper()
	all := r.Settled(t.Context(), asked)
	for name, got := range all {
		if want := source(t, r, asked[name]...); got != want {
			t.Errorf("%s: %+v, and Source says %+v", name, got, want)
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func TestSettled(t *testing.T) {
	t.Parallel()
	asked := map[string][]string{"a": {"images/a", "roles/x"}, "b": {"images/a", "images/b", "roles/x"}, "c": {"images/c"}, "file": {"images/a/image.yaml"}, "none": {"images/none"}, "gone": {"images/gone"}}
	many := maps.Clone(asked) // so many that git is asked for the folder
	for i := range 20 {
		name := fmt.Sprintf("more-%d", i)
		many[name] = []string{"images/" + name}
	}
	history := func(t *testing.T) tree {
		r := repository(t)
		r.write("images/a/image.yaml", "a")
		r.write("images/c/\x01 odd\n:name", "c")
		r.write("images/gone/x", "x")
		r.save("first")
		r.write("images/b/image.yaml", "b")
		r.write("roles/x/task.yml", "x")
		r.save("second")
		r.remove("images/gone/x")
		r.save("third")
		r.write("README", "x")
		r.save("fourth")
		return r
	}
	all := []string{"a", "b", "c", "file"}
	for name, c := range map[string]struct {
		change func(t *testing.T, r tree) tree
		want   []string
	}{
		"all committed": {func(_ *testing.T, r tree) tree { return r }, all},
		"a remote": {func(_ *testing.T, r tree) tree {
			r.git("remote", "add", "origin", "https://git.example.com/x.git")
			return r
		}, all},
		"told not to show the first": {func(_ *testing.T, r tree) tree {
			r.git("config", "log.showRoot", "false")
			r.git("config", "diff.renames", "copies")
			return r
		}, all},
		"one is edited":         {func(_ *testing.T, r tree) tree { r.write("images/b/image.yaml", "b2"); return r }, []string{"a", "c", "file"}},
		"what two share is new": {func(_ *testing.T, r tree) tree { r.write("roles/x/new.yml", "x"); return r }, []string{"c", "file"}},
		"an ignored file": {func(_ *testing.T, r tree) tree {
			r.write(".git/info/exclude", "*.log\n")
			r.write("images/c/x.log", "x")
			return r
		}, []string{"a", "b", "file"}},
		"a repository beside it": {func(_ *testing.T, r tree) tree {
			r.git("init", "-q", "images/unasked")
			r.write("images/unasked/x", "x")
			r.write("images/loose", "x")
			return r
		}, all},
		"what nobody minds": {func(_ *testing.T, r tree) tree {
			r.Skip = func(name string) bool { return name == ".lock-1" }
			r.write("images/c/.lock-1", "x")
			return r
		}, all},
		"in a folder of the repository": {func(_ *testing.T, r tree) tree {
			r.git("mv", "images", "roles", "-k", ".")
			_ = os.Mkdir(filepath.Join(r.Dir, "below"), 0o755)
			r.git("mv", "images", "roles", "below")
			r.save("moved")
			r.Dir = filepath.Join(r.Dir, "below")
			return r
		}, all},
		"a merge since": {func(_ *testing.T, r tree) tree {
			r.git("checkout", "-q", "-b", "side")
			r.write("images/a/image.yaml", "a2")
			r.save("side")
			r.git("checkout", "-q", "main")
			r.write("images/c/more", "c")
			r.save("main")
			r.git("merge", "-q", "side", "-m", "merge")
			r.write("images/b/more", "b")
			r.save("after")
			return r
		}, []string{"b"}},
		"no commit yet": {func(t *testing.T, _ tree) tree { r := repository(t); r.write("images/a/x", "x"); return r }, nil},
		"no repository": {func(t *testing.T, _ tree) tree { r := folder(t); r.write("images/a/x", "x"); return r }, nil},
		"a repository inside it": {func(_ *testing.T, r tree) tree {
			r.git("init", "-q", "images/a/inner")
			r.write("images/a/inner/x", "x")
			return r
		}, nil},
		"history that was cut off": {func(t *testing.T, r tree) tree {
			cut := folder(t)
			cut.git("clone", "-q", "--depth", "1", "file://"+r.Dir, ".")
			return cut
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := c.change(t, history(t))
			if got := settled(t, r, asked); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if got := slices.Sorted(maps.Keys(r.Settled(t.Context(), many))); !slices.Equal(got, c.want) {
				t.Errorf("among many: %q, want %q", got, c.want)
			}
		})
	}
	r := history(t)
	if got := r.Settled(t.Context(), map[string][]string{"whole": {"."}, "a": {"images/a"}}); len(got) != 0 {
		t.Errorf("of the whole repository: %v", got)
	}
	if got := r.Settled(t.Context(), map[string][]string{"out": {"../x"}}); len(got) != 0 {
		t.Errorf("out of the repository: %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := r.Settled(ctx, asked); len(got) != 0 {
		t.Errorf("when nobody wants to know any more: %v", got)
	}
}
