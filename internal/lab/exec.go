package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/lab/guest"
	"github.com/isthmus-cni/isthmus/internal/lab/host"
)

// Exit is the error for a command of Exec whose exit status is not 0.
type Exit struct{ Code int }

func (e Exit) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

// Exec runs argv on a node or in a virtual machine. On a node, the command has
// this process's standard streams. In a virtual machine, its input is stdin,
// which may be nil. Exec returns an Exit if the command fails.
func (l *Lab) Exec(ctx context.Context, where string, argv []string, stdin io.Reader) error {
	n, err := l.host(where)
	if errors.Is(err, errNoNode) {
		return l.execVM(ctx, where, argv, stdin)
	}
	if !n.Exists() {
		return fmt.Errorf("%s is not up: isthmus-lab up", where)
	}
	words := n.Enter(argv...)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, l.Out, os.Stderr
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return Exit{exit.ExitCode()}
	}
	return err
}

func (l *Lab) execVM(ctx context.Context, name string, argv []string, stdin io.Reader) error {
	all, err := l.Machines().guests().List()
	if err != nil {
		return err
	}
	var names []string
	for _, n := range l.hosts() {
		names = append(names, n.Name)
	}
	for _, g := range all {
		if g.Name == name {
			return l.Machines().exec(ctx, g, argv, stdin)
		}
		names = append(names, g.Name)
	}
	return fmt.Errorf("%s is neither a node nor a virtual machine; there are %s", name, strings.Join(names, " "))
}

func (m Machines) exec(ctx context.Context, g guest.Guest, argv []string, stdin io.Reader) error {
	var input []byte
	if stdin != nil {
		text, err := io.ReadAll(stdin)
		if err != nil {
			return err
		}
		input = text
	}
	result, err := m.guests().Exec(ctx, g.Name, argv, input)
	if err != nil {
		return err
	}
	_, outErr := m.out.Write(result.Stdout)
	_, errErr := os.Stderr.Write(result.Stderr)
	if result.Code != 0 {
		return Exit{result.Code}
	}
	return errors.Join(outErr, errErr)
}

// errNoNode means that no node has the given name.
var errNoNode = errors.New("no such node")

func named(nodes []host.Node, name string) (host.Node, error) {
	for _, n := range nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return host.Node{}, fmt.Errorf("%s: %w", name, errNoNode)
}
