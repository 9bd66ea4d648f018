package house_test

import (
	"go/ast"
	"go/token"
	"path"
	"strings"
	"testing"
)

func TestEveryPackageSaysItsJob(t *testing.T) {
	t.Parallel()
	type said struct{ files, comments int }
	all := map[string]said{}
	for _, f := range goFiles(t) {
		if strings.HasSuffix(f.path, "_test.go") && !strings.HasPrefix(f.path, "tests/") {
			continue
		}
		dir := path.Dir(f.path)
		s := all[dir]
		s.files++
		if f.ast.Doc != nil {
			s.comments++
			opening := "Package " + f.ast.Name.Name + " "
			if text := f.ast.Doc.Text(); f.ast.Name.Name != "main" && !strings.HasPrefix(text, opening) {
				t.Errorf("%s: the package comment does not open with %q", f.path, opening)
			}
		}
		all[dir] = s
	}
	for dir, s := range all {
		if s.comments != 1 {
			t.Errorf("%s has %d package comments in %d files, want one", dir, s.comments, s.files)
		}
	}
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		if strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if exportedMethodOrFunc(d) && !opensWith(d.Doc, d.Name.Name) {
					t.Errorf("%s: %s has no comment that opens with its name", f.line(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					checkSpec(t, f, d, s)
				}
			}
		}
	}
}

func checkSpec(t *testing.T, f source, d *ast.GenDecl, s ast.Spec) {
	t.Helper()
	switch s := s.(type) {
	case *ast.TypeSpec:
		doc := s.Doc
		if doc == nil {
			doc = d.Doc
		}
		if s.Name.IsExported() && !opensWith(doc, s.Name.Name) {
			t.Errorf("%s: type %s has no comment that opens with its name", f.line(s), s.Name.Name)
		}
		if i, ok := s.Type.(*ast.InterfaceType); ok && s.Name.IsExported() && len(i.Methods.List) > 2 && !interfaces[path.Dir(f.path)+"."+s.Name.Name] {
			t.Errorf("%s: interface %s has %d methods; the house wants one or two", f.line(s), s.Name.Name, len(i.Methods.List))
		}
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				t.Errorf("%s: %s %s has no comment", f.line(s), d.Tok, n.Name)
			}
		}
		if d.Tok == token.VAR && d.Doc == nil && s.Doc == nil && s.Comment == nil && s.Names[0].IsExported() {
			t.Errorf("%s: exported variable without a comment", f.line(s))
		}
	}
}

// interfaces may have more than two methods.
var interfaces = map[string]bool{}

// exportedMethodOrFunc leaves out methods of types that nobody else sees, which only implement interfaces.
func exportedMethodOrFunc(d *ast.FuncDecl) bool {
	if d.Recv == nil || !d.Name.IsExported() {
		return d.Name.IsExported()
	}
	recv := d.Recv.List[0].Type
	if star, ok := recv.(*ast.StarExpr); ok {
		recv = star.X
	}
	if generic, ok := recv.(*ast.IndexExpr); ok {
		recv = generic.X
	}
	name, ok := recv.(*ast.Ident)
	return ok && name.IsExported()
}

func opensWith(doc *ast.CommentGroup, name string) bool {
	if doc == nil {
		return false
	}
	text := doc.Text()
	for _, article := range []string{"A ", "An ", "The "} {
		text = strings.TrimPrefix(text, article)
	}
	return strings.HasPrefix(text, name+" ") || strings.HasPrefix(text, name+":") || strings.HasPrefix(text, name+",") || strings.HasPrefix(text, name+"\n")
}
