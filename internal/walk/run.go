package walk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options say where a walk takes place.
type Options struct {
	// Shell is its argv, bash if empty. It must understand POSIX "." and printf.
	Shell []string
	// Dir is where the page's files are written and the shell starts.
	Dir string
	// Env is the shell's whole environment.
	Env []string
	// Patience is how long a command may take, repeated or not; two minutes if 0.
	Patience time.Duration
	// Pause is between two attempts of a repeated command; half a second if 0.
	Pause time.Duration
	// Log is told of each step before it is done. nil for nobody.
	Log func(string)
}

func (o Options) withDefaults() Options {
	if len(o.Shell) == 0 {
		o.Shell = []string{"bash", "--norc", "--noprofile"}
	}
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	if o.Pause == 0 {
		o.Pause = 500 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	return o
}

// walker is a walk under way.
type walker struct {
	doc   Doc
	o     Options
	m     matcher
	shell *shell
	names Names
}

// Run does what the page says, until something is not as it says: then the
// error names the line and shows both. It returns what the page's words stood for.
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
		impatient := time.AfterFunc(o.Patience+o.Pause, cancel)
		err := w.step(ctx, s)
		impatient.Stop()
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
	until := time.Now().Add(w.o.Patience)
	var last error
	for {
		err := w.attempt(ctx, s, text)
		if ctx.Err() != nil && last != nil {
			return last // says more than that the last attempt was cut short
		}
		if err == nil || !s.Until || time.Now().After(until) {
			return err
		}
		last = err
		select {
		case <-ctx.Done():
			return last
		case <-time.After(w.o.Pause):
		}
	}
}

func (w *walker) attempt(ctx context.Context, s Step, text string) error {
	got, status, err := w.shell.run(text)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("took longer than %s", w.o.Patience)
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

// difference shows the page's output, in this run's words, beside the real one.
// In ordered output the first line that does not fit is marked.
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

// fits says how many lines of want can be matched by a beginning of got.
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
