package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestAdvisoriesFaults(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		arrange func(n *harvested)
		kind    error  // of the error; nil = there are advisories
		want    string // in the error, or the warning
		missing []string
	}{
		"one package gone": {func(n *harvested) { n.lose("debian/pool/main/bb") }, nil, "bb_2_amd64.deb: it is not there", []string{"bb"}},
		"one tampered": {func(n *harvested) { flip(n.t, n.archive, "pool/main/bb/bb_2_amd64.deb", 200) }, nil,
			"bb_2_amd64.deb: the file is not the one that was signed", []string{"bb"}},
		"one cut":      {func(n *harvested) { n.answer("bb_2_amd64.deb", cutOff) }, nil, "bb_2_amd64.deb: the archive does not answer", []string{"bb"}},
		"all gone":     {func(n *harvested) { n.lose("debian/pool") }, factory.ErrUnavailable, "advisories of debian 12: archive debian stable: pool/main/", nil},
		"down":         {func(n *harvested) { n.server.Close() }, factory.ErrUnavailable, "InRelease: the archive does not answer", nil},
		"release gone": {func(n *harvested) { n.lose("debian/dists/stable-security") }, factory.ErrUnavailable, "archive debian stable-security: InRelease: there is no such suite", nil},
		"wrong key": {func(n *harvested) { n.publish(suite{name: "stable", key: newKey(n.t)}) }, factory.ErrUnverified,
			"archive debian stable: InRelease: its signature does not hold", nil},
		"no archive":   {func(n *harvested) { n.s.Archives = nil }, factory.ErrInvalid, "nothing says where archive debian is", nil},
		"no runner":    {func(n *harvested) { n.s.Runner = scripted{err: factory.ErrBusy} }, factory.ErrBusy, "", nil},
		"no changelog": {func(n *harvested) { n.s.Runner = without{n.s.Runner, ".gz"} }, factory.ErrUnavailable, "no package has a changelog", nil},
		"no release":   {func(n *harvested) { n.s.Runner = without{n.s.Runner, "InRelease"} }, factory.ErrUnverified, "has no InRelease file", nil},
		"script ended": {func(n *harvested) {
			n.s.Runner = scripted{res: factory.StepResult{Exit: 127, Stderr: []byte("tar: not found")}}
		}, nil, "", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newHarvested(t)
			l := n.locked()
			c.arrange(n)
			all, err := n.s.Advisories(t.Context(), []LockedImage{l})
			if c.want == "" || c.kind != nil {
				if err == nil || !errors.Is(err, c.kind) && c.kind != nil || !strings.Contains(err.Error(), c.want) || all != nil {
					t.Errorf("got %v %v, want %v: %s", all, err, c.kind, c.want)
				}
				return
			}
			if err != nil || facts(all[0]) != bothFacts || !slices.Equal(all[0].Missing, c.missing) || all[0].Sources != 1 {
				t.Fatalf("%+v %v", all, err)
			}
			if got := n.warnings(); len(got) != 1 || !strings.Contains(got[0], "lack 1 of 2 sources (bb)") || !strings.Contains(got[0], c.want) {
				t.Errorf("%q, want %s", got, c.want)
			}
		})
	}
}

// without is a build service that loses the files that end so.
type without struct {
	Runner
	suffix string
}

func (r without) Run(ctx context.Context, s factory.Step) (factory.StepResult, error) {
	res, err := r.Runner.Run(ctx, s)
	for name := range res.Output {
		if strings.HasSuffix(name, r.suffix) {
			delete(res.Output, name)
		}
	}
	return res, err
}

