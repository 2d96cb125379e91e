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

// mark is the prefix of the line with a command's status, which the shell prints after it.
const mark = "\x1ewalk-status "

// shell is the shell of a walk. It runs all commands, so variables and the working directory
// persist from one command to the next.
type shell struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	script string
}

func newShell(ctx context.Context, o Options) (*shell, error) {
	cmd := exec.CommandContext(ctx, o.Shell[0], o.Shell[1:]...)
	cmd.Dir, cmd.Env = o.Dir, o.Env
	// in a process group of its own, so that a command that hangs is killed with the shell
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

// run runs one command and returns its output and its status. The shell reads the command
// from a file, so that an open quote or here-document cannot swallow the next command. run
// errs if the shell ends.
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

// close kills the shell and the processes that it started.
func (s *shell) close() {
	_ = s.in.Close()
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.cmd.Wait()
	_ = os.Remove(s.script)
}
