package factory

import (
	"cmp"
	"slices"
)

// Since says what l changes against old, without CVE ids; sorted. A nil old makes it a first lock. A package that keeps
// its version and has other bytes is a change with Old equal to New.
func (l Lock) Since(old *Lock) LockChange {
	c := LockChange{Image: l.Image}
	if old == nil {
		c.First = true
		return c
	}
	for _, lp := range l.Platforms {
		if old.For(lp.Platform) == nil {
			c.Other = append(c.Other, "platform "+lp.Platform.String())
			continue
		}
		c.Packages = append(c.Packages, packagesSince(lp.Packages, old.For(lp.Platform))...)
	}
	for _, lp := range old.Platforms {
		if l.For(lp.Platform) == nil {
			c.Other = append(c.Other, "platform "+lp.Platform.String())
		}
	}
	slices.SortFunc(c.Packages, func(a, b PackageChange) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Old, b.Old), cmp.Compare(a.New, b.New))
	})
	c.Packages = slices.CompactFunc(c.Packages, func(a, b PackageChange) bool { // the same on several platforms
		return a.Name == b.Name && a.Old == b.Old && a.New == b.New
	})
	if old.Definition != l.Definition {
		c.Other = append(c.Other, "definition")
	}
	c.Other = append(c.Other, digestsSince("parent ", l.parents(), old.parents())...)
	c.Other = append(c.Other, digestsSince("", l.Tools, old.Tools)...)
	c.Other = append(c.Other, digestsSince("role ", l.Roles, old.Roles)...)
	slices.Sort(c.Other)
	return c
}

// parents is the lock's parent, where it has one, as a digest by name.
func (l Lock) parents() map[string]Digest {
	if l.Parent == nil {
		return nil
	}
	return map[string]Digest{l.Parent.Image: l.Parent.Lock}
}

func packagesSince(now, old []Package) (all []PackageChange) {
	before := map[string]Package{}
	for _, p := range old {
		before[p.Name] = p
	}
	for _, p := range now {
		if o := before[p.Name]; o.Version != p.Version || o.SHA256 != p.SHA256 {
			all = append(all, PackageChange{Name: p.Name, Old: o.Version, New: p.Version})
		}
		delete(before, p.Name)
	}
	for name, p := range before {
		all = append(all, PackageChange{Name: name, Old: p.Version})
	}
	return all
}

func digestsSince(prefix string, now, old map[string]Digest) (names []string) {
	for name, d := range now {
		if old[name] != d {
			names = append(names, prefix+name)
		}
	}
	for name := range old {
		if _, there := now[name]; !there {
			names = append(names, prefix+name)
		}
	}
	return names
}

// Credit names in a change what another one, of the same packages, is known to fix.
func (c *LockChange) Credit(known LockChange) {
	for i, p := range c.Packages {
		for _, k := range known.Packages {
			if k.Name == p.Name && k.Old == p.Old && k.New == p.New {
				c.Packages[i].CVEs = k.CVEs
			}
		}
	}
	for _, a := range known.Advisories {
		if slices.ContainsFunc(c.Packages, func(p PackageChange) bool { return p.Name == a.Source }) {
			c.Advisories = append(c.Advisories, a)
		}
	}
}
