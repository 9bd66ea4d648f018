package standin

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// TestACatalogueThatIsWrong: whoever adds a package is told what is wrong with it.
func TestACatalogueThatIsWrong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		s    spec
		evr  string
		says string
	}{
		{spec{Name: "x"}, "one:1-1", "epoch"},
		{spec{Name: "x", Requires: []string{"a >< b"}}, "1-1", "sense"},
		{spec{Name: "x", Dirs: map[string]string{"/a": "rwx"}}, "1-1", "/a: mode"},
	} {
		e, err := editionOf(test.s, RHEL9, "x86_64", test.evr, variables{})
		must(t, err)
		if _, err := build(e, looks[RHEL9], nil); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: %v", test.s, err)
		}
	}
	a := &Archive{}
	if _, err := a.modules(&repository{packages: []*published{{edition: edition{spec: spec{Module: "nodejs:18"}}}}}); err == nil || !strings.Contains(err.Error(), "name:stream:version:context") {
		t.Errorf("module: %v", err)
	}
}

// TestADiskThatFails: nothing is half there, and the error says where.
func TestADiskThatFails(t *testing.T) {
	t.Parallel()
	a := make1(t, RHEL9, Options{})
	must(t, os.RemoveAll(a.Dir))
	must(t, os.WriteFile(a.Dir, nil, 0o600))
	for name, change := range map[string]func() error{
		"security update": a.SecurityUpdate, "tamper": func() error { return a.Tamper("bash") }, "withdraw": func() error { return a.Withdraw("bash") },
		"replace": func() error { return a.Replace("bash") }, "unsign": func() error { return a.Unsign("bash") }, "other key": func() error { return a.SignWithOther("bash") },
		"metadata": a.UnsignMetadata, "other metadata": a.SignMetadataWithOther,
	} {
		if err := change(); err == nil || !strings.Contains(err.Error(), a.Dir) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProgramsThatAreMissing(t *testing.T) {
	needs(t, false)
	t.Setenv("PATH", t.TempDir())
	_, err := Make(t.TempDir(), AmazonLinux2, Options{})
	if p := factory.Problems(err); len(p) != 1 || p[0].Kind != factory.ErrUnavailable || !strings.Contains(p[0].What, "createrepo_c") {
		t.Errorf("%v", err)
	}
}

func TestFilesAreWhatALockNeeds(t *testing.T) {
	t.Parallel()
	a := make1(t, RHEL9, Options{Machines: []string{"aarch64", "x86_64"}, Packages: []string{"less"}})
	img := a.Image()
	if len(img.Platforms) != 2 || img.Platforms[0].Machine() != "x86_64" || img.Distro.Format() != factory.RPM || img.Archives[1].Path != "content/public/ubi/dist/ubi9/$releasever/$basearch/appstream/os" {
		t.Errorf("%+v", img)
	}
	lock := factory.Lock{Schema: factory.LockSchema, Image: img.Name, Definition: factory.DigestOf(nil), Timestamp: Published}
	for _, p := range img.Platforms {
		files, err := a.FilesFor(p)
		must(t, err)
		locked := factory.LockedPlatform{Platform: p}
		for _, f := range files {
			if !intact(t, f) || f.Arch != p.Machine() && f.Arch != "noarch" {
				t.Errorf("%s: %+v", p, f)
			}
			locked.Packages = append(locked.Packages, f.Package)
		}
		for _, name := range img.Packages.Include {
			if !slices.ContainsFunc(files, func(f File) bool { return f.Name == name }) {
				t.Errorf("%s: no %s", p, name)
			}
		}
		lock.Platforms = append(lock.Platforms, locked)
	}
	b, err := lock.Encode()
	must(t, err)
	if _, err := factory.DecodeLock(b); err != nil {
		t.Error(err)
	}
	first, err := a.Files("less", "nodejs")
	must(t, err)
	if len(first) != 2 || first[0].Arch != "aarch64" || first[1].Version != "1:16.20.2-8.el9_4" || first[1].Repository != "appstream" || first[0].Source != "" {
		t.Errorf("%+v", first)
	}
	if tops := a.Tops(); !slices.Equal(tops, []string{"content"}) {
		t.Errorf("tops: %q", tops)
	}
}
