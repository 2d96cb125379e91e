package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mountPoints of the nodes must exist on the machine. Those that we made are
// noted, so that they can be taken away again.
func (n Node) makeMountPoint(dir string) error {
	list := filepath.Join(filepath.Dir(n.Dir), "made-directories")
	for _, d := range missing(dir) {
		file, err := os.OpenFile(list, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = file.WriteString(d + "\n")
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return os.MkdirAll(dir, 0o755)
}

// missing lists dir and its parents as far as they do not exist, parents first.
func missing(dir string) []string {
	var dirs []string
	for ; !exists(dir); dir = filepath.Dir(dir) {
		dirs = append([]string{dir}, dirs...)
	}
	return dirs
}

// Remove takes away all nodes found below dir and all else that the lab has on
// the machine. The state itself stays.
func Remove(ctx context.Context, dir string) error {
	var errs []error
	for _, n := range Found(dir) {
		errs = append(errs, n.Remove(ctx))
	}
	errs = append(errs, unmountBelow(dir), removeLinks(ctx), removeCgroups(ctx, cgroup))
	list, _ := os.ReadFile(filepath.Join(dir, "made-directories"))
	made := strings.Fields(string(list))
	slices.Reverse(made)
	for _, d := range made {
		_ = os.Remove(d) // one that is not empty is somebody's now
	}
	return errors.Join(errs...)
}

// Found lists the nodes that have state below dir, also of an earlier lab with
// more of them.
func Found(dir string) []Node {
	var found []Node
	for _, n := range Nodes(dir, 99) {
		if exists(n.Dir) {
			found = append(found, n)
		}
	}
	return found
}
