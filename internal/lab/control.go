package lab

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

// Stop stops a component. It stays stopped until Start or Up. Stop errs if the
// component is unknown or has no process.
func (l *Lab) Stop(ctx context.Context, name string) error {
	return l.withProcess(name, func(c supervise.Component) error { return l.sup.Stop(ctx, c.Name) })
}

// Kill kills a component with SIGKILL. Fault tests use it.
func (l *Lab) Kill(ctx context.Context, name string) error {
	return l.withProcess(name, func(c supervise.Component) error { return l.sup.Kill(ctx, c.Name) })
}

// Start starts a component, or repeats a step, and waits until it is ready.
func (l *Lab) Start(ctx context.Context, name string) error {
	c, err := l.component(name)
	if err != nil {
		return err
	}
	return l.sup.Ensure(ctx, c)
}

func (l *Lab) withProcess(name string, do func(supervise.Component) error) error {
	c, err := l.component(name)
	if err != nil {
		return err
	}
	if len(c.Argv) == 0 && !l.isVM(name) {
		return fmt.Errorf("%s is a step, nothing of it runs", name)
	}
	return do(c)
}

func (l *Lab) component(name string) (supervise.Component, error) {
	all, err := l.Components()
	if err != nil {
		return supervise.Component{}, err
	}
	var names []string
	for _, c := range all {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return supervise.Component{}, fmt.Errorf("no component %q; there are: %s", name, strings.Join(names, " "))
}

// Log returns the path of a component's log file. It errs if there is none yet.
func (l *Lab) Log(name string) (string, error) {
	c, err := l.component(name)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(l.sup.Log(c.Name)); err != nil {
		return "", fmt.Errorf("%s has written nothing: %w", name, err)
	}
	return l.sup.Log(c.Name), nil
}

// Status prints one line per process of the lab. It errs if a process that
// should run does not.
func (l *Lab) Status() error {
	all, err := l.Components()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(l.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COMPONENT\tSTATE\tPID\tLOG")
	var dead []string
	for _, c := range all {
		if len(c.Argv) == 0 && !l.isVM(c.Name) {
			continue
		}
		state, pid := "running", "-"
		p, ok := l.sup.Running(c.Name)
		switch {
		case !ok:
			state, dead = "dead", append(dead, c.Name)
		case len(c.Argv) > 0 && !l.sup.Same(c):
			state, pid = "outdated", fmt.Sprint(p.Pid)
		default:
			pid = fmt.Sprint(p.Pid)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", c.Name, state, pid, l.sup.Log(c.Name))
	}
	if err := table.Flush(); err != nil || len(dead) == 0 {
		return err
	}
	return fmt.Errorf("dead: %s; isthmus-lab up starts them", strings.Join(dead, " "))
}

// Plan prints the commands that Up would run, in order.
func (l *Lab) Plan() error {
	all, err := l.Components()
	if err != nil {
		return err
	}
	for _, c := range all {
		fmt.Fprint(l.Out, c.Name)
		if len(c.Needs) > 0 {
			fmt.Fprintf(l.Out, "  (after %s)", strings.Join(c.Needs, ", "))
		}
		fmt.Fprintln(l.Out)
		if len(c.Argv) == 0 {
			fmt.Fprintln(l.Out, "    a step")
			continue
		}
		words := append(append([]string{}, c.Env...), c.Argv...)
		for i, w := range words {
			words[i] = quote(w)
		}
		fmt.Fprintf(l.Out, "    %s\n", strings.Join(words, " \\\n        "))
	}
	return nil
}

// quote returns the word quoted for a shell, if it needs quotes.
func quote(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t\n'\"$`\\*?<>|&;()[]{}~#!") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
