package oci

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

const statusFile = "var/lib/dpkg/status"

// checkInstalled holds the root's package database to the lock: exactly the locked packages are installed, at their
// versions. A family whose database this package cannot read is not checked.
func checkInstalled(t *tree, s *spool, h factory.Hardened, platform factory.Platform) error {
	if h.Job.Image.Distro.Family != "debian" {
		return nil
	}
	status, err := content(t, s, statusFile)
	if err != nil {
		return err
	}
	found := parseStatus(status)
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, p := range h.Lock.For(platform) {
		key := p.Name + ":" + p.Arch
		is, there := found[key]
		delete(found, key)
		switch {
		case !there || is.gone():
			say("%s %s is in the lock and not installed", p.Name, p.Version)
		case is.version != p.Version:
			say("%s is installed as %s, the lock has %s", p.Name, is.version, p.Version)
		case is.state != "installed":
			say("%s %s is %s", p.Name, p.Version, is.state)
		}
	}
	for key, is := range found {
		if !is.gone() {
			name, _, _ := strings.Cut(key, ":")
			say("%s %s is installed and not in the lock", name, is.version)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	const most = 10
	if more := len(wrong) - most; more > 0 {
		wrong = append(wrong[:most], fmt.Sprintf("and %d more", more))
	}
	return &factory.Problem{Kind: factory.ErrUnverified, What: "the root does not hold the packages of the lock: " + strings.Join(wrong, "; ")}
}

// dpkgState is one entry of dpkg's status file.
type dpkgState struct{ version, state string }

// gone reports whether nothing of the package is in use.
func (d dpkgState) gone() bool { return d.state == "not-installed" || d.state == "config-files" }

// parseStatus reads dpkg's status file into name:architecture → state. An entry that says nothing of its state is unknown
// in that, which is not gone.
func parseStatus(status []byte) map[string]dpkgState {
	found := map[string]dpkgState{}
	for stanza := range strings.SplitSeq(string(status), "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(stanza) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && line[0] != ' ' && line[0] != '\t' {
				fields[strings.ToLower(key)] = strings.TrimSpace(value)
			}
		}
		if name := fields["package"]; name != "" {
			words := append(strings.Fields(fields["status"]), "", "", "")
			found[name+":"+fields["architecture"]] = dpkgState{fields["version"], cmp.Or(words[2], "in an unknown state")}
		}
	}
	return found
}
