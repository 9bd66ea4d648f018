package rebase

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// The rules, in the order in which they are told.
const (
	RuleSeries       = "series"       // one image, one release series of its distribution
	RulePlatforms    = "platforms"    // every platform of the image is in both bases
	RuleLayers       = "layers"       // the image's lowest layers are exactly the old base's
	RulePackages     = "packages"     // no package is missing that only the old base had
	RuleRelations    = "relations"    // what the image's own packages depend on is there, in a version that they accept
	RuleFiles        = "files"        // the image's own layers hide nothing of the base that changed
	RuleDatabase     = "database"     // the package database can be made to tell the truth
	RuleLibraries    = "libraries"    // every library that the image's own programs had is there
	RuleVersions     = "versions"     // and defines the symbol versions that they want
	RuleInterpreters = "interpreters" // and so is what starts them, and the Python and Perl that its modules were installed for
)

// Platform is one platform of an image and of the two bases, with what their layers hold.
type Platform struct {
	Platform factory.Platform
	Format   factory.Format
	Old, New []factory.Content // of the bases, lowest first
	Own      []factory.Content // of the image, above the old base
	// OldPackages and NewPackages are the bases' locks. OwnPackages is the image's whole lock; nil when nobody knows it.
	OldPackages, NewPackages, OwnPackages []factory.Package
}

// Merged is a file that must be laid over the image's own layers.
type Merged struct {
	factory.LayerFile
	Why string
}

// judge collects what the rules say of one platform.
type judge struct {
	Platform
	old, new      view // the bases alone
	before, after view // the bases with the image's own layers
	own           view // what the image's own layers have; what they take away is in it as a whiteout
	hidden        map[string]bool
	checks        []factory.RebaseCheck
	merged        []Merged
}

// Check holds every rule about content against one platform. The merged files come in the order of a layer, and mean nothing when a
// check is not OK.
func Check(p Platform) ([]factory.RebaseCheck, []Merged) {
	j := &judge{Platform: p, old: stack(p.Old), new: stack(p.New), before: stack(p.Old, p.Own), after: stack(p.New, p.Own)}
	j.lookAtOwn()
	j.packages()
	j.files()
	j.relations()
	j.libraries()
	j.interpreters()
	return j.checks, j.merged
}

// OK reports whether every check holds.
func OK(checks []factory.RebaseCheck) bool {
	return !slices.ContainsFunc(checks, func(c factory.RebaseCheck) bool { return !c.OK })
}

// say adds a check: what is wrong, some of it, or what was looked at.
func (j *judge) say(rule string, wrong []string, fine string, args ...any) {
	c := factory.RebaseCheck{Rule: rule, Platform: j.Platform.Platform, OK: len(wrong) == 0, Text: fmt.Sprintf(fine, args...)}
	if !c.OK {
		slices.Sort(wrong)
		c.Text = some(slices.Compact(wrong))
	}
	j.checks = append(j.checks, c)
}

// some lists the first few.
func some(all []string) string {
	const most = 12
	if more := len(all) - most; more > 0 {
		all = append(slices.Clone(all[:most]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, "; ")
}

// count writes "1 file", "2 files".
func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// lookAtOwn lays the image's own layers on each other and keeps what they take away.
func (j *judge) lookAtOwn() {
	j.own, j.hidden = stack(j.Platform.Own), map[string]bool{}
	for _, l := range j.Platform.Own {
		for _, f := range l.Files {
			if _, back := j.own[f.Path]; f.Kind == factory.Whiteout && !back {
				j.own[f.Path] = f
			}
			if f.Kind == factory.Emptied {
				j.hidden[parent(f.Path)] = true
			}
		}
	}
}

// packages wants everything that the old base had and the image does not bring itself.
func (j *judge) packages() {
	key := func(p factory.Package) string { return p.Name }
	has := map[string]bool{}
	for _, p := range j.NewPackages {
		has[key(p)] = true
	}
	var wrong []string
	for _, p := range j.OldPackages {
		if !has[key(p)] {
			wrong = append(wrong, fmt.Sprintf("package %s %s is in the old base and not in the new one", p.Name, p.Version))
		}
	}
	if len(j.NewPackages) == 0 || len(j.OldPackages) == 0 {
		wrong = append(wrong, "nobody knows the packages of a base")
	}
	changed := factory.Lock{Platforms: []factory.LockedPlatform{{Packages: j.NewPackages}}}.Since(&factory.Lock{Platforms: []factory.LockedPlatform{{Packages: j.OldPackages}}})
	j.say(RulePackages, wrong, "all %s of the old base are in the new one, %d of them changed", count(len(j.OldPackages), "package"), len(changed.Packages))
}

// interpreters wants the program that starts a program, and the language that a module is written in, where they were there.
func (j *judge) interpreters() {
	var wrong []string
	programs := 0
	for _, p := range j.own.sorted() {
		f := j.own[p]
		if f.ELF == nil || f.ELF.Interpreter == "" {
			continue
		}
		programs++
		_, had := j.before.at(f.ELF.Interpreter)
		if _, has := j.after.at(f.ELF.Interpreter); had && !has {
			wrong = append(wrong, fmt.Sprintf("/%s is started by %s, which is not in the new base", p, f.ELF.Interpreter))
		}
	}
	old, modules := j.modules()
	fine := fmt.Sprintf("%s of its own", count(programs, "dynamically linked program"))
	if modules > 0 {
		fine += fmt.Sprintf(", and %s for Python and Perl", count(modules, "file"))
	}
	j.say(RuleInterpreters, append(wrong, old...), "%s", fine)
}

// Layers holds the lowest layers of an image against those of a base.
func Layers(p factory.Platform, image, base []factory.Digest) factory.RebaseCheck {
	c := factory.RebaseCheck{Rule: RuleLayers, Platform: p}
	shared := 0
	for shared < min(len(image), len(base)) && image[shared] == base[shared] {
		shared++
	}
	switch {
	case len(base) == 0:
		c.Text = "the old base has no layers"
	case shared == 0:
		c.Text = fmt.Sprintf("none of the old base's %s is in it: it was not built on that release, is only a part of it (only:), or was squashed", count(len(base), "layer"))
	case shared < len(base):
		c.Text = fmt.Sprintf("only %d of the old base's %s are the image's lowest: it was not built on that release, or its layers were changed or squashed", shared, count(len(base), "layer"))
	case len(image) == len(base):
		c.Text = "it has no layer of its own: it is that base, under another name perhaps"
	default:
		c.OK, c.Text = true, fmt.Sprintf("the %s of the old base are the image's lowest; %d above are its own", count(len(base), "layer"), len(image)-len(base))
	}
	return c
}

// Series wants one image and one series of its distribution: nothing else has the same interface.
func Series(oldImage, newImage string, was, is factory.Distro) factory.RebaseCheck {
	c := factory.RebaseCheck{Rule: RuleSeries, OK: true, Text: fmt.Sprintf("both bases are %s, of %s %s", newImage, is.Family, is.Release)}
	switch {
	case oldImage != newImage:
		c.OK, c.Text = false, fmt.Sprintf("it is built on %s, not on %s", cmp.Or(oldImage, "nothing that is known"), newImage)
	case was.Family != is.Family || was.Release != is.Release:
		c.OK, c.Text = false, fmt.Sprintf("the old base is %s %s, the new one %s %s", was.Family, was.Release, is.Family, is.Release)
	}
	return c
}
