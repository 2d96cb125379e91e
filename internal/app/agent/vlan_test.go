//go:build vlan

package agent

import (
	"bytes"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netns"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/netdev/ovstest"
	"github.com/isthmus-cni/isthmus/internal/netdev/trunktest"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// vm is a node on a trunk port, with an agent and without Open vSwitch.
type vm struct {
	*world
	*trunktest.Trunk
	attacher *trunkAttacher
}

func startVM(t *testing.T) *vm {
	t.Helper()
	w := &vm{world: &world{t: t, claims: newClaimStore()}, Trunk: trunktest.New(t, "eth0")}
	var machine *netdev.Machine
	err := ovstest.Inside(w.Node, func() (err error) {
		machine, err = netdev.NewMachine(nil, w.Pods)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(machine.Close)
	w.attacher = &trunkAttacher{machine: machine}
	w.plugger = &plugger{claims: w.claims, machine: machine, attacher: w.attacher}
	w.startServer()
	return w
}

func TestVLANAddCheckDel(t *testing.T) {
	w := startVM(t)
	w.claims.put(tagged("uid-1", 101))
	ns := w.Pod("a")
	w.mustRun(call{verb: "STATUS"})
	first := w.mustRun(call{verb: "ADD", container: "c1", netns: ns})
	if again := w.mustRun(call{verb: "ADD", container: "c1", netns: ns}); !bytes.Equal(first, again) {
		t.Errorf("ADD again: %s, not %s", again, first)
	}
	if !bytes.Contains(first, []byte(plug.HostLinkName("c1", "eth0"))) {
		t.Errorf("the result names no host link: %s", first)
	}
	w.Reaches(ns, 101)
	w.mustRun(call{verb: "CHECK", container: "c1", netns: ns, prev: first})
	w.mustRun(call{verb: "DEL", container: "c1", netns: ns, prev: first})
	w.mustRun(call{verb: "DEL", container: "c1"})
	w.expectNothingLeft(ns)
	// The runtime may call DEL without a namespace.
	w.mustRun(call{verb: "ADD", container: "c2", netns: ns})
	w.mustRun(call{verb: "DEL", container: "c2"})
	w.expectNothingLeft(ns)
}

func (w *vm) expectNothingLeft(pods ...*os.File) {
	w.world.t.Helper()
	if left := w.ourDevices(); left != "" {
		w.world.t.Errorf("left: %s", left)
	}
	for _, ns := range pods {
		if tags := w.VLANs(ns); len(tags) > 0 {
			w.world.t.Errorf("left in the pod: VLANs %v", tags)
		}
	}
}

func TestVLANRefusals(t *testing.T) {
	w := startVM(t)
	big, other := tagged("uid-1", 101), tagged("uid-1", 101)
	big.Spec.MTU, other.Spec.Attach.VLAN.Parent = 1443, "fa:16:3e:00:00:09"
	for says, ip := range map[string]*v1.IP{
		"set the Subnet's spec.mtu to 1442":         big,
		"has the MAC address fa:16:3e:00:00:09":     other,
		"is for a node with Open vSwitch, but this": podClaim("uid-1"),
	} {
		w.claims.put(ip)
		if _, failure := w.run(call{verb: "ADD", container: "c1", netns: w.Pod("a")}); failure == nil || !strings.Contains(failure.Details, says) {
			t.Errorf("got %v, want %q", failure, says)
		}
		w.Forget("a")
	}
	w.expectNothingLeft()
	w.attacher.nic = "eth7"
	if _, failure := w.run(call{verb: "STATUS"}); failure == nil || failure.Code != types.ErrPluginNotAvailable || !strings.Contains(failure.Details, "eth7") {
		t.Errorf("STATUS: %v", failure)
	}
}

func TestVLANGCKeepsRunningPods(t *testing.T) {
	w := startVM(t)
	dead, live := w.Pod("dead"), w.Pod("live")
	w.claims.put(tagged("uid-1", 101))
	w.mustRun(call{verb: "ADD", container: "dead", netns: dead})
	w.claims.put(tagged("uid-2", 102))
	w.mustRun(call{verb: "ADD", container: "live", uid: "uid-2", netns: live})
	w.mustRun(call{verb: "GC", keep: []types.GCAttachment{{ContainerID: "live", IfName: "eth0"}}})
	if tags := slices.Concat(w.VLANs(dead), w.VLANs(live)); !slices.Equal(tags, []int{102}) || w.ourDevices() != plug.HostLinkName("live", "eth0") {
		t.Errorf("VLANs %v, links %s", tags, w.ourDevices())
	}
	w.Reaches(live, 102)
}

// A running pod moves to another VLAN when its claim names another one.
func TestVLANFollowsClaim(t *testing.T) {
	w := startVM(t)
	ns := w.Pod("a")
	w.claims.put(tagged("uid-1", 101))
	w.mustRun(call{verb: "ADD", container: "c1", netns: ns})
	moved := func() []nestedPod {
		links, err := w.plugger.machine.Links()
		if err != nil {
			t.Fatal(err)
		}
		return retagged(nestedPods(links, []v1.IP{*tagged("uid-1", 102), *tagged("uid-2", 101)}))
	}
	pods := moved()
	if len(pods) != 1 {
		t.Fatalf("to move: %+v", pods)
	}
	if err := w.attacher.retag(t.Context(), pods[0]); err != nil {
		t.Fatal(err)
	}
	w.Reaches(ns, 102)
	if pods := moved(); len(pods) > 0 {
		t.Errorf("again to move: %+v", pods)
	}
}

// The node reaches its pods over their host links, at the pods' own addresses, without
// another route to them.
func TestVLANProbes(t *testing.T) {
	w := startVM(t)
	ns := w.Pod("a")
	w.claims.put(tagged("uid-1", 101))
	w.mustRun(call{verb: "ADD", container: "c1", netns: ns})
	links, err := w.plugger.machine.Links()
	if err != nil {
		t.Fatal(err)
	}
	h := netns.NsHandle(w.Node.Fd())
	state := nodenet.State{Probes: nestedProbes(nestedPods(links, []v1.IP{*tagged("uid-1", 101)}))}
	refused, err := nodenet.New(nodenet.Options{NetNS: &h}).Apply(t.Context(), state)
	if err != nil || len(refused) > 0 {
		t.Fatalf("refused %v, %v", refused, err)
	}
	w.Answers(ns, w.Node, "12.0.101.2:80", "169.254.1.1")
}

// A cleanup removes the VLANs and host links of all pods, including running ones.
func TestVLANCleanup(t *testing.T) {
	w := startVM(t)
	ns := w.Pod("a")
	w.claims.put(tagged("uid-1", 101))
	w.mustRun(call{verb: "ADD", container: "c1", netns: ns})
	w.stop()
	h := netns.NsHandle(w.Node.Fd())
	c := cleaner{
		o: Options{OVS: "unix:/nowhere/db.sock", Namespaces: w.Pods}, log: slog.New(slog.DiscardHandler),
		newMachine: func(ovs *netdev.Switch, namespaces string) (m *netdev.Machine, err error) {
			err = ovstest.Inside(w.Node, func() (err error) { m, err = netdev.NewMachine(ovs, namespaces); return err })
			return m, err
		},
		newNetwork: func(o nodenet.Options) *nodenet.Network { o.NetNS = &h; return nodenet.New(o) },
	}
	for range 2 {
		if err := c.removeNetwork(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		w.expectNothingLeft(ns)
	}
}
