package upstream

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/standin"
)

func changes(c factory.LockChange) (all []string) {
	for _, p := range c.Packages {
		all = append(all, p.Name+" "+p.Old+">"+p.New+" "+strings.Join(p.CVEs, ","))
	}
	return all
}

// A security update is a change that says what it mends, how bad that was, and fetches nothing else.
func TestSolveSecurityUpdate(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.RHEL9, standin.Options{Packages: []string{"libxml2"}})
	old, _ := n.solve()
	n.try(n.SecurityUpdate())
	n.req.Old = &old
	n.asked("")
	lock, change := n.solve()
	moved := 0
	for _, p := range lock.Platforms[0].Packages {
		if was := named(old, p.Name); was.Version != p.Version {
			moved++
		}
	}
	if fetched := n.asked(".rpm"); fetched != moved || moved == 0 {
		t.Errorf("fetched %d packages for %d that changed", fetched, moved)
	}
	ssl, xml := named(lock, "openssl-libs"), named(lock, "libxml2")
	want := []string{
		"libxml2 " + named(old, "libxml2").Version + ">" + xml.Version + " CVE-2025-49796",
		"openssl-libs " + named(old, "openssl-libs").Version + ">" + ssl.Version + " CVE-2025-9230,CVE-2025-9231",
	}
	got := changes(change)
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("got  %q\nwant %q", got, w)
		}
	}
	if !lock.Timestamp.Equal(standin.Published.AddDate(0, 0, 1)) || ssl.Source != "openssl" || ssl.Repository == "" {
		t.Errorf("of %v: %+v", lock.Timestamp, ssl)
	}
	var says []string
	for _, a := range change.Advisories {
		if a.Source == "openssl-libs" || a.Source == "libxml2" {
			says = append(says, a.Source+" "+a.Vulnerability+" "+a.ID+" "+string(a.Severity)+" "+a.Fixed)
		}
	}
	if !slices.Equal(says, []string{"libxml2 CVE-2025-49796 RHSA-2025:21002 moderate " + xml.Version,
		"openssl-libs CVE-2025-9230 RHSA-2025:21001 high " + ssl.Version, "openssl-libs CVE-2025-9231 RHSA-2025:21001 high " + ssl.Version}) {
		t.Errorf("%q", says)
	}
}

// What a definition rules out is ruled out, and what it limits is limited.
func TestSolveRules(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.RHEL9, standin.Options{Packages: []string{"extra"}})
	plain := n.req.Image
	for _, c := range []struct {
		name   string
		change func(img *factory.Image)
		kind   error
		want   []string
	}{
		{"cannot be had", func(i *factory.Image) {
			i.Packages.Include = []string{"bash", "extra", "grep", "system-release", "zz"}
			i.Packages.Exclude, i.Archives[0].Only = []string{"extra"}, []string{"bash"}
		}, factory.ErrInvalid, []string{
			"image.yaml:1: standin-redhat-9 asks for package zz, which is in none of its archives: redhat-ubi baseos, redhat-ubi appstream",
			"asks for package system-release, which is in none", // but provided
			"asks for package extra and excludes it", "asks for package grep, which is only in archives that may not offer it (look at only of its archives)",
		}},
		{"excluded requirement", func(i *factory.Image) { i.Packages.Exclude = []string{"ncurses-libs"} }, factory.ErrInvalid, []string{"its packages cannot be installed together: "}},
		{"limited requirement", func(i *factory.Image) {
			i.Packages.Include, i.Archives[0].Only = []string{"bash"}, []string{"bash"}
		}, factory.ErrInvalid, []string{"its packages cannot be installed together: "}},
		{"no such stream", func(i *factory.Image) { i.Packages.Modules = []string{"nodejs:7"} }, factory.ErrUnavailable, []string{"enables the module stream nodejs:7, which its archives do not have"}},
	} {
		n.req.Image = plain
		n.req.Image.Archives = slices.Clone(plain.Archives)
		c.change(&n.req.Image)
		lock, _, err := n.s.Solve(t.Context(), n.req)
		for _, want := range c.want {
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), want) || lock.Image != "" {
				t.Errorf("%s: got %v\nwant %v: %s", c.name, err, c.kind, want)
			}
		}
	}
	n.req.Image = plain
	n.req.Image.Archives = slices.Clone(plain.Archives)
	n.req.Image.Archives[1].Only = []string{"extra", "standin-nothing"}
	if lock, _ := n.solve(); named(lock, "bash").Name == "" {
		t.Errorf("%+v", lock)
	}
}

