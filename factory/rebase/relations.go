package rebase

import (
	"fmt"
	"slices"
	"strings"

	deb "github.com/knqyf263/go-deb-version"

	"github.com/imagefactory/imagefactory/factory"
)

// debian is one package of dpkg's database.
type debian struct {
	name, arch, version string
	provides            []relation
	depends             [][]relation // each one of some
	breaks              []relation
	raw                 map[string]string
}

// relation is a package, and which versions of it: "libc6 (>= 2.34)".
type relation struct{ name, op, version string }

func (r relation) String() string {
	if r.op == "" {
		return r.name
	}
	return fmt.Sprintf("%s (%s %s)", r.name, r.op, r.version)
}

// relations wants what the image's own packages depend on, and nothing that breaks another. The fields of dpkg's database say so; of an
// rpm database the files rule says whether the image touches it at all.
func (j *judge) relations() {
	if j.Format != factory.Deb {
		if j.touchesDatabase() {
			j.say(RuleRelations, []string{"its own layers install packages, and an rpm database cannot be merged"}, "")
		}
		return
	}
	own, touched := j.own[statusFile]
	if !touched || own.Kind != factory.PlainFile {
		j.ownPackages(nil, nil)
		return
	}
	status := own.Data
	for _, m := range j.merged {
		if m.Path == statusFile {
			status = m.Data
		}
	}
	was, is := readStatus(own.Data), readStatus(status)
	base := map[string]bool{}
	for _, p := range readStatus(j.old[statusFile].Data) {
		base[p.name+":"+p.arch] = true
	}
	var wrong []string
	mine := 0
	for _, p := range is {
		if !base[p.name+":"+p.arch] {
			mine++
		}
		wrong = append(wrong, unmet(p, was, is)...)
	}
	j.say(RuleRelations, wrong, "%s of its own, with everything that they depend on", count(mine, "package"))
	j.ownPackages(is, base)
}

func (j *judge) touchesDatabase() bool {
	for p := range j.own {
		if isDatabase(p) {
			return true
		}
	}
	return false
}

// ownPackages holds the database against the lock that the image will have, where there is one.
func (j *judge) ownPackages(installed []debian, _ map[string]bool) {
	if j.OwnPackages == nil {
		return
	}
	want, clash := Packages(j.OldPackages, j.NewPackages, j.OwnPackages)
	var wrong []string
	if clash != "" {
		wrong = append(wrong, clash)
	}
	if installed != nil {
		have := map[string]string{}
		for _, p := range installed {
			have[p.name+":"+p.arch] = p.version
		}
		for _, p := range want {
			key := p.Name + ":" + p.Arch
			if have[key] != p.Version {
				wrong = append(wrong, fmt.Sprintf("%s would be in the lock as %s and in the database as %s", key, p.Version, name(have[key])))
			}
			delete(have, key)
		}
		for key, version := range have {
			wrong = append(wrong, fmt.Sprintf("%s %s would be in the database and not in the lock", key, version))
		}
	} else if len(want) != len(j.NewPackages) {
		wrong = append(wrong, "its lock has packages of its own, and its layers say nothing of them")
	}
	if len(wrong) > 0 {
		j.say(RuleRelations, wrong, "")
	}
}

// Packages are those of an image after a rebase: the new base's, and the image's own. It says which package both would bring.
func Packages(was, is, own []factory.Package) (merged []factory.Package, clash string) {
	key := func(p factory.Package) string { return p.Name + ":" + p.Arch }
	before, after := map[string]bool{}, map[string]factory.Package{}
	for _, p := range was {
		before[key(p)] = true
	}
	for _, p := range is {
		after[key(p)] = p
	}
	merged = slices.Clone(is)
	for _, p := range own {
		switch other, both := after[key(p)]; {
		case before[key(p)]:
		case !both:
			merged = append(merged, p)
		case other.Version != p.Version:
			clash = fmt.Sprintf("the image brings %s %s itself, the new base has %s", p.Name, p.Version, other.Version)
		}
	}
	slices.SortFunc(merged, func(a, b factory.Package) int { return strings.Compare(a.Name+"\x00"+a.Arch, b.Name+"\x00"+b.Arch) })
	return merged, clash
}

