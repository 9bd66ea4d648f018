package definition

import (
	"slices"
	"strconv"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// checkParts finds what no single value shows and what is wrong whatever else an image is made of.
func (l *loader) checkParts(f imageFile) {
	l.checkArchives(f.Archives)
	l.checkFormat(f)
	p := f.Packages
	for _, e := range p.Exclude {
		if i := slices.IndexFunc(p.Include, func(t text) bool { return t.Value == e.Value }); i >= 0 {
			l.problems.add(e.At, "decide for one", "packages: %s is excluded here and included in %s", e.Value, p.Include[i].At)
		}
	}
	l.checkUsers(f.Users)
}

// checkImage finds what an image as a whole lacks.
func (l *loader) checkImage(f imageFile) {
	if p := f.Packages; !p.Essential && len(p.Include) == 0 && len(f.Only) == 0 {
		l.problems.add(p.Where, "set essential: true, or include packages", "packages: nothing is to be installed")
	}
	l.checkComplete(f)
	if f.Kind.Value == string(factory.KindBase) {
		l.checkBase(f)
	} else if f.Hardening.Where.Line > 0 {
		l.problems.add(f.Hardening.Where, "remove it", "hardening: a toolbox is never published, so it has no profile")
	}
}

func (l *loader) checkArchives(archives []archiveFile) {
	seen := map[[2]string]archiveFile{}
	for _, a := range archives {
		key := [2]string{a.ID.Value, a.Suite.Value}
		if first, twice := seen[key]; twice {
			l.problems.add(a.Where, "keep one of them", "archives: suite %s of %s is there twice, first in %s", a.Suite.Value, a.ID.Value, first.Where)
		}
		seen[key] = a
		if a.AllowExpired && len(a.Only) == 0 {
			l.problems.add(a.Where, "add only: with the packages that you need from it", "archives: allowExpired without only would take any old package")
		}
	}
}

func (l *loader) checkUsers(users []userFile) {
	names, ids := map[string]userFile{"root": {}}, map[int]userFile{65535: {}}
	for _, u := range users {
		if first, twice := names[u.Name.Value]; twice {
			hint := "choose another name"
			if first.Where.Line > 0 && first.Where.File != u.Where.File {
				hint = "remove it, the image has that account already; or choose another name"
			}
			l.problems.add(u.Name.At, hint, "users: the name %s is taken%s", u.Name.Value, by(first))
		}
		if first, twice := ids[u.UID.Value]; twice {
			l.problems.add(u.UID.At, "choose another id", "users: the uid %d is taken%s", u.UID.Value, by(first))
		}
		names[u.Name.Value], ids[u.UID.Value] = u, u
	}
}

func by(u userFile) string {
	if u.Where.Line == 0 {
		return " by the system"
	}
	return " in " + u.Where.String()
}

func (l *loader) checkBase(f imageFile) {
	if f.EndOfLife.Value == "" {
		l.problems.add(f.Where, "add endOfLife: with the last day of support, like 2026-11-23", "key \"endOfLife\" is missing")
	}
	if f.Config.User.Value == "" {
		at := f.Config.Where
		if at.Line == 0 {
			at = f.Where
		}
		l.problems.add(at, `add user: "65532:65532"`, "config: key \"user\" is missing, expected a user that is not root")
		return
	}
	if uid, _, _ := strings.Cut(f.Config.User.Value, ":"); uid == "0" {
		l.problems.add(f.Config.User.At, "name one of the users by its uid", "config.user: expected a user that is not root, found %s", f.Config.User.Value)
	}
}

// checkHardening looks the profile up, and returns the inputs that it brings.
func (l *loader) checkHardening(f imageFile) (inputs []string) {
	h := f.Hardening
	if h.Where.Line == 0 {
		return nil
	}
	p := l.profile(h.Profile.Value, h.Profile.At)
	if p == nil {
		return nil
	}
	seen := map[string]bool{}
	for _, e := range h.Exempt {
		id := e.Control.Value
		c, known := p.Control(id)
		switch {
		case !known:
			l.problems.add(e.Control.At, nearest(id, p.ids()), "hardening.exempt: profile %s has no control %s, expected one that it has", p.Name, id)
		case seen[id]:
			l.problems.add(e.Control.At, "keep one of them", "hardening.exempt: control %s is there twice", id)
		case !c.In(h.Scope.Value, f.Distro.Release.Value, h.Level.Value):
			l.problems.add(e.Control.At, "remove the exemption", "hardening.exempt: control %s (level %d, %s) has no effect here anyway", id, c.Level, strings.Join(c.Scope, " and "))
		}
		seen[id] = true
	}
	known := l.roleVars(*p)
	for _, v := range h.Vars {
		if reserved := "hardening_"; strings.HasPrefix(v.Key.Value, reserved) {
			l.problems.add(v.Key.At, "use level, scope and exempt", "hardening.vars: %s belongs to the factory, expected a variable of a role", v.Key.Value)
		} else if !slices.Contains(known, v.Key.Value) {
			l.problems.add(v.Key.At, nearest(v.Key.Value, known), "hardening.vars: no role of %s has the variable %s in its defaults", p.Name, v.Key.Value)
		}
	}
	return l.profileInputs(*p)
}

// checkTests finds what no single value of tests.yaml shows.
func (l *loader) checkTests(f testsFile) {
	names := map[string]text{}
	for _, c := range f.Commands {
		if first, twice := names[c.Name.Value]; twice && c.Name.Value != "" {
			l.problems.add(c.Name.At, "name what this one shows", "commands: %q is there twice, first in %s", c.Name.Value, first.At)
		}
		names[c.Name.Value] = c.Name
	}
	paths := map[string]text{}
	for _, t := range f.Files {
		if first, twice := paths[t.Path.Value]; twice && t.Path.Value != "" {
			l.problems.add(t.Path.At, "state it once", "files: %s is there twice, first in %s", t.Path.Value, first.At)
		}
		paths[t.Path.Value] = t.Path
		if rest := t.Type.Value + t.Mode.Value + t.Owner.Value + t.Contains.Value; t.Absent && rest != "" {
			l.problems.add(t.Where, "remove the rest, or absent", "files: %s cannot be absent and have a type, mode, owner or content", t.Path.Value)
		}
	}
	for _, a := range f.Packages.Absent {
		if i := slices.IndexFunc(f.Packages.Present, func(t text) bool { return t.Value == a.Value }); i >= 0 {
			l.problems.add(a.At, "decide for one", "packages: %s is absent here and present in line %s", a.Value, strconv.Itoa(f.Packages.Present[i].At.Line))
		}
	}
}
