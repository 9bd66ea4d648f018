package upstream

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/standin"
)

func locked(modules []string, names ...string) LockedImage {
	l := LockedImage{Image: factory.Image{Packages: factory.Packages{Modules: modules}}}
	lp := factory.LockedPlatform{Platform: factory.Platform{OS: "linux", Architecture: "amd64"}}
	for _, n := range names {
		lp.Packages = append(lp.Packages, factory.Package{Name: n})
	}
	l.Lock.Platforms = []factory.LockedPlatform{lp}
	return l
}

func TestLedger(t *testing.T) {
	t.Parallel()
	late := erratum{id: "A-2", cves: []string{"CVE-2025-0001"}, fixes: []fix{{"aa", "1:1-1", ""}}}
	early := erratum{id: "A-1", cves: []string{"CVE-2025-0001", "CVE-2025-0002"}, fixes: []fix{{"aa", "1-10", ""}, {"aa", "1-9", ""}, {"other", "1-1", ""}}}
	nameless := erratum{id: "A-3", fixes: []fix{{"aa", "1-1", ""}}, severity: factory.Low, issued: day, title: "t"}
	plain := erratum{id: "A-4", cves: []string{"CVE-2025-0003"}, fixes: []fix{{"nodejs", "16-1", ""}}}
	modular := erratum{id: "A-5", cves: []string{"CVE-2025-0003"}, fixes: []fix{{"nodejs", "20-1", "nodejs:20"}, {"nodejs", "18-1", "nodejs:18"}}}
	for _, c := range []struct {
		name   string
		images []LockedImage
		want   []string
	}{
		{"the highest that fixes", []LockedImage{locked(nil, "aa")}, []string{"aa A-3 1-1 A-3", "aa CVE-2025-0001 1:1-1 A-2", "aa CVE-2025-0002 1-10 A-1"}},
		{"no stream", []LockedImage{locked(nil, "nodejs")}, []string{"nodejs CVE-2025-0003 16-1 A-4"}},
		{"a stream", []LockedImage{locked([]string{"nodejs:20"}, "nodejs")}, []string{"nodejs CVE-2025-0003 16-1 A-4", "nodejs CVE-2025-0003 20-1 A-5 nodejs:20"}},
		{"a stream of one of two", []LockedImage{locked([]string{"nodejs:20"}, "nodejs"), locked(nil, "nodejs")}, []string{"nodejs CVE-2025-0003 16-1 A-4", "nodejs CVE-2025-0003 20-1 A-5 nodejs:20"}},
		{"another's stream", []LockedImage{locked([]string{"nodejs:20"}, "bb"), locked([]string{"nodejs:18"}, "nodejs")}, []string{"nodejs CVE-2025-0003 16-1 A-4", "nodejs CVE-2025-0003 18-1 A-5 nodejs:18"}},
		{"nothing", []LockedImage{locked(nil, "cc")}, nil},
	} {
		for _, order := range [][]erratum{{late, early, nameless, plain, modular}, {modular, plain, nameless, early, late}} {
			l := newLedger(c.images)
			for _, e := range order {
				l.add(e)
			}
			var got []string
			for _, a := range l.advisories() {
				got = append(got, strings.TrimSpace(a.Source+" "+a.Vulnerability+" "+a.Fixed+" "+a.ID+" "+a.Module))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: got %q, want %q", c.name, got, c.want)
			}
		}
	}
	l := newLedger([]LockedImage{locked(nil, "aa")})
	l.room = 1
	l.add(nameless)
	if l.add(nameless); l.over {
		t.Error("there is room for what is there")
	}
	if l.add(late); !l.over || len(l.fixed) != 1 {
		t.Errorf("%+v", l)
	}
	if a := l.advisories()[0]; a != (factory.Advisory{Source: "aa", Vulnerability: "A-3", Fixed: "1-1", Date: day, Title: "t", ID: "A-3", Severity: factory.Low}) {
		t.Errorf("%+v", a)
	}
}

