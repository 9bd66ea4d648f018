package house_test

import (
	"slices"
	"strings"
	"testing"
)

// importRules are the import card. Each returns what a package imports and must not.
var importRules = []struct {
	name  string
	wrong func(p pkg) []string
	bite  pkg // breaks the rule
}{
	{"the vocabulary imports the standard library only", vocabulary, pkg{ImportPath: "factory", Imports: []string{"github.com/google/uuid"}}},
	{"the vocabulary touches nothing", vocabulary, pkg{ImportPath: "factory", Imports: []string{"os"}}},
	{"thinking packages know the vocabulary alone", thinkers, pkg{ImportPath: "factory/plan", Imports: []string{"factory/git"}}},
	{"thinking packages touch nothing", thinkers, pkg{ImportPath: "factory/pipeline", Imports: []string{"net/http"}}},
	{"adapters meet in cmd only", adapters, pkg{ImportPath: "factory/git", Imports: []string{"factory", "factory/proc", "factory/store"}}},
	{"nobody imports cmd", upwards, pkg{ImportPath: "factory/git", Imports: []string{"cmd/factory"}}},
	{"fakes are for tests", upwards, pkg{ImportPath: "cmd/factory", Imports: []string{"factory/factorytest"}}},
	{"heavy modules have one importer", heavy, pkg{ImportPath: "factory/git", Imports: []string{"github.com/moby/buildkit/client"}}},
	{"the driver does not link the scanner", driver, pkg{ImportPath: "cmd/factory", Deps: []string{"github.com/aquasecurity/trivy/pkg/fanal"}}},
	{"the scanner knows its protocol and nothing else of the factory", isolated, pkg{ImportPath: "cmd/factory-scanner", Imports: []string{"factory", "factory/scanner", "factory/cosign"}}},
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, rule := range importRules {
		for _, p := range packages(t) {
			for _, i := range rule.wrong(p) {
				t.Errorf("%s imports %s, but %s", p.ImportPath, i, rule.name)
			}
		}
		if len(rule.wrong(rule.bite)) != 1 {
			t.Errorf("the rule %q finds %q in %+v", rule.name, rule.wrong(rule.bite), rule.bite)
		}
	}
}

// thinking packages decide; they touch neither network nor clock nor programs. Definition is the one that reads files.
var thinking = []string{"factory/adoption", "factory/definition", "factory/dispatch", "factory/gate", "factory/graph", "factory/pipeline", "factory/plan", "factory/progress", "factory/rebase"}

// tools are what an adapter may use beside its own technology.
var tools = []string{"factory", "factory/proc"}

// owners says who alone may import a heavy module. Path prefixes; whatever lies under an owner counts as the owner.
var owners = map[string][]string{
	"github.com/moby/buildkit":             {"factory/buildkit"},
	"github.com/sigstore":                  {"factory/cosign"},
	"github.com/distribution/distribution": {"factory/registry"},
	"github.com/aquasecurity":              {"cmd/factory-scanner"},
	"github.com/uptrace/bun":               {"factory/store"},
	"github.com/pressly/goose":             {"factory/store"},
	"github.com/jackc/pgx":                 {"factory/store"},
	"github.com/riverqueue/river":          {"factory/store"},
	"modernc.org/sqlite":                   {"factory/store", "factory/oci", "cmd/factory-scanner"}, // what reads rpm databases has its program link the driver
	"database/sql":                         {"factory/store", "factory/oci"},
	"github.com/spf13/cobra":               {"cmd"},
}

// touches are packages that no thinking package imports.
var touches = []string{"net", "net/http", "os/exec", "database/sql", "math/rand", "math/rand/v2", "crypto/rand"}

func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && !under(path, "factory", "cmd", "tests")
}

// among returns the imports of p for which bad holds.
func (p pkg) among(bad func(i string) bool) []string {
	return slices.DeleteFunc(slices.Clone(p.Imports), func(i string) bool { return !bad(i) })
}

func vocabulary(p pkg) []string {
	if p.ImportPath != "factory" {
		return nil
	}
	return p.among(func(i string) bool { return !standard(i) || i == "os" || slices.Contains(touches, i) })
}

func thinkers(p pkg) []string {
	if !slices.Contains(thinking, p.ImportPath) {
		return nil
	}
	return p.among(func(i string) bool {
		return under(i, "factory") && i != "factory" || slices.Contains(touches, i) || i == "os" && p.ImportPath != "factory/definition"
	})
}

func adapters(p pkg) []string {
	if !under(p.ImportPath, "factory") || slices.Contains(thinking, p.ImportPath) {
		return nil
	}
	return p.among(func(i string) bool {
		return under(i, "factory") && !slices.Contains(tools, i) && !sameAdapter(p.ImportPath, i)
	})
}

// sameAdapter: factory/store/storetest belongs to factory/store.
func sameAdapter(a, b string) bool {
	family := func(path string) string { return strings.Join(strings.SplitN(path, "/", 3)[:2], "/") }
	return strings.Contains(a, "/") && strings.Contains(b, "/") && family(a) == family(b)
}

func upwards(p pkg) []string {
	return p.among(func(i string) bool {
		return under(i, "cmd") && !under(p.ImportPath, "cmd") ||
			under(i, "tests") && !under(p.ImportPath, "tests") ||
			under(i, testOnly...) && !under(p.ImportPath, "tests") && !under(p.ImportPath, testOnly...)
	})
}

func heavy(p pkg) []string {
	if under(p.ImportPath, "tests") {
		return nil
	}
	return p.among(func(i string) bool {
		for module, allowed := range owners {
			if under(i, module) && !under(p.ImportPath, allowed...) {
				return true
			}
		}
		return false
	})
}

func driver(p pkg) []string {
	if p.ImportPath != "cmd/factory" {
		return nil
	}
	p.Imports = p.Deps
	return p.among(func(i string) bool { return under(i, "github.com/aquasecurity") })
}

func isolated(p pkg) []string {
	if p.ImportPath != "cmd/factory-scanner" {
		return nil
	}
	return p.among(func(i string) bool {
		return under(i, "factory") && i != "factory" && i != "factory/scanner"
	})
}
