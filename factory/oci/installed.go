package oci

import (
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// checkInstalled holds the root's package database to the lock: exactly the locked packages are installed, at their
// versions. A family whose database this package cannot read is not checked.
func checkInstalled(t *tree, s *spool, db *packages, h factory.Hardened, platform factory.Platform) error {
	status := formatOf(h).status
	if status == nil {
		return nil
	}
	found, err := status(t, s, db)
	if err != nil {
		return err
	}
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