// A stream that nobody enabled does not exist; one that is enabled hides what is not of it.
func TestSolveModules(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.RHEL9, standin.Options{Packages: []string{"nodejs"}})
	version := func(streams ...string) string {
		n.req.Image.Packages.Modules = streams
		lock, _ := n.solve()
		v, _, _ := strings.Cut(withoutEpoch(named(lock, "nodejs").Version), ".")
		return v
	}
	if got := []string{version(), version("nodejs:20")}; !slices.Equal(got, []string{"16", "20"}) {
		t.Errorf("%q", got)
	}
	n.try(n.AddModule())
	if got := version("nodejs:20"); got != "20" {
		t.Errorf("after the new stream: %q", got)
	}
}

// A package that another replaces goes, and the definition is to say so.
func TestSolveObsoletes(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.RHEL9, standin.Options{})
	old, _ := n.solve()
	n.try(n.Obsolete())
	n.req.Old = &old
	lock, change := n.solve()
	if named(lock, "procps").Name != "" || named(lock, "procps-ng").Name == "" {
		t.Errorf("%s", names(lock.Platforms[0].Packages))
	}
	got := changes(change)
	if len(got) < 2 || !strings.HasPrefix(got[0], "procps ") || !strings.HasSuffix(got[0], "> ") || !strings.HasPrefix(got[1], "procps-ng >") {
		t.Errorf("%q", got)
	}
	if len(n.warned) != 1 || !strings.Contains(n.warned[0], "has replaced procps by procps-ng;") {
		t.Errorf("%q", n.warned)
	}
}

func TestSolveRPMPlatforms(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.AmazonLinux2023, standin.Options{Machines: []string{"x86_64", "aarch64"}})
	n.req.Image.Packages.Include = []string{"bash", "system-release"}
	lock, _ := n.solve()
	if len(lock.Platforms) != 2 || lock.Release != n.Version() {
		t.Fatalf("%+v", lock)
	}
	for _, lp := range lock.Platforms {
		i := slices.IndexFunc(lp.Packages, func(p factory.Package) bool { return p.Name == "bash" })
		if i < 0 || lp.Packages[i].Arch != lp.Platform.Machine() {
			t.Errorf("%s: %+v", lp.Platform, lp.Packages)
		}
	}
	n.req.Old = &lock
	if ok, err := n.s.Current(t.Context(), n.req); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}

// latest is followed each time, whatever was remembered.
func TestLatestMoves(t *testing.T) {
	t.Parallel()
	n := newStandIn(t, standin.AmazonLinux2023, standin.Options{})
	old, _ := n.solve()
	n.req.Old = &old
	if ok, err := n.s.Current(t.Context(), n.req); !ok || err != nil {
		t.Fatalf("%v %v", ok, err)
	}
	n.try(n.MoveRelease("2023.9.20251124"))
	if ok, err := n.s.Current(t.Context(), n.req); ok || err != nil {
		t.Errorf("still current: %v", err)
	}
	lock, change := n.solve()
	if lock.Release != "2023.9.20251124" || len(change.Packages) == 0 || !lock.Timestamp.After(old.Timestamp) {
		t.Errorf("%s of %v: %+v", lock.Release, lock.Timestamp, change)
	}
	for _, p := range change.Packages {
		if p.Name != "system-release" && !strings.HasPrefix(p.Name, "amazon-linux-repo") {
			t.Errorf("%+v", p)
		}
	}
	n.req.Image.Distro.Releasever = "2023.9.20251110" // whoever asks for a release gets it
	n.req.Old = nil
	if pinned, _ := n.solve(); pinned.Release != "2023.9.20251110" || !pinned.SamePackages(old) {
		t.Errorf("%+v", pinned)
	}
}
