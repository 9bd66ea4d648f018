package upstream

import (
	"errors"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// A child's lock holds its parent's packages as they are, and is refused where it cannot.
func TestSolveChild(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	pkgs := []pkg{
		{name: "aa", version: "1", control: "Depends: mail | other\n"}, {name: "mail", version: "1"}, {name: "other", version: "1"},
		{name: "py", version: "3", control: "Depends: lib-py\nProvides: mail\n"}, {name: "lib-py", version: "3"},
		{name: "hermit", version: "1", control: "Conflicts: mail\n"},
	}
	a.publish(suite{name: "stable", pkgs: pkgs})
	s := a.solver()
	s.Cache = t.TempDir()
	parent, _ := solve(t, s, Request{Image: small("aa")})
	img := small("aa", "py")
	img.Name = "child"
	req := Request{Image: img, Definition: factory.DigestOf([]byte("child")), Parent: &parent}
	lock, change := solve(t, s, req)
	if got := names(lock.Platforms[0].Packages); got != "aa=1/amd64 lib-py=3/amd64 mail=1/amd64 py=3/amd64" {
		t.Error(got)
	}
	if pin, _ := parent.Pin(); lock.Parent == nil || *lock.Parent != pin || lock.Timestamp.Before(parent.Timestamp) || !change.First {
		t.Errorf("%+v %+v", lock, change)
	}
	req.Old = &lock
	if ok, err := s.Current(t.Context(), req); !ok || err != nil {
		t.Errorf("the lock that was just made is not current: %v", err)
	}
	moved := parent
	moved.Tools = map[string]factory.Digest{"toolbox": factory.DigestOf(nil)}
	for name, p := range map[string]*factory.Lock{"none": nil, "another": &moved} {
		req := req
		req.Parent = p
		if ok, err := s.Current(t.Context(), req); ok || err != nil {
			t.Errorf("%s: the lock is current with another parent: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		edit func(*factory.Image)
		kind error
		want string
	}{
		"without one": {func(i *factory.Image) { i.Packages.Exclude = []string{"mail"} }, factory.ErrInvalid, "child excludes mail, which small has (nothing of a parent can be left out"},
		"at odds":     {func(i *factory.Image) { i.Packages.Include = []string{"aa", "hermit"} }, factory.ErrInvalid, "hermit"},
	} {
		req := req
		c.edit(&req.Image)
		if _, _, err := s.Solve(t.Context(), req); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	pkgs[1].version = "2"
	a.publish(suite{name: "stable", date: day.AddDate(0, 0, 1), pkgs: pkgs})
	_, _, err := s.Solve(t.Context(), req)
	if !errors.Is(err, factory.ErrConflict) || !strings.Contains(err.Error(), "small has mail 1, and the archives offer 2 now: the packages of child would not be those of its parent (lock both: factory lock child)") {
		t.Error(err)
	}
	half := parent
	half.Platforms = []factory.LockedPlatform{{Platform: factory.Platform{OS: "linux", Architecture: "arm64"}}}
	req.Parent, req.Old = &half, nil
	if _, _, err := s.Solve(t.Context(), req); !errors.Is(err, factory.ErrConflict) {
		t.Error(err)
	}
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	p := factory.Package{Name: "aa", Version: "1", Arch: "amd64", SHA256: factory.DigestOf(nil)}
	q := p
	q.Name = "bb"
	amd := factory.Platform{OS: "linux", Architecture: "amd64"}
	parent := factory.Lock{Image: "small", Platforms: []factory.LockedPlatform{{Platform: amd, Packages: []factory.Package{p, q}}}}
	empty := factory.Lock{Platforms: []factory.LockedPlatform{{Platform: amd}}}
	err := Request{Image: factory.Image{Name: "child"}, Parent: &parent}.adopt(&empty)
	if err == nil || !strings.Contains(err.Error(), "small has aa 1, and the archives' solver leaves it out now, and 1 more") {
		t.Error(err)
	}
	if have := checked(Request{Parent: &parent, Old: &factory.Lock{}}); len(have) != 1 {
		t.Error(have)
	}
}
