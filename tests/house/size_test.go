package house_test

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	maxFile     = 400 // lines
	maxFunction = 80
)

// longFiles may have more than maxFile lines.
var longFiles = excuses{}

// longFunctions may have more than maxFunction lines; "factory/x.Name".
var longFunctions = excuses{}

func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	breaches := map[string]string{}
	for _, f := range files(t) {
		if !slices.Contains([]string{".go", ".py", ".sh"}, path.Ext(f.path)) {
			continue
		}
		if n := strings.Count(f.text, "\n"); n > maxFile {
			breaches[f.path] = fmt.Sprintf("%s has %d lines, more than %d: split it along what it does", f.path, n, maxFile)
		}
	}
	longFiles.judge(t, breaches)
}

func TestFunctionsAreShort(t *testing.T) {
	t.Parallel()
	breaches := map[string]string{}
	for _, f := range goFiles(t) {
		if f.isTest() {
			continue // a table is as long as it is
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1; n > maxFunction {
				name := path.Dir(f.path) + "." + fn.Name.Name
				breaches[name] = fmt.Sprintf("%s: %s has %d lines, more than %d", f.line(fn), fn.Name.Name, n, maxFunction)
			}
		}
	}
	longFunctions.judge(t, breaches)
}
