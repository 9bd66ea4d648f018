package upstream

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// overheard is a runner that notes which images apt-get was asked about, and how many steps there were.
type overheard struct {
	Runner
	mu    sync.Mutex
	steps int
	asked []string
}

func (r *overheard) Run(ctx context.Context, s factory.Step) (factory.StepResult, error) {
	res, err := r.Runner.Run(ctx, s)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps++
	for line := range strings.Lines(string(res.Stdout)) {
		if image, ok := strings.CutSuffix(line, ": asking apt-get\n"); ok {
			r.asked = append(r.asked, image)
		}
	}
	return res, err
}

func (a *archive) asked(suffix string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, path := range a.hits {
		if strings.HasSuffix(path, suffix) {
			n++
		}
	}
	return n
}

// many are images of two suites, with pins and faults of their own. gone is a suite that is not there.
func many() (reqs []Request) {
	put := func(name string, change func(*factory.Image), include ...string) {
		img := small(include...)
		img.Name = name
		change(&img)
		reqs = append(reqs, Request{Image: img, Definition: factory.DigestOf([]byte(name))})
	}
	same := func(*factory.Image) {}
	put("plain", same, "aa")
	put("missing", same, "aa", "nowhere")
	put("without", func(img *factory.Image) { img.Packages.Exclude = []string{"mail"} }, "aa")
	put("unmet", same, "bb", "cc")
	put("more", same, "aa", "bb")
	put("virtual", same, "needs-postman")
	put("whole", func(img *factory.Image) { img.Packages.Essential = true }, "aa")
	put("gone", func(img *factory.Image) { img.Archives[0].Suite = "gone" }, "aa")
	put("odd", func(img *factory.Image) { img.Keyring = "../test.gpg" }, "aa")
	put("other", func(img *factory.Image) { img.Archives[0].Suite = "testing" }, "aa")
	put("foreign", func(img *factory.Image) {
		img.Platforms = append(img.Platforms, factory.Platform{OS: "linux", Architecture: "arm64"})
	}, "bb")
	return reqs
}

// Many images get what each of them gets alone, and their archives are read once.
func TestSolveAll(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	a.publish(suite{name: "stable", arches: []string{"amd64", "arm64"}, pkgs: []pkg{
		{name: "aa", version: "1:1.0", control: "Depends: mail | other\n"}, {name: "mail", version: "1", control: "Provides: postman\n"}, {name: "other", version: "1"},
		{name: "bb", version: "1"}, {name: "cc", version: "1", control: "Depends: gone\n"}, {name: "post", version: "1", control: "Provides: postman\n"},
		{name: "needs-postman", version: "1", control: "Depends: postman\n"}, {name: "init", version: "1", control: "Essential: yes\n"}, {name: "apt", version: "1"}}})
	a.publish(suite{name: "testing", pkgs: []pkg{{name: "aa", version: "2"}}})
	reqs, ears := many(), &overheard{Runner: testRunner}
	s := a.solver()
	s.Runner = ears
	together := s.SolveAll(t.Context(), reqs)
	if n := a.asked("dists/stable/InRelease"); ears.steps != 5 || n != 3 { // gone, other; of stable: with what is essential, with a second platform, and all others
		t.Errorf("%d steps, and the archive was asked %d times", ears.steps, n)
	}
	for i, req := range reqs {
		lock, change, err := a.solver().Solve(t.Context(), req)
		one := together[i]
		if fmt.Sprint(err) != fmt.Sprint(one.Err) || !errors.Is(err, kindOf(one.Err)) {
			t.Errorf("%s: %v, and alone %v", req.Image.Name, one.Err, err)
		}
		b1, _ := one.Lock.Encode()
		if b2, _ := lock.Encode(); string(b1) != string(b2) || fmt.Sprint(change) != fmt.Sprint(one.Change) {
			t.Errorf("%s: together\n%s %+v\nalone\n%s %+v", req.Image.Name, b1, one.Change, b2, change)
		}
	}
	for name, want := range map[string]string{"missing": "package nowhere, which is in none", "unmet": "cc : Depends: gone", "gone": "archive debian gone: InRelease", "odd": "is not the name of a keyring"} {
		i := slices.IndexFunc(reqs, func(r Request) bool { return r.Image.Name == name })
		if err := together[i].Err; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if got := names(together[2].Lock.Platforms[0].Packages); got != "aa=1:1.0/amd64 other=1/amd64" {
		t.Errorf("what one image rules out: %s", got)
	}
}

func kindOf(err error) error {
	if p, ok := errors.AsType[*factory.Problem](err); ok {
		return p.Kind
	}
	return nil
}

// What goes well goes without apt-get; what does not is apt-get's, and what it says is told.
func TestWhoDecides(t *testing.T) {
	t.Parallel()
	if exec.Command("/usr/bin/python3", "-s", "-c", "import apt_pkg").Run() != nil {
		t.Skip("there is no python3-apt")
	}
	a := newArchive(t)
	a.publish(suite{name: "stable", pkgs: []pkg{
		{name: "aa", version: "1", control: "Depends: one | two\n"}, {name: "bb", version: "1", control: "Depends: two | one\n"},
		{name: "one", version: "1"}, {name: "two", version: "1", control: "Provides: three\n"}, {name: "cc", version: "1", control: "Depends: three\n"},
		{name: "dd", version: "1", control: "Conflicts: one\n"}}})
	cases := []struct {
		include []string
		asked   bool
		want    string
	}{
		{[]string{"one", "two"}, false, "one=1/amd64 two=1/amd64"},
		{[]string{"aa"}, false, "aa=1/amd64 one=1/amd64"},
		{[]string{"cc"}, false, "cc=1/amd64 two=1/amd64"},
		{[]string{"aa", "bb"}, true, ""}, // whoever is first decides for both
		{[]string{"aa", "dd"}, true, ""}, // what is marked first is in the way
		{[]string{"aa", "zz"}, true, "!"},
	}
	for _, c := range cases {
		ears := &overheard{Runner: testRunner}
		s := a.solver()
		s.Runner = ears
		lock, _, err := s.Solve(t.Context(), Request{Image: small(c.include...)})
		if (err != nil) != (c.want == "!") || (len(ears.asked) > 0) != c.asked {
			t.Errorf("%s: apt-get was asked of %q, %v", c.include, ears.asked, err)
		}
		if err == nil && c.want != "" && names(lock.Platforms[0].Packages) != c.want {
			t.Errorf("%s: %s", c.include, names(lock.Platforms[0].Packages))
		}
	}
}

func TestSolveAllWithoutABuildService(t *testing.T) {
	t.Parallel()
	s := Solver{Runner: scripted{err: errors.New("build service is down")}, Archives: map[string]string{"debian": "http://archive.invalid/debian"}}
	for i, one := range s.SolveAll(t.Context(), many()) {
		if one.Err == nil || len(one.Lock.Platforms) > 0 {
			t.Errorf("%d: %+v", i, one)
		}
	}
	if len(s.SolveAll(t.Context(), nil)) > 0 {
		t.Error("solutions of nothing")
	}
}
