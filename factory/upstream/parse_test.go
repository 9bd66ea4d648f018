package upstream

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	ascending := []string{"1.0~~", "1.0~~a", "1.0~", "1.0", "1.0-0ubuntu1", "1.0-1", "1.0-1+b1", "1.0-1.1", "1.0-9", "1.0-10", "1.0a", "1.0+dfsg-1", "1.0.1", "1.2-1", "1.10-1", "2026f-0+deb12u1", "1:0.1"}
	for i, a := range ascending {
		for j, b := range ascending {
			if got, want := compareVersions(a, b), min(1, max(-1, i-j)); got != want {
				t.Errorf("%s and %s: %d, want %d", a, b, got, want)
			}
		}
	}
	if compareVersions("1.0", "1.0-0") != 0 || compareVersions("0:1.00", "1.0") != 0 {
		t.Error("an absent revision or epoch is 0, and leading zeros do not count")
	}
}

func FuzzCompareVersions(f *testing.F) {
	f.Add("1:1.0~rc1-1", "1.0+b1")
	f.Fuzz(func(t *testing.T, a, b string) {
		if compareVersions(a, a) != 0 || compareVersions(a, b) != -compareVersions(b, a) {
			t.Errorf("%q %q: no order", a, b)
		}
	})
}

func TestParseRelease(t *testing.T) {
	t.Parallel()
	r, err := parseRelease([]byte("-----BEGIN PGP SIGNED MESSAGE-----\n\nDate: Sat, 21 Nov 2026 02:10:46 UTC\nValid-Until: Sat, 28 Nov 2026 02:10:46 UTC\nSHA256:\n"))
	if err != nil || !r.Date.Equal(time.Date(2026, 11, 21, 2, 10, 46, 0, time.UTC)) || r.ValidUntil.Sub(r.Date) != 7*24*time.Hour {
		t.Errorf("%v %v", r, err)
	}
	for _, bad := range []string{"", "Suite: x\n", "Date: now\n", "Date: Sat, 21 Nov 2026 02:10:46 CET\n", "Date: Sat, 21 Nov 2026 02:10:46 UTC\nValid-Until: \n x", strings.Repeat("x", 70000)} {
		if r, err := parseRelease([]byte(bad)); err == nil && !strings.Contains(bad, "Valid-Until") {
			t.Errorf("%.40q: %v", bad, r)
		}
	}
}

func FuzzParseRelease(f *testing.F) {
	f.Add([]byte("Date: Sat, 21 Nov 2026 02:10:46 UTC\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRelease(b); err == nil && r.Date.IsZero() {
			t.Error("a release without a date")
		}
	})
}

func FuzzParsePlan(f *testing.F) {
	f.Add("'http://archive.invalid/debian/pool/a%2b/a_1_amd64.deb' a_1_amd64.deb 10 SHA256:00\n",
		"Entry: 000.sources:1\nPackage: a0\nVersion: 1\nArchitecture: amd64\nFilename: pool/a+/a_1_amd64.deb\nSize: 10\nSHA256: "+strings.Repeat("0", 64)+"\n\n")
	srcs := []source{{factory.Archive{ID: "debian", Suite: "stable"}, "http://archive.invalid/debian"}}
	f.Fuzz(func(t *testing.T, uris, stanzas string) {
		offers, err := parsePlan([]byte(uris), []byte(stanzas), srcs)
		if err != nil {
			return
		}
		for _, o := range offers {
			if o.Name == "" || o.Version == "" || o.Size <= 0 || len(o.SHA256) != 71 || strings.Contains(o.Path, "..") || strings.HasPrefix(o.Path, "/") {
				t.Errorf("believed %+v", o)
			}
		}
	})
}

func TestChangelogCVEs(t *testing.T) {
	t.Parallel()
	text := "a (2) s; urgency=low\n\n  * CVE-2026-1 CVE-2026-12345\n -- X\n\na (1) s; urgency=low\n  * CVE-2025-0001\n"
	if got := changelogCVEs(gz(t, text), "1"); !slices.Equal(got, []string{"CVE-2026-12345"}) {
		t.Error(got)
	}
	whole := gz(t, text+strings.Repeat("filler\n", 10000))
	if got := changelogCVEs(whole[:len(whole)-20], "0"); !slices.Equal(got, []string{"CVE-2025-0001", "CVE-2026-12345"}) {
		t.Error("cut off:", got)
	}
	if got := changelogCVEs([]byte("not gzip"), "1"); got != nil {
		t.Error(got)
	}
}

func FuzzChangelog(f *testing.F) {
	f.Add([]byte{0x1f, 0x8b}, "1")
	f.Fuzz(func(t *testing.T, b []byte, old string) {
		for _, id := range changelogCVEs(b, old) {
			if !strings.HasPrefix(id, "CVE-") {
				t.Error(id)
			}
		}
	})
}

