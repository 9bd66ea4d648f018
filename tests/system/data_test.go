package system_test

import (
	"cmp"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/scanner"
)

// data makes a vulnerability database, so old, that has looked into every package of every image and knows these advisories, and returns
// its folder.
func (p plant) data(t testing.TB, age time.Duration, list ...factory.Advisory) string {
	t.Helper()
	bin, err := driver()
	must(t, err)
	client := &scanner.Client{Program: filepath.Join(filepath.Dir(bin), "factory-scanner")}
	defer func() { must(t, client.Close()) }()
	var all []factory.Advisories
	for _, image := range images {
		lock, _, err := definition.ReadLock(p.Dir, image)
		must(t, err)
		var known []string
		for _, pkg := range lock.Platforms[0].Packages {
			known = append(known, cmp.Or(pkg.Source, pkg.Name))
		}
		slices.Sort(known)
		known = slices.Compact(known)
		all = append(all, factory.Advisories{Distro: imageOf(t, p, image).Distro, Updated: now().Add(-age), Sources: len(known), Known: known, List: list})
	}
	dir := t.TempDir()
	d, err := client.Build(t.Context(), dir, all)
	must(t, err)
	if d.Advisories != len(list)*len(images) {
		t.Fatalf("%+v", d)
	}
	return dir
}

// fixed is an advisory that so many days ago a source package, which every image has, fixed something.
func fixed(source, vulnerability string, days int) factory.Advisory {
	return factory.Advisory{Source: source, Vulnerability: vulnerability, Fixed: "9999", Date: now().AddDate(0, 0, -days)}
}

// with is the same installation, with the vulnerability data in a folder.
func (p plant) with(dir string) plant {
	p.Env = append(p.Env[:len(p.Env):len(p.Env)], "FACTORY_VULNERABILITIES="+dir)
	return p
}
