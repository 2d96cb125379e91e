//go:build e2e

package down

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// dir is the lab's directory. The lab's bridge and cgroup have similar names.
const dir = "/run/isthmus-lab"

func TestDownLeavesNothing(t *testing.T) {
	if len(leftovers(t)) == 0 {
		t.Fatal("no lab runs here: nothing to end")
	}
	cmd := exec.CommandContext(t.Context(), "bin/isthmus-lab", "down")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("isthmus-lab down: %v\n%s", err, out)
	}
	for _, r := range leftovers(t) {
		t.Errorf("left behind: %s", r)
	}
}

// leftovers returns everything of a lab on this machine.
func leftovers(t *testing.T) []string {
	t.Helper()
	var found []string
	if _, err := os.Stat(dir); err == nil {
		found = append(found, "directory "+dir)
	}
	found = append(found, processes(t)...)
	found = append(found, lines(t, "mount", "isthmus-lab", "cat", "/proc/self/mountinfo")...)
	found = append(found, lines(t, "interface or address", "isthmus", "ip", "-o", "address")...)
	found = append(found, lines(t, "address", "172.31.0.", "ip", "-o", "address")...)
	found = append(found, lines(t, "route", "172.31.", "ip", "route", "show", "table", "all")...)
	found = append(found, lines(t, "network namespace", "isthmus", "find", "/run/netns", "/var/run/netns")...)
	found = append(found, lines(t, "socket", "isthmus", "cat", "/proc/net/unix")...)
	found = append(found, lines(t, "cgroup", "isthmus", "find", "/sys/fs/cgroup", "-maxdepth", "4", "-type", "d", "-name", "isthmus*")...)
	return append(found, lines(t, "firewall rule", "isthmus", "nft", "list", "ruleset")...)
}

// processes returns the processes in the lab's cgroup or with the lab's directory in their
// arguments.
func processes(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range all {
		argv, _ := os.ReadFile(filepath.Join(p, "cmdline")) // the process may have ended
		cgroup, _ := os.ReadFile(filepath.Join(p, "cgroup"))
		if len(argv) == 0 {
			continue // a zombie: its parent must reap it, not the lab
		}
		if strings.Contains(string(argv), dir+"/") || strings.Contains(string(cgroup), "/isthmus-lab") {
			found = append(found, "process "+filepath.Base(p)+" "+strings.ReplaceAll(string(argv), "\x00", " "))
		}
	}
	return found
}

// lines returns the lines of a command's output that contain mark, with what before each.
func lines(t *testing.T, what, mark string, argv ...string) []string {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), argv[0], argv[1:]...).Output() // find fails for a missing directory
	var found []string
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.Contains(line, mark) {
			found = append(found, what+" "+line)
		}
	}
	return found
}
