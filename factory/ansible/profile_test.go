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

func readCatalogue(t *testing.T) (c catalogueFile) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, "ansible/profiles/cis_debian.yaml"))
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
	CIS  *struct {
		Scope    string `yaml:"scope"`
		Level    string `yaml:"level"`
		Exempt   string `yaml:"exempt"`
		Controls []item `yaml:"controls"`
	} `yaml:"cis_controls"`
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
			if k.CIS == nil {
				continue
			}
			if !strings.Contains(k.Name, "(CIS ") {
				t.Errorf("%s: task %q does not name its part of the benchmark", file, k.Name)
			}
			for switchName, value := range map[string]string{"hardening_scope": k.CIS.Scope, "hardening_level": k.CIS.Level, "hardening_exempt": k.CIS.Exempt} {
				if !strings.Contains(value, switchName) {
					t.Errorf("%s: task %q does not obey %s", file, k.Name, switchName)
				}
			}
			for _, i := range k.CIS.Controls {
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
	c := readCatalogue(t)
	if c.Profile != "cis_debian" || c.Benchmark == "" || c.Playbook != "site.yml" {
		t.Errorf("catalogue %q of %q runs %q", c.Profile, c.Benchmark, c.Playbook)
	}
	done := map[string]item{}
	for _, role := range c.Roles {
		maps.Copy(done, implemented(t, role))
	}
	id := regexp.MustCompile(`^[1-7](\.[1-9][0-9]?){2,4}$`)
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
		i, ok := done[k.ID]
		if !ok {
			t.Errorf("control %s is in the catalogue, and no task does it", k.ID)
			continue
		}
		checkItem(t, i, k.Scope)
	}
	for _, name := range slices.Sorted(maps.Keys(done)) {
		if !listed[name] {
			t.Errorf("control %s is implemented, and the catalogue does not know it", name)
		}
	}
}

// checkItem demands a reason, and that every scope of the control has a state to ensure, and none beyond its scopes.
func checkItem(t *testing.T, i item, scopes []string) {
	t.Helper()
	if i.Reason == "" || len(i.Ensure) == 0 {
		t.Errorf("control %s lacks its reason or what to ensure", i.Control)
	}
	for _, scope := range scopes {
		if !slices.ContainsFunc(i.Ensure, func(e map[string]any) bool { return e["scope"] == nil || e["scope"] == scope }) {
			t.Errorf("control %s has the scope %s, and nothing to ensure there", i.Control, scope)
		}
	}
	for _, e := range i.Ensure {
		if s, ok := e["scope"]; ok && (len(scopes) < 2 || !slices.Contains(scopes, s.(string))) {
			t.Errorf("control %s has a state for the scope %v alone", i.Control, s)
		}
	}
}

// The kernel belongs to the container's host, and so does journald.
func TestKernelIsForVMsOnly(t *testing.T) {
	t.Parallel()
	for _, k := range readCatalogue(t).Controls {
		kernel := strings.HasPrefix(k.ID, "1.1.") || strings.HasPrefix(k.ID, "3.") || k.ID == "1.5.1" || k.ID == "1.5.2" || strings.HasPrefix(k.ID, "6.1.2.")
		if slices.Contains(k.Scope, "container") == kernel {
			t.Errorf("control %s has the scope %v", k.ID, k.Scope)
		}
	}
}
