package netdev_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/netdev/ovstest"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// These tests need a kernel with 8021q. Where this machine has none,
// internal/lab/guest runs them in a virtual machine.

const trunkMAC = "fa:16:3e:00:00:01"

// trunk is a node with an interface whose other end, in the namespace out,
// stands for all that is behind the trunk port: VLAN n has the address 12.0.n.1 there.
type trunk struct {
	t         *testing.T
	nic       string
	node, out *os.File
	machine   *netdev.Machine
	dir       string // of pods' namespaces
}

func newTrunk(t *testing.T, nic string) *trunk {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	w := &trunk{t: t, nic: nic, node: ovstest.NetNS(t), out: ovstest.NetNS(t), dir: t.TempDir()}
	mac, err := net.ParseMAC(trunkMAC)
	w.must(err)
	h := w.handle(w.node)
	w.must(h.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: nic, MTU: 1442, HardwareAddr: mac}, PeerName: "up0", PeerNamespace: netlink.NsFd(w.out.Fd()),
	}))
	w.up(w.node, nic)
	w.up(w.out, "up0")
	w.must(ovstest.Inside(w.node, func() error {
		w.machine, err = netdev.NewMachine(nil, w.dir)
		return err
	}))
	t.Cleanup(w.machine.Close)
	if _, err := w.addVLAN(w.out, "up0", "v101", 101); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel has no 8021q: internal/lab/guest runs this test in one that has")
	}
	return w
}

func (w *trunk) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *trunk) handle(ns *os.File) *netlink.Handle {
	w.t.Helper()
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	w.must(err)
	w.t.Cleanup(h.Close)
	return h
}

func (w *trunk) up(ns *os.File, name string) netlink.Link {
	w.t.Helper()
	h := w.handle(ns)
	l, err := h.LinkByName(name)
	w.must(err)
	w.must(h.LinkSetUp(l))
	return l
}

func (w *trunk) addVLAN(ns *os.File, parent, name string, tag int) (netlink.Link, error) {
	w.t.Helper()
	h := w.handle(ns)
	l, err := h.LinkByName(parent)
	w.must(err)
	err = h.LinkAdd(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: name, ParentIndex: l.Attrs().Index}, VlanId: tag, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q})
	if err != nil {
		return nil, err
	}
	made := w.up(ns, name)
	addr, err := netlink.ParseAddr(fmt.Sprintf("12.0.%d.1/24", tag))
	w.must(err)
	return made, h.AddrAdd(made, addr)
}

// pod is a namespace that the container runtime keeps under that name.
func (w *trunk) pod(name string) *netdev.Namespace {
	w.t.Helper()
	ns, file := ovstest.NetNS(w.t), filepath.Join(w.dir, name)
	w.must(os.WriteFile(file, nil, 0o600))
	w.must(unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()), file, "", unix.MS_BIND, ""))
	w.t.Cleanup(func() { _ = unix.Unmount(file, unix.MNT_DETACH) })
	pod, err := netdev.OpenNamespace(ovstest.Copy(w.t, ns))
	w.must(err)
	w.t.Cleanup(pod.Close)
	return pod
}

func (w *trunk) steps(container string, tag int) []plug.Step {
	w.t.Helper()
	steps, err := plug.Steps(plug.Port{
		Container: container, Link: "eth0", Pod: "net2/a", UID: "uid-1", Parent: trunkMAC, Tag: tag,
		MAC: "00:00:00:0c:00:02", MTU: 1400, Addrs: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("12.0.%d.2/24", tag))},
		Gateways: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("12.0.%d.1", tag))},
	}, plug.Node{Mode: plug.VLAN, Trunk: w.nic, TrunkMTU: 1442})
	w.must(err)
	return steps
}

func (w *trunk) left() string {
	w.t.Helper()
	links, err := w.machine.Links()
	w.must(err)
	var all []string
	for _, l := range links {
		all = append(all, l.Name)
	}
	return strings.Join(all, " ")
}

