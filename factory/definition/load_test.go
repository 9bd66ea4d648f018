package definition_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

func load(t *testing.T, files map[string]string) (definition.Set, error) {
	t.Helper()
	return definition.Load(write(t, files))
}

func TestLoad(t *testing.T) {
	t.Parallel()
	set, err := load(t, fixture())
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Images) != 2 || set.Images[0].Name != "box" || set.Teams["linux"].Contacts[1] != "https://example.com/linux" {
		t.Fatalf("%+v", set)
	}
	img, err := set.Image("small")
	if err != nil {
		t.Fatal(err)
	}
	day := func(s string) factory.Date { d, _ := factory.ParseDate(s); return d }
	at := func(file string, line, column int) factory.Position {
		return factory.Position{File: "baseimages/" + file, Line: line, Column: column}
	}
	want := factory.Image{
		Name: "small", Kind: factory.KindBase, Summary: "A small image",
		Owner:     factory.Owner{Team: "linux", Contacts: []string{"linux@example.com", "https://example.com/linux"}},
		Distro:    factory.Distro{Family: "debian", Release: "12", Codename: "bookworm"},
		EndOfLife: day("2028-06-30"),
		Archives: []factory.Archive{
			{ID: "debian", Suite: "bookworm", Components: []string{"main"}},
			{ID: "debian-security", Suite: "bookworm-security", Components: []string{"main"}},
		},
		Keyring: "debian-archive-keyring.gpg",
		Packages: factory.Packages{
			Essential: true, Include: []string{"ca-certificates", "tzdata"}, Exclude: []string{"mount"},
			OmitPaths: []string{"/usr/share/doc/*"}, KeepPaths: []string{"/usr/share/doc/*/copyright"},
		},
		Platforms: []factory.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}},
		Users:     []factory.User{{Name: "nonroot", UID: 65532, GID: 65532, Home: "/home/nonroot", Shell: "/usr/sbin/nologin"}},
		Hardening: factory.Hardening{
			Profile: "cis_debian", Level: 1, Scope: "container",
			Exempt: []factory.Exemption{{Control: "1.1", Reason: "breaks the cache", Until: day("2026-12-31"), Where: at("small/image.yaml", 22, 7)}},
			Vars:   map[string]any{"cis_days": int64(90), "cis_text": "two", "cis_on": true, "cis_ratio": 0.5, "cis_list": []string{"a", "b"}},
		},
		Config: factory.Config{
			User: "65532:65532", Env: []string{"LANG=C", "PATH=/usr/bin"}, Workdir: "/home/nonroot", StopSignal: "SIGTERM",
			Entrypoint: []string{"/bin/sh"}, Cmd: []string{"sh", "-c", "echo a", "-c"},
			Labels: map[string]string{"org.example.shared": "yes", "org.example.own": "small"},
		},
		Tests: factory.Tests{
			Commands: []factory.CommandTest{{Name: "prints its release", Run: []string{"cat", "/etc/debian_version"}, User: "0", Stdout: `^12\.`, Stderr: "^$", Timeout: 10, Where: at("small/tests.yaml", 3, 5)}},
			Files: []factory.FileTest{
				{Path: "/etc/passwd", Mode: "0644", Owner: "root:root", Where: at("shared/debian.yaml", 15, 7)},
				{Path: "/usr/bin/sudo", Absent: true, Where: at("small/tests.yaml", 11, 5)},
			},
			Packages: factory.PackageTest{Present: []string{"bash"}, Absent: []string{"sudo"}},
			Users:    []factory.UserTest{{Name: "root", Home: "/root", Shell: "/bin/bash"}},
			Setuid:   []string{"/usr/bin/su"}, NonRoot: true,
		},
		Waivers: []factory.Waiver{{ID: "CVE-2026-1234", Packages: []string{"openssl"}, Reason: "not reachable", By: "linux", Until: day("2026-12-31"), Where: at("small/waivers.yaml", 3, 5)}},
		Inputs: []string{"ansible/ansible.cfg", "ansible/profiles/cis_debian.yaml", "ansible/roles/common", "ansible/site.yml",
			"baseimages/shared/debian.yaml", "baseimages/small"},
		Where: at("small/image.yaml", 1, 1),
	}
	if !reflect.DeepEqual(img, want) {
		t.Errorf("got  %+v\nwant %+v", img, want)
	}
	box, _ := set.Image("box")
	if box.Kind != factory.KindToolbox || !slices.Equal(box.Inputs, []string{"baseimages/box", "baseimages/shared/debian.yaml"}) || !box.EndOfLife.IsZero() {
		t.Errorf("box: %+v", box)
	}
}

func TestImageNotFound(t *testing.T) {
	t.Parallel()
	set, _ := load(t, fixture())
	_, err := set.Image("smal")
	if !errors.Is(err, factory.ErrNotFound) || !strings.Contains(err.Error(), "did you mean small?") {
		t.Error(err)
	}
	if _, err = set.Image("quite-another"); !strings.Contains(err.Error(), "known: box, small") {
		t.Error(err)
	}
}

