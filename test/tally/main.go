// Command tally summarizes the output of "go test -json": one line for each package, one for
// each slow test, and the whole output of a failed or skipped test. It fails if a test failed,
// if no test of a built package ran, or if there was no package at all. So a -run pattern that
// no longer matches does not pass unnoticed. If the environment variable TALLY names a file,
// tally appends the three numbers "passed failed skipped" to it.
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

// run reads events from in, prints the summary to out and appends the numbers to the file
// record, unless record is empty. It errs if the run did not pass.
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
