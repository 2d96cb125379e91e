// Command tally reads what "go test -json" says and tells it shortly: one line
// for each package, one for each slow test, and all that a failed test printed.
// It appends "passed failed skipped" to the file named by TALLY and fails if a
// test failed or none was run. It knows nothing of what is tested.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// slow is how many seconds make a passing test worth a line.
const slow = 2.0

func main() {
	t := tally{out: os.Stdout, said: map[string][]string{}}
	if err := t.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
	if err := t.record(os.Getenv("TALLY")); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
	if t.failed > 0 || t.broken {
		os.Exit(1)
	}
}

// event is one line of test2json; see "go doc test2json".
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

type tally struct {
	out                     io.Writer
	passed, failed, skipped int
	// broken is true when something failed that is not a test: a build, a TestMain.
	broken bool
	// said is what each test or package printed so far.
	said map[string][]string
}

func (t *tally) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(t.out, lines.Text())
			continue
		}
		t.take(e)
	}
	return lines.Err()
}

func (t *tally) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "build-fail":
		t.broken = true
	case "output":
		t.said[key] = append(t.said[key], e.Output)
	case "pass", "fail", "skip":
		t.end(e, key)
		delete(t.said, key)
	}
}

func (t *tally) end(e event, key string) {
	if e.Test == "" {
		t.endPackage(e, key)
		return
	}
	switch e.Action {
	case "pass":
		t.passed++
	case "skip":
		t.skipped++
	case "fail":
		t.failed++
	}
	if e.Action != "pass" {
		t.repeat(key)
	} else if e.Elapsed >= slow {
		fmt.Fprintf(t.out, "      %s (%.1f s)\n", e.Test, e.Elapsed)
	}
}

func (t *tally) endPackage(e event, key string) {
	switch e.Action {
	case "fail":
		t.broken = true
		t.repeat(key)
		fmt.Fprintf(t.out, "FAIL  %s (%.1f s)\n", e.Package, e.Elapsed)
	case "pass":
		fmt.Fprintf(t.out, "ok    %s (%.1f s)\n", e.Package, e.Elapsed)
	}
}

func (t *tally) repeat(key string) {
	for _, line := range t.said[key] {
		fmt.Fprint(t.out, line)
	}
}

// record adds the numbers to the file; an empty name records nothing.
func (t *tally) record(name string) error {
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintln(f, t.passed, t.failed, t.skipped); err != nil {
		return err
	}
	return f.Close()
}
