package upstream

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

func TestAdvisories(t *testing.T) {
	t.Parallel()
	n := newHarvested(t)
	n.publishAll(day.AddDate(0, 0, 2))
	first := n.locked()
	a := n.read(first)
	if facts(a) != bothFacts || a.Sources != 2 || !slices.Equal(a.Known, []string{"aa", "bb"}) || a.Missing != nil || a.Distro != bookworm || !a.Updated.Equal(day.AddDate(0, 0, 2)) {
		t.Errorf("%+v", a)
	}
	if f := a.List[1]; f.Title != "overflow" || !f.Date.Equal(time.Date(2020, 7, 2, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", f)
	}
	if last := n.said[len(n.said)-1]; last.Kind != factory.Advanced || last.Current != 2 || last.Total != 2 || last.Unit != "sources" {
		t.Errorf("%+v", last)
	}

	// The second night fetches only what changed, and the image of another team adds only what is its own.
	n.offer("bb", "3", upload("bb", "3", "bookworm-security", "05 Aug 2020", "secret")+upload("bb", "2", "unstable", "01 May 2020", "CVE-2019-0002"))
	n.offer("cc", "1", upload("cc", "1", "unstable", "01 May 2020", "start"))
	n.publishAll(day.AddDate(0, 0, 3))
	second := n.locked()
	n.img = small("cc")
	n.img.Distro, n.img.Name = bookworm, "other"
	other := n.locked()
	a = n.read(first, second, other, first)
	if facts(a) != bothFacts+", bb DEBSEC-bb-3 3" || a.Sources != 3 || !slices.Equal(a.Known, []string{"aa", "bb", "cc"}) || !a.Updated.Equal(day.AddDate(0, 0, 3)) {
		t.Errorf("%+v", a)
	}
	if got := n.fetched(); !slices.Equal(got, []string{"bb_3_amd64.deb", "cc_1_amd64.deb"}) {
		t.Errorf("fetched %q", got)
	}
	if len(n.warnings()) > 0 {
		t.Errorf("%q", n.warnings())
	}
}

func TestAdvisoriesOfReleases(t *testing.T) {
	t.Parallel()
	n := newHarvested(t)
	l := n.locked()
	next := l
	next.Image.Distro = factory.Distro{Family: "debian", Release: "13", Codename: "trixie"}
	all, err := n.s.Advisories(t.Context(), []LockedImage{next, l})
	if err != nil || len(all) != 2 || all[0].Distro != bookworm || facts(all[0]) != bothFacts || len(all[1].List) != 0 || all[1].Sources != 2 {
		t.Errorf("%+v %v", all, err)
	}
	if all, err := n.s.Advisories(t.Context(), nil); len(all) != 0 || err != nil {
		t.Errorf("%v %v", all, err)
	}
	l.Image.Distro = factory.Distro{Family: "suse", Release: "15"}
	if _, err := n.s.Advisories(t.Context(), []LockedImage{next, l}); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "suse 15") {
		t.Error(err)
	}
}

// How old advisories are is how old the suite is that fixes come by.
func TestAdvisoriesAge(t *testing.T) {
	t.Parallel()
	suites := func(names ...string) (srcs []source) {
		for _, n := range names {
			name, only := strings.CutSuffix(n, "!")
			s := source{Archive: factory.Archive{ID: "debian", Suite: name}}
			if only {
				s.Only = []string{"guide"}
			}
			srcs = append(srcs, s)
		}
		return srcs
	}
	for _, c := range []struct {
		suites string
		days   []int
		want   int
	}{
		{"bookworm bookworm-security", []int{5, 2}, 2}, // another suite that is fresh says nothing of the fixes
		{"bookworm-security bookworm", []int{5, 2}, 5},
		{"bookworm-security bookworm bookworm-security", []int{5, 9, 3}, 3},
		{"bookworm bookworm-updates", []int{2, 5}, 5},
		{"bookworm bookworm-updates trixie!", []int{2, 5, 9}, 5},
		{"bookworm trixie-security!", []int{2, 9}, 2}, // of a few packages
		{"trixie! sid!", []int{2, 5}, 5},
	} {
		var rels []suiteState
		for _, d := range c.days {
			rels = append(rels, suiteState{releaseFile: releaseFile{Date: day.AddDate(0, 0, d)}})
		}
		if got := updated(suites(strings.Fields(c.suites)...), rels); !got.Equal(day.AddDate(0, 0, c.want)) {
			t.Errorf("%s of %v: %s", c.suites, c.days, got)
		}
	}
}

