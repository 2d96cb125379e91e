//go:build vlan

package netdev_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/netdev/ovstest"
	"github.com/isthmus-cni/isthmus/internal/netdev/trunktest"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// trunk is a node on a trunk port, with its Machine.
type trunk struct {
	*trunktest.Trunk
	t       *testing.T
	machine *netdev.Machine
}

func newTrunk(t *testing.T, nic string) *trunk {
	t.Helper()
	w := &trunk{Trunk: trunktest.New(t, nic), t: t}
	w.must(ovstest.Inside(w.Node, func() (err error) {
		w.machine, err = netdev.NewMachine(nil, w.Pods)
		return err
	}))
	t.Cleanup(w.machine.Close)
	return w
}

func (w *trunk) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *trunk) open(ns *os.File) *netdev.Namespace {
	w.t.Helper()
	pod, err := netdev.OpenNamespace(ovstest.Copy(w.t, ns))
	w.must(err)
	w.t.Cleanup(pod.Close)
	return pod
}

func (w *trunk) steps(container string, tag int) []plug.Step {
	w.t.Helper()
	steps, err := plug.Steps(plug.Port{
		Container: container, Link: "eth0", Pod: "net2/a", UID: "uid-1", Parent: trunktest.MAC, Tag: tag,
		MAC: "00:00:00:0c:00:02", MTU: 1400, Addrs: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("12.0.%d.2/24", tag))},
		Gateways: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("12.0.%d.1", tag))},
	}, plug.Node{Mode: plug.VLAN, Trunk: w.NIC, TrunkMTU: trunktest.MTU})
	w.must(err)
	return steps
}

// expectNothingLeft fails the test if links of ours are left on the node or in the pods.
func (w *trunk) expectNothingLeft(pods ...*os.File) {
	w.t.Helper()
	links, err := w.machine.Links()
	if err != nil || len(links) > 0 {
		w.t.Errorf("left: %+v %v", links, err)
	}
	for _, pod := range pods {
		if tags := w.VLANs(pod); len(tags) > 0 {
			w.t.Errorf("left in the pod: VLANs %v", tags)
		}
	}
}

// The node's interface may have the same name as the pod's interface.
func TestVLANPlugTwiceCheckUnplugTwice(t *testing.T) {
	for _, nic := range []string{"eth0", "ens3"} {
		t.Run(nic, func(t *testing.T) {
			w := newTrunk(t, nic)
			ns, plan := w.Pod("a"), w.steps("c1", 101)
			pod := w.open(ns)
			for range 2 {
				w.must(w.machine.Do(t.Context(), pod, plan))
			}
			w.must(w.machine.Check(pod, plan))
			w.Reaches(ns, 101)
			for _, known := range []*netdev.Namespace{pod, nil} {
				w.must(w.machine.Do(t.Context(), pod, plan))
				for range 2 {
					w.must(w.machine.Undo(t.Context(), known, plug.Remains(plug.VLAN, "c1", "eth0")))
				}
				w.expectNothingLeft(ns)
			}
		})
	}
}

func TestVLANCheckAfterTampering(t *testing.T) {
	w := newTrunk(t, "ens3")
	pod, plan := w.open(w.Pod("a")), w.steps("c1", 101)
	for says, harm := range map[string]func(netlink.Link) error{
		"MTU of 1300": func(l netlink.Link) error { return pod.LinkSetMTU(l, 1300) },
		"down":        func(l netlink.Link) error { return pod.LinkSetDown(l) },
		"MAC address": func(l netlink.Link) error { return pod.LinkSetHardwareAddr(l, net.HardwareAddr{2, 0, 0, 0, 0, 9}) },
		"in the pod":  func(l netlink.Link) error { return pod.LinkDel(l) },
	} {
		w.must(w.machine.Do(t.Context(), pod, plan))
		l, err := pod.LinkByName("eth0")
		w.must(err)
		w.must(harm(l))
		if err := w.machine.Check(pod, plan); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Check says nothing of %s: %v", says, err)
		}
	}
}

// Do does not take a VLAN that a link of others uses, and its failure leaves nothing.
func TestVLANOfOthers(t *testing.T) {
	w := newTrunk(t, "ens3")
	ns := w.Pod("a")
	pod := w.open(ns)
	_, err := w.AddVLAN(w.Node, "ens3", "mine", 103)
	w.must(err)
	if err := w.machine.Do(t.Context(), pod, w.steps("c1", 103)); err == nil || !strings.Contains(err.Error(), "the node's own interface mine has VLAN 103") {
		t.Errorf("got %v", err)
	}
	l, err := w.AddVLAN(w.Node, "ens3", "theirs", 104)
	w.must(err)
	w.must(w.Handle(w.Node).LinkSetNsFd(l, int(ovstest.NetNS(t).Fd())))
	if err := w.machine.Do(t.Context(), pod, w.steps("c1", 104)); !errors.Is(err, netdev.ErrVLANTaken) {
		t.Errorf("got %v", err)
	}
	w.expectNothingLeft(ns)
}

func TestVLANForeignLinkInPodIsKept(t *testing.T) {
	w := newTrunk(t, "ens3")
	pod := w.open(w.Pod("a"))
	w.must(pod.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "other"}))
	if err := w.machine.Do(t.Context(), pod, w.steps("c1", 101)); err == nil || !strings.Contains(err.Error(), "not ours") {
		t.Errorf("got %v", err)
	}
	if _, err := pod.LinkByName("eth0"); err != nil {
		t.Error(err)
	}
}

