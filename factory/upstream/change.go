package upstream

import (
	"cmp"
	"maps"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// compare says what now changes against old, without CVE ids. A nil old is a first lock.
func compare(old *factory.Lock, now factory.Lock) factory.LockChange {
	c := factory.LockChange{Image: now.Image}
	if old == nil {
		c.First = true
		return c
	}
	for _, lp := range now.Platforms {
		if before := old.For(lp.Platform); before != nil {
			c.Packages = append(c.Packages, comparePackages(before, lp.Packages)...)
		} else {
			c.Other = append(c.Other, "platform "+lp.Platform.String())
		}
	}
	for _, lp := range old.Platforms {
		if now.For(lp.Platform) == nil {
			c.Other = append(c.Other, "platform "+lp.Platform.String())
		}
	}
	slices.SortFunc(c.Packages, func(a, b factory.PackageChange) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Old, b.Old), cmp.Compare(a.New, b.New))
	})
	c.Packages = slices.CompactFunc(c.Packages, func(a, b factory.PackageChange) bool {
		return a.Name == b.Name && a.Old == b.Old && a.New == b.New
	})
	if old.Definition != now.Definition {
		c.Other = append(c.Other, "definition")
	}
	c.Other = append(c.Other, moved("", old.Tools, now.Tools)...)
	c.Other = append(c.Other, moved("role ", old.Roles, now.Roles)...)
	slices.Sort(c.Other)
	return c
}

func comparePackages(old, now []factory.Package) (all []factory.PackageChange) {
	versions := map[string]string{}
	for _, p := range old {
		versions[p.Name] = p.Version
	}
	for _, p := range now {
		if versions[p.Name] != p.Version {
			all = append(all, factory.PackageChange{Name: p.Name, Old: versions[p.Name], New: p.Version})
		}
		delete(versions, p.Name)
	}
	for name, v := range versions {
		all = append(all, factory.PackageChange{Name: name, Old: v})
	}
	return all
}

func moved(prefix string, old, now map[string]factory.Digest) (names []string) {
	for name, d := range now {
		if old[name] != d {
			names = append(names, prefix+name)
		}
	}
	for name := range maps.Keys(old) {
		if _, ok := now[name]; !ok {
			names = append(names, prefix+name)
		}
	}
	return names
}
