package netdev

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/isthmus-cni/isthmus/internal/plug"
)

// ErrVLANTaken is returned while a VLAN is somebody's whom we cannot see.
var ErrVLANTaken = errors.New("the VLAN is in use in a network namespace that is none of our pods', or that is just ending")

// NIC is an interface of the node that can bear VLANs.
type NIC struct {
	Name string
	MTU  int
}

// NICNamed is the node's interface of that name.
func (m *Machine) NICNamed(name string) (NIC, error) {
	link, err := m.node.LinkByName(name)
	if err != nil {
		return NIC{}, fmt.Errorf("the node's interface %s: %w", name, err)
	}
	return nicOf(link), nil
}

// NIC is the node's interface with that MAC, whatever it is called now.
func (m *Machine) NIC(mac string) (NIC, error) {
	links, err := m.node.LinkList()
	if err != nil {
		return NIC{}, fmt.Errorf("list the node's links: %w", err)
	}
	var found []NIC
	for _, l := range links {
		if strings.EqualFold(l.Attrs().HardwareAddr.String(), mac) && !borrows(l) {
			found = append(found, nicOf(l))
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return NIC{}, fmt.Errorf("no interface of the node has the MAC address %s of its trunk port", mac)
	}
	return NIC{}, fmt.Errorf("both %s and %s have the MAC address %s of the trunk port: say which with --trunk-interface", found[0].Name, found[1].Name, mac)
}

// MACs are those of the node's interfaces that come with the machine, sorted: what
// is made for pods would change them all the time.
func (m *Machine) MACs() ([]string, error) {
	links, err := m.node.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the node's links: %w", err)
	}
	return macsOf(links), nil
}

func macsOf(links []netlink.Link) []string {
	var macs []string
	for _, l := range links {
		a := l.Attrs()
		if len(a.HardwareAddr) == 6 && a.Flags&net.FlagLoopback == 0 && !borrows(l) && l.Type() != "veth" {
			macs = append(macs, a.HardwareAddr.String())
		}
	}
	slices.Sort(macs)
	return slices.Compact(macs)
}

func nicOf(l netlink.Link) NIC { return NIC{Name: l.Attrs().Name, MTU: l.Attrs().MTU} }

// borrows is true for what stands on another interface and has its MAC from there.
func borrows(l netlink.Link) bool {
	switch l.Type() {
	case "vlan", "macvlan", "macvtap", "ipvlan", "bridge":
		return true
	}
	return false
}

// addVLAN makes the link straight inside the pod's namespace, as addVeth does.
func (m *Machine) addVLAN(pod *Namespace, s plug.VLANLink) (made bool, err error) {
	if m.checkVLAN(pod, s) == nil {
		return false, nil
	}
	trunk, err := m.node.LinkByName(s.Trunk)
	if err != nil {
		return false, fmt.Errorf("the node's interface %s: %w", s.Trunk, err)
	}
	if trunk.Attrs().Flags&net.FlagUp == 0 {
		return false, fmt.Errorf("the node's trunk interface %s is down", s.Trunk)
	}
	if err := makeWay(pod, s.Link); err != nil {
		return false, err
	}
	err = m.makeVLAN(pod, s, trunk)
	if errors.Is(err, unix.EEXIST) {
		if err := m.evict(trunk, s.Tag); err != nil {
			return false, err
		}
		err = m.makeVLAN(pod, s, trunk)
	}
	return err == nil, err
}

// makeWay removes a link of ours that is not as it should be.
func makeWay(pod *Namespace, name string) error {
	old, err := pod.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, ours := plug.ParseAlias(old.Attrs().Alias); !ours {
		return fmt.Errorf("the pod has an interface %s already, which is not ours", name)
	}
	return pod.LinkDel(old)
}

// makeVLAN leaves nothing if it fails. The kernel (before 6.15) wants the new
// name to be free on the node, too, though the link is never there.
func (m *Machine) makeVLAN(pod *Namespace, s plug.VLANLink, trunk netlink.Link) (err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.ParentIndex, attrs.Namespace = s.Link, s.MTU, trunk.Attrs().Index, netlink.NsFd(pod.fd())
	if has(m.node, s.Link) {
		attrs.Name = "v" + s.Host[1:]
	}
	if attrs.HardwareAddr, err = net.ParseMAC(string(s.MAC)); err != nil {
		return err
	}
	// Loosely bound it stays up when the trunk goes down, and so keeps the pod's
	// routes and IPv6 addresses: nobody in there would put them back.
	loose := true
	vlan := &netlink.Vlan{LinkAttrs: attrs, VlanId: s.Tag, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q, LooseBinding: &loose}
	if err := m.node.LinkAdd(vlan); err != nil {
		return unsupported(err)
	}
	link, err := pod.LinkByName(attrs.Name)
	if err != nil {
		return err
	}
	if err := finishVLAN(pod, s, link); err != nil {
		return errors.Join(err, pod.LinkDel(link))
	}
	return nil
}

