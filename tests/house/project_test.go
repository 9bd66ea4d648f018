package house_test

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

var target = regexp.MustCompile(`(?m)^([a-zA-Z][a-zA-Z0-9_-]*):([^=].*)?$`)

func TestMakefileExplainsItself(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if f.path != "Makefile" {
			continue
		}
		found := target.FindAllStringSubmatch(f.text, -1)
		for _, m := range found {
			if !strings.Contains(m[2], "## ") {
				t.Errorf("Makefile: %s has no help: write `%s: ... ## what it is for`", m[1], m[1])
			}
		}
		if len(found) == 0 {
			t.Error("Makefile has no targets")
		}
	}
}

// A replace hides which version is used, and does not reach whoever imports us.
func TestReplaceHasAReason(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if path.Base(f.path) != "go.mod" {
			continue
		}
		before := ""
		for l := range strings.Lines(f.text) {
			if strings.HasPrefix(l, "replace") && !strings.Contains(l, "//") && !strings.HasPrefix(before, "//") {
				t.Errorf("%s: %s without a reason in a comment", f.path, strings.TrimSpace(l))
			}
			before = l
		}
	}
}

func TestPapersAreThere(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	for _, f := range files(t) {
		there[f.path] = strings.TrimSpace(f.text) != ""
	}
	for _, paper := range []string{"README.md", "CHANGELOG.md", "LICENSE", "CODEOWNERS", "CONTRIBUTING.md", "Makefile", "go.mod"} {
		if !there[paper] {
			t.Errorf("%s is missing or empty", paper)
		}
	}
}

// Data belongs to baseimages/: no program hides there. The top level is the user's design card.
func TestTopLevel(t *testing.T) {
	t.Parallel()
	known := map[string]bool{"cmd": true, "factory": true, "baseimages": true, "ansible": true, "packer": true, "pipelines": true, "tests": true}
	for _, f := range files(t) {
		top, _, folder := strings.Cut(f.path, "/")
		if folder && !known[top] && !strings.HasPrefix(top, ".") {
			t.Errorf("%s: there is no room for %s/ at the top", f.path, top)
		}
		if top == "baseimages" && (strings.HasSuffix(f.path, ".go") || strings.HasSuffix(f.path, ".py") || strings.HasSuffix(f.path, ".sh")) {
			t.Errorf("%s: baseimages/ holds data only", f.path)
		}
	}
}
