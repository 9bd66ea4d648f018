package factory

import (
	"cmp"
	"slices"
	"time"
)

// Pin names l as the parent of another lock.
func (l Lock) Pin() (LockedParent, error) {
	b, err := l.Encode()
	return LockedParent{Image: l.Image, Lock: DigestOf(b)}, err
}

// Lacks says which packages of a parent's lock l does not hold exactly as they are there, on l's platforms, sorted by name: New is
// what l holds, empty = nothing. A child may lack nothing.
func (l Lock) Lacks(parent Lock) (all []PackageChange) {
	for _, lp := range l.Platforms {
		have := map[string]Package{}
		for _, p := range lp.Packages {
			have[p.Name+" "+p.Arch] = p
		}
		for _, p := range parent.For(lp.Platform) {
			if h := have[p.Name+" "+p.Arch]; h.Version != p.Version || h.SHA256 != p.SHA256 {
				all = append(all, PackageChange{Name: p.Name, Old: p.Version, New: h.Version})
			}
		}
		if parent.For(lp.Platform) == nil {
			all = append(all, PackageChange{Name: "platform " + lp.Platform.String(), New: "packages of its own"})
		}
	}
	slices.SortFunc(all, func(a, b PackageChange) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.New, b.New)) })
	return slices.CompactFunc(all, func(a, b PackageChange) bool { return a.Name == b.Name && a.Old == b.Old && a.New == b.New })
}

// Part returns l's packages of some platforms, and only those with one of the names unless keep is nil. missing are the names that
// a platform has no package of, sorted.
func (l Lock) Part(platforms []Platform, keep []string) (part []LockedPlatform, missing []string) {
	for _, p := range platforms {
		lp := LockedPlatform{Platform: p}
		have := map[string]bool{}
		for _, pkg := range l.For(p) {
			if keep == nil || slices.Contains(keep, pkg.Name) {
				lp.Packages = append(lp.Packages, pkg)
				have[pkg.Name] = true
			}
		}
		for _, name := range keep {
			if !have[name] {
				missing = append(missing, name)
			}
		}
		part = append(part, lp)
	}
	slices.Sort(missing)
	return part, slices.Compact(missing)
}

// Beyond returns the names of l's packages that a parent's lock does not have on the same platform, sorted: what a child added.
func (l Lock) Beyond(parent Lock) (names []string) {
	for _, lp := range l.Platforms {
		for _, p := range lp.Packages {
			if !slices.ContainsFunc(parent.For(lp.Platform), func(o Package) bool { return o.Name == p.Name }) {
				names = append(names, p.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// On makes l the lock of a child: it names its parent's, and is no older.
func (l Lock) On(parent Lock) (Lock, error) {
	pin, err := parent.Pin()
	l.Parent, l.Timestamp = &pin, later(l.Timestamp, parent.Timestamp)
	return l, err
}