// What counts lies after the old version, and not after the new one.
func TestNameErrata(t *testing.T) {
	t.Parallel()
	y := yum{platform: factory.Platform{OS: "linux", Architecture: "amd64"}}
	info := func(fixes ...string) []byte {
		var b strings.Builder
		b.WriteString("<updates>")
		for _, f := range fixes {
			w := strings.Fields(f) // id cve name version release stream
			b.WriteString(`<update type="security"><id>` + w[0] + `</id><references><reference type="cve" id="` + w[1] + `"/></references><pkglist><collection>`)
			if len(w) > 5 {
				b.WriteString(`<module name="nodejs" stream="` + w[5] + `"/>`)
			}
			b.WriteString(`<package name="` + w[2] + `" version="` + w[3] + `" release="` + w[4] + `" arch="noarch"/></collection></pkglist></update>`)
		}
		return []byte(b.String() + "</updates>")
	}
	change := factory.LockChange{Packages: []factory.PackageChange{
		{Name: "aa", Old: "1-1", New: "3-1"}, {Name: "added", New: "9-9"}, {Name: "gone", Old: "1-1"}, {Name: "same", Old: "1-1", New: "1-1"}, {Name: "nodejs", Old: "1:20-1", New: "1:21-1"}}}
	req := Request{Image: factory.Image{Packages: factory.Packages{Modules: []string{"nodejs:20"}}}}
	out := map[string][]byte{"updateinfo/amd64.0": info("A-1 CVE-2025-0001 aa 1 1", "A-2 CVE-2025-0002 aa 2 1", "A-3 CVE-2025-0003 aa 3 1", "A-4 CVE-2025-0004 aa 3 2", "A-5 CVE-2025-0002 aa 2 1",
		"A-6 CVE-2025-0006 added 1 1", "A-7 CVE-2025-0007 nodejs 30 1 18")}
	if err := nameErrata(req, []yum{y}, out, &change); err != nil {
		t.Fatal(err)
	}
	want := []string{"aa 1-1>3-1 CVE-2025-0002,CVE-2025-0003", "added >9-9 ", "gone 1-1> ", "same 1-1>1-1 ", "nodejs 1:20-1>1:21-1 "}
	if got := changes(change); !slices.Equal(got, want) || len(change.Advisories) != 3 || change.Advisories[1].ID != "A-5" {
		t.Errorf("%q %+v", got, change.Advisories)
	}
	out["updateinfo/amd64.0"] = []byte("<updates>")
	if err := nameErrata(req, []yum{y}, out, &change); !errors.Is(err, factory.ErrUnavailable) {
		t.Error(err)
	}
}

func TestAdvisoriesRPM(t *testing.T) {
	t.Parallel()
	rhel, al := newStandIn(t, standin.RHEL9, standin.Options{}), newStandIn(t, standin.AmazonLinux2023, standin.Options{})
	rhel.req.Image.Packages.Include, al.req.Image.Packages.Include = []string{"openssl-libs"}, []string{"openssl-libs"}
	var newest []LockedImage
	for _, n := range []*standIn{rhel, al} {
		lock, _ := n.solve()
		n.try(n.SecurityUpdate())
		newest = append(newest, LockedImage{n.req.Image, lock})
		rhel.s.Archives[n.ID()] = n.s.Archives[n.ID()]
	}
	twin := newest[0]
	twin.Image.Name = "twin"
	rhel.asked("")
	all, err := rhel.s.Advisories(t.Context(), append(newest, twin))
	if err != nil || len(all) != 2 || all[0].Distro.Family != factory.Amazon || all[1].Distro != rhel.req.Image.Distro {
		t.Fatalf("%+v %v", all, err)
	}
	for i, n := range []*standIn{al, rhel} {
		a := all[i]
		of := slices.DeleteFunc(slices.Clone(a.List), func(a factory.Advisory) bool { return a.Source != "openssl-libs" })
		if len(of) != 2 || !a.Updated.Equal(rhel.s.Now()) || a.Sources != len(a.Known) || !slices.Contains(a.Known, "openssl-libs") {
			t.Fatalf("%+v", a)
		}
		fixed, err := n.Files("openssl-libs")
		if err != nil {
			t.Fatal(err)
		}
		got := of[0]
		if got.Source != "openssl-libs" || got.Vulnerability != "CVE-2025-9230" || got.Fixed != fixed[0].Version || got.Severity != factory.High || got.ID == "" || got.Date.IsZero() {
			t.Errorf("%+v", got)
		}
	}
	if times := rhel.asked("baseos/os/repodata/repomd.xml"); times != 2 { // dnf asks again when it has the key
		t.Errorf("the metadata were asked for %d times", times)
	}
}

