// Package labenv finds the lab that runs on this machine and runs commands in
// its environment. What a command is for it does not know.
package labenv

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Lab is one that runs.
type Lab struct {
	// Repo is where its programs were built.
	Repo string
	// Env is what "isthmus-lab env" gives, over our own.
	Env []string
}

// Find is the lab of a test that runs in a directory two below the repository's top.
func Find(ctx context.Context) (*Lab, error) {
	repo, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", `exports=$(bin/isthmus-lab env) && eval "$exports" && env -0`)
	cmd.Dir = repo
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("no lab runs here (bin/isthmus-lab up starts one): %w", err)
	}
	return &Lab{repo, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")}, nil
}

// Variable is what name is in the lab's environment.
func (l *Lab) Variable(name string) string {
	for _, v := range l.Env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// Command is argv as a shell after "isthmus-lab env" would find it. With ctx
// ends all that it has started.
func (l *Lab) Command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "env", argv...) // looks in the PATH of cmd.Env, not in ours
	cmd.Dir, cmd.Env = l.Repo, l.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}