func vlans(t *testing.T, pod *netdev.Namespace) (tags []int) {
	t.Helper()
	links, err := pod.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if v, is := l.(*netlink.Vlan); is {
			tags = append(tags, v.VlanId)
		}
	}
	return tags
}

// reaches expects that the pod talks to what is behind the trunk's VLAN, and by its own name.
func (w *trunk) reaches(pod *os.File, tag int) {
	w.t.Helper()
	var l net.Listener
	w.must(ovstest.Inside(w.out, func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf("12.0.%d.1:80", tag))
		return err
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	}()
	defer func() { l.Close(); <-done }()
	var seen []byte
	w.must(ovstest.Inside(pod, func() error {
		c, err := net.DialTimeout("tcp4", l.Addr().String(), 20*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		seen, err = io.ReadAll(c)
		return err
	}))
	if want := fmt.Sprintf("12.0.%d.2", tag); string(seen) != want {
		w.t.Errorf("seen as %s, not %s", seen, want)
	}
}

func (w *trunk) file(name string) *os.File {
	w.t.Helper()
	f, err := os.Open(filepath.Join(w.dir, name))
	w.must(err)
	w.t.Cleanup(func() { f.Close() })
	return f
}

// The node's interface is called as the pod's is to be, or otherwise.
func TestVLANPlugTwiceCheckUnplugTwice(t *testing.T) {
	for _, nic := range []string{"eth0", "ens3"} {
		t.Run(nic, func(t *testing.T) {
			w := newTrunk(t, nic)
			pod, plan := w.pod("a"), w.steps("c1", 101)
			for range 2 {
				w.must(w.machine.Do(t.Context(), pod, plan))
			}
			w.must(w.machine.Check(pod, plan))
			w.reaches(w.file("a"), 101)
			for _, known := range []*netdev.Namespace{pod, nil} {
				w.must(w.machine.Do(t.Context(), pod, plan))
				for range 2 {
					w.must(w.machine.Undo(t.Context(), known, plug.Remains(plug.VLAN, "c1", "eth0")))
				}
				if left, tags := w.left(), vlans(t, pod); left != "" || len(tags) > 0 {
					t.Errorf("left: %s, VLANs %v", left, tags)
				}
			}
		})
	}
}

func TestVLANCheckAfterTampering(t *testing.T) {
	w := newTrunk(t, "ens3")
	pod, plan := w.pod("a"), w.steps("c1", 101)
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

// A VLAN that somebody else has is not ours to take, and the failure leaves nothing.
func TestVLANThatOthersHave(t *testing.T) {
	w := newTrunk(t, "ens3")
	pod := w.pod("a")
	_, err := w.addVLAN(w.node, "ens3", "mine", 103)
	w.must(err)
	if err := w.machine.Do(t.Context(), pod, w.steps("c1", 103)); err == nil || !strings.Contains(err.Error(), "the node's own interface mine has VLAN 103") {
		t.Errorf("got %v", err)
	}
	l, err := w.addVLAN(w.node, "ens3", "theirs", 104)
	w.must(err)
	w.must(w.handle(w.node).LinkSetNsFd(l, int(ovstest.NetNS(t).Fd())))
	if err := w.machine.Do(t.Context(), pod, w.steps("c1", 104)); !errors.Is(err, netdev.ErrVLANTaken) {
		t.Errorf("got %v", err)
	}
	if left, tags := w.left(), vlans(t, pod); left != "" || len(tags) > 0 {
		t.Errorf("left: %s, VLANs %v", left, tags)
	}
}

func TestVLANForeignLinkInPodIsKept(t *testing.T) {
	w := newTrunk(t, "ens3")
	pod := w.pod("a")
	w.must(pod.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "other"}))
	if err := w.machine.Do(t.Context(), pod, w.steps("c1", 101)); err == nil || !strings.Contains(err.Error(), "not ours") {
		t.Errorf("got %v", err)
	}
	if _, err := pod.LinkByName("eth0"); err != nil {
		t.Error(err)
	}
}

