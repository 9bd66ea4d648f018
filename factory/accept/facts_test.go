package accept

import (
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestDpkgStatus(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ status, pkg, want string }{
		"last stanza":   {"Package: a\nStatus: install ok installed", "a", "installed"},
		"any order":     {"Status: install ok installed\nPackage: a\n\n", "a", "installed"},
		"best arch":     {"Package: a\nStatus: install ok installed\n\nPackage: a\nStatus: deinstall ok config-files\n", "a", "installed"},
		"worse first":   {"Package: a\nStatus: deinstall ok config-files\n\nPackage: a\nStatus: install ok installed\n", "a", "installed"},
		"no status":     {"Package: a\nVersion: 1\n", "a", ""},
		"odd status":    {"Package: a\nStatus: installed\n", "a", ""},
		"other package": {"Package: ab\nStatus: install ok installed\n", "a", ""},
		"folded":        {"Package: a\nDescription: x\n Status: install ok installed\n", "a", ""},
	} {
		states, err := dpkgStatus([]byte(tc.status))
		if err != nil || states[tc.pkg] != tc.want {
			t.Errorf("%s: %q, %v", name, states, err)
		}
	}
	if _, err := dpkgStatus(make([]byte, 2<<20)); err == nil {
		t.Error("a line of 2 MiB was read")
	}
}

func TestRootWrong(t *testing.T) {
	t.Parallel()
	f := facts{Read: map[string]readFact{passwdFile: {Data: []byte("root:x:0:0:::\ntoor:x:0:0:::\napp:x:7:0:::\n12:x:0:0:::\nbad:x:x:x:::\n")}}}
	for user, ok := range map[string]bool{
		"app": true, "app:root": true, "7": true, "65532:65532": true,
		"": false, "0": false, "00": false, "root": false, "toor": false, "0:7": false, "12": false, "ghost": false, "bad": false, "-1": false, "4294967296": false,
	} {
		if wrong := rootWrong(user, f); (len(wrong) == 0) != ok {
			t.Errorf("%q: %q", user, wrong)
		}
	}
}

// FuzzFacts: whatever the results say, nothing panics, and every test has exactly one of success and detail.
func FuzzFacts(f *testing.F) {
	f.Add([]byte(`{"files":[{"exists":true,"type":"file","mode":420}],"read":{"/etc/passwd":{"data":"cm9vdDp4OjA6MDo6Og=="}},"setuid":{"paths":["/bin/su"],"more":1,"errors":["x"]},"commands":[{"ended":true,"signal":9,"dropped":true,"seconds":1e9}]}`), []byte("Package: a\n"))
	f.Add([]byte(`{"setuid":{}}`), []byte("Status"))
	f.Add([]byte(`[]`), []byte{})
	image := factory.Image{Distro: factory.Distro{Family: "debian"}, Config: factory.Config{User: "app"}, Tests: factory.Tests{
		Commands: []factory.CommandTest{{Name: "c", Stdout: "x"}, {Name: "d"}}, Files: []factory.FileTest{{Path: "/f", Owner: "a:b", Contains: "x"}, {Path: "/g", Absent: true}},
		Packages: factory.PackageTest{Present: []string{"a"}, Absent: []string{"b"}}, Users: []factory.UserTest{{Name: "app"}}, NonRoot: true,
	}}
	f.Fuzz(func(t *testing.T, results, status []byte) {
		got := decode(factory.StepResult{Output: map[string][]byte{resultFile: results}})
		if got.Read == nil {
			got.Read = map[string]readFact{}
		}
		got.Read["/var/lib/dpkg/status"] = readFact{Data: status}
		all := checks(image)
		if len(all) != 9 {
			t.Fatalf("%d tests", len(all))
		}
		for _, c := range all {
			if r := c.result(got); r.Passed == (r.Detail != "") {
				t.Errorf("%+v", r)
			}
		}
	})
}
