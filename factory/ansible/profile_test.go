package ansible_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

type catalogueFile struct {
	Profile   string   `yaml:"profile"`
	Benchmark string   `yaml:"benchmark"`
	Roles     []string `yaml:"roles"`
	Playbook  string   `yaml:"playbook"`
	Controls  []struct {
		ID        string   `yaml:"id"`
		Title     string   `yaml:"title"`
		Level     int      `yaml:"level"`
		Scope     []string `yaml:"scope"`
		Releases  []string `yaml:"releases"`
		Reason    string   `yaml:"reason"`
		Explained string   `yaml:"explained"`
	} `yaml:"controls"`
}

func readCatalogue(t *testing.T) catalogueFile { return catalogueOf(t, "cis_debian") }

// catalogueOf reads a profile.
func catalogueOf(t *testing.T, name string) (c catalogueFile) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, "ansible/profiles", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(b, &c, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return c
}

type item struct {
	Control string           `yaml:"control"`
	Reason  string           `yaml:"reason"`
	Needs   []string         `yaml:"needs"`
	Ensure  []map[string]any `yaml:"ensure"`
}

type task struct {
	Name string `yaml:"name"`
	CIS  *call  `yaml:"cis_controls"`
}

type call struct {
	Scope    string `yaml:"scope"`
	Level    string `yaml:"level"`
	Release  string `yaml:"release"`
	Exempt   string `yaml:"exempt"`
	Controls []item `yaml:"controls"`
}

// profiles are what is known of each beside its file: the releases that it is for, and the part of its numbers that is about
// the kernel or about journald.
var profiles = map[string]struct {
	playbook string
	releases []string
	machine  string
}{
	"cis_debian": {"site.yml", []string{"12", "13"}, `^(1\.1\.|3\.|1\.5\.[12]$|6\.1\.2\.)`},
	"cis_rhel":   {"rhel.yml", []string{"9"}, `^(1\.1\.|3\.|1\.5\.[12]$|6\.2\.2\.)`},
	"cis_amazon": {"amazon.yml", []string{"2", "2023"}, `^(1\.1\.|3\.|1\.5\.[12]$|5\.1\.2\.)`},
}

// implemented returns what the tasks of a role do for each control, and fails on a control that is there twice.
func implemented(t *testing.T, role string) map[string]item {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository, "ansible/roles", role, "tasks/*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tasks in %s: %v", role, err)
	}
	all := map[string]item{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var tasks []task
		if err := yaml.Unmarshal(b, &tasks); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, k := range tasks {
			did := k.CIS
			if did == nil {
				continue
			}
			switches := map[string]string{"hardening_scope": did.Scope, "hardening_level": did.Level, "hardening_exempt": did.Exempt}
			if role != "cis_debian" { // the version is more than the release there: 9.6
				switches["distribution_major_version"] = did.Release
			}
			if !strings.Contains(k.Name, "(CIS ") {
				t.Errorf("%s: task %q does not name its part of the benchmark", file, k.Name)
			}
			for switchName, value := range switches {
				if !strings.Contains(value, switchName) {
					t.Errorf("%s: task %q does not obey %s", file, k.Name, switchName)
				}
			}
			for _, i := range did.Controls {
				if _, twice := all[i.Control]; twice {
					t.Errorf("%s: control %s is implemented twice", file, i.Control)
				}
				all[i.Control] = i
			}
		}
	}
	return all
}

func TestCatalogueAndRolesAgree(t *testing.T) {
	t.Parallel()
	for name, about := range profiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := catalogueOf(t, name)
			if c.Profile != name || c.Benchmark == "" || c.Playbook != about.playbook {
				t.Errorf("catalogue %q of %q runs %q", c.Profile, c.Benchmark, c.Playbook)
			}
			done := map[string]item{}
			for _, role := range c.Roles {
				maps.Copy(done, implemented(t, role))
			}
			checkCatalogue(t, c, done, about.releases)
			checkPlaybook(t, c)
		})
	}
}

