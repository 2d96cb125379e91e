package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// registry is the directory in which the labs of the machine record the mount points
// that they created. If one lab removed a mount point that another lab's node uses, the
// kernel would unmount it there as well.
const registry = "/run/isthmus-labs"

func (s Site) recordFile() string {
	return filepath.Join(registry, strings.ReplaceAll(filepath.Clean(s.Dir), "/", "_"))
}

// makeMountPoint creates a directory of the machine on which a node mounts its private
// one, and records it. A directory that existed before any lab is not recorded, so no lab
// removes it.
func (n Node) makeMountPoint(dir string) error {
	dirs, others := missing(dir), recorded("")
	for d := dir; d != "/"; d = filepath.Dir(d) {
		if slices.Contains(others, d) {
			dirs = append(dirs, d)
		}
	}
	if err := n.Site.record(dirs); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}

func (s Site) record(dirs []string) error {
	if len(dirs) == 0 {
		return nil
	}
	if err := os.MkdirAll(registry, 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(s.recordFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteString(strings.Join(dirs, "\n") + "\n")
	return errors.Join(err, file.Close())
}

// recorded returns the directories in all record files except one.
func recorded(except string) []string {
	files, _ := filepath.Glob(filepath.Join(registry, "*"))
	var dirs []string
	for _, f := range files {
		if f != except {
			text, _ := os.ReadFile(f)
			dirs = append(dirs, strings.Fields(string(text))...)
		}
	}
	return dirs
}

// missing returns dir and its parents, as far as they do not exist.
func missing(dir string) []string {
	var dirs []string
	for ; !exists(dir); dir = filepath.Dir(dir) {
		dirs = append(dirs, dir)
	}
	return dirs
}

// Remove removes all nodes found below dir and everything else that the lab has on the
// machine outside dir. It removes nothing of another lab. The directory dir remains.
func Remove(ctx context.Context, dir string) error {
	s := siteOf(dir)
	var errs []error
	for _, n := range Found(dir) {
		errs = append(errs, n.Remove(ctx))
	}
	errs = append(errs, unmountBelow(dir), s.removeLinks(ctx), removeCgroups(ctx, s.cgroup()))
	s.removeMountPoints()
	return errors.Join(errs...)
}

// removeMountPoints removes the lab's recorded mount points. It keeps those that another
// lab uses and those that are not empty, because they are in use by others.
func (s Site) removeMountPoints() {
	text, _ := os.ReadFile(s.recordFile())
	own, others := strings.Fields(string(text)), recorded(s.recordFile())
	_ = os.Remove(s.recordFile())
	slices.Sort(own)
	for _, d := range slices.Backward(slices.Compact(own)) {
		if !slices.Contains(others, d) {
			_ = os.Remove(d)
		}
	}
	_ = os.Remove(registry) // succeeds for the last lab only
}

// Found returns the nodes that have state below dir, and the host outside if it has.
// Nodes of an earlier lab with more nodes are among them.
func Found(dir string) []Node {
	var found []Node
	s := siteOf(dir)
	for _, n := range append(s.Nodes(99), s.Outside()) {
		if exists(n.Dir) {
			found = append(found, n)
		}
	}
	return found
}
