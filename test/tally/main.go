// Command tally reads the output of "go test -json" and prints it in short: one
// line for each package, one for each slow test, and all that a failed or
// skipped test printed. It fails if a test failed, if a package's tests were
// built but none of them ran, or if there was no package at all: a renamed test
// must not pass as a pattern that matches nothing. It knows nothing of what is
// tested. If TALLY names a file, it appends "passed failed skipped" to it.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Stdin, os.Stdout, os.Getenv("TALLY")); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
}

// run reads events from in, prints the summary to out and appends the numbers
// to the file record, if that is not empty.
func run(in io.Reader, out io.Writer, record string) error {
	t := newTally(out)
	if err := t.read(in); err != nil {
		return err
	}
	if err := t.record(record); err != nil {
		return err
	}
	return t.verdict()
}
