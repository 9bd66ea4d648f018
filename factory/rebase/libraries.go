package rebase

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// library is a file that the loader finds under a name.
type library struct {
	dir string
	*factory.ELF
}

// libraries are those of a view by machine and name: the names of their files and links, and those that they give themselves.
func (v view) libraries() map[string][]library {
	all := map[string][]library{}
	add := func(name, dir string, e *factory.ELF) {
		key := e.Machine + " " + name
		if !slices.ContainsFunc(all[key], func(l library) bool { return l.dir == dir && l.ELF == e }) {
			all[key] = append(all[key], library{dir, e})
		}
	}
	for p, f := range v {
		if f.Kind == factory.SymLink && strings.Contains(path.Base(p), ".so") {
			to, _ := v.at(p)
			f.ELF = to.ELF
		}
		if f.ELF == nil || f.ELF.Broken != "" || f.ELF.Interpreter != "" && !strings.Contains(path.Base(p), ".so") {
			continue
		}
		add(path.Base(p), parent(p), f.ELF)
		if f.ELF.Soname != "" {
			add(f.ELF.Soname, parent(p), f.ELF)
		}
	}
	return all
}

// libraries wants every library that the image's own programs found in the old base in the same folder of the new one, with the symbol
// versions that they want of it. What they did not find before is none of a rebase's business.
func (j *judge) libraries() {
	before, after := j.before.libraries(), j.after.libraries()
	var missing, older []string
	programs, needs, versions := 0, map[string]bool{}, map[string]bool{}
	for _, p := range j.own.sorted() {
		e := j.own[p].ELF
		if e == nil {
			continue
		}
		if e.Broken != "" {
			if mode := j.own[p].Mode; mode&0o111 != 0 || strings.Contains(path.Base(p), ".so") {
				missing = append(missing, fmt.Sprintf("nobody can tell what /%s needs: %s", p, e.Broken))
			}
			continue
		}
		programs++
		for _, soname := range e.Needed {
			needs[soname] = true
			had, has := before[e.Machine+" "+path.Base(soname)], after[e.Machine+" "+path.Base(soname)]
			if len(had) > 0 && !found(had, has) {
				missing = append(missing, fmt.Sprintf("/%s needs %s, which is not in the new base", p, soname))
				continue
			}
			for _, version := range e.Wants[soname] {
				versions[soname+" "+version] = true
				if defines(had, version) && !defines(has, version) {
					older = append(older, fmt.Sprintf("/%s needs %s of %s, which the new base's does not define", p, version, soname))
				}
			}
		}
	}
	if programs > 0 {
		missing = append(missing, j.withdrawn(before, after)...)
	}
	j.say(RuleLibraries, missing, "%s of its own; each of %s that they need and had is there", count(programs, "ELF file"), count(len(needs), "library"))
	j.say(RuleVersions, older, "each of %s that they want and had is defined", count(len(versions), "symbol version"))
}

// public is a name that stands for an interface, in a folder where every program finds it.
var public = regexp.MustCompile(`^(?:usr/)?lib(?:64)?/(?:[^/]+-linux-gnu[^/]*/)?[^/]+\.so\.[^/]+$`)

// withdrawn are the old base's public libraries that are nowhere any more. What a program of the image's own loads by name while it runs
// (dlopen) nobody can see, so each may be what it needs.
func (j *judge) withdrawn(before, after map[string][]library) (missing []string) {
	for key, had := range before {
		for _, l := range had {
			soname := l.Soname
			if key == l.Machine+" "+soname && len(after[key]) == 0 && public.MatchString(l.dir+"/"+soname) {
				missing = append(missing, fmt.Sprintf("library %s is in the old base and not in the new one, and may be loaded by name", soname))
			}
		}
	}
	return missing
}

// found reports whether a library is where the loader found it before.
func found(had, has []library) bool {
	return slices.ContainsFunc(has, func(l library) bool {
		return slices.ContainsFunc(had, func(m library) bool { return m.dir == l.dir })
	})
}

// defines reports whether each of the libraries of a name defines a version: which one is loaded, the loader decides.
func defines(all []library, version string) bool {
	return len(all) > 0 && !slices.ContainsFunc(all, func(l library) bool { return !slices.Contains(l.Defines, version) })
}
