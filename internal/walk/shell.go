package walk

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// mark begins the line that the shell prints after a command, with its status.
const mark = "\x1ewalk-status "

// shell is one shell that lives as long as the walk: variables and the
// directory stay from command to command.
type shell struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	script string
}

func newShell(ctx context.Context, o Options) (*shell, error) {
	cmd := exec.CommandContext(ctx, o.Shell[0], o.Shell[1:]...)
	cmd.Dir, cmd.Env = o.Dir, o.Env
	// A group of its own, so that a command that hangs is ended with the shell.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = write, write
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		_ = read.Close()
		return nil, fmt.Errorf("start %s: %w", o.Shell[0], err)
	}
	return &shell{cmd: cmd, in: in, out: bufio.NewReader(read), script: filepath.Join(o.Dir, ".walk-command")}, nil
}

// run does one command and returns the lines that it printed and its status.
// The command is sourced from a file, so that quotes and here-documents in it
// cannot swallow what we say to the shell.
func (s *shell) run(command string) (lines []string, status int, err error) {
	if err := os.WriteFile(s.script, []byte(command+"\n"), 0o600); err != nil {
		return nil, 0, err
	}
	if _, err := fmt.Fprintf(s.in, ". '%s' </dev/null; printf '\\n%s%%d\\n' $?\n", s.script, mark); err != nil {
		return nil, 0, fmt.Errorf("the shell is gone: %w", err)
	}
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			return trim(append(lines, line)), 0, fmt.Errorf("the shell ended: %w", err)
		}
		line = strings.TrimSuffix(line, "\n")
		if code, ok := strings.CutPrefix(line, mark); ok {
			status, err = strconv.Atoi(code)
			return trim(lines), status, err
		}
		lines = append(lines, line)
	}
}

// close ends the shell and what it started.
func (s *shell) close() {
	_ = s.in.Close()
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.cmd.Wait()
	_ = os.Remove(s.script)
}