// readStatus reads the installed packages of dpkg's database.
func readStatus(b []byte) (all []debian) {
	for _, r := range splitParagraphs(b, nil) {
		f := parseFields(r.text)
		if state := strings.Fields(f["status"]); len(state) < 3 || state[2] != "installed" {
			continue
		}
		p := debian{name: f["package"], arch: f["architecture"], version: f["version"], raw: f}
		p.provides = slices.Concat(parseRelations(f["provides"])...)
		p.depends = append(parseRelations(f["depends"]), parseRelations(f["pre-depends"])...)
		p.breaks = slices.Concat(append(parseRelations(f["breaks"]), parseRelations(f["conflicts"])...)...)
		all = append(all, p)
	}
	return all
}

// parseRelations reads "a (>= 1) | b, c": all of them, each one of some. Architectures and build profiles are left out.
func parseRelations(s string) (all [][]relation) {
	for part := range strings.SplitSeq(s, ",") {
		var some []relation
		for text := range strings.SplitSeq(part, "|") {
			text, _, _ = strings.Cut(strings.TrimSpace(text), "[")
			pkg, rest, limited := strings.Cut(text, "(")
			r := relation{name: strings.TrimSpace(pkg)}
			r.name, _, _ = strings.Cut(r.name, ":")
			if limited {
				rest, _, _ = strings.Cut(rest, ")")
				words := strings.Fields(strings.NewReplacer("<<", "<< ", ">>", ">> ", "<=", "<= ", ">=", ">= ").Replace(rest))
				if len(words) == 2 {
					r.op, r.version = words[0], words[1]
				}
			}
			if r.name != "" {
				some = append(some, r)
			}
		}
		if len(some) > 0 {
			all = append(all, some)
		}
	}
	return all
}

// unmet says what of a package's wishes holds no more. What did not hold before either was accepted by whoever built the image.
func unmet(p debian, was, is []debian) (wrong []string) {
	for _, some := range p.depends {
		ok := func(all []debian) bool {
			return slices.ContainsFunc(some, func(r relation) bool { return met(r, all, debian{}) })
		}
		if !ok(is) && (ok(was) || !slices.ContainsFunc(was, func(o debian) bool { return o.name == p.name && o.version == p.version })) {
			wrong = append(wrong, fmt.Sprintf("%s %s depends on %s", p.name, p.version, alternatives(some)))
		}
	}
	for _, r := range p.breaks {
		if met(r, is, p) && !met(r, was, p) {
			wrong = append(wrong, fmt.Sprintf("%s %s does not work with %s", p.name, p.version, r))
		}
	}
	return wrong
}

func alternatives(some []relation) string {
	var all []string
	for _, r := range some {
		all = append(all, r.String())
	}
	return strings.Join(all, " or ")
}

// met reports whether a package, but for one, is or provides what a relation names.
func met(r relation, all []debian, but debian) bool {
	return slices.ContainsFunc(all, func(p debian) bool {
		if p.name == but.name && p.name != "" {
			return false
		}
		return p.name == r.name && holds(p.version, r.op, r.version) || slices.ContainsFunc(p.provides, func(v relation) bool {
			return v.name == r.name && (r.op == "" || v.op == "=" && holds(v.version, r.op, r.version))
		})
	})
}

// holds compares versions as dpkg does. What cannot be compared does not hold.
func holds(have, op, want string) bool {
	if op == "" {
		return true
	}
	a, errA := deb.NewVersion(have)
	b, errB := deb.NewVersion(want)
	if errA != nil || errB != nil {
		return have == want
	}
	switch op {
	case "=":
		return a.Equal(b)
	case ">=":
		return !a.LessThan(b)
	case "<=":
		return !a.GreaterThan(b)
	case ">>", ">":
		return a.GreaterThan(b)
	case "<<", "<":
		return a.LessThan(b)
	}
	return false
}
