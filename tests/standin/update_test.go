package standin

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// metadata unpacks a kind of metadata of the archive's newest first repository.
func metadata(t *testing.T, a *Archive, kind string) []byte {
	t.Helper()
	found, err := filepath.Glob(a.on(a.repos[0].folder + "/repodata/*" + kind + ".xml.gz"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", kind, found, err)
	}
	b, err := os.ReadFile(found[0])
	must(t, err)
	z, err := gzip.NewReader(bytes.NewReader(b))
	must(t, err)
	text, err := io.ReadAll(z)
	must(t, err)
	return text
}

func TestSecurityUpdate(t *testing.T) {
	t.Parallel()
	for r, want := range map[Release]struct{ fixed, id, severity string }{
		RHEL9:           {"1:3.2.2-6.el9_5.1", "RHSA-2025:21001", "Important"},
		AmazonLinux2023: {"1:3.2.2-1.amzn2023.0.2", "ALAS2023-2025-1301", "important"},
	} {
		a := make1(t, r, Options{})
		old := one(t, a, "openssl-libs")
		must(t, a.SecurityUpdate())
		if now := one(t, a, "openssl-libs"); now.Version != want.fixed || now.Version == old.Version || now.Source != "openssl" || !intact(t, now) {
			t.Errorf("%s: %+v after %+v", r, now, old)
		}
		if _, err := os.Stat(old.File); err != nil {
			t.Errorf("%s: the old package is gone: %v", r, err)
		}
		var doc xmlUpdates
		must(t, xml.Unmarshal(metadata(t, a, "updateinfo"), &doc))
		i := slices.IndexFunc(doc.Updates, func(u xmlUpdate) bool { return u.ID == want.id })
		if i < 0 {
			t.Fatalf("%s: no %s in %+v", r, want.id, doc.Updates)
		}
		u := doc.Updates[i]
		if u.Severity != want.severity || u.Type != "security" || u.Issued.Date != "2025-11-11 06:00:00" || len(u.Collection.Packages) != 2 || u.Collection.Packages[0].Epoch != "1" {
			t.Errorf("%s: %+v", r, u)
		}
		var cves []string
		for _, ref := range u.References {
			if ref.Type == "cve" {
				cves = append(cves, ref.ID)
			}
		}
		if !slices.Equal(cves, []string{"CVE-2025-9230", "CVE-2025-9231"}) {
			t.Errorf("%s: CVEs %q", r, cves)
		}
	}
}

// get is what the server says.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	must(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(t, err)
	return res.StatusCode, string(b)
}

func TestMirrorLists(t *testing.T) {
	t.Parallel()
	for r, test := range map[Release]struct{ list, form, packages string }{
		AmazonLinux2:    {"2/core/latest/x86_64/mirror.list", `^URL/2/core/2\.0/x86_64/[0-9a-f]{64}\n$`, "../../../../../blobstore/"},
		AmazonLinux2023: {"al2023/core/mirrors/latest/x86_64/mirror.list", `^URL/al2023/core/guids/[0-9a-f]{64}/x86_64/\n$`, "../../../../blobstore/"},
	} {
		a := make1(t, r, Options{})
		below := httptest.NewServer(http.StripPrefix("/mirror", a.Handler()))
		t.Cleanup(below.Close)
		for _, url := range []string{a.Serve(t), below.URL + "/mirror"} {
			status, list := get(t, url+"/"+test.list)
			if form := strings.ReplaceAll(test.form, "URL", regexp.QuoteMeta(url)); status != 200 || !regexp.MustCompile(form).MatchString(list) {
				t.Errorf("%s: %d %q is not of the form %s", r, status, list, form)
			}
			repository := strings.TrimRight(list, "/\n")
			if status, _ := get(t, repository+"/repodata/repomd.xml.asc"); status != 200 {
				t.Errorf("%s: %d for the signature", r, status)
			}
			f := one(t, a, "bash")
			if status, b := get(t, url+"/"+f.Path); status != 200 || factory.DigestOf([]byte(b)) != f.SHA256 {
				t.Errorf("%s: %d for %s", r, status, f.Path)
			}
			if status, _ := get(t, url+"/"+described+"/"+f.Path); status != 404 {
				t.Errorf("%s: %d for what only the stand-in itself may see", r, status)
			}
		}
		if primary := string(metadata(t, a, "primary")); !strings.Contains(primary, `href="`+test.packages) {
			t.Errorf("%s: packages do not lie at %s:\n%.2000s", r, test.packages, primary)
		}
	}
}

