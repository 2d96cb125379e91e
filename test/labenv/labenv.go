// Package labenv finds the running lab of this machine and runs commands in its
// environment.
package labenv

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Lab is a running lab.
type Lab struct {
	// Repo is the repository in which its programs were built.
	Repo string
	// Env is our environment with the variables of "isthmus-lab env".
	Env []string
}

// Find returns the running lab. The test must run two directories below the top of the
// repository. Find errs if no lab runs.
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

// Variable returns the value of a variable in the lab's environment, or "".
func (l *Lab) Variable(name string) string {
	for _, v := range l.Env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// Command returns a command that runs argv with the lab's environment and PATH. When ctx
// ends, its whole process group is killed.
func (l *Lab) Command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "env", argv...) // env searches the PATH of cmd.Env, not ours
	cmd.Dir, cmd.Env = l.Repo, l.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}