// Where one package of a source cannot be had, another serves; an archive that is down is not asked for everything.
func TestAdvisoriesAskOn(t *testing.T) {
	t.Parallel()
	n := newHarvested(t)
	n.pkgs["lib-aa"] = pkg{name: "lib-aa", version: "1.0-1+deb12u2", source: "aa", changelog: n.pkgs["aa"].changelog, control: "Provides: x\n"}
	n.publishAll(day)
	l := n.locked()
	small := newestOfSources([]LockedImage{l})[0][0]
	n.answer(debName(small), status(404))
	if a := n.read(l); facts(a) != bothFacts || a.Missing != nil || len(n.warnings()) != 1 || !strings.Contains(n.warnings()[0], debName(small)) {
		t.Errorf("%+v %q", a, n.warnings())
	}

	n = newHarvested(t)
	for i := range 40 {
		name := fmt.Sprintf("p%d", i)
		n.pkgs[name] = pkg{name: name, version: "1"}
		n.img.Packages.Include = append(n.img.Packages.Include, name)
	}
	n.publishAll(day)
	l = n.locked()
	n.answer(".deb", status(503))
	if _, err := n.s.Advisories(t.Context(), []LockedImage{l}); !errors.Is(err, factory.ErrUnavailable) {
		t.Error(err)
	}
	different := n.fetched()
	if different = slices.Compact(different); len(different) > 12 {
		t.Errorf("a dead archive was asked for %d packages", len(different))
	}
}

func TestAdvisoriesCancelled(t *testing.T) {
	t.Parallel()
	n := newHarvested(t)
	l := n.locked()
	ctx, cancel := context.WithCancel(t.Context())
	n.answer(".deb", func(w http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	if all, err := n.s.Advisories(ctx, []LockedImage{l}); !errors.Is(err, context.Canceled) || all != nil {
		t.Errorf("%v %v", all, err)
	}
}

// A cache that cannot be written is no reason to have no advisories.
func TestAdvisoriesWithoutCache(t *testing.T) {
	t.Parallel()
	n := newHarvested(t)
	l := n.locked()
	n.s.Cache = ""
	if a := n.read(l); facts(a) != bothFacts || len(n.warnings()) > 0 {
		t.Errorf("%+v %q", a, n.warnings())
	}
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	n.s.Cache = file
	if a := n.read(l); facts(a) != bothFacts || len(n.warnings()) != 2 || !strings.Contains(n.warnings()[0], "must be fetched again") {
		t.Errorf("%+v %q", a, n.warnings())
	}
}

func TestShelfPrune(t *testing.T) {
	t.Parallel()
	c := shelf{t.TempDir()}
	var pkgs []factory.Package
	for i := range 5 {
		p := factory.Package{SHA256: factory.DigestOf([]byte{byte(i)})}
		pkgs = append(pkgs, p)
		if err := c.put(p, []byte("text")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(c.file(p), day, day.AddDate(0, 0, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(c.prune(5), c.prune(2)); err != nil {
		t.Fatal(err)
	}
	for i, p := range pkgs {
		if got := c.first([]factory.Package{p}) != nil; got != (i >= 3) {
			t.Errorf("%d kept: %v", i, got)
		}
	}
	if err := (shelf{}).prune(0); err != nil {
		t.Error(err)
	}
}

// What an upgrade's CVE ids were read from serves the advisories too.
func TestChangelogsAreShared(t *testing.T) {
	t.Parallel()
	n := newHarvested(t)
	old := n.locked().Lock
	n.offer("bb", "2+deb12u1", upload("bb", "2+deb12u1", "bookworm", "05 Aug 2020", "CVE-2020-0005"))
	n.publishAll(day.AddDate(0, 0, 1))
	lock, change := solve(t, n.s, Request{Image: n.img, Old: &old})
	if !slices.Equal(change.CVEs(), []string{"CVE-2020-0005"}) {
		t.Errorf("%+v", change)
	}
	n.hits = nil
	if a := n.read(LockedImage{n.img, lock}); !strings.HasSuffix(facts(a), "bb CVE-2020-0005 2+deb12u1") || slices.Contains(n.fetched(), "bb_2+deb12u1_amd64.deb") {
		t.Errorf("%+v after %q", a, n.fetched())
	}
}
