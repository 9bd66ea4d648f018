package upstream

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// A part of a parent keeps what only: names and no more, and of its own packages all that they need.
func TestSolvePart(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	a.publish(suite{name: "stable", pkgs: []pkg{
		{name: "init", version: "1", control: "Essential: yes\n"}, {name: "apt", version: "2"},
		{name: "shell", version: "1", control: "Depends: lib-c\n"}, {name: "lib-c", version: "2"}, {name: "zones", version: "3", control: "Depends: shell\n"}, {name: "mail", version: "1"},
		{name: "py", version: "3", control: "Depends: lib-py, lib-c\n"}, {name: "lib-py", version: "3"},
		{name: "poster", version: "1", control: "Depends: other-mail | mail\n"}, {name: "other-mail", version: "1", control: "Conflicts: mail\n"},
	}})
	s := a.solver()
	s.Cache = t.TempDir()
	base := small("shell", "zones", "mail")
	base.Packages.Essential = true
	parent, _ := solve(t, s, Request{Image: base})
	part := func(only []string, include ...string) (Request, factory.Lock, factory.LockChange, error) {
		img := small(include...)
		img.Name, img.From, img.Only = "part", "small", only
		req := Request{Image: img, Definition: factory.DigestOf([]byte("part")), Parent: &parent}
		lock, change, err := s.SolvePart(t.Context(), req, base.Packages)
		return req, lock, change, err
	}
	req, lock, change, err := part([]string{"zones"}, "py")
	if got := names(lock.Platforms[0].Packages); err != nil || got != "lib-c=2/amd64 lib-py=3/amd64 py=3/amd64 zones=3/amd64" {
		t.Error(got, err)
	}
	if pin, _ := parent.Pin(); lock.Parent == nil || *lock.Parent != pin || !change.First || strings.Join(lock.Beyond(parent), " ") != "lib-py py" {
		t.Errorf("%+v %+v", lock, change)
	}
	req.Old = &lock
	if same, err := s.Current(t.Context(), req); err != nil || !same {
		t.Errorf("nothing moved, and a solver would be asked again: %v, %v", same, err)
	}
	// What the parent asks for decides, too: its whole lock counts, with the digest of its definition.
	for name, change := range map[string]func(l *factory.Lock){
		"another definition": func(l *factory.Lock) { l.Definition = factory.DigestOf([]byte("another")) },
		"another version":    func(l *factory.Lock) { l.Platforms[0].Packages[0].Version += "+1" },
		"one package less":   func(l *factory.Lock) { l.Platforms[0].Packages = l.Platforms[0].Packages[1:] },
		"another image":      func(l *factory.Lock) { l.Image = "another" },
	} {
		moved := parent
		moved.Platforms = []factory.LockedPlatform{parent.Platforms[0]}
		moved.Platforms[0].Packages = slices.Clone(parent.Platforms[0].Packages)
		change(&moved)
		asks := req
		asks.Parent = &moved
		if same, err := s.Current(t.Context(), asks); err != nil || same {
			t.Errorf("%s: a parent that changed was not noticed: %v", name, err)
		}
	}
	if again, change, err := s.SolvePart(t.Context(), req, base.Packages); err != nil || !change.Empty() || !again.SamePackages(lock) {
		t.Errorf("%+v, %v", change, err)
	}
	for name, c := range map[string]struct {
		only, include []string
		want          string
	}{
		"nobody's":                 {[]string{"zones", "py2"}, []string{"py"}, "only: small has no package py2 (the lock.json of small lists what it has; include: brings others)"},
		"not to be had":            {[]string{"zones"}, []string{"py4"}, "py4"},
		"another one in its place": {[]string{"zones"}, []string{"poster"}, "poster would bring other-mail, and small has another package in its place (name that one in packages.include: too)"},
	} {
		if _, _, _, err := part(c.only, c.include...); err == nil || !strings.Contains(err.Error(), c.want) || name == "nobody's" && !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, lock, _, err := part([]string{"zones"}, "poster", "mail"); err != nil || names(lock.Platforms[0].Packages) != "mail=1/amd64 poster=1/amd64 zones=3/amd64" {
		t.Errorf("%+v, %v", lock.Platforms, err)
	}
	// An archive that moves is noticed, and what it brings is locked.
	a.publish(suite{name: "stable", pkgs: []pkg{
		{name: "init", version: "1", control: "Essential: yes\n"}, {name: "apt", version: "2"},
		{name: "shell", version: "1", control: "Depends: lib-c\n"}, {name: "lib-c", version: "2"}, {name: "zones", version: "3", control: "Depends: shell\n"}, {name: "mail", version: "1"},
		{name: "py", version: "4", control: "Depends: lib-py, lib-c\n"}, {name: "lib-py", version: "3"},
	}})
	if same, err := s.Current(t.Context(), req); err != nil || same {
		t.Errorf("an archive that moved was not noticed: %v", err)
	}
	if lock, _, err := s.SolvePart(t.Context(), req, base.Packages); err != nil || names(lock.Platforms[0].Packages) != "lib-c=2/amd64 lib-py=3/amd64 py=4/amd64 zones=3/amd64" {
		t.Errorf("%+v, %v", lock.Platforms, err)
	}
}
