package netdev_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/netdev/ovstest"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a node with its Machine, and one pod.
type world struct {
	node    *ovstest.Node
	ovs     *netdev.Switch
	machine *netdev.Machine
	netns   *os.File
	pod     *netdev.Namespace
	changed atomic.Pointer[context.CancelFunc] // called when the switch changes
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{node: ovstest.Start(t), netns: ovstest.NetNS(t)}
	w.ovs = netdev.NewSwitch(netdev.SwitchOptions{Endpoint: w.node.Endpoint, Changed: func() {
		if f := w.changed.Load(); f != nil {
			(*f)()
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.ovs.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := w.ovs.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := ovstest.Inside(w.node.NetNS, func() (err error) {
		w.machine, err = netdev.NewMachine(w.ovs, "")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.machine.Close)
	if w.pod, err = netdev.OpenNamespace(ovstest.Copy(t, w.netns)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.pod.Close)
	return w
}

func port(container string) plug.Port {
	return plug.Port{
		Container: container, Link: "eth0", Pod: "net2/a", IfaceID: "a.net2", IfaceIDVer: "uid",
		MAC: "00:00:00:0c:00:02", MTU: 1400, HostLink: true,
		Addrs:    []netip.Prefix{netip.MustParsePrefix("12.0.1.2/24"), netip.MustParsePrefix("fd00::2/64")},
		Gateways: []netip.Addr{netip.MustParseAddr("12.0.1.1"), netip.MustParseAddr("fd00::1")},
		Routes:   []plug.Route{{To: netip.MustParsePrefix("10.96.0.0/12"), Via: netip.MustParseAddr("12.0.1.9")}},
	}
}

// steps returns the steps to plug a pod, without the last one, the wait for OVN.
func steps(t *testing.T, container string) []plug.Step {
	t.Helper()
	s, err := plug.Steps(port(container), plug.Node{Mode: plug.OVS, Bridge: "br-int", Owner: "test", Userspace: true})
	if err != nil {
		t.Fatal(err)
	}
	return s[:len(s)-1]
}

// ourDevices returns the names of our links on the node, and the ports of br-int.
func (w *world) ourDevices(t *testing.T) string {
	t.Helper()
	links, err := w.machine.Links()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range links {
		all = append(all, l.Name)
	}
	all = append(all, w.node.Vsctl(t, "list-ports", "br-int"))
	return strings.TrimSpace(strings.Join(all, " "))
}

func TestPlugTwiceCheckUnplugTwice(t *testing.T) {
	w, ctx, plan := start(t), t.Context(), steps(t, "c1")
	for range 2 {
		if err := w.machine.Do(ctx, w.pod, plan); err != nil {
			t.Fatal(err)
		}
	}
	host := plug.HostName("c1", "eth0")
	w.node.Install(t, host)
	if err := w.ovs.Installed(ctx, host); err != nil {
		t.Fatal(err)
	}
	if err := w.machine.Check(w.pod, plan); err != nil {
		t.Error(err)
	}
	seen := ovstest.Run(t, w.netns, "sh", "-c", "ip addr; ip route; ip -6 route; ethtool -k eth0")
	for _, want := range []string{
		"mtu 1400", "00:00:00:0c:00:02", "12.0.1.2/24", "fd00::2/64", "default via 12.0.1.1 dev eth0", "10.96.0.0/12 via 12.0.1.9",
		"169.254.1.1 dev host0 scope link", "default via fd00::1 dev eth0", "tx-checksumming: off",
	} {
		if !strings.Contains(seen, want) {
			t.Errorf("no %q in the pod: %s", want, seen)
		}
	}
	onNode := w.node.Run(t, "ip", "addr", "show", "dev", "h"+host[1:])
	if !strings.Contains(onNode, "169.254.1.1/32") || strings.Contains(onNode, "inet6") {
		t.Errorf("the node's side: %s", onNode)
	}
	for range 2 {
		if err := w.machine.Undo(ctx, nil, plug.Remains(plug.OVS, "c1", "eth0")); err != nil {
			t.Fatal(err)
		}
	}
	if left := w.ourDevices(t); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestCheckAfterTampering(t *testing.T) {
	w, plan := start(t), steps(t, "c1")
	host := plug.HostName("c1", "eth0")
	for _, c := range []struct{ inPod, onNode, says string }{
		{inPod: "ip addr del 12.0.1.2/24 dev eth0", says: "12.0.1.2/24"},
		{inPod: "ip route del default", says: "route 0.0.0.0/0"},
		{inPod: "ip link set eth0 mtu 1300", says: "1300"},
		{inPod: "ip link set eth0 down", says: "down"},
		{inPod: "ip link del host0", says: "host0"},
		{onNode: "ovs-vsctl --db=" + w.node.Endpoint + " del-port " + host, says: "no such interface"},
	} {
		if err := w.machine.Do(t.Context(), w.pod, plan); err != nil {
			t.Fatalf("before %q: %v", c.says, err)
		}
		if c.inPod != "" {
			ovstest.Run(t, w.netns, strings.Fields(c.inPod)...)
		} else {
			w.node.Run(t, strings.Fields(c.onNode)...)
		}
		eventually(t, func() bool {
			err := w.machine.Check(w.pod, plan)
			return err != nil && strings.Contains(err.Error(), c.says)
		}, "Check says nothing of "+c.says)
	}
}

// eventually waits up to a second, because the replica follows the database with a
// delay.
func eventually(t *testing.T, holds func() bool, says string) {
	t.Helper()
	for range 200 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error(says)
}

func TestFailureLeavesNothing(t *testing.T) {
	w := start(t)
	plan := steps(t, "c1")
	last := plan[len(plan)-1].(plug.SwitchPort)
	last.Bridge = "br-none"
	plan[len(plan)-1] = last
	err := w.machine.Do(t.Context(), w.pod, plan)
	if err == nil || !strings.Contains(err.Error(), "br-none") {
		t.Errorf("got %v", err)
	}
	if left := w.ourDevices(t); left != "" {
		t.Errorf("left: %s", left)
	}
	if in := ovstest.Run(t, w.netns, "ip", "-o", "link"); strings.Contains(in, "eth0") {
		t.Errorf("left in the pod: %s", in)
	}
}

// A Do whose context ends before the database answers leaves no port. The database
// reports a change before it answers the client that made it.
func TestCancelledDoLeavesNothing(t *testing.T) {
	w := start(t)
	plan := steps(t, "c1")
	plan = plan[len(plan)-1:] // the port in the switch
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		w.changed.Store(&cancel)
		if err := w.machine.Do(ctx, w.pod, plan); err == nil {
			if err := w.machine.Undo(t.Context(), w.pod, plan); err != nil {
				t.Fatal(err)
			}
		}
		if left := w.ourDevices(t); left != "" {
			t.Fatalf("left: %s", left)
		}
	}
}

func TestForeignLinkInPodIsKept(t *testing.T) {
	w := start(t)
	ovstest.Run(t, w.netns, "ip", "link", "add", "eth0", "type", "bridge")
	if err := w.machine.Do(t.Context(), w.pod, steps(t, "c1")); err == nil || !strings.Contains(err.Error(), "not ours") {
		t.Errorf("got %v", err)
	}
	ovstest.Run(t, w.netns, "ip", "link", "show", "eth0")
}

// A new sandbox takes over the port of an old one. The later end of the old sandbox
// does not affect it.
func TestNewSandboxTakesOver(t *testing.T) {
	w, ctx := start(t), t.Context()
	if err := w.machine.Do(ctx, w.pod, steps(t, "old")); err != nil {
		t.Fatal(err)
	}
	file := ovstest.NetNS(t)
	second, err := netdev.OpenNamespace(ovstest.Copy(t, file))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	eventually(t, func() bool { return len(w.ovs.Ports(plug.KeyIfaceID, "a.net2")) == 1 }, "the old port was not seen")
	if err := w.machine.Do(ctx, second, steps(t, "new")); err != nil {
		t.Fatal(err)
	}
	if err := w.machine.Undo(ctx, nil, plug.Remains(plug.OVS, "old", "eth0")); err != nil {
		t.Fatal(err)
	}
	if ports := w.node.Vsctl(t, "list-ports", "br-int"); ports != plug.HostName("new", "eth0") {
		t.Errorf("ports: %s", ports)
	}
	if err := w.machine.Check(second, steps(t, "new")[:1]); err != nil {
		t.Error(err)
	}
}

func TestInstalledSaysWhatIsMissing(t *testing.T) {
	w := start(t)
	if err := w.machine.Do(t.Context(), w.pod, steps(t, "c1")); err != nil {
		t.Fatal(err)
	}
	host := plug.HostName("c1", "eth0")
	w.node.Vsctl(t, "wait-until", "Interface", host, "ofport>=1")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := w.ovs.Installed(ctx, host)
	if err == nil || !strings.Contains(err.Error(), `ovn-controller has not installed port a.net2 (version "uid")`) {
		t.Errorf("got %v", err)
	}
}

func TestSwitchComesBack(t *testing.T) {
	w, ctx := start(t), t.Context()
	if err := w.machine.Do(ctx, w.pod, steps(t, "c1")); err != nil {
		t.Fatal(err)
	}
	w.node.StopDatabase(t)
	eventually(t, func() bool { return !w.ovs.Connected() }, "the loss was not noticed")
	if err := w.ovs.Remove(ctx, "x"); !errors.Is(err, netdev.ErrNotConnected) {
		t.Errorf("got %v", err)
	}
	w.node.StartDatabase(t)
	if err := w.ovs.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	host := plug.HostName("c1", "eth0")
	w.node.Install(t, host)
	if err := w.ovs.Installed(ctx, host); err != nil {
		t.Error(err)
	}
}

func TestInternalPort(t *testing.T) {
	w, ctx := start(t), t.Context()
	p := netdev.NewPort{Bridge: "br-int", Name: "ovn0", Internal: true, MAC: "00:00:00:64:00:02", IDs: map[string]string{"iface-id": "node-a"}}
	for range 2 {
		if _, err := w.ovs.Add(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	w.node.Vsctl(t, "wait-until", "Interface", "ovn0", "ofport>=1")
	if got := w.node.Run(t, "ip", "-o", "link", "show", "ovn0"); !strings.Contains(got, "00:00:00:64:00:02") {
		t.Errorf("link: %s", got)
	}
	for range 2 {
		if err := w.ovs.Remove(ctx, "ovn0"); err != nil {
			t.Fatal(err)
		}
	}
}
