package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pkg is what "go list -json" prints for a package.
type pkg struct {
	ImportPath, Dir, Name, Doc        string
	Imports                           []string
	GoFiles, CgoFiles, IgnoredGoFiles []string
	TestGoFiles, XTestGoFiles         []string
}

func (p pkg) path() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, Module), "/") }

func (p pkg) files() []string {
	return slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles)
}

// packages returns all packages of the module, including those that do not compile.
func packages(t *testing.T) []pkg {
	t.Helper()
	touch(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-tags", "e2e",
		"-json=ImportPath,Dir,Name,Doc,Imports,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = filepath.Join("..", "..")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// touch reads all files that "go list" reads. Otherwise "go test" would return a
// cached result after a file was added or changed.
func touch(t *testing.T) {
	t.Helper()
	for _, top := range []string{"api", "cmd", "internal", "test"} {
		err := filepath.WalkDir(filepath.Join("..", "..", top), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") {
				_, err = os.ReadFile(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func ours(imports []string) []string {
	var o []string
	for _, i := range imports {
		if path, ok := strings.CutPrefix(i, Module+"/"); ok {
			o = append(o, path)
		}
	}
	return o
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, wrong := range Imports(p.path(), ours(p.Imports)) {
			t.Error(wrong)
		}
	}
}

// The container runtime starts the CNI plugin for each pod, so each package that the
// plugin links costs time and memory each time.
func TestPluginStaysSmall(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "./cmd/isthmus-cni")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		if dep == "net/http" || strings.HasPrefix(dep, "k8s.io/") || strings.HasPrefix(dep, "sigs.k8s.io/") {
			t.Errorf("cmd/isthmus-cni links %s: it must ask the agent over its socket with the standard library and cni only", dep)
		}
	}
}

func TestNamesAndComments(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s: no package comment: say what it knows and what it does not", p.path())
		}
		for word := range strings.SplitSeq(p.path(), "/") {
			if slices.Contains(Banned, word) {
				t.Errorf("%s: %q says nothing: name a package by what it knows", p.path(), word)
			}
		}
	}
}

// A rule for a package that no longer exists misleads its reader.
func TestRulesNamePackages(t *testing.T) {
	t.Parallel()
	all := packages(t)
	for path := range Rules {
		if !slices.ContainsFunc(all, func(p pkg) bool { return under(p.path(), path) }) {
			t.Errorf("%s has a rule, and there is no such package: remove the rule", path)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pkg, imports string
		wrong        int
	}{
		{"internal/decide", "internal/intent", 0},
		{"internal/decide", "api/kubeovn/v1", 0},
		{"internal/decide", "internal/ovn", 1},
		{"internal/ovn/nbdb", "internal/ovn/sbdb", 0},
		{"internal/ovnlike", "internal/ovn", 1},
		{"internal/nowhere", "internal/intent", 1},
		{"internal/ko", "internal/app/agent", 2},
		{"test/e2e", "internal/walk", 0},
		{"cmd/isthmus-agent", "internal/lab", 1},
		{"cmd/isthmus-lab", "internal/lab/guest", 0},
	} {
		if wrong := Imports(c.pkg, []string{c.imports}); len(wrong) != c.wrong {
			t.Errorf("%s imports %s: %d wrong, want %d: %q", c.pkg, c.imports, len(wrong), c.wrong, wrong)
		}
	}
}
