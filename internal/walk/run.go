package walk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options configure Run.
type Options struct {
	// Shell is the shell's argv; empty means bash. The shell must support POSIX "."
	// and printf.
	Shell []string
	// Dir is the shell's first working directory, and has the document's files.
	Dir string
	// Env is the shell's whole environment.
	Env []string
	// Timeout is the time limit of a command with all its attempts; 0 means two
	// minutes.
	Timeout time.Duration
	// Interval is the time between two attempts of a command; 0 means half a second.
	Interval time.Duration
	// Log is called with each step before it is run. It may be nil.
	Log func(string)
}

func (o Options) withDefaults() Options {
	if len(o.Shell) == 0 {
		o.Shell = []string{"bash", "--norc", "--noprofile"}
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.Interval == 0 {
		o.Interval = 500 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	return o
}

// walker is the state of Run.
type walker struct {
	doc   Doc
	o     Options
	m     matcher
	shell *shell
	names Names
}

// Run runs the steps of a document. It stops at the first step that fails or whose output
// does not match; the error names the line and shows both outputs. It returns the words that
// the document's words matched, also with an error.
func Run(ctx context.Context, d Doc, o Options) (Names, error) {
	o = o.withDefaults()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sh, err := newShell(ctx, o)
	if err != nil {
		return nil, err
	}
	defer sh.close()
	w := &walker{doc: d, o: o, m: newMatcher(d.Varies), shell: sh, names: Names{}}
	for _, s := range d.Steps {
		timer := time.AfterFunc(o.Timeout+o.Interval, cancel)
		err := w.step(ctx, s)
		timer.Stop()
		if err != nil {
			return w.names, fmt.Errorf("%s:%d: %w", d.Name, s.Line, err)
		}
	}
	return w.names, nil
}

func (w *walker) step(ctx context.Context, s Step) error {
	text := w.names.translate(s.Text)
	if s.File != "" {
		w.o.Log("write " + s.File)
		return os.WriteFile(filepath.Join(w.o.Dir, s.File), []byte(text), 0o600)
	}
	w.o.Log("# " + text)
	until := time.Now().Add(w.o.Timeout)
	var last error
	for {
		err := w.attempt(ctx, s, text)
		if ctx.Err() != nil && last != nil {
			return last // more useful than the error of the interrupted attempt
		}
		if err == nil || !s.Until || time.Now().After(until) {
			return err
		}
		last = err
		select {
		case <-ctx.Done():
			return last
		case <-time.After(w.o.Interval):
		}
	}
}

func (w *walker) attempt(ctx context.Context, s Step, text string) error {
	got, status, err := w.shell.run(text)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("took longer than %s", w.o.Timeout)
		}
		return fmt.Errorf("# %s\n%w\n%s", text, err, quote("printed", got))
	}
	if status != 0 {
		return fmt.Errorf("# %s\nended with status %d\n%s", text, status, quote("printed", got))
	}
	names, ok := w.m.output(s, got, w.names)
	if !ok {
		return fmt.Errorf("# %s\nprinted something else than the page says%s", text, w.difference(s, got))
	}
	w.names = names
	return nil
}

// difference returns the document's output, in the words of this run, and the real one. For
// ordered output it also names the first line that does not match.
func (w *walker) difference(s Step, got []string) string {
	want := trim(s.Want)
	first := -1
	if !s.Unordered {
		first = w.fits(want, got)
	}
	var b strings.Builder
	if first >= 0 {
		fmt.Fprintf(&b, "; the first that does not fit is %s:%d", w.doc.Name, s.Line+strings.Count(s.Text, "\n")+1+first)
	}
	b.WriteString("\n" + quote("the page", strings.Split(w.names.translate(strings.Join(want, "\n")), "\n")))
	b.WriteString(quote("printed", got))
	return b.String()
}

// fits returns the number of lines of want that match the beginning of got.
func (w *walker) fits(want, got []string) int {
	for n := len(want) - 1; n > 0; n-- {
		if _, ok := w.m.ordered(append(append([]string{}, want[:n]...), "..."), got, w.names); ok {
			return n
		}
	}
	return 0
}

func quote(title string, lines []string) string {
	return title + ":\n    " + strings.Join(lines, "\n    ") + "\n"
}