// Everything that is wrong is told at once, in the order of the places, and the images in order are there.
func TestLoadTellsEverything(t *testing.T) {
	t.Parallel()
	files := edited(t, "baseimages/small/image.yaml", "kind: base", "kind: bass")
	files["baseimages/small/image.yaml"] = strings.Replace(files["baseimages/small/image.yaml"], "uid: 65532", "uid: many", 1)
	files["baseimages/small/waivers.yaml"] = "image: small\nwaivers:\n  - {id: nonsense id}\n"
	set, err := load(t, files)
	var got []string
	for _, p := range factory.Problems(err) {
		got = append(got, p.Where.String())
		if !errors.Is(p, factory.ErrInvalid) {
			t.Errorf("%v is not of kind invalid", p)
		}
	}
	want := []string{
		"baseimages/small/image.yaml:2:7", "baseimages/small/image.yaml:16:26", "baseimages/small/waivers.yaml:3:5",
		"baseimages/small/waivers.yaml:3:5", "baseimages/small/waivers.yaml:3:5", "baseimages/small/waivers.yaml:3:10",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v: %v", got, err)
	}
	if len(set.Images) != 1 || set.Images[0].Name != "box" {
		t.Errorf("the image that is in order is missing: %+v", set.Images)
	}
}

// What cannot be pulled hides no mistake of the file's own, nor those in the files beside it.
func TestUnknownUseHidesNothing(t *testing.T) {
	t.Parallel()
	files := edited(t, "baseimages/small/image.yaml", "use: [debian]", "use: [debain]")
	files["baseimages/small/image.yaml"] = strings.NewReplacer("uid: 65532", "uid: many", "summary:", "sumary:").Replace(files["baseimages/small/image.yaml"])
	files["baseimages/small/tests.yaml"] = strings.NewReplacer("use: [debian]", "use: [nothing]", "exit: 0", "exit: 256").Replace(files["baseimages/small/tests.yaml"])
	files["baseimages/small/waivers.yaml"] = "image: box\n"
	_, err := load(t, files)
	var got []string
	for _, p := range factory.Problems(err) {
		got = append(got, p.Where.String())
	}
	want := []string{
		"baseimages/small/image.yaml:1:7", "baseimages/small/image.yaml:3:1", "baseimages/small/image.yaml:16:26",
		"baseimages/small/tests.yaml:1:7", "baseimages/small/tests.yaml:6:11", "baseimages/small/waivers.yaml:1:8",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v: %v", got, want, err)
	}
	// what the missing file would bring is not told as missing, what contradicts itself is
	files = edited(t, "baseimages/small/image.yaml", "use: [debian]", "use: [debain]")
	files["baseimages/small/image.yaml"] = strings.Replace(files["baseimages/small/image.yaml"], "exclude: [mount]", "exclude: [tzdata]", 1)
	_, err = load(t, files)
	if all := factory.Problems(err); len(all) != 2 || !strings.Contains(all[1].What, "tzdata is excluded here") {
		t.Errorf("%v", err)
	}
}

func TestLoadElsewhere(t *testing.T) {
	t.Parallel()
	if _, err := definition.Load(t.TempDir() + "/none"); !errors.Is(err, factory.ErrNotFound) {
		t.Error(err)
	}
	if _, err := definition.Load(t.TempDir()); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "no image is defined here") {
		t.Error(err)
	}
	if _, err := load(t, map[string]string{"baseimages": "a file"}); !errors.Is(err, factory.ErrInvalid) {
		t.Error(err)
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	set, _ := load(t, fixture())
	last, _ := factory.ParseDate("2026-12-31")
	after, _ := factory.ParseDate("2027-01-01")
	if got := set.Expired(last); got != nil {
		t.Errorf("the last day still counts: %v", got)
	}
	got := set.Expired(after)
	if len(got) != 2 || got[0].Where.Line != 22 || !strings.Contains(got[1].What, "waiver for CVE-2026-1234 ended on 2026-12-31") {
		t.Errorf("%v", got)
	}
}

// What children have from their parent is told once, with all their names.
func TestExpiredForAll(t *testing.T) {
	t.Parallel()
	set, err := load(t, family())
	if err != nil {
		t.Fatal(err)
	}
	after, _ := factory.ParseDate("2028-01-01")
	var got []string
	for _, p := range set.Expired(after) {
		got = append(got, p.What)
	}
	want := []string{
		"child, grandchild, part, small: the exemption of control 1.1 ended on 2026-12-31", "child, grandchild: the exemption of control 1.3 ended on 2026-12-31",
		"child, grandchild: the waiver for CVE-2026-1234 ended on 2026-12-30", "child, grandchild: the waiver for CVE-2026-9999 ended on 2026-12-30",
		"part, small: the waiver for CVE-2026-1234 ended on 2026-12-31",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestLoadProfile(t *testing.T) {
	t.Parallel()
	dir := write(t, fixture())
	p, err := definition.LoadProfile(dir, "cis_debian")
	if err != nil || p.Playbook != "site.yml" || p.Benchmark != "A Benchmark v1" || !slices.Equal(p.Roles, []string{"common"}) || len(p.Controls) != 3 {
		t.Fatalf("%+v %v", p, err)
	}
	c, ok := p.Control("1.2")
	if !ok || c.Title != "Two" || c.Where.Line != 7 {
		t.Errorf("%+v", c)
	}
	for _, q := range []struct {
		scope, release string
		level          int
		in             bool
	}{{"vm", "12", 2, true}, {"vm", "12", 1, false}, {"vm", "13", 2, false}, {"container", "12", 2, false}} {
		if c.In(q.scope, q.release, q.level) != q.in {
			t.Errorf("%+v", q)
		}
	}
	if _, err := definition.LoadProfile(dir, "cis_debain"); !errors.Is(err, factory.ErrNotFound) || !strings.Contains(err.Error(), "did you mean cis_debian?") {
		t.Error(err)
	}
	if _, err := definition.LoadProfile(dir, "../x"); !errors.Is(err, factory.ErrNotFound) {
		t.Error(err)
	}
	if _, err := definition.LoadProfile(dir+"/none", "x"); !errors.Is(err, factory.ErrNotFound) {
		t.Error(err)
	}
}
