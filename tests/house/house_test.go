// Package house_test is the architecture as tests: who may import whom, and the habits that keep the house readable.
//
// Rules: it looks at every file that git tracks or would track, so a new package is covered on its first day; an exception is a
// line in a list, with its reason, and a line that excuses nothing any more fails.
package house_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/imagefactory/imagefactory"

// pkg is a package as `go list` describes it, with paths relative to the module: "factory/git".
type pkg struct {
	ImportPath, Name, Dir string
	Imports               []string // of the package itself
	Deps                  []string // all that it links
	Error                 *struct{ Err string }
}

// source is a file of the repository.
type source struct {
	path string // slash-separated, relative to the repository
	text string
	fset *token.FileSet
	ast  *ast.File // of Go files
}

func (s source) isTest() bool {
	return strings.HasSuffix(s.path, "_test.go") || strings.HasPrefix(s.path, "tests/") || strings.Contains(s.path, "/testdata/") || under(s.path, testOnly...)
}

// line is file:line of a node.
func (s source) line(n ast.Node) string {
	return s.path + strings.TrimPrefix(s.fset.Position(n.Pos()).String(), s.path)
}

// testOnly are packages that only tests import.
var testOnly = []string{"factory/factorytest", "factory/store/storetest"}

// under reports whether a path is one of the folders or below it.
func under(path string, folders ...string) bool {
	for _, f := range folders {
		if path == f || strings.HasPrefix(path, f+"/") {
			return true
		}
	}
	return false
}

var root = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if b, read := os.ReadFile(filepath.Join(dir, "go.mod")); read == nil && strings.HasPrefix(string(b), "module "+module+"\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			err = errors.New("no go.mod of " + module + " here or above")
		}
	}
	return "", err
})

var loadPackages = sync.OnceValues(func() ([]pkg, error) {
	dir, err := root()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Dir,Imports,Deps,Error", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOEXPERIMENT=jsonv2") // what the scanner is built with
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		p.ImportPath = inside(p.ImportPath)
		for i, d := range p.Imports {
			p.Imports[i] = inside(d)
		}
		all = append(all, p)
	}
})

// inside makes import paths of this module relative to it.
func inside(path string) string { return strings.TrimPrefix(path, module+"/") }

func packages(t *testing.T) []pkg {
	t.Helper()
	all, err := loadPackages()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var loadFiles = sync.OnceValues(func() ([]source, error) {
	dir, err := root()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var all []source
	for path := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
		if errors.Is(err, os.ErrNotExist) || err == nil && strings.ContainsRune(string(b), 0) {
			continue // deleted, or binary
		}
		if err != nil {
			return nil, err
		}
		s := source{path: path, text: string(b)}
		if strings.HasSuffix(path, ".go") {
			s.fset = token.NewFileSet()
			if s.ast, err = parser.ParseFile(s.fset, path, b, parser.ParseComments|parser.SkipObjectResolution); err != nil {
				return nil, err
			}
		}
		all = append(all, s)
	}
	return all, nil
})

func files(t *testing.T) []source {
	t.Helper()
	all, err := loadFiles()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// goFiles are ours in Go.
func goFiles(t *testing.T) []source {
	t.Helper()
	var found []source
	for _, f := range files(t) {
		if f.ast != nil {
			found = append(found, f)
		}
	}
	return found
}

// excuses are exceptions to a rule: what is excused, and why.
type excuses map[string]string

// judge fails for each breach that is not excused, and for each excuse that has become needless.
func (e excuses) judge(t *testing.T, breaches map[string]string) {
	t.Helper()
	for what, message := range breaches {
		if e[what] == "" {
			t.Error(message)
		}
	}
	for what := range e {
		if _, needed := breaches[what]; !needed {
			t.Errorf("%s needs no exception any more: take it out of the list", what)
		}
	}
}

func TestSomethingIsThere(t *testing.T) {
	t.Parallel()
	if n, m := len(packages(t)), len(goFiles(t)); n < 5 || m < 20 {
		t.Errorf("found %d packages and %d Go files: these tests look in the wrong place", n, m)
	}
	for _, p := range packages(t) {
		if p.Error != nil {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
		}
	}
}
