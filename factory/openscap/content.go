package openscap

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// prefix is what the content puts before every rule's name.
const prefix = "xccdf_org.ssgproject.content_rule_"

// contentDir is where the toolbox has the content.
const contentDir = "/usr/share/xml/scap/ssg/content/"

// The extended sets.
var (
	//go:embed extended_debian.txt
	extendedDebian string
	//go:embed extended_redhat.txt
	extendedRedHat string
	//go:embed extended_amazon.txt
	extendedAmazon string
)

// content is what there is for one release of a distribution.
type content struct {
	file     string    // in contentDir; empty = none exists
	profiles [2]string // of CIS level 1 and 2
	extended string    // the extended set's list
	system   *system
	kernel   string // the package that the content takes for a kernel
	none     string // why none exists, a sentence
}

var (
	debianProfiles = [2]string{"xccdf_org.ssgproject.content_profile_cis_level1_server", "xccdf_org.ssgproject.content_profile_cis_level2_server"}
	rpmProfiles    = [2]string{"xccdf_org.ssgproject.content_profile_cis_server_l1", "xccdf_org.ssgproject.content_profile_cis"}
)

// contents is by family and release. A release without a file is one that is known to have no content.
var contents = map[string]content{
	"debian 12":   {file: "ssg-debian12-ds.xml", profiles: debianProfiles, extended: extendedDebian, system: &debSystem, kernel: "linux-base"},
	"debian 13":   {file: "ssg-debian13-ds.xml", profiles: debianProfiles, extended: extendedDebian, system: &debSystem, kernel: "linux-base"},
	"redhat 9":    {file: "ssg-rhel9-ds.xml", profiles: rpmProfiles, extended: extendedRedHat, system: &rpmSystem, kernel: "kernel-core"},
	"amazon 2023": {file: "ssg-al2023-ds.xml", profiles: rpmProfiles, extended: extendedAmazon, system: &rpmSystem, kernel: "kernel"},
	"amazon 2": {none: "The SCAP Security Guide has no content for Amazon Linux 2: its alinux2 is another product, and says of everything here " +
		"that it does not apply."},
}

// contentFor returns what there is for a distribution. One that is known to have none has no file; one that is not known is ErrNotFound.
func contentFor(d factory.Distro) (content, error) {
	c, known := contents[d.Family+" "+d.Release]
	if !known {
		return c, unknown(d)
	}
	return c, nil
}

func unknown(d factory.Distro) error {
	return &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("no SCAP content exists for %.40s %.20s", d.Family, d.Release),
		Hint: "an image of this release cannot be proven; a release that has content is a line in factory/openscap/content.go"}
}

// rules are the extended set, sorted.
func (c content) rules() (ids []string) {
	for line := range strings.Lines(c.extended) {
		if f := strings.Fields(line); len(f) == 2 && f[0] != "#" {
			ids = append(ids, f[1])
		}
	}
	slices.Sort(ids)
	return ids
}

// The copies of the content that evaluations read: whole profiles need more than the extended set and the canaries.
const (
	wholeCopy = "whole"
	shortCopy = "short"
)

// views are the two requests that prove an image.
func (c content) views(img factory.Image, copies prepared) []request {
	base := request{Target: factory.TargetMount, Path: rootPath(img), Corrections: c.system.corrections, Packages: c.system.format, Kernel: c.kernel, from: copies}
	asContainer, asMachine := base, base
	asContainer.View = factory.ContainerView
	asContainer.Contents = []string{wholeCopy, shortCopy}
	// The one that takes longest begins first.
	asContainer.Evaluations = []evaluation{{Name: levelName(2), Content: wholeCopy, Profile: c.profiles[1], Report: true, level: 2}}
	if level1 := (evaluation{Name: levelName(1), Content: wholeCopy, Profile: c.profiles[0], Report: true, level: 1}); copies.same == nil {
		asContainer.Evaluations = append(asContainer.Evaluations, level1)
	} else if len(copies.own) > 0 {
		level1.Content, level1.Rules = shortCopy, copies.own
		asContainer.Evaluations = append(asContainer.Evaluations, level1)
	}
	asMachine.View = factory.ExtendedView
	asMachine.Contents = []string{shortCopy}
	asMachine.Evaluations = []evaluation{{Name: levelName(2), Content: shortCopy, Profile: c.profiles[1], Rules: qualified(c.rules()), Report: true, level: 2}}
	for _, r := range []*request{&asContainer, &asMachine} {
		r.expect = c.system.canaries[r.View]
		r.Plants = r.expect.plants
		r.Canary = evaluation{Name: "canary", Content: shortCopy, Profile: c.profiles[1], Rules: qualified(r.expect.rules())}
	}
	return []request{asContainer, asMachine}
}

func levelName(level int) string { return fmt.Sprintf("level%d", level) }

func qualified(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = prefix + id
	}
	return out
}

func unqualified(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = strings.TrimPrefix(id, prefix)
	}
	return out
}

// rootPath is the PATH that a process in the image has: rules about root's path look into its own environment.
func rootPath(img factory.Image) string {
	for _, e := range img.Config.Env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			return path
		}
	}
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}
