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
	l := limits{used: map[string]bool{}}
	for _, p := range packages(t) {
		m := measure(t, p)
		if m.lines > packageLines && !l.hasException(p.path()) {
			t.Errorf("%s has %d lines without tests, at most %d: split it by what it knows", p.path(), m.lines, packageLines)
		}
		for name, methods := range m.methods {
			if name = p.path() + "." + name; methods > typeMethods && !l.hasException(name) {
				t.Errorf("%s has %d methods, at most %d: give parts of its state to types of their own", name, methods, typeMethods)
			}
		}
	}
	for name, why := range exceptions {
		if !l.used[name] {
			t.Errorf("%s is within the limits: remove its line from exceptions in internal/arch/arch.go", name)
		}
		if why == "" {
			t.Errorf("%s: an exception needs a reason", name)
		}
	}
}

// limits records which exceptions were needed.
type limits struct{ used map[string]bool }

// hasException returns whether a package or type that is over a limit has an exception.
func (l limits) hasException(name string) bool {
	l.used[name] = true
	_, ok := exceptions[name]
	return ok
}

// measured is the size of a package's code, without tests and generated files.
type measured struct {
	lines   int
	methods map[string]int
}

// source is a file of a package.
type source struct {
	// name is its path below the module.
	name  string
	main  bool // main.go of a command
	lines int
	set   *token.FileSet
	*ast.File
}

// measure returns the size of a package. It also checks the limits of its files and
// functions.
func measure(t *testing.T, p pkg) measured {
	t.Helper()
	m := measured{methods: map[string]int{}}
	for _, name := range p.files() {
		f := parse(t, p, name)
		if ast.IsGenerated(f.File) {
			continue
		}
		fileSizes(t, f)
		if !strings.HasSuffix(name, "_test.go") {
			m.lines += f.lines
			m.countMethods(f.File)
		}
	}
	return m
}

func parse(t *testing.T, p pkg, name string) source {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	f := source{
		name: filepath.Join(p.path(), name), lines: bytes.Count(text, []byte("\n")), set: token.NewFileSet(),
		main: p.Name == "main" && name == "main.go" && under(p.path(), "cmd"),
	}
	if f.File, err = parser.ParseFile(f.set, f.name, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
		t.Fatal(err)
	}
	return f
}

func fileSizes(t *testing.T, f source) {
	t.Helper()
	most := fileLines
	if f.main {
		most = mainLines
	}
	if f.lines > most {
		t.Errorf("%s has %d lines; at most %d, so that one reads it in one go", f.name, f.lines, most)
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			if lines := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1; lines > funcLines {
				t.Errorf("%s: func %s has %d lines; at most %d", f.name, fn.Name.Name, lines, funcLines)
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
