package house_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var helpless = regexp.MustCompile(`(?i)(^|: )(failed to|unable to|an error occurred|error while)\b`)

// An error says what is wrong, not that something went wrong.
func TestMessagesSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		if f.isTest() {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && helpless.MatchString(s) {
					t.Errorf("%s: %q: write `subject: cause`", f.line(lit), s)
				}
			}
			return true
		})
	}
}

// forbidden are patterns that no file may contain.
var forbidden = []struct {
	name    string
	pattern *regexp.Regexp
	applies func(source) bool
	excused excuses // by path
}{
	{
		name: "the host name of a registry or an archive, which is configuration",
		pattern: regexp.MustCompile(`\b((deb|security|ftp|snapshot|http|cdn-fastly\.deb)\.([a-z]+\.)?debian\.org|(archive|security|ports)\.ubuntu\.com|(index\.|registry-1\.)?docker\.io/|` +
			`ghcr\.io|quay\.io|[a-z.]*gcr\.io|registry\.(k8s\.io|redhat\.io|access\.redhat\.com|npmjs\.org|fedoraproject\.org)|mcr\.microsoft\.com|public\.ecr\.aws|` +
			`cdn(-ubi)?\.redhat\.com|cdn\.amazonlinux\.com|[a-z0-9.-]*\.amazonaws\.com|(proxy|sum)\.golang\.org|pypi\.org|files\.pythonhosted\.org)`),
		applies: func(f source) bool { return !slices.Contains([]string{"go.sum", "LICENSE"}, path.Base(f.path)) },
	},
	{
		name:    "an absolute path of somebody's machine",
		pattern: regexp.MustCompile(`(^|[\s"'=:(])/(work|Users)/`),
		applies: func(f source) bool { return !f.isTest() && path.Base(f.path) != "go.sum" },
	},
	{
		name:    "a fixed path in the folder for temporary files, where others write too",
		pattern: regexp.MustCompile("[\"'`=]/tmp/[a-zA-Z]"),
		applies: func(f source) bool {
			return !f.isTest() && slices.Contains([]string{".go", ".sh", ""}, path.Ext(f.path))
		},
	},
	{
		name:    "a shell given its program as text",
		pattern: regexp.MustCompile(`\b(ba|da|z|k)?sh["']?[, ]+["']?-[a-z]*c\b`),
		applies: func(f source) bool {
			return !f.isTest() && slices.Contains([]string{".go", ".py", ".sh"}, path.Ext(f.path))
		},
	},
	{
		name:    "a mark of unfinished work",
		pattern: regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`),
		applies: func(f source) bool { return slices.Contains([]string{".go", ".py", ".sh"}, path.Ext(f.path)) },
	},
}

// TestWordsBite shows each pattern something that it must find, and something that it must not.
func TestWordsBite(t *testing.T) {
	t.Parallel()
	find := [][]string{
		{"http://deb." + "debian.org/debian", "ghcr" + ".io/x", "docker" + ".io/library", "registry." + "k8s.io", "https://cdn-ubi." + "redhat.com/content", "http://amazonlinux.eu-west-1." + "amazonaws.com/2"},
		{`"/wo` + `rk/main"`},
		{`"/t` + `mp/factory"`},
		{`"sh", ` + `"-c"`, "bash" + " -ec true", `["/bin/sh",` + `"-c"]`},
		{"TO" + "DO: later"},
	}
	spare := []string{"http://archive.invalid/debian", "a/work/b", "Dir: \"/tmp\"", "bash -x", "fish -c", "todo list", "the debian.org project", "$HOME/work/x"}
	for i, rule := range forbidden {
		for _, s := range find[i] {
			if !rule.pattern.MatchString(s) {
				t.Errorf("%q is not found: %s", s, rule.name)
			}
		}
		for _, s := range spare {
			if rule.pattern.MatchString(s) {
				t.Errorf("%q is no fault, but is taken for %s", s, rule.name)
			}
		}
	}
	for s, want := range map[string]bool{"failed to open": true, "lock: unable to read": true, "2 tests failed": false, "the build failed too early": false} {
		if helpless.MatchString(s) != want {
			t.Errorf("%q: want %v", s, want)
		}
	}
}

func TestForbiddenWords(t *testing.T) {
	t.Parallel()
	for _, rule := range forbidden {
		breaches := map[string]string{}
		for _, f := range files(t) {
			if !rule.applies(f) {
				continue
			}
			for i, l := range strings.Split(f.text, "\n") {
				if found := rule.pattern.FindString(l); found != "" {
					breaches[f.path] += fmt.Sprintf("%s:%d: %q is %s\n", f.path, i+1, strings.TrimSpace(found), rule.name)
				}
			}
		}
		rule.excused.judge(t, breaches)
	}
}

// ambient is what enters through cmd only: time, environment.
var ambient = map[string][]string{
	"time": {"Now", "Since", "Until"},
	"os":   {"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv"},
}

func TestTimeAndEnvironmentEnterThroughCmd(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		if f.isTest() || under(f.path, "cmd") {
			continue
		}
		forEachUse(f, ambient, func(use *ast.SelectorExpr, name string) {
			t.Errorf("%s: %s: make it a field that cmd fills", f.line(use), name)
		})
	}
}

// What may be signed was let through by the gate, in the one place where that happens.
func TestOnlyThePipelineApproves(t *testing.T) {
	t.Parallel()
	approvals := 0
	for _, f := range goFiles(t) {
		if f.isTest() {
			continue
		}
		forEachUse(f, map[string][]string{module + "/factory": {"Approve"}}, func(use *ast.SelectorExpr, name string) {
			if approvals++; !under(f.path, "factory/pipeline") {
				t.Errorf("%s: %s: only factory/pipeline may", f.line(use), name)
			}
		})
	}
	if approvals != 1 {
		t.Errorf("an image is approved in %d places, want 1", approvals)
	}
}

// In a bubble of testing/synctest sleeping takes no time.
func TestTestsDoNotSleep(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		if f.isTest() && !strings.Contains(f.text, `"testing/synctest"`) {
			forEachUse(f, map[string][]string{"time": {"Sleep"}}, func(use *ast.SelectorExpr, name string) {
				t.Errorf("%s: %s: wait for what you wait for", f.line(use), name)
			})
		}
	}
}

// forEachUse finds uses of functions of imported packages, under whatever name they were imported.
func forEachUse(f source, what map[string][]string, found func(use *ast.SelectorExpr, name string)) {
	local := map[string]string{}
	for _, i := range f.ast.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		name := path.Base(p)
		if i.Name != nil {
			name = i.Name.Name
		}
		if what[p] != nil {
			local[name] = p
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(what[local[x.Name]], sel.Sel.Name) {
				found(sel, x.Name+"."+sel.Sel.Name)
			}
		}
		return true
	})
}
