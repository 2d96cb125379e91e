package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSizes(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, p := range packages(t) {
		m := measure(t, p)
		limit(t, used, p.path(), m.lines, packageLines, "lines without tests: split it by what it knows")
		for name, methods := range m.methods {
			limit(t, used, p.path()+"."+name, methods, typeMethods, "methods: give parts of its state to types of their own")
		}
	}
	for name, why := range exceptions {
		if !used[name] {
			t.Errorf("%s is within the limits: remove its line from exceptions in internal/arch/arch.go", name)
		}
		if why == "" {
			t.Errorf("%s: an exception needs a reason", name)
		}
	}
}

// limit fails the test if name has more than most, and is no exception.
func limit(t *testing.T, used map[string]bool, name string, has, most int, what string) {
	t.Helper()
	if has <= most {
		return
	}
	used[name] = true
	if _, ok := exceptions[name]; !ok {
		t.Errorf("%s has %d, at most %d, %s", name, has, most, what)
	}
}

// measured is the size of a package's own code: no tests, nothing generated.
type measured struct {
	lines   int
	methods map[string]int
}

// measure also checks the limits of single files and functions.
func measure(t *testing.T, p pkg) measured {
	t.Helper()
	m := measured{methods: map[string]int{}}
	for _, name := range p.files() {
		text, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if ast.IsGenerated(f) {
			continue
		}
		lines := bytes.Count(text, []byte("\n"))
		fileSizes(t, p, filepath.Join(p.path(), name), lines, set, f)
		if !strings.HasSuffix(name, "_test.go") {
			m.lines += lines
			m.countMethods(f)
		}
	}
	return m
}

func fileSizes(t *testing.T, p pkg, name string, lines int, set *token.FileSet, f *ast.File) {
	t.Helper()
	most := fileLines
	if p.Name == "main" && filepath.Base(name) == "main.go" && under(p.path(), "cmd") {
		most = mainLines
	}
	if lines > most {
		t.Errorf("%s has %d lines; at most %d, so that one reads it in one go", name, lines, most)
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			if lines := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1; lines > funcLines {
				t.Errorf("%s: func %s has %d lines; at most %d", name, fn.Name.Name, lines, funcLines)
			}
		}
	}
}

func (m measured) countMethods(f *ast.File) {
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
			m.methods[receiver(fn.Recv.List[0].Type)]++
		}
	}
}

// receiver returns the name of the type in a method's receiver.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
