package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	const (
		passes = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"pass","Package":"p","Elapsed":0.2}
`
		none = `{"Action":"output","Package":"q","Output":"testing: warning: no tests to run\n"}
{"Action":"pass","Package":"q","Elapsed":0}
`
		noFiles = `{"Action":"output","Package":"r","Output":"?   \tr\t[no test files]\n"}
{"Action":"skip","Package":"r","Elapsed":0}
`
		fails = `{"Action":"run","Package":"s","Test":"TestB"}
{"Action":"output","Package":"s","Test":"TestB","Output":"    b_test.go:1: is 2, want 1\n"}
{"Action":"fail","Package":"s","Test":"TestB","Elapsed":0}
{"Action":"fail","Package":"s","Elapsed":0}
`
		noBuild = `{"ImportPath":"t","Action":"build-output","Output":"t.go:1:1: syntax error\n"}
{"ImportPath":"t","Action":"build-fail"}
`
		skips = `{"Action":"run","Package":"u","Test":"TestC"}
{"Action":"output","Package":"u","Test":"TestC","Output":"    c_test.go:1: no cloud\n"}
{"Action":"skip","Package":"u","Test":"TestC","Elapsed":0}
{"Action":"pass","Package":"u","Elapsed":0}
`
	)
	for name, c := range map[string]struct{ in, wrong, printed, numbers string }{
		"passes":                     {passes, "", "ok    p (1 tests", "1 0 0"},
		"nothing":                    {"", "no test ran", "", "0 0 0"},
		"no test matches":            {none, "q ran no test; no test ran", "FAIL  q: ran no test", "0 0 0"},
		"none in one of two":         {passes + none, "q ran no test", "FAIL  q: ran no test", "1 0 0"},
		"no test files in any":       {noFiles, "no test ran", "", "0 0 0"},
		"no test files in one":       {passes + noFiles, "", "ok    p", "1 0 0"},
		"a test fails":               {passes + fails, "s failed; 1 tests failed", "is 2, want 1", "1 1 0"},
		"does not build":             {passes + noBuild, "a package does not build", "syntax error", "1 0 0"},
		"a skipped test says why":    {passes + skips, "", "no cloud", "1 0 1"},
		"what is no event is passed": {"panic: oh\n" + passes, "", "panic: oh", "1 0 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			file := filepath.Join(t.TempDir(), "tally")
			wrong := ""
			if err := run(strings.NewReader(c.in), &out, file); err != nil {
				wrong = err.Error()
			}
			if wrong != c.wrong {
				t.Errorf("says %q, want %q", wrong, c.wrong)
			}
			if !strings.Contains(out.String(), c.printed) {
				t.Errorf("prints %q, want %q in it", out.String(), c.printed)
			}
			numbers, err := os.ReadFile(file)
			if err != nil || strings.TrimSpace(string(numbers)) != c.numbers {
				t.Errorf("records %q (%v), want %q", numbers, err, c.numbers)
			}
		})
	}
}
