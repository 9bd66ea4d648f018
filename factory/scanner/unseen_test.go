package scanner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// What was not looked at on one platform was not looked at, and an image of which nothing was looked at is no error: it is for the
// gate to judge.
func TestNotLookedAt(t *testing.T) {
	t.Parallel()
	c := client(t)
	s, err := c.Scan(t.Context(), "debian-12", artifact(t, map[factory.Platform][]fakePackage{
		amd64: {{"zlib", "1.2"}, {"tar", "unknown"}, {"bash", "unknown"}},
		arm64: {{"bash", "unknown"}, {"tar", "1"}},
	}))
	if err != nil || s.Scan.Packages != 2 || !slices.Equal(s.Scan.NotLookedAt, []string{"bash", "tar"}) || len(s.Scan.Findings) != 1 {
		t.Errorf("%+v, %v", s.Scan, err)
	}
	again, err := c.Match(t.Context(), s.Documents)
	if err != nil || again.Packages != 2 || !slices.Equal(again.NotLookedAt, s.Scan.NotLookedAt) {
		t.Errorf("matched again: %+v, %v", again, err)
	}
	if all, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{"zlib", "1"})}); err != nil || all.NotLookedAt != nil {
		t.Errorf("%+v, %v", all, err)
	}
	if none, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{"bash", "unknown"})}); err != nil || none.Packages != 0 || len(none.NotLookedAt) != 1 {
		t.Errorf("%+v, %v", none, err)
	}
	if _, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{"", "unknown"})}); !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), "a package without a name") {
		t.Errorf("a package without a name: %v", err)
	}
}

// blind is a scanner whose data does not know some packages.
type blind struct {
	Scanner
	looked  int
	unknown []string
}

func (b blind) Match(context.Context, []factory.Document) (factory.Scan, error) {
	return factory.Scan{Scanner: "blind 1", Packages: b.looked, NotLookedAt: b.unknown}, nil
}

func TestGroupLooksAtWhatOneLooksAt(t *testing.T) {
	t.Parallel()
	first := blind{looked: 7, unknown: []string{"a", "b", "c"}}
	for _, tc := range []struct {
		others  []Scanner
		looked  int
		unknown string
	}{
		{nil, 7, "a b c"},
		{[]Scanner{blind{looked: 8, unknown: []string{"b", "c", "d"}}}, 8, "b c"},
		{[]Scanner{blind{looked: 8, unknown: []string{"b", "c", "d"}}, blind{looked: 9, unknown: []string{"a", "c"}}}, 9, "c"},
		{[]Scanner{blind{looked: 10}}, 10, ""},
	} {
		s, err := Group{First: first, Others: tc.others}.Match(t.Context(), nil)
		if err != nil || s.Packages != tc.looked || strings.Join(s.NotLookedAt, " ") != tc.unknown {
			t.Errorf("with %d others: %d looked at, %q not, %v", len(tc.others), s.Packages, s.NotLookedAt, err)
		}
	}
	if !slices.Equal(first.unknown, []string{"a", "b", "c"}) {
		t.Errorf("the first one's own list is %q now", first.unknown)
	}
}

// In a folder that everybody may write to, names prove nothing: a pipe is not waited for, and what a link leads to is left alone.
func TestTempDirAmongForeignFiles(t *testing.T) {
	t.Parallel()
	parent, theirs := t.TempDir(), t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(parent, tempPrefix+"pipe"), 0o666))
	must(t, os.WriteFile(filepath.Join(theirs, "file"), nil, 0o600))
	must(t, os.Symlink(theirs, filepath.Join(parent, tempPrefix+"link")))
	must(t, os.WriteFile(filepath.Join(parent, tempPrefix+"file"), nil, 0o600))
	must(t, os.Mkdir(filepath.Join(parent, tempPrefix+"dead"), 0o700))
	dir, lock, err := tempDir(parent)
	must(t, err)
	defer lock.Close()
	left, err := filepath.Glob(filepath.Join(parent, "*"))
	must(t, err)
	if len(left) != 4 || !slices.Contains(left, dir) {
		t.Errorf("there are %q", left)
	}
	if _, err := os.Stat(filepath.Join(theirs, "file")); err != nil {
		t.Error(err)
	}
}
