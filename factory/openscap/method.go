package openscap

import (
	"fmt"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// method says what was changed so that a view measures.
func (c content) method(v viewed) []string {
	all := []string{
		"OpenSCAP ran beside a throwaway copy of the root filesystem (OSCAP_PROBE_ROOT), without network.",
		fmt.Sprintf("In a copy of the content, the device pattern ^/dev/.*$ also admits %s, wherever it stands, where a build's root filesystem is: without that no file is walked, and the rules pass.",
			strings.Join(v.report.Devices, " and ")),
		fmt.Sprintf("Left out of that copy is what no evaluation here reads (%d elements): remediations, references to standards other than CIS, questions to people, and profiles, rules and checks that are not evaluated; the extended set and the canaries have a copy with their rules alone.", v.from.leftOut),
		"/proc of the root filesystem is a link to the build step's procfs and the toolbox's /etc/mtab to its mounts, so that the probes find partitions, local filesystems and the environment.",
	}
	if v.report.Links > 0 {
		all = append(all, fmt.Sprintf("Absolute links of the root filesystem, and such as climb above it (%d), are made relative: OpenSCAP would follow them in the toolbox, not find the file, and pass rules about what it must not say.", v.report.Links))
	}
	if n := len(v.report.Dangling); n > 0 {
		all = append(all, fmt.Sprintf("Conflicts with rules that the content does not have (%d: %s) are left out of that copy: OpenSCAP ends with an assertion at such a one.", n, strings.Join(v.report.Dangling, ", ")))
	}
	if v.view == factory.ContainerView {
		all = append(all, "Container view: the marker /run/.containerenv says what the root filesystem will be.")
		if n := len(v.from.same); n > 0 {
			text := fmt.Sprintf("Level 1 was not evaluated a second time: level 2 has %d of its rules too, with the same values, and their results are taken from there", n)
			if own := unqualified(v.from.own); len(own) > 0 {
				text += fmt.Sprintf("; the others (%d) were evaluated by themselves: %s", len(own), strings.Join(own, ", "))
			}
			all = append(all, text+".")
		}
	} else {
		text := fmt.Sprintf("Extended view: %s for %s in the copy's package database stands for a kernel; of CIS level 2 only the extended set is evaluated, %d rules about plain files that the content otherwise applies only where there is a kernel.", c.system.entry, c.kernel, len(c.rules()))
		if len(v.report.Missing) > 0 {
			text += " This content does not have " + strings.Join(v.report.Missing, ", ") + " of them."
		}
		all = append(all, text)
	}
	return append(all, fmt.Sprintf("Canaries of the %s view: after its evaluations, faults were planted in the same copy; %s had to fail.", v.view, strings.Join(v.canaries, ", ")))
}
