package accept_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/accept"
	"github.com/imagefactory/imagefactory/factory/factorytest"
)

// rpmImage is the small image with a toolbox that has this machine's Berkeley tools, and files as /var/lib/rpm.
func rpmImage(t *testing.T, database string) string {
	t.Helper()
	dir := image(t)
	const libs = "/lib/x86_64-linux-gnu/"
	for from, to := range map[string]string{
		"/usr/bin/db5.3_dump": "usr/bin/db5.3_dump", "/usr/bin/db5.3_verify": "usr/bin/db5.3_verify",
		"/lib64/ld-linux-x86-64.so.2": "usr/lib64/ld-linux-x86-64.so.2",
		libs + "libdb-5.3.so":         "usr/lib/x86_64-linux-gnu/libdb-5.3.so", libs + "libc.so.6": "usr/lib/x86_64-linux-gnu/libc.so.6",
		database: "../var/lib/rpm/" + filepath.Base(database),
	} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Skip(err)
		}
		to = filepath.Join(dir, factory.ToolboxMount, to)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, data, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The script reads both forms in the image itself, with the toolbox's programs; it leaves nothing, and what the image's
// user may run does not see it.
func TestRPMImage(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/knqyf263/go-rpmdb").Output()
	if err != nil {
		t.Fatal(err)
	}
	for file, tc := range map[string]struct{ family, pkg string }{
		"libuuid/Packages": {factory.Amazon, "libuuid"}, "cbl-mariner-2.0/rpmdb.sqlite": {factory.RedHat, "bash"},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			p := packed("app", factory.Tests{
				Files:    []factory.FileTest{{Path: "/var/lib/rpm/rpmdb.sqlite-shm", Absent: true}},
				Packages: factory.PackageTest{Present: []string{tc.pkg, "no-such"}, Absent: []string{tc.pkg, "no-other", "gpg-pubkey"}},
				Setuid:   []string{"/bin/su", "/tmp/deep/sg"},
			})
			p.Job.Image.Distro = factory.Distro{Family: tc.family, Release: "2"}
			dir := rpmImage(t, filepath.Join(strings.TrimSpace(string(out)), "pkg", "testdata", file))
			tester := accept.Tester{Runner: factorytest.NewChroot(t, dir), Opener: opener{}}
			tested, err := tester.Test(t.Context(), p)
			if !errors.Is(err, factory.ErrBlocked) {
				t.Error(err)
			}
			details := map[string]string{}
			for _, r := range tested.Results {
				details[r.Name] = r.Detail
			}
			compare(t, details, map[string]string{
				"file: /var/lib/rpm/rpmdb.sqlite-shm":  "",
				"package: " + tc.pkg + " is installed": "", "package: no-such is installed": "is not installed",
				"package: " + tc.pkg + " is absent": `is "installed"`, "package: no-other is absent": "", "package: gpg-pubkey is absent": "",
				"setuid: no file beyond the list": "",
			})
			if entries, err := os.ReadDir(filepath.Join(dir, "var/lib/rpm")); err != nil || len(entries) != 1 {
				t.Errorf("the tests left %v, %v", entries, err)
			}
		})
	}
}

// An image without a database, or with a broken one, has failed package tests and results of all others.
func TestNoRPMDatabase(t *testing.T) {
	t.Parallel()
	p := packed("app", factory.Tests{Packages: factory.PackageTest{Absent: []string{"wget"}}, NonRoot: true, Setuid: []string{"/bin/su", "/tmp/deep/sg"}})
	p.Job.Image.Distro = factory.Distro{Family: factory.Amazon, Release: "2023"}
	tested, err := accept.Tester{Runner: factorytest.NewChroot(t, image(t)), Opener: opener{}}.Test(t.Context(), p)
	if !errors.Is(err, factory.ErrBlocked) || len(tested.Results) != 3 {
		t.Fatal(tested.Results, err)
	}
	if r := tested.Results[0]; r.Passed || r.Detail != "/var/lib/rpm: holds no package database" || !tested.Results[1].Passed || !tested.Results[2].Passed {
		t.Errorf("got %+v", tested.Results)
	}
}