func TestAdvisoriesRPMFaults(t *testing.T) {
	t.Parallel()
	img := standInImage(t)
	lock := factory.Lock{Platforms: []factory.LockedPlatform{{Platform: img.Platforms[0], Packages: []factory.Package{
		{Name: "aa", Archive: "redhat-ubi", Repository: "baseos"}, {Name: "bb", Archive: "redhat-ubi", Repository: "appstream"}}}}}
	good := func() map[string][]byte {
		return map[string][]byte{"repomd/amd64.0": []byte("<repomd><revision>1762754400</revision></repomd>"), "repomd/amd64.1": []byte("<repomd><revision>1762754401</revision></repomd>"),
			"updateinfo/amd64.0": []byte("<updates/>")}
	}
	for name, c := range map[string]struct {
		change func(s *Solver, out map[string][]byte)
		kind   error
		want   string
	}{
		"no archive": {func(s *Solver, _ map[string][]byte) { s.Archives = nil }, factory.ErrInvalid, "advisories of redhat 9: nothing says where archive redhat-ubi is"},
		"no runner":  {func(s *Solver, _ map[string][]byte) { s.Runner = scripted{err: factory.ErrBusy} }, factory.ErrBusy, ""},
		"no repomd":  {func(_ *Solver, out map[string][]byte) { delete(out, "repomd/amd64.1") }, factory.ErrUnverified, "archive redhat-ubi appstream has no repodata/repomd.xml"},
		"future": {func(_ *Solver, out map[string][]byte) {
			out["repomd/amd64.1"] = []byte("<repomd><revision>1862754400</revision></repomd>")
		}, factory.ErrUnverified, "archive redhat-ubi appstream: repodata/repomd.xml is of 2029-01-10T15:46:40Z, which is in the future"},
		"bad updateinfo":  {func(_ *Solver, out map[string][]byte) { out["updateinfo/amd64.0"] = nil }, factory.ErrUnavailable, "archive redhat-ubi baseos: its updateinfo cannot be read"},
		"one of two":      {func(*Solver, map[string][]byte) {}, nil, "lack 1 of 2 packages (bb)"},
		"one of two, bad": {func(_ *Solver, out map[string][]byte) { out["updateinfo/amd64.1"] = nil }, nil, "(bb): archive redhat-ubi appstream: its updateinfo cannot be read"},
	} {
		out := good()
		var warned []string
		s := Solver{Archives: map[string]string{"redhat-ubi": "http://archive.invalid"}, Now: func() time.Time { return standin.Published }, Runner: scripted{res: factory.StepResult{Output: out}},
			Events: func(e factory.Event) { warned = append(warned, e.Message) }}
		c.change(&s, out)
		all, err := s.Advisories(t.Context(), []LockedImage{{img, lock}})
		if c.kind != nil {
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || !slices.Equal(all[0].Known, []string{"aa"}) || !slices.Equal(all[0].Missing, []string{"bb"}) || !all[0].Updated.Equal(standin.Published) || all[0].List == nil {
			t.Errorf("%s: %+v %v", name, all, err)
		}
		if len(warned) != 1 || !strings.Contains(warned[0], c.want) {
			t.Errorf("%s: %q", name, warned)
		}
	}
}
