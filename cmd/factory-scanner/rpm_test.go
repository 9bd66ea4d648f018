package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"

	rpmdb "github.com/knqyf263/go-rpmdb/pkg"
)

// modules are the folders of Trivy and of the library that it reads rpm's databases with: both come with real data to test with.
var modules = sync.OnceValues(func() ([]string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aquasecurity/trivy", "github.com/knqyf263/go-rpmdb").Output()
	return strings.Fields(string(out)), err
})

// fixture returns the path of a file of Trivy's, or of a database of rpm.
func fixture(t testing.TB, path ...string) string {
	t.Helper()
	dirs, err := modules()
	if err != nil || len(dirs) != 2 {
		t.Fatal(dirs, err)
	}
	if strings.HasSuffix(path[0], ".yaml") {
		return filepath.Join(dirs[0], "integration/testdata/fixtures/db", path[0])
	}
	return filepath.Join(append([]string{dirs[1], "pkg/testdata"}, path...)...)
}

// rpmSystem is a root filesystem of an RPM family, with a real database of rpm.
type rpmSystem struct {
	database []string // which
	at       string   // where
	release  map[string]string
	distro   factory.Distro
	thirds   []string // packages of third parties
	modular  int      // packages of modules
}

var (
	enterprise = func(release string) map[string]string {
		return map[string]string{"etc/redhat-release": "Red Hat Enterprise Linux release " + release + " (Plow)\n", "usr/lib/os-release": osRelease("rhel", release)}
	}
	amazon2 = map[string]string{"etc/system-release": "Amazon Linux release 2 (Karoo)\n", "etc/os-release": osRelease("amzn", "2")}
	al2023  = map[string]string{"usr/lib/system-release": "Amazon Linux release 2023.9.20251110 (Amazon Linux)\n", "usr/lib/os-release": osRelease("amzn", "2023")}
)

// rpmSystems has every form of database that the three families have had: Berkeley, sqlite, ndb.
var rpmSystems = map[string]rpmSystem{
	"rhel-9":              {database: []string{"fedora35-plus-mongo", "rpmdb.sqlite"}, at: "var/lib/rpm/rpmdb.sqlite", release: enterprise("9.4"), distro: factory.Distro{Family: factory.RedHat, Release: "9"}, thirds: []string{"mongocli", "mongodb-org-shell"}},
	"rhel-9, sysimage":    {database: []string{"sle15-bci", "Packages.db"}, at: "usr/lib/sysimage/rpm/Packages.db", release: enterprise("9.6"), distro: factory.Distro{Family: factory.RedHat, Release: "9"}},
	"rhel-8, other arch":  {database: []string{"ubi8-s390x", "Packages"}, at: "var/lib/rpm/Packages", release: enterprise("8.6"), distro: factory.Distro{Family: factory.RedHat, Release: "8"}},
	"rhel-8, modules":     {database: []string{"centos8-modularitylabel", "Packages"}, at: "var/lib/rpm/Packages", release: enterprise("8.3"), distro: factory.Distro{Family: factory.RedHat, Release: "8"}, modular: 21},
	"amazonlinux-2":       {database: []string{"centos5-plain", "Packages"}, at: "var/lib/rpm/Packages", release: amazon2, distro: factory.Distro{Family: factory.Amazon, Release: "2"}},
	"amazonlinux-2023":    {database: []string{"fedora35", "rpmdb.sqlite"}, at: "var/lib/rpm/rpmdb.sqlite", release: al2023, distro: factory.Distro{Family: factory.Amazon, Release: "2023"}},
	"amazonlinux-2, tiny": {database: []string{"libuuid", "Packages"}, at: "var/lib/rpm/Packages", release: amazon2, distro: factory.Distro{Family: factory.Amazon, Release: "2"}},
}

// installed lists the packages, as the library that reads rpm's databases says, without keys.
func (s rpmSystem) installed(t testing.TB) []*rpmdb.PackageInfo {
	t.Helper()
	db, err := rpmdb.Open(fixture(t, s.database...))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all, err := db.ListPackages()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(p *rpmdb.PackageInfo) bool { return p.Name == keyPackage })
}

func (s rpmSystem) files(t testing.TB) map[string]string {
	t.Helper()
	b, err := os.ReadFile(fixture(t, s.database...))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{s.at: string(b)}
	for name, text := range s.release {
		files[name] = text
	}
	return files
}

func versionOf(p *rpmdb.PackageInfo) string {
	if p.EpochNum() == 0 {
		return p.Version + "-" + p.Release
	}
	return fmt.Sprintf("%d:%s-%s", p.EpochNum(), p.Version, p.Release)
}

// advisories say of every package that it has one fault that was fixed in what is installed, and one that the next build fixes.
func (s rpmSystem) advisories(packages []*rpmdb.PackageInfo) factory.Advisories {
	a := factory.Advisories{Distro: s.distro, Updated: day}
	for _, p := range packages {
		a.Known = append(a.Known, p.Name)
		for i, fixed := range []string{versionOf(p), versionOf(p) + ".1"} {
			a.List = append(a.List, factory.Advisory{
				Source: p.Name, Module: stream(p.Modularitylabel), Vulnerability: fmt.Sprintf("CVE-2026-%d", i+1), Fixed: fixed, Date: day.AddDate(0, 0, -i),
				ID: fmt.Sprintf("RHSA-2026:%d", i+1), Severity: factory.Severities()[i], Title: "Important: update",
			})
		}
	}
	return a
}

