// Package trunktest gives a test a node with a trunk port: a network namespace with
// an interface. The interface's other end, in a second namespace, stands for the
// network behind the port. The package needs a kernel with 8021q. If this machine's
// kernel has none, internal/lab/guest runs the tests in a virtual machine.
package trunktest

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/isthmus-cni/isthmus/internal/netdev/ovstest"
)

// MAC and MTU of the node's interface.
const (
	MAC = "fa:16:3e:00:00:01"
	MTU = 1442
)

// Trunk is a node with a trunk port.
type Trunk struct {
	// NIC is the node's interface, Far the other end's.
	NIC, Far string
	// Node and Out are the namespaces of the node and of the network behind the port.
	Node, Out *os.File
	// Pods is the directory of the pods' namespaces.
	Pods string

	t *testing.T
}

// New makes a node whose interface has that name, with VLANs 101 and 102 behind the
// trunk, as AddVLAN makes them. It fails if the kernel has no 8021q: tests that need
// it have the build tag vlan, and internal/lab/guest runs them in a kernel with it.
func New(t *testing.T, nic string) *Trunk {
	t.Helper()
	w := &Trunk{NIC: nic, Far: "up0", Node: ovstest.NetNS(t), Out: ovstest.NetNS(t), Pods: t.TempDir(), t: t}
	mac, err := net.ParseMAC(MAC)
	w.must(err)
	w.must(w.Handle(w.Node).LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: nic, MTU: MTU, HardwareAddr: mac}, PeerName: w.Far, PeerNamespace: netlink.NsFd(w.Out.Fd()),
	}))
	w.address(w.up(w.Node, nic))
	w.up(w.Out, w.Far)
	for _, tag := range []int{101, 102} {
		if _, err := w.AddVLAN(w.Out, w.Far, fmt.Sprintf("v%d", tag), tag); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// address gives the node an address in its parent port's network, and a default
// route.
func (w *Trunk) address(l netlink.Link) {
	w.t.Helper()
	h := w.Handle(w.Node)
	addr, err := netlink.ParseAddr("192.168.1.10/24")
	w.must(err)
	w.must(h.AddrAdd(l, addr))
	w.must(h.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.IPv4(192, 168, 1, 1)}))
}

func (w *Trunk) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Handle returns a netlink handle of the namespace, open until the test ends.
func (w *Trunk) Handle(ns *os.File) *netlink.Handle {
	w.t.Helper()
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	w.must(err)
	w.t.Cleanup(h.Close)
	return h
}

func (w *Trunk) up(ns *os.File, name string) netlink.Link {
	w.t.Helper()
	h := w.Handle(ns)
	l, err := h.LinkByName(name)
	w.must(err)
	w.must(h.LinkSetUp(l))
	return l
}

// AddVLAN makes a VLAN link on parent with the address 12.0.<tag>.1/24.
func (w *Trunk) AddVLAN(ns *os.File, parent, name string, tag int) (netlink.Link, error) {
	w.t.Helper()
	h := w.Handle(ns)
	l, err := h.LinkByName(parent)
	w.must(err)
	err = h.LinkAdd(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: name, ParentIndex: l.Attrs().Index}, VlanId: tag, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q})
	if err != nil {
		return nil, err
	}
	addr, err := netlink.ParseAddr(fmt.Sprintf("12.0.%d.1/24", tag))
	w.must(err)
	made := w.up(ns, name)
	return made, h.AddrAdd(made, addr)
}

// Pod makes a pod's namespace as the container runtime does, with a file of that name
// in Pods.
func (w *Trunk) Pod(name string) *os.File {
	w.t.Helper()
	ns, file := ovstest.NetNS(w.t), filepath.Join(w.Pods, name)
	w.must(os.WriteFile(file, nil, 0o600))
	w.must(unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()), file, "", unix.MS_BIND, ""))
	w.t.Cleanup(func() { _ = unix.Unmount(file, unix.MNT_DETACH) })
	return ns
}

// Forget unmounts the file of a pod's namespace, as the container runtime does.
func (w *Trunk) Forget(name string) {
	w.t.Helper()
	w.must(unix.Unmount(filepath.Join(w.Pods, name), unix.MNT_DETACH))
}

// VLANs returns the VLAN ids of the VLAN links in a namespace.
func (w *Trunk) VLANs(ns *os.File) (tags []int) {
	w.t.Helper()
	links, err := w.Handle(ns).LinkList()
	w.must(err)
	for _, l := range links {
		if v, is := l.(*netlink.Vlan); is {
			tags = append(tags, v.VlanId)
		}
	}
	return tags
}

// Reaches fails the test unless a pod connects to 12.0.<tag>.1, which is behind the
// trunk, from address 12.0.<tag>.2.
func (w *Trunk) Reaches(pod *os.File, tag int) {
	w.t.Helper()
	w.Answers(w.Out, pod, fmt.Sprintf("12.0.%d.1:80", tag), fmt.Sprintf("12.0.%d.2", tag))
}

// Answers fails the test unless client connects to address in server, and server sees
// it under address as.
func (w *Trunk) Answers(server, client *os.File, address, as string) {
	w.t.Helper()
	var l net.Listener
	w.must(ovstest.Inside(server, func() (err error) {
		l, err = net.Listen("tcp4", address)
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
	w.must(ovstest.Inside(client, func() (err error) {
		seen, err = readFrom(address)
		return err
	}))
	if string(seen) != as {
		w.t.Errorf("seen as %s, not %s", seen, as)
	}
}

func readFrom(address string) ([]byte, error) {
	c, err := net.DialTimeout("tcp4", address, 20*time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return io.ReadAll(c)
}