// The documentation of a package may lie under another package's name in the same file.
func TestAdvisoriesLinkedWithin(t *testing.T) {
	t.Parallel()
	n := newHarvested(t)
	tree := t.TempDir()
	docs := filepath.Join(tree, "usr/share/doc")
	write(t, filepath.Join(docs, "bb-common/changelog.gz"), gz(t, upload("bb", "2+deb12u1", "bookworm", "01 Jul 2020", "CVE-2020-0003")))
	if err := os.Symlink("bb-common", filepath.Join(docs, "bb")); err != nil {
		t.Fatal(err)
	}
	n.pkgs["bb"] = pkg{name: "bb", version: "2+deb12u1", tree: tree}
	// A link that leads out of the documentation is not followed.
	away := t.TempDir()
	if err := os.MkdirAll(filepath.Join(away, "usr/share/doc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../bb-common", filepath.Join(away, "usr/share/doc/cc")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(away, "bb-common/changelog.gz"), gz(t, upload("cc", "1", "bookworm", "01 Jul 2020", "CVE-2020-0004")))
	n.pkgs["cc"] = pkg{name: "cc", version: "1", tree: away}
	n.img.Packages.Include = append(n.img.Packages.Include, "cc")
	n.publishAll(day)
	if a := n.read(n.locked()); facts(a) != bothFacts+", bb CVE-2020-0003 2+deb12u1" || !slices.Equal(a.Known, []string{"aa", "bb"}) || !slices.Equal(a.Missing, []string{"cc"}) {
		t.Errorf("%+v", a)
	}
	if got := n.warnings(); len(got) != 1 || got[0] != "the advisories of debian 12 lack 1 of 3 sources (cc)" {
		t.Errorf("%q", got)
	}
}

func TestShelfDamaged(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(b []byte) []byte{
		"cut":      func(b []byte) []byte { return b[:len(b)-1] },
		"flipped":  func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"empty":    func(b []byte) []byte { return nil },
		"replaced": func(b []byte) []byte { return []byte("sha256:" + strings.Repeat("0", 64) + "\ntext") },
		"no text":  func(b []byte) []byte { return []byte(factory.DigestOf(nil) + "\n") },
	} {
		c, p := shelf{t.TempDir()}, factory.Package{SHA256: factory.DigestOf([]byte("deb"))}
		if err := c.put(p, []byte("text")); err != nil || string(c.first([]factory.Package{{}, p})) != "text" {
			t.Fatal(err)
		}
		b, err := os.ReadFile(c.file(p))
		if err != nil {
			t.Fatal(err)
		}
		write(t, c.file(p), damage(b))
		if got := c.first([]factory.Package{p}); got != nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// What is damaged in the cache is fetched again, and is whole from then on.
func TestAdvisoriesCacheDamaged(t *testing.T) {
	t.Parallel()
	n := newHarvested(t)
	l := n.locked()
	n.read(l)
	files, err := filepath.Glob(filepath.Join(n.s.Cache, "changelogs", "*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.Truncate(f, 100); err != nil {
			t.Fatal(err)
		}
	}
	n.hits = nil
	if a := n.read(l); facts(a) != bothFacts || len(n.fetched()) < 2 {
		t.Errorf("%+v after %q", a, n.fetched())
	}
	n.hits = nil
	if a := n.read(l); facts(a) != bothFacts || len(n.fetched()) != 0 {
		t.Errorf("not mended: %q", n.fetched())
	}
}