func TestReleasesMove(t *testing.T) {
	t.Parallel()
	a := make1(t, AmazonLinux2023, Options{})
	url := a.Serve(t)
	list := func(release string) string {
		status, text := get(t, url+"/al2023/core/mirrors/"+release+"/x86_64/mirror.list")
		if status != 200 {
			return ""
		}
		return text
	}
	first := list("latest")
	if first != list("2023.9.20251110") || list("2023.9.20251117") != "" {
		t.Error("latest is not the first release, or a later one is there")
	}
	before := tree(t, a.on(a.repos[0].folder))
	must(t, a.MoveRelease("2023.9.20251117"))
	if list("latest") == first || list("latest") != list("2023.9.20251117") || list("2023.9.20251110") != first {
		t.Errorf("after the move: latest %s, old %s", list("latest"), list("2023.9.20251110"))
	}
	if one(t, a, "system-release").Version != "2023.9.20251117-0.amzn2023" || a.Version() != "2023.9.20251117" {
		t.Errorf("release %s, %+v", a.Version(), one(t, a, "system-release"))
	}
	must(t, a.SecurityUpdate())
	if a.Version() != "2023.9.20251124" {
		t.Errorf("the update came with release %s", a.Version())
	}
	folder := strings.TrimPrefix(strings.TrimSpace(first), url+"/")
	after := tree(t, a.on(folder))
	if len(before) == 0 || len(after) != len(before) {
		t.Errorf("%d files of the first release, %d now", len(before), len(after))
	}
	for name, digest := range before {
		if after[name] != digest {
			t.Errorf("%s of the first release has changed", name)
		}
	}
	if got := follower("2023.9.20259999"); got <= "2023.9.20259999" {
		t.Errorf("after a release that is no date comes %s", got)
	}
}

// TestSolverHasSomethingToSolve asks dnf itself: streams, a split package, a weak dependency.
func TestSolverHasSomethingToSolve(t *testing.T) {
	t.Parallel()
	needs(t, true, "dnf")
	a := make1(t, RHEL9, Options{})
	c := newClient(t, a, "--setopt=*.repo_gpgcheck=0")
	if out := c.must(t, "--quiet", "repoquery", "nodejs", "npm"); out != "nodejs-1:16.20.2-8.el9_4.x86_64\n" {
		t.Errorf("without a module: %s", out)
	}
	must(t, a.AddModule())
	must(t, a.Obsolete())
	c.must(t, "module", "enable", "nodejs:22")
	out, err := c.run("--assumeno", "install", "nodejs", "procps", "rpm", "coreutils-single")
	if err == nil || !strings.Contains(out, "1:22.16.0-1.module+el9.6.0+23800+2c3d4e5f") || !strings.Contains(out, "procps-ng-libs") ||
		regexp.MustCompile(`(?m)^ (procps|npm|rpm-plugin-audit|coreutils) `).MatchString(out) {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestEveryRequirementIsMet: what is broken in an archive is so on purpose.
func TestEveryRequirementIsMet(t *testing.T) {
	t.Parallel()
	all, err := catalogue()
	must(t, err)
	for _, r := range Releases {
		var packages []*published
		for _, s := range all {
			for _, evr := range []string{s.EVR[r], s.Fixed[r]} {
				if evr == "" {
					continue
				}
				e, err := editionOf(s, r, "x86_64", evr, variables{version: firstVersion})
				must(t, err)
				packages = append(packages, &published{edition: e})
			}
		}
		for _, p := range packages {
			for _, need := range p.Requires {
				name, _, _ := strings.Cut(need, " ")
				met := slices.ContainsFunc(packages, func(q *published) bool { return q.Name == name || q.gives(name) })
				if met != (need != "nobody-provides-this") {
					t.Errorf("%s: %s needs %s: %v", r, p.Name, need, met)
				}
			}
		}
	}
}

// TestEveryFileBelongsToAPackage of its release.
func TestEveryFileBelongsToAPackage(t *testing.T) {
	t.Parallel()
	all, err := catalogue()
	must(t, err)
	folders, err := fs.Glob(files, "files/*/*")
	must(t, err)
	for _, f := range folders {
		part := strings.Split(f, "/")
		if !slices.ContainsFunc(all, func(s spec) bool {
			return s.Name == part[2] && (part[1] == "common" || s.EVR[Release(part[1])] != "")
		}) {
			t.Errorf("%s belongs to nothing", f)
		}
	}
	if len(folders) < 20 {
		t.Errorf("only %d packages have files", len(folders))
	}
}
