package openstack

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// python is the distribution's interpreter, which has OpenStack's modules. PATH may have
// another one first.
const python = "/usr/bin/python3"

// environment returns the variables of OpenStack's programs.
func environment() []string {
	return []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"}
}

// command is a program that runs to its end, or a server that start runs in the background.
type command struct {
	argv  []string
	stdin []byte
}

func (c command) exec(ctx context.Context, out *bytes.Buffer) *exec.Cmd {
	path := c.argv[0]
	// not LookPath: the caller's PATH may have another version, as with python
	for _, dir := range []string{"/usr/sbin/", "/usr/bin/", "/bin/"} {
		if !strings.Contains(path, "/") && exists(dir+path) {
			path = dir + path
		}
	}
	cmd := exec.CommandContext(ctx, path, c.argv[1:]...)
	cmd.Env = environment()
	cmd.Stdin = bytes.NewReader(c.stdin)
	cmd.Stdout, cmd.Stderr = out, out
	// a database server must not outlive a killed run
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func (c command) run(ctx context.Context) error {
	_, err := c.output(ctx)
	return err
}

func (c command) output(ctx context.Context) ([]byte, error) {
	var out bytes.Buffer
	if err := c.exec(ctx, &out).Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(c.argv, " "), err, tail(out.String(), 1000))
	}
	return out.Bytes(), nil
}

// start runs the command in the background. stop sends it SIGTERM and waits until it ends.
func (c command) start(ctx context.Context) (stop func() error, err error) {
	var out bytes.Buffer
	cmd := c.exec(ctx, &out)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.argv[0], err)
	}
	return func() error {
		if err := cmd.Process.Signal(os.Signal(syscall.SIGTERM)); err != nil {
			return fmt.Errorf("%s ended before its time: %w: %s", c.argv[0], err, tail(out.String(), 1000))
		}
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%s: %w: %s", c.argv[0], err, tail(out.String(), 1000))
		}
		return nil
	}, nil
}

func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

// await repeats ask until it returns nil. It errs after limit, with ask's last error. It
// polls because the calls of ask have no events.
func await(ctx context.Context, limit time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}
