package oci

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rpmdb "github.com/knqyf263/go-rpmdb/pkg"
)

// fixtures are real package databases, which a library of others ships with its tests: name → file.
func fixtures(t testing.TB) map[string]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/knqyf263/go-rpmdb").Output()
	if err != nil {
		t.Skipf("no Go module cache: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "pkg", "testdata", "*", "*"))
	if err != nil || len(files) < 10 {
		t.Skipf("%d fixtures, %v", len(files), err)
	}
	all := map[string]string{}
	for _, f := range files {
		all[filepath.Base(filepath.Dir(f))] = f
	}
	return all
}

// In real databases of all three forms there is what others find in them.
func TestRealDatabases(t *testing.T) {
	t.Parallel()
	all := fixtures(t)
	for _, name := range []string{"centos5-plain", "centos7-plain", "fedora35", "sle15-bci", "ubi8-s390x"} {
		file := all[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			headers, err := headersOf(b)
			if err != nil {
				t.Fatal(err)
			}
			var got, want []string
			for _, h := range headers {
				p, err := parseHeader(h)
				if err != nil {
					t.Fatal(err)
				}
				files, err := p.files()
				if err != nil {
					t.Fatal(err)
				}
				line := []string{p.name, p.evr(), p.arch}
				for _, f := range files {
					line = append(line, f.path+"="+f.digest)
				}
				got = append(got, strings.Join(line, " "))
			}
			copied := filepath.Join(t.TempDir(), "db") // the library may write next to it
			if err := os.WriteFile(copied, b, 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := rpmdb.Open(copied)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			others, err := db.ListPackages()
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range others {
				evr := rpmPackage{version: o.Version, release: o.Release, epoch: uint32(o.EpochNum())}.evr()
				line := []string{o.Name, evr, o.Arch}
				files, err := o.InstalledFiles()
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range files {
					line = append(line, f.Path+"="+f.Digest)
				}
				want = append(want, strings.Join(line, " "))
			}
			if !slices.Equal(got, want) {
				for i := range min(len(got), len(want)) {
					if got[i] != want[i] {
						t.Fatalf("%d packages, the library finds %d; the first that differs:\n%.300s\n%.300s", len(got), len(want), got[i], want[i])
					}
				}
				t.Fatalf("%d packages, the library finds %d", len(got), len(want))
			}
		})
	}
}
