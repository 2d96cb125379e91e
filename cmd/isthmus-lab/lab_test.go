package main

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/lab"
	"github.com/isthmus-cni/isthmus/internal/lab/host"
)

// TestMain lets the nodes of a test's lab run this test program in place of isthmus-lab.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "keep-address" {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// smallLab returns a lab with real nodes and a real Kubernetes only.
func smallLab(t *testing.T, out io.Writer) *lab.Lab {
	t.Helper()
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("starts a lab: run as root and without -short")
	}
	//nolint:usetesting // a lab is below /run
	dir, err := os.MkdirTemp("/run", "isthmus-test-")
	if err != nil {
		t.Fatal(err)
	}
	o := lab.Default()
	o.Underlay = netip.MustParsePrefix("172.31.9.0/24") // no other lab uses it
	o.Dir, o.Nodes, o.VMs, o.OpenStack, o.Isthmus = dir, 1, 0, false, false
	l := lab.New(o, out)
	for _, f := range l.Findings() {
		if f.Wrong != "" && !strings.HasPrefix(f.What, "images") {
			_ = os.Remove(dir)
			t.Skipf("%s: %s; %s", f.What, f.Wrong, f.Mend)
		}
	}
	t.Cleanup(func() {
		if err := l.Down(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return l
}

// lines calls do when n lines are written.
type lines struct {
	n  atomic.Int32
	do func()
}

func (l *lines) Write(p []byte) (int, error) {
	if l.n.Add(-int32(strings.Count(string(p), "\n"))) <= 0 {
		l.do()
	}
	return len(p), nil
}

// After an interrupted "up" and kill -9 of its processes, the next "up" repairs the lab,
// and "down" leaves nothing.
func TestLabSurvivesKillAndLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &lines{do: cancel}
	out.n.Store(9)
	l := smallLab(t, out)
	if err := l.Up(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("the run was to end half way: %v", err)
	}
	n := host.Found(l.Dir)[0]
	for _, p := range n.Processes() {
		if err := p.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	l.Out = t.Output()
	if err := l.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Status(); err != nil {
		t.Error(err)
	}
	if err := l.Kill(t.Context(), "node1/ovs-vswitchd"); err != nil {
		t.Error(err)
	}
	if err := l.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Exec(t.Context(), "node1", []string{"test", "-S", "/run/openvswitch/db.sock"}, nil); err != nil {
		t.Errorf("the node's switch is not at its usual place: %v", err)
	}
	if err := l.Exec(t.Context(), "node1", []string{"sh", "-c", "exit 7"}, nil); !errors.Is(err, lab.Exit{Code: 7}) {
		t.Errorf("exec: %v", err)
	}
	processes := n.Processes()
	if err := l.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkGone(t, l)
	for _, p := range processes {
		if p.Alive() {
			t.Errorf("process %d of the node runs still", p.Pid)
		}
	}
}

func checkGone(t *testing.T, l *lab.Lab) {
	t.Helper()
	if left := l.Leftovers(); len(left) > 0 {
		t.Errorf("left over: %s", left)
	}
	if _, err := os.Stat(l.Dir); err == nil {
		t.Errorf("%s is there still", l.Dir)
	}
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sockets), filepath.Clean(l.Dir)+"/") {
		t.Error("a socket is there still")
	}
}
