package house_test

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// verdicts end a test badly.
var verdicts = []string{"Error", "Errorf", "Fatal", "Fatalf", "Fail", "FailNow"}

// TestTestsAssert: every test can fail, itself or through a helper of its package. A function of another package that
// gets the test's t is trusted to.
func TestTestsAssert(t *testing.T) {
	t.Parallel()
	bodies := map[string]map[string]*ast.FuncDecl{} // by folder and name
	for _, f := range goFiles(t) {
		dir := path.Dir(f.path)
		if bodies[dir] == nil {
			bodies[dir] = map[string]*ast.FuncDecl{}
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				bodies[dir][fn.Name.Name] = fn
			}
		}
	}
	for _, f := range goFiles(t) {
		if !strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || fn.Name.Name == "TestMain" || !strings.HasPrefix(fn.Name.Name, "Test") && !strings.HasPrefix(fn.Name.Name, "Fuzz") {
				continue
			}
			if !asserts(fn, bodies[path.Dir(f.path)], map[string]bool{}) {
				t.Errorf("%s: %s cannot fail", f.line(fn), fn.Name.Name)
			}
		}
	}
}

func asserts(fn *ast.FuncDecl, neighbours map[string]*ast.FuncDecl, seen map[string]bool) bool {
	if seen[fn.Name.Name] {
		return false
	}
	seen[fn.Name.Name] = true
	found := false
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || found {
			return !found
		}
		name := ""
		switch f := call.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
			found = slices.Contains(verdicts, name)
		}
		if found || name == "Run" {
			return !found
		}
		if helper, ok := neighbours[name]; ok {
			found = asserts(helper, neighbours, seen)
		} else if _, foreign := call.Fun.(*ast.SelectorExpr); foreign {
			found = slices.ContainsFunc(call.Args, isT) && name != "Cleanup"
		}
		return !found
	})
	return found
}

func isT(arg ast.Expr) bool {
	id, ok := arg.(*ast.Ident)
	return ok && (id.Name == "t" || id.Name == "tb")
}