func TestRPMSystems(t *testing.T) {
	c := converse(t)
	for name, s := range rpmSystems {
		t.Run(name, func(t *testing.T) {
			c := &talk{t: t, in: c.in, out: c.out, id: c.id}
			packages := s.installed(t)
			c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t, s.advisories(packages))})
			req := makeImage(t, s.files(t))
			got := c.must(req).Result
			if got.Distro != s.distro.Family+" "+s.distro.Release || got.Packages != len(packages)-len(s.thirds) || !slices.Equal(got.NotLookedAt, s.thirds) {
				t.Errorf("%q: %d packages of %d and not %q", got.Distro, got.Packages, len(packages), got.NotLookedAt)
			}
			s.foundRight(t, packages, got.Findings)
			s.listedRight(t, packages, got.CycloneDX)
			if strings.Contains(string(got.CycloneDX)+string(got.SPDX), keyPackage) {
				t.Error("a key is listed as a package")
			}
			if again := c.must(req).Result; !reflect.DeepEqual(again, got) {
				t.Error("another scan gives another result")
			}
			matched := c.must(scanner.Request{Op: scanner.SBOM, SBOM: got.CycloneDX}).Result
			got.CycloneDX, got.SPDX = nil, nil
			if !reflect.DeepEqual(matched, got) {
				t.Errorf("the SBOM gives\n%+v\nthe image\n%+v", matched, got)
			}
		})
	}
}

// foundRight: of every package of the distribution the second advisory was found.
func (s rpmSystem) foundRight(t *testing.T, packages []*rpmdb.PackageInfo, found []factory.Finding) {
	t.Helper()
	var want []factory.Finding
	modular := 0
	for _, p := range packages {
		if p.Modularitylabel != "" {
			modular++
		}
		if !slices.Contains(s.thirds, p.Name) {
			want = append(want, factory.Finding{Vulnerability: "CVE-2026-2", Package: p.Name, Version: versionOf(p), Fixed: versionOf(p) + ".1", Severity: factory.High,
				SeverityBy: s.distro.Family, Advisory: "RHSA-2026:2", FixedOn: day.AddDate(0, 0, -1), Status: "fixed", Title: "Important: update"})
		}
	}
	if modular != s.modular {
		t.Errorf("%d packages of modules", modular)
	}
	have := slices.Clone(found)
	for i, f := range found {
		if !strings.HasPrefix(f.Data, "updateinfo of the archive's repositories, ") || !strings.HasPrefix(f.Purl, "pkg:rpm/"+s.distro.Family+"/"+strings.ReplaceAll(f.Package, "+", "%2B")+"@") {
			t.Errorf("got %+v", f)
		}
		have[i].Data, have[i].Purl, have[i].Source, have[i].URL = "", "", "", ""
	}
	byName := func(a, b factory.Finding) int {
		return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Version, b.Version))
	}
	slices.SortFunc(have, byName)
	slices.SortFunc(want, byName)
	if want = slices.CompactFunc(want, func(a, b factory.Finding) bool { return reflect.DeepEqual(a, b) }); !reflect.DeepEqual(have, want) {
		t.Errorf("found\n%+v\nwant\n%+v", have, want)
	}
}

// listedRight: the SBOM says of every package what rpm's database says.
func (s rpmSystem) listedRight(t *testing.T, packages []*rpmdb.PackageInfo, document []byte) {
	t.Helper()
	var doc struct {
		Components []struct {
			Name, Purl, Type string
			Properties       []struct{ Name, Value string }
		}
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	var have, want []string
	for _, c := range doc.Components {
		if c.Type != "library" {
			continue
		}
		line := c.Name
		purl, qualifiers, _ := strings.Cut(c.Purl, "?")
		for _, q := range strings.Split(qualifiers, "&") {
			if !strings.HasPrefix(q, "distro=") && !strings.HasPrefix(q, "modularitylabel=") {
				purl += " " + q
			}
		}
		for _, p := range c.Properties {
			if slices.Contains([]string{"SrcName", "SrcVersion", "SrcRelease", "Modularitylabel"}, strings.TrimPrefix(p.Name, trivyProperty)) {
				line += " " + p.Value
			}
		}
		have = append(have, line+" "+purl)
	}
	for _, p := range packages {
		line := []string{p.Name}
		if p.Modularitylabel != "" {
			line = append(line, p.Modularitylabel)
		}
		source := strings.Split(strings.TrimSuffix(strings.TrimSuffix(p.SourceRpm, ".src.rpm"), ".nosrc.rpm"), "-")
		if n := len(source); n > 2 {
			line = append(line, strings.Join(source[:n-2], "-"), source[n-1], source[n-2]) // as the properties are sorted
		}
		purl, qualifiers, _ := strings.Cut(factory.Package{Name: p.Name, Version: versionOf(p), Arch: p.Arch}.Purl(s.distro), "?")
		for _, q := range strings.Split(qualifiers, "&") {
			if !strings.HasPrefix(q, "distro=") {
				purl += " " + q
			}
		}
		want = append(want, strings.Join(append(line, purl), " "))
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("listed\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}