// Pods keep their addresses and routes when the trunk goes down and up again, or is
// renamed.
func TestVLANTrunkGoesDownAndIsRenamed(t *testing.T) {
	w := newTrunk(t, "eth0")
	ns := w.Pod("a")
	pod := w.open(ns)
	w.must(w.machine.Do(t.Context(), pod, w.steps("c1", 101)))
	h := w.Handle(w.Node)
	l, err := h.LinkByName("eth0")
	w.must(err)
	w.must(h.LinkSetDown(l))
	w.must(h.LinkSetName(l, "trunk0"))
	w.must(h.LinkSetUp(l))
	w.NIC = "trunk0"
	w.must(w.machine.Check(pod, w.steps("c1", 101)))
	w.Reaches(ns, 101)
}

// A new sandbox takes over the VLAN of an old one. The later end of the old sandbox
// does not affect it.
func TestVLANNewSandboxTakesOver(t *testing.T) {
	w, ctx := newTrunk(t, "ens3"), t.Context()
	was, is := w.Pod("was"), w.Pod("is")
	old, fresh := w.open(was), w.open(is)
	w.must(w.machine.Do(ctx, old, w.steps("old", 101)))
	w.must(w.machine.Do(ctx, fresh, w.steps("fresh", 101)))
	if tags := w.VLANs(was); len(tags) > 0 {
		t.Errorf("the old sandbox has %v", tags)
	}
	w.must(w.machine.Undo(ctx, old, plug.Remains(plug.VLAN, "old", "eth0")))
	w.must(w.machine.Check(fresh, w.steps("fresh", 101)))
	w.Reaches(is, 101)
}

func TestVLANMoves(t *testing.T) {
	w := newTrunk(t, "ens3")
	ns := w.Pod("a")
	pod := w.open(ns)
	w.must(w.machine.Do(t.Context(), pod, w.steps("c1", 101)))
	links, err := w.machine.Links()
	w.must(err)
	w.must(w.machine.Retag(t.Context(), links[0], w.steps("c1", 102)))
	w.must(w.machine.Check(pod, w.steps("c1", 102)))
	w.Reaches(ns, 102)
	if tags := w.VLANs(ns); !slices.Equal(tags, []int{102}) {
		t.Errorf("the pod has VLANs %v", tags)
	}
	links, err = w.machine.Links()
	if err != nil || len(links) != 1 || links[0].Mark.VLAN != "102@"+trunktest.MAC {
		t.Errorf("links %+v, %v", links, err)
	}
	w.Forget("a")
	if err := w.machine.Retag(t.Context(), links[0], w.steps("c1", 101)); err == nil || !strings.Contains(err.Error(), w.Pods) {
		t.Errorf("got %v", err)
	}
}

// Undo succeeds if the runtime has removed the pod's namespace, and the VLAN link with
// it.
func TestVLANGoesWithItsPod(t *testing.T) {
	w := newTrunk(t, "ens3")
	ns := w.Pod("a")
	w.must(w.machine.Do(t.Context(), w.open(ns), w.steps("c1", 102)))
	w.Forget("a")
	w.must(w.machine.Undo(t.Context(), nil, plug.Remains(plug.VLAN, "c1", "eth0")))
	w.expectNothingLeft()
}

// A VLAN can be used again at once after a pod has left it.
func TestVLANChurn(t *testing.T) {
	w := newTrunk(t, "ens3")
	var done sync.WaitGroup
	for worker := range 4 {
		ns := w.Pod(fmt.Sprint("p", worker))
		pod := w.open(ns)
		plans := map[string][]plug.Step{}
		for i := range 25 {
			container := fmt.Sprintf("c%d-%d", worker, i)
			plans[container] = w.steps(container, 201+worker)
		}
		done.Go(func() {
			for container, plan := range plans {
				err := w.machine.Do(t.Context(), pod, plan)
				if err = errors.Join(err, w.machine.Undo(t.Context(), pod, plug.Remains(plug.VLAN, container, "eth0"))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	w.expectNothingLeft()
}

func TestVLANInterfaceByMAC(t *testing.T) {
	w := newTrunk(t, "eth0")
	_, err := w.AddVLAN(w.Node, "eth0", "eth0.7", 7)
	w.must(err)
	want := netdev.NIC{Name: "eth0", MTU: trunktest.MTU}
	if got, err := w.machine.NIC(strings.ToUpper(trunktest.MAC)); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	h := w.Handle(w.Node)
	l, err := h.LinkByName("eth0")
	w.must(err)
	w.must(h.LinkSetDown(l))
	w.must(h.LinkSetName(l, "ens9"))
	if got, err := w.machine.NIC(trunktest.MAC); err != nil || got.Name != "ens9" {
		t.Errorf("renamed: %+v, %v", got, err)
	}
	w.NIC = "ens9"
	if err := w.machine.Do(t.Context(), w.open(w.Pod("a")), w.steps("c1", 101)); err == nil || !strings.Contains(err.Error(), "trunk interface ens9 is down") {
		t.Errorf("down: %v", err)
	}
	if _, err := w.machine.NIC("fa:16:3e:00:00:02"); err == nil || !strings.Contains(err.Error(), "fa:16:3e:00:00:02") {
		t.Errorf("got %v", err)
	}
	w.must(h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "twin", HardwareAddr: l.Attrs().HardwareAddr}, PeerName: "x"}))
	if _, err := w.machine.NIC(trunktest.MAC); err == nil || !strings.Contains(err.Error(), "--trunk-interface") {
		t.Errorf("got %v", err)
	}
}