func TestSourcesRefuse(t *testing.T) {
	t.Parallel()
	urls := map[string]string{"debian": "http://archive.invalid/debian"}
	cases := map[string]func(img *factory.Image){
		"keyring":         func(img *factory.Image) { img.Keyring = "../k.gpg" },
		"package":         func(img *factory.Image) { img.Packages.Include = []string{"a; rm -rf /"} },
		"removal":         func(img *factory.Image) { img.Packages.Include = []string{"apt-"} },
		"option":          func(img *factory.Image) { img.Packages.Exclude = []string{"--purge"} },
		"suite":           func(img *factory.Image) { img.Archives[0].Suite = "../x" },
		"newline":         func(img *factory.Image) { img.Archives[0].Suite = "x\nTrusted: yes" },
		"components":      func(img *factory.Image) { img.Archives[0].Components = nil },
		"component":       func(img *factory.Image) { img.Archives[0].Components = []string{"a b"} },
		"only":            func(img *factory.Image) { img.Archives[0].Only = []string{"*"} },
		"expired":         func(img *factory.Image) { img.Archives[0].AllowExpired = true },
		"twice":           func(img *factory.Image) { img.Archives = append(img.Archives, img.Archives[0]) },
		"no archive":      func(img *factory.Image) { img.Archives = nil },
		"no platform":     func(img *factory.Image) { img.Platforms = nil },
		"odd platform":    func(img *factory.Image) { img.Platforms[0].Architecture = `x";` },
		"unknown archive": func(img *factory.Image) { img.Archives[0].ID = "other" },
	}
	for name, change := range cases {
		img := small("aa")
		change(&img)
		if _, err := sources(img, urls); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := (Solver{Archives: urls}).Solve(t.Context(), Request{Image: img}); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("Solve %s: %v", name, err)
		}
		if _, err := (Solver{Archives: urls}).Current(t.Context(), Request{Image: img}); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("Current %s: %v", name, err)
		}
	}
	for _, url := range []string{"", "ftp://x/debian", "/debian", "http://", "http://user:secret@x/debian", "http://x/debian?a", "http://x/debian#a", "http://x/a b", "http://x/\nTrusted: yes", `http://x/"`} {
		if _, err := archiveURL("debian", url); !errors.Is(err, factory.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestHostArchives(t *testing.T) {
	t.Parallel()
	fsys := fstest.MapFS{
		"etc/apt/sources.list":                  {Data: []byte("# deb http://no.invalid/debian x main\ndeb-src http://no.invalid/debian x main\ndebug http://no.invalid/debian x\ndeb [ arch=amd64 signed-by=/x ] http://one.invalid/debian-security/ x-security main # c\ndeb [broken http://no.invalid/debian x\n")},
		"etc/apt/sources.list.d/a.sources":      {Data: []byte("# c\nTypes: deb\nEnabled: no\nURIs: http://no.invalid/debian\n\nTypes: deb-src\nURIs: http://no.invalid/debian\n\nTypes: deb deb-src\n# c\nURIs: mirror+file:/etc/apt/mirrors/debian\n cdrom:/debian\n https://two.invalid/debian\n http://three.invalid/debian\nSuites: x\n")},
		"etc/apt/sources.list.d/b.sources.save": {Data: []byte("Types: deb\nURIs: http://no.invalid/debian\n")},
		"etc/apt/sources.list.d/z.list":         {Data: []byte("deb http://late.invalid/debian x main\ndeb http://u:p@no.invalid/debian x\ndeb http://other.invalid/apt x main\n")},
	}
	got, err := HostArchives(fsys)
	if err != nil || len(got) != 2 || got["debian"] != "https://two.invalid/debian" || got["debian-security"] != "http://one.invalid/debian-security" {
		t.Errorf("%v %v", got, err)
	}
	_, err = HostArchives(fstest.MapFS{"etc/apt/sources.list": {Data: []byte("deb http://x.invalid/ubuntu x main\n")}})
	if !errors.Is(err, factory.ErrNotFound) || !strings.Contains(err.Error(), "archives:") {
		t.Error(err)
	}
	if _, err := HostArchives(fstest.MapFS{"etc/apt/sources.list/x": {}}); err == nil {
		t.Error("a folder in place of the file is no error")
	}
}

func FuzzHostArchives(f *testing.F) {
	f.Add([]byte("deb [a=b] http://x.invalid/debian s main\n"), []byte("Types: deb\nURIs: http://x.invalid/debian\n y\n"))
	f.Fuzz(func(t *testing.T, list, sources []byte) {
		got, err := HostArchives(fstest.MapFS{"etc/apt/sources.list": {Data: list}, "etc/apt/sources.list.d/x.sources": {Data: sources}})
		if err == nil && len(got) == 0 {
			t.Error("neither an archive nor an error")
		}
		for id, url := range got {
			if _, err := archiveURL(id, url); err != nil {
				t.Error(err)
			}
		}
	})
}
