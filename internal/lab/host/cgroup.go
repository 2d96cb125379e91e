package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-cni/isthmus/internal/lab/supervise"
)

const cgroups = "/sys/fs/cgroup"

// hierarchies returns the roots of the cgroup hierarchies: one per controller and named
// ones such as systemd's, or the only one of cgroup v2.
func hierarchies() []string {
	if exists(cgroups + "/cgroup.controllers") {
		return []string{cgroups}
	}
	entries, err := os.ReadDir(cgroups)
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		dir := filepath.Join(cgroups, e.Name())
		if e.IsDir() && exists(filepath.Join(dir, "cgroup.procs")) {
			found = append(found, dir)
		}
	}
	return found
}

func (n Node) ensureCgroups() error {
	for _, h := range hierarchies() {
		if err := os.MkdirAll(filepath.Join(h, n.CgroupRoot()), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Cgroups returns the directories of the lab's cgroups.
func (s Site) Cgroups() []string {
	var found []string
	for _, h := range hierarchies() {
		found = append(found, tree(filepath.Join(h, s.cgroup()))...)
	}
	return found
}

// tree returns dir and the directories below it, parents first.
func tree(dir string) []string {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // a directory that disappears meanwhile need not be removed
	})
	return dirs
}

// removeCgroups kills the processes of a cgroup and removes it from every hierarchy.
func removeCgroups(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, cgroupTimeout)
	defer cancel()
	var errs []error
	for _, h := range hierarchies() {
		dirs := tree(filepath.Join(h, name))
		for _, dir := range slices.Backward(dirs) {
			errs = append(errs, removeCgroup(ctx, dir))
		}
	}
	return errors.Join(errs...)
}

func removeCgroup(ctx context.Context, dir string) error {
	for pause := time.Millisecond; ; pause *= 2 {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := supervise.End(ctx, 0, members(dir)...); err != nil {
			return fmt.Errorf("empty cgroup %s: %w", dir, err)
		}
		// in v1 the kernel releases a dead member a moment after it was reaped, without an event
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		case <-time.After(pause):
		}
	}
}

func members(dir string) []supervise.Process {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var found []supervise.Process
	for word := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil {
			if p, err := supervise.Find(pid); err == nil {
				found = append(found, p)
			}
		}
	}
	return found
}