func unsupported(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("the node's kernel makes no VLAN links, is there a module 8021q? %w", err)
	}
	return err
}

func finishVLAN(pod *Namespace, s plug.VLANLink, link netlink.Link) error {
	if err := pod.LinkSetAlias(link, s.Alias); err != nil {
		return fmt.Errorf("name it ours: %w", err)
	}
	if link.Attrs().Name != s.Link {
		if err := pod.LinkSetName(link, s.Link); err != nil {
			return fmt.Errorf("call it %s: %w", s.Link, err)
		}
	}
	return pod.LinkSetUp(link)
}

// evict takes a VLAN from the pod of ours that has it. What is not ours keeps it.
func (m *Machine) evict(trunk netlink.Link, tag int) error {
	own, err := vlansOf(m.node)
	if err != nil {
		return err
	}
	for _, v := range own {
		if v.ParentIndex == trunk.Attrs().Index && v.VlanId == tag {
			return fmt.Errorf("the node's own interface %s has VLAN %d of %s, which is the pod's: remove it", v.Name, tag, trunk.Attrs().Name)
		}
	}
	gone := false
	err = m.each(func(pod *Namespace) (_ bool, err error) {
		gone, err = drop(pod, func(v *netlink.Vlan, _ plug.Mark) bool { return v.VlanId == tag && m.on(trunk, pod, v) })
		return gone, err
	})
	if err == nil && !gone {
		err = fmt.Errorf("VLAN %d of %s: %w", tag, trunk.Attrs().Name, ErrVLANTaken)
	}
	return err
}

// on tells whether a pod's VLAN link is on that interface of the node's.
func (m *Machine) on(trunk netlink.Link, pod *Namespace, v *netlink.Vlan) bool {
	node, err := pod.GetNetNsIdByFd(m.node.fd())
	return err == nil && v.NetNsID >= 0 && v.NetNsID == node && v.ParentIndex == trunk.Attrs().Index
}

// vlansOf lists what a namespace has.
func vlansOf(n *Namespace) ([]*netlink.Vlan, error) {
	links, err := n.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var all []*netlink.Vlan
	for _, l := range links {
		if v, is := l.(*netlink.Vlan); is {
			all = append(all, v)
		}
	}
	return all, nil
}

// drop deletes VLAN links of ours that match.
func drop(pod *Namespace, match func(*netlink.Vlan, plug.Mark) bool) (found bool, err error) {
	all, err := vlansOf(pod)
	if err != nil {
		return false, err
	}
	for _, v := range all {
		mark, ours := plug.ParseAlias(v.Alias)
		if !ours || !match(v, mark) {
			continue
		}
		if err := pod.LinkDel(v); err != nil && !errors.Is(err, unix.ENODEV) {
			return found, fmt.Errorf("delete VLAN link %s: %w", v.Name, err)
		}
		found = true
	}
	return found, nil
}

// delVLAN looks for a pod that it does not know behind the host link. Where that leads
// nowhere any more, the VLAN went with the pod's namespace.
func (m *Machine) delVLAN(pod *Namespace, s plug.VLANLink) error {
	ours := func(_ *netlink.Vlan, mark plug.Mark) bool {
		return plug.HostLinkName(mark.Container, mark.Link) == s.Host
	}
	if pod != nil {
		_, err := drop(pod, ours)
		return err
	}
	host, err := m.node.LinkByName(s.Host)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find link %s: %w", s.Host, err)
	}
	_, err = m.behind(host.Attrs().NetNsID, func(pod *Namespace) error {
		_, err := drop(pod, ours)
		return err
	})
	return err
}

func (m *Machine) checkVLAN(pod *Namespace, s plug.VLANLink) error {
	trunk, err := m.node.LinkByName(s.Trunk)
	if err != nil {
		return fmt.Errorf("on the node: %w", err)
	}
	link, err := pod.LinkByName(s.Link)
	if err != nil {
		return fmt.Errorf("in the pod: %w", err)
	}
	v, is := link.(*netlink.Vlan)
	if !is {
		return fmt.Errorf("%s is no VLAN link", s.Link)
	}
	switch {
	case !m.on(trunk, pod, v):
		return fmt.Errorf("%s is on another interface", s.Link)
	case v.VlanId != s.Tag:
		return fmt.Errorf("%s is VLAN %d", s.Link, v.VlanId)
	case v.HardwareAddr.String() != string(s.MAC):
		return fmt.Errorf("%s has the MAC address %s", s.Link, v.HardwareAddr)
	case s.MTU != 0 && v.MTU != s.MTU:
		return fmt.Errorf("%s has an MTU of %d", s.Link, v.MTU)
	case v.Flags&net.FlagUp == 0:
		return errors.New("it is down")
	}
	return nil
}
