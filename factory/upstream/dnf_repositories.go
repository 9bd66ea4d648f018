package upstream

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

var (
	rpmName    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)
	streamName = regexp.MustCompile(`^[A-Za-z0-9._+-]+:[A-Za-z0-9._+-]+$`)
	folderPath = regexp.MustCompile(`^[A-Za-z0-9._+~^=-]+(/[A-Za-z0-9._+~^=-]+)*$`)
)

// yum is one RPM repository of an archive, as one platform sees it.
type yum struct {
	factory.Archive
	platform factory.Platform
	vars     *strings.Replacer
	root     string // the archive's URL, no trailing slash
	folder   string // of the repository below root; empty until the mirror list was asked
}

func (y yum) String() string { return y.ID + " " + y.Suite }

// id is what dnf calls the repository.
func (y yum) id() string { return y.ID + "-" + y.Suite }

func (y yum) url() string { return y.root + "/" + y.folder }

// release returns the URL of the file that stands for the repository's whole state.
func (y yum) release() string { return y.url() + "/" + repomdFile }

const repomdFile = "repodata/repomd.xml"

// platformIDs is what modules call a release, by family.
var platformIDs = map[string]string{factory.RedHat: "platform:el", factory.Amazon: "platform:al"}

// yums joins a definition's archives with their URLs, for every platform. It checks everything that dnf is told.
func yums(img factory.Image, urls map[string]string) ([]yum, error) {
	bad := func(format string, args ...any) ([]yum, error) {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: img.Name + ": " + fmt.Sprintf(format, args...), Where: img.Where}
	}
	if !fileName.MatchString(img.Distro.Version()) {
		return bad("%.80q cannot stand for $releasever", img.Distro.Version())
	}
	for _, name := range slices.Concat(img.Packages.Include, img.Packages.Exclude) {
		if !rpmName.MatchString(name) {
			return bad("%.80q is not the name of a package", name)
		}
	}
	for _, m := range img.Packages.Modules {
		if !streamName.MatchString(m) {
			return bad("%.80q is not a module and its stream, as in nodejs:20", m)
		}
	}
	var all []yum
	for _, p := range img.Platforms {
		vars := strings.NewReplacer("$releasever", img.Distro.Version(), "$basearch", p.Machine(), "${releasever}", img.Distro.Version(), "${basearch}", p.Machine())
		for i, a := range img.Archives {
			if slices.ContainsFunc(img.Archives[:i], func(b factory.Archive) bool { return b.ID == a.ID && b.Suite == a.Suite }) {
				return bad("repository %s %s is there twice", a.ID, a.Suite)
			}
			root, err := archiveURL(a.ID, urls[a.ID])
			if err != nil {
				return nil, err
			}
			y := yum{Archive: a, platform: p, vars: vars, root: root, folder: vars.Replace(a.Path)}
			if what := y.wrong(); what != "" {
				return bad("archive %s: %s", y, what)
			}
			all = append(all, y)
		}
	}
	if len(all) == 0 {
		return bad("no archives or no platforms to lock")
	}
	return all, nil
}

// wrong says what cannot be as the definition has it; empty = nothing.
func (y yum) wrong() string {
	file := y.vars.Replace(y.MirrorList)
	switch {
	case !fileName.MatchString(y.Suite):
		return fmt.Sprintf("%.80q is not the name of a repository", y.Suite)
	case (y.Path == "") == (y.MirrorList == ""):
		return "it needs either a path or a mirror list"
	case y.Path != "" && !below(y.folder):
		return fmt.Sprintf("%.120q is not a folder below the archive", y.Path)
	case y.MirrorList != "" && !below(file):
		return fmt.Sprintf("%.120q is not a file below the archive", y.MirrorList)
	case slices.ContainsFunc(y.Only, func(n string) bool { return !rpmName.MatchString(n) }):
		return fmt.Sprintf("%.120q are not names of packages", y.Only)
	}
	return ""
}

// below reports whether a path, without variables, stays below where it begins.
func below(p string) bool {
	return folderPath.MatchString(p) && path.Clean(p) == p && p != "." && p != ".." && !strings.HasPrefix(p, "../")
}
