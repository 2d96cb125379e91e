package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// slow is the time in seconds from which a passing test gets a line.
const slow = 2.0

// event is one line of test2json. See "go doc test2json".
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

type tally struct {
	out                     io.Writer
	passed, failed, skipped int
	// ran is the number of started tests by package.
	ran map[string]int
	// failures has the failures of builds and packages.
	failures []string
	// printed is the output so far by package and test.
	printed map[string][]string
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, ran: map[string]int{}, printed: map[string][]string{}}
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
		t.handle(e)
	}
	return lines.Err()
}

func (t *tally) handle(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "build-fail":
		t.failures = append(t.failures, "a package does not build")
	case "run":
		t.ran[e.Package]++
	case "output":
		t.printed[key] = append(t.printed[key], e.Output)
	case "pass", "fail", "skip":
		t.end(e, key)
		delete(t.printed, key)
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
		t.printOutput(key)
	} else if e.Elapsed >= slow {
		fmt.Fprintf(t.out, "      %s (%.1f s)\n", e.Test, e.Elapsed)
	}
}

// endPackage handles the last event of a package. A package without test files is skipped. A
// package whose test binary ran no test passes in go test but fails here.
func (t *tally) endPackage(e event, key string) {
	switch {
	case e.Action == "fail":
		t.failures = append(t.failures, e.Package+" failed")
		t.printOutput(key)
		fmt.Fprintf(t.out, "FAIL  %s (%.1f s)\n", e.Package, e.Elapsed)
	case e.Action == "pass" && t.ran[e.Package] == 0:
		t.failures = append(t.failures, e.Package+" ran no test")
		fmt.Fprintf(t.out, "FAIL  %s: ran no test\n", e.Package)
	case e.Action == "pass":
		fmt.Fprintf(t.out, "ok    %s (%d tests, %.1f s)\n", e.Package, t.ran[e.Package], e.Elapsed)
	}
}

func (t *tally) printOutput(key string) {
	for _, line := range t.printed[key] {
		fmt.Fprint(t.out, line)
	}
}

// verdict returns an error with all reasons why the run did not pass, or nil.
func (t *tally) verdict() error {
	wrong := t.failures
	if t.failed > 0 {
		wrong = append(wrong, fmt.Sprintf("%d tests failed", t.failed))
	}
	if t.passed+t.failed+t.skipped == 0 {
		wrong = append(wrong, "no test ran")
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// record appends the numbers to the file name. It does nothing if name is empty.
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