// The claim says whose a VLAN is: an earlier sandbox loses it, and its late end
// does the new one no harm.
func TestVLANNewSandboxTakesOver(t *testing.T) {
	w, ctx := newTrunk(t, "ens3"), t.Context()
	old, fresh := w.pod("old"), w.pod("fresh")
	w.must(w.machine.Do(ctx, old, w.steps("old", 101)))
	w.must(w.machine.Do(ctx, fresh, w.steps("fresh", 101)))
	if tags := vlans(t, old); len(tags) > 0 {
		t.Errorf("the old sandbox has %v", tags)
	}
	w.must(w.machine.Undo(ctx, old, plug.Remains(plug.VLAN, "old", "eth0")))
	w.must(w.machine.Check(fresh, w.steps("fresh", 101)))
	w.reaches(w.file("fresh"), 101)
}

func TestVLANMoves(t *testing.T) {
	w := newTrunk(t, "ens3")
	_, err := w.addVLAN(w.out, "up0", "v102", 102)
	w.must(err)
	pod := w.pod("a")
	w.must(w.machine.Do(t.Context(), pod, w.steps("c1", 101)))
	links, err := w.machine.Links()
	w.must(err)
	w.must(w.machine.Retag(t.Context(), links[0], w.steps("c1", 102)))
	w.must(w.machine.Check(pod, w.steps("c1", 102)))
	w.reaches(w.file("a"), 102)
	if tags := vlans(t, pod); !slices.Equal(tags, []int{102}) {
		t.Errorf("the pod has VLANs %v", tags)
	}
	links, err = w.machine.Links()
	if err != nil || len(links) != 1 || links[0].Mark.Tag != 102 {
		t.Errorf("links %+v, %v", links, err)
	}
	w.must(unix.Unmount(filepath.Join(w.dir, "a"), unix.MNT_DETACH))
	if err := w.machine.Retag(t.Context(), links[0], w.steps("c1", 101)); err == nil || !strings.Contains(err.Error(), w.dir) {
		t.Errorf("got %v", err)
	}
}

// A pod's namespace that ends without a word gives its VLAN back.
func TestVLANGoesWithItsPod(t *testing.T) {
	w := newTrunk(t, "ens3")
	_, err := w.addVLAN(w.out, "up0", "v102", 102)
	w.must(err)
	pod := w.pod("a")
	w.must(w.machine.Do(t.Context(), pod, w.steps("c1", 102)))
	w.must(unix.Unmount(filepath.Join(w.dir, "a"), unix.MNT_DETACH))
	w.must(w.machine.Undo(t.Context(), nil, plug.Remains(plug.VLAN, "c1", "eth0")))
	if left := w.left(); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestVLANInterfaceByMAC(t *testing.T) {
	w := newTrunk(t, "eth0")
	_, err := w.addVLAN(w.node, "eth0", "eth0.7", 7)
	w.must(err)
	want := netdev.NIC{Name: "eth0", MTU: 1442}
	if got, err := w.machine.NIC(strings.ToUpper(trunkMAC)); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	h := w.handle(w.node)
	l, err := h.LinkByName("eth0")
	w.must(err)
	w.must(h.LinkSetDown(l))
	w.must(h.LinkSetName(l, "ens9"))
	if got, err := w.machine.NIC(trunkMAC); err != nil || got.Name != "ens9" {
		t.Errorf("renamed: %+v, %v", got, err)
	}
	err = w.machine.Do(t.Context(), w.pod("a"), func() []plug.Step { w.nic = "ens9"; return w.steps("c1", 101) }())
	if err == nil || !strings.Contains(err.Error(), "trunk interface ens9 is down") {
		t.Errorf("down: %v", err)
	}
	if _, err := w.machine.NIC("fa:16:3e:00:00:02"); err == nil || !strings.Contains(err.Error(), "fa:16:3e:00:00:02") {
		t.Errorf("got %v", err)
	}
	w.must(h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "twin", HardwareAddr: l.Attrs().HardwareAddr}, PeerName: "x"}))
	if _, err := w.machine.NIC(trunkMAC); err == nil || !strings.Contains(err.Error(), "--trunk-interface") {
		t.Errorf("got %v", err)
	}
}