// checkCatalogue demands that every control is listed once, in full, and done by a task, and that no task does anything else.
func checkCatalogue(t *testing.T, c catalogueFile, done map[string]item, releases []string) {
	t.Helper()
	id := regexp.MustCompile(`^[1-7](\.[1-9][0-9]?){1,4}$`)
	listed := map[string]bool{}
	for _, k := range c.Controls {
		if listed[k.ID] {
			t.Errorf("control %s is listed twice", k.ID)
		}
		listed[k.ID] = true
		if !id.MatchString(k.ID) || k.Title == "" || k.Reason == "" || (k.Level != 1 && k.Level != 2) || len(k.Scope) == 0 {
			t.Errorf("control %q lacks something: %+v", k.ID, k)
		}
		for _, s := range k.Scope {
			if s != "container" && s != "vm" {
				t.Errorf("control %s has the scope %q", k.ID, s)
			}
		}
		for _, r := range k.Releases {
			if !slices.Contains(releases, r) {
				t.Errorf("control %s is for release %s, which the profile is not for", k.ID, r)
			}
		}
		i, ok := done[k.ID]
		if !ok {
			t.Errorf("control %s is in the catalogue, and no task does it", k.ID)
			continue
		}
		if len(k.Releases) == 0 {
			k.Releases = releases
		}
		checkItem(t, i, k.Scope, k.Releases)
	}
	for _, name := range slices.Sorted(maps.Keys(done)) {
		if !listed[name] {
			t.Errorf("control %s is implemented, and the catalogue does not know it", name)
		}
	}
}

// checkPlaybook demands that the playbook runs the profile's roles, in their order.
func checkPlaybook(t *testing.T, c catalogueFile) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, "ansible", c.Playbook))
	if err != nil {
		t.Fatal(err)
	}
	var plays []struct {
		Roles []struct {
			Role string         `yaml:"role"`
			Vars map[string]any `yaml:"vars"`
		} `yaml:"roles"`
	}
	if err := yaml.Unmarshal(b, &plays); err != nil || len(plays) != 1 {
		t.Fatalf("%s: %d plays, %v", c.Playbook, len(plays), err)
	}
	var roles []string
	for _, r := range plays[0].Roles {
		roles = append(roles, r.Role)
		if r.Role == "rpm" && !slices.Equal(texts(r.Vars["rpm_releases"]), profiles[c.Profile].releases) {
			t.Errorf("%s is for %v", c.Playbook, r.Vars["rpm_releases"])
		}
	}
	if !slices.Equal(roles, c.Roles) {
		t.Errorf("%s runs %q, the profile says %q", c.Playbook, roles, c.Roles)
	}
}

// texts are the strings of a list.
func texts(list any) (all []string) {
	of, _ := list.([]any)
	for _, v := range of {
		s, _ := v.(string)
		all = append(all, s)
	}
	return all
}

// checkItem demands a reason, and that every scope and release of the control has a state to ensure, and none beyond them.
func checkItem(t *testing.T, i item, scopes, releases []string) {
	t.Helper()
	if i.Reason == "" || len(i.Ensure) == 0 {
		t.Errorf("control %s lacks its reason or what to ensure", i.Control)
	}
	for _, scope := range scopes {
		for _, release := range releases {
			if !slices.ContainsFunc(i.Ensure, func(e map[string]any) bool {
				return (e["scope"] == nil || e["scope"] == scope) && (e["releases"] == nil || slices.Contains(texts(e["releases"]), release)) && e["when"] == nil
			}) {
				t.Errorf("control %s is for the scope %s of release %s, and has nothing to ensure there", i.Control, scope, release)
			}
		}
	}
	for _, e := range i.Ensure {
		if s, ok := e["scope"]; ok && (len(scopes) < 2 || !slices.Contains(scopes, s.(string))) {
			t.Errorf("control %s has a state for the scope %v alone", i.Control, s)
		}
		for _, r := range texts(e["releases"]) {
			if len(releases) < 2 || !slices.Contains(releases, r) {
				t.Errorf("control %s has a state for release %s alone", i.Control, r)
			}
		}
	}
}

// The kernel belongs to the container's host, and so does journald.
func TestKernelIsForVMsOnly(t *testing.T) {
	t.Parallel()
	for name, about := range profiles {
		machine := regexp.MustCompile(about.machine)
		for _, k := range catalogueOf(t, name).Controls {
			if slices.Contains(k.Scope, "container") == machine.MatchString(k.ID) {
				t.Errorf("%s: control %s has the scope %v", name, k.ID, k.Scope)
			}
		}
	}
}
