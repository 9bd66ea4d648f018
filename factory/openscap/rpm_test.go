package openscap

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/factorytest"
)

var (
	rhel9      = factory.Distro{Family: factory.RedHat, Release: "9"}
	amazon2    = factory.Distro{Family: factory.Amazon, Release: "2"}
	amazon2023 = factory.Distro{Family: factory.Amazon, Release: "2023"}
)

func TestProveRPM(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		distro          factory.Distro
		content, kernel string
		extended        int
	}{
		"red hat": {rhel9, "ssg-rhel9-ds.xml", "kernel-core", 57},
		"amazon":  {amazon2023, "ssg-al2023-ds.xml", "kernel", 47},
	} {
		box := &toolbox{}
		proven, err := Prover{Runner: box}.Prove(t.Context(), hardened(c.distro, amd64))
		must(t, err)
		if s := proven.Compliance.Find(factory.ExtendedView, 2, amd64).Score(); s.Pass != c.extended || s.Applicable() != c.extended {
			t.Errorf("%s: extended %s", name, s)
		}
		if got := strings.Join(proven.Compliance.Canaries, " "); got != "accounts_no_uid_except_zero accounts_root_path_dirs_no_write accounts_umask_etc_profile accounts_user_dot_user_ownership file_permissions_unauthorized_world_writable no_files_unowned_by_user package_telnet-server_removed" {
			t.Errorf("%s: canaries %s", name, got)
		}
		method := strings.Join(proven.Compliance.Method, "\n")
		for _, want := range []string{"an entry for " + c.kernel + " in the copy's package database", "Absolute links of the root filesystem, and such as climb above it (7)", "(1: sshd_enable_warning_banner)"} {
			if !strings.Contains(method, want) {
				t.Errorf("%s: %q is not in %s", name, want, method)
			}
		}
		if read := box.steps[0].Args[1]; !strings.HasSuffix(read, c.content) {
			t.Errorf("%s: read %s", name, read)
		}
		for _, s := range box.steps[1:] {
			var req request
			must(t, json.Unmarshal(s.Files["/.prove/request.json"].Data, &req))
			if req.Packages != factory.RPM || req.Kernel != c.kernel || !slices.Contains(req.Corrections, "conflicts") {
				t.Errorf("%s: request %+v", name, req)
			}
		}
	}
}

// A database of packages that is not the target's, and files that are not looked at, must not pass.
func TestALyingEvaluationOfRPMIsCaught(t *testing.T) {
	t.Parallel()
	without := func(list *[]string, names ...string) {
		*list = slices.DeleteFunc(*list, func(c string) bool { return slices.Contains(names, c) })
	}
	for says, ask := range map[string]func(*request){
		"accounts_umask_etc_profile is pass and had to be fail":                   func(r *request) { without(&r.Corrections, "links") },
		"accounts_root_path_dirs_no_write is pass":                                func(r *request) { without(&r.Corrections, "proc") },
		"file_permissions_unauthorized_world_writable is pass and had to be fail": func(r *request) { without(&r.Corrections, "device") },
		"fsdev_init() failed":                   func(r *request) { without(&r.Corrections, "mtab") },
		"package_telnet-server_removed is pass": func(r *request) { without(&r.Plants, "package") },
	} {
		if _, err := (Prover{Runner: &toolbox{ask: ask}}).Prove(t.Context(), hardened(rhel9, amd64)); !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	everything := func(_ factory.View, _ *report, f map[string][]byte) { // every package is said to be there
		f["canary.arf.xml"] = swap(f["canary.arf.xml"], `idref="`+prefix+`package_telnet_removed" severity="high"><result>pass`, `idref="`+prefix+`package_telnet_removed"><result>fail`)
	}
	if _, err := (Prover{Runner: &toolbox{edit: everything}}).Prove(t.Context(), hardened(rhel9, amd64)); err == nil || !strings.Contains(err.Error(), "package_telnet_removed is fail and had to be pass") {
		t.Error(err)
	}
}

func TestNoContent(t *testing.T) {
	t.Parallel()
	box, rec := &toolbox{says: "OpenSCAP command line tool (oscap) 1.4.2\nCopyright\n"}, &factorytest.Recorder{}
	proven, err := Prover{Runner: box, Events: rec.Events()}.Prove(t.Context(), hardened(amazon2, amd64))
	must(t, err)
	c := proven.Compliance
	if !strings.Contains(c.NoContent, "no content for Amazon Linux 2") || c.Tool != "OpenSCAP 1.4.2" || len(c.Method) != 1 || c.Benchmark != "" || len(c.Evaluations)+len(c.Canaries)+len(proven.Documents) != 0 {
		t.Errorf("%+v", c)
	}
	if said := rec.Messages(factory.Warned); len(said) != 1 || !strings.HasPrefix(said[0], "nothing was evaluated: ") {
		t.Errorf("said %q", said)
	}
	if s := box.steps[0]; len(box.steps) != 1 || !s.InToolbox || s.Network {
		t.Errorf("steps %+v", box.steps)
	}
	if _, err := (Prover{}).Benchmark(t.Context(), amazon2); !errors.Is(err, factory.ErrNotFound) || !strings.Contains(err.Error(), "amazon 2") {
		t.Error(err)
	}
	broken := errors.New("disk full")
	if _, err := (Prover{Runner: &toolbox{err: broken}}).Prove(t.Context(), hardened(amazon2, amd64)); !errors.Is(err, broken) {
		t.Error(err)
	}
	for _, box := range []*toolbox{{says: "something else"}, {exit: 1}} {
		if _, err := (Prover{Runner: box}).Prove(t.Context(), hardened(amazon2, amd64)); !errors.Is(err, factory.ErrUnverified) {
			t.Error(err)
		}
	}
}

func TestExtendedSets(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]map[string]int{
		"redhat 9":    {"accounts": 26, "pam": 20, "sudo": 5, "banner": 3, "file": 3},
		"amazon 2023": {"accounts": 26, "pam": 12, "sudo": 3, "banner": 3, "file": 3},
	} {
		classes := map[string]int{}
		for line := range strings.Lines(contents[name].extended) {
			if f := strings.Fields(line); f[0] != "#" {
				classes[f[0]]++
			}
		}
		ids := contents[name].rules()
		for class, n := range want {
			if classes[class] != n {
				t.Errorf("%s: %d rules of the class %s", name, classes[class], class)
			}
		}
		if len(classes) != len(want) || len(slices.Compact(ids)) != len(ids) || slices.Contains(ids, "package_sudo_installed") {
			t.Errorf("%s: %v, %q", name, classes, ids)
		}
	}
}
