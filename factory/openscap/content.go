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

//go:embed extended_debian.txt
var extendedDebian string

// content is what there is for one release of a distribution.
type content struct {
	file     string    // in contentDir; empty = none exists
	profiles [2]string // of CIS level 1 and 2
	extended string    // the extended set's list
}

var debianProfiles = [2]string{"xccdf_org.ssgproject.content_profile_cis_level1_server", "xccdf_org.ssgproject.content_profile_cis_level2_server"}

// contents is by family and release. A release without a file is one that is known to have no content.
var contents = map[string]content{
	"debian 12": {file: "ssg-debian12-ds.xml", profiles: debianProfiles, extended: extendedDebian},
	"debian 13": {file: "ssg-debian13-ds.xml", profiles: debianProfiles, extended: extendedDebian},
	"amazon 2":  {}, // the guide's alinux2 is another product, and says of everything here that it does not apply
}

func contentFor(d factory.Distro) (content, error) {
	c := contents[d.Family+" "+d.Release]
	if c.file == "" {
		return c, &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("no SCAP content exists for %.40s %.20s", d.Family, d.Release),
			Hint: "an image of this release cannot be proven; a release that has content is a line in factory/openscap/content.go"}
	}
	return c, nil
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

// views are the two requests that prove an image.
func (c content) views(img factory.Image) []request {
	base := request{Content: contentDir + c.file, Target: factory.TargetMount, Path: rootPath(img), Corrections: []string{"proc", "mtab", "device"}}
	asContainer, asMachine := base, base
	asContainer.View = factory.ContainerView
	for i, profile := range c.profiles {
		// The one that takes longest begins first.
		asContainer.Evaluations = slices.Insert(asContainer.Evaluations, 0, evaluation{Name: levelName(i + 1), Profile: profile, Report: true, level: i + 1})
	}
	asMachine.View = factory.ExtendedView
	asMachine.Evaluations = []evaluation{{Name: levelName(2), Profile: c.profiles[1], Rules: qualified(c.rules()), Report: true, level: 2}}
	for _, r := range []*request{&asContainer, &asMachine} {
		canary := canaries[r.View]
		r.Plants = canary.plants
		r.Canary = evaluation{Name: "canary", Profile: c.profiles[1], Rules: qualified(canary.rules())}
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

// rootPath is the PATH that a process in the image has: rules about root's path look into its own environment.
func rootPath(img factory.Image) string {
	for _, e := range img.Config.Env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			return path
		}
	}
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

// method says what was changed so that a view measures.
func (c content) method(v viewed) []string {
	all := []string{
		"OpenSCAP ran beside a throwaway copy of the root filesystem (OSCAP_PROBE_ROOT), without network.",
		fmt.Sprintf("In a copy of the content, the device pattern ^/dev/.*$ also admits %s (in %d places), where a build's root filesystem is: without that no file is walked, and the rules pass.",
			strings.Join(v.report.Devices, " and "), v.report.Widened),
		fmt.Sprintf("Remediations and references to standards other than CIS (%d elements) are left out of that copy; no evaluation reads them.", v.report.LeftOut),
		"/proc of the root filesystem is a link to the build step's procfs and the toolbox's /etc/mtab to its mounts, so that the probes find partitions, local filesystems and the environment.",
	}
	if v.view == factory.ContainerView {
		all = append(all, "Container view: the marker /run/.containerenv says what the root filesystem will be.")
	} else {
		text := fmt.Sprintf("Extended view: a stanza for linux-base in the copy's package database stands for a kernel; of CIS level 2 only the extended set is evaluated, %d rules about plain files that the content otherwise applies only where there is a kernel.", len(c.rules()))
		if len(v.report.Missing) > 0 {
			text += " This content does not have " + strings.Join(v.report.Missing, ", ") + " of them."
		}
		all = append(all, text)
	}
	return append(all, fmt.Sprintf("Canaries of the %s view: after its evaluations, faults were planted in the same copy; %s had to fail.", v.view, strings.Join(v.canaries, ", ")))
}
