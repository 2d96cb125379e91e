// Package ovstest gives a test its own node: a network namespace in which a real
// ovsdb-server and a real ovs-vswitchd run, with a bridge br-int on the userspace
// datapath. There is no ovn-controller; Install replaces it.
package ovstest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isthmus-cni/isthmus/internal/ovsdb/ovsdbtest"
)

// Node is the namespace with its switch.
type Node struct {
	// Endpoint is the address of the switch database.
	Endpoint string
	// NetNS is the node's namespace, open until the test ends.
	NetNS *os.File

	db *ovsdbtest.Server
}

// Start starts a node until the test ends. It skips the test if OVS is not installed
// or the test does not run as root.
func Start(t *testing.T) *Node {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	if _, err := exec.LookPath("ovs-vswitchd"); err != nil {
		t.Skip("needs ovs-vswitchd (apt-get install openvswitch-switch)")
	}
	db := ovsdbtest.New(t, "/usr/share/openvswitch/vswitch.ovsschema")
	n := &Node{Endpoint: db.Address, NetNS: NetNS(t), db: db}
	n.Vsctl(t, "--no-wait", "init")
	n.Vsctl(t, "--no-wait", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev", "fail_mode=secure")
	n.spawn(t, "ovs-vswitchd", "-vconsole:err", "-vsyslog:off", "-vfile:off", "--disable-system", n.Endpoint,
		"--unixctl="+db.Path("vswitchd.ctl"))
	n.Vsctl(t, "wait-until", "Interface", "br-int", "ofport=65534")
	return n
}

// StartDatabase starts ovsdb-server again after StopDatabase.
func (n *Node) StartDatabase(t *testing.T) {
	t.Helper()
	n.db.Start()
	n.Run(t, "ovsdb-client", "--timeout=10", "wait", n.Endpoint, "Open_vSwitch", "connected")
}

// StopDatabase kills ovsdb-server.
func (n *Node) StopDatabase(t *testing.T) {
	t.Helper()
	n.db.Stop()
}

// Install does what ovn-controller does after it has bound a port: it waits for the
// interface and marks it as installed.
func (n *Node) Install(t *testing.T, name string) {
	t.Helper()
	n.Vsctl(t, "wait-until", "Interface", name, "external_ids:isthmus-owner!=none", "--",
		"set", "Interface", name, "external_ids:ovn-installed=true")
}

// Vsctl runs ovs-vsctl and returns its output.
func (n *Node) Vsctl(t *testing.T, args ...string) string {
	t.Helper()
	return n.Run(t, append([]string{"ovs-vsctl", "--db=" + n.Endpoint, "--timeout=20"}, args...)...)
}

// Run runs a command in the node's namespace and returns its output.
func (n *Node) Run(t *testing.T, args ...string) string { return Run(t, n.NetNS, args...) }

// spawn starts a process in the node's namespace that ends with the test. If the test
// is killed, the process ends with the thread that started it, so that thread lives
// until the test ends.
func (n *Node) spawn(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	dir := n.db.Path("")
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+dir, "OVS_DBDIR="+dir, "OVS_SYSCONFDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, over := make(chan error, 1), make(chan struct{})
	go func() {
		_ = Inside(n.NetNS, func() error {
			started <- cmd.Start()
			<-over
			return nil
		})
	}()
	err := <-started
	t.Cleanup(func() { close(over) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// NetNS makes a network namespace without a name. It ends when the test has ended and
// no process is in it.
func NetNS(t *testing.T) *os.File {
	t.Helper()
	made := make(chan *os.File, 1)
	var err error
	go func() {
		defer close(made)
		runtime.LockOSThread()
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		var f *os.File
		if f, err = os.Open("/proc/thread-self/ns/net"); err == nil {
			made <- f
		}
	}()
	f := <-made
	if f == nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Inside runs f on a thread in that namespace and returns f's error. A process that f
// starts is in the namespace, too.
func Inside(netns *os.File, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// Run runs a command in the namespace and returns its output.
func Run(t *testing.T, netns *os.File, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	var out []byte
	err := Inside(netns, func() (err error) {
		out, err = exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// Copy returns another open file of the namespace, which the caller closes.
func Copy(t *testing.T, netns *os.File) *os.File {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", netns.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return f
}
