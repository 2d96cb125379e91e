package netdev

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// NIC is an interface of the node that VLAN links can be made on.
type NIC struct {
	Name string
	MTU  int
}

// NICNamed returns the node's interface of that name.
func (m *Machine) NICNamed(name string) (NIC, error) {
	link, err := m.node.LinkByName(name)
	if err != nil {
		return NIC{}, fmt.Errorf("the node's interface %s: %w", name, err)
	}
	return nicOf(link), nil
}

// NIC returns the node's interface with that MAC. It returns an error if there is
// none or more than one.
func (m *Machine) NIC(mac string) (NIC, error) {
	links, err := m.node.LinkList()
	if err != nil {
		return NIC{}, fmt.Errorf("list the node's links: %w", err)
	}
	var found []NIC
	for _, l := range links {
		if strings.EqualFold(l.Attrs().HardwareAddr.String(), mac) && !isDerived(l) {
			found = append(found, nicOf(l))
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return NIC{}, fmt.Errorf("no interface of the node has the MAC address %s of its trunk port", mac)
	}
	return NIC{}, fmt.Errorf("both %s and %s have the MAC address %s of the trunk port: choose one with --trunk-interface", found[0].Name, found[1].Name, mac)
}

// MACs returns the MACs of the node's own interfaces, sorted. It leaves out the
// interfaces of pods, because with them the result would change all the time.
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
		if len(a.HardwareAddr) == 6 && a.Flags&net.FlagLoopback == 0 && !isDerived(l) && l.Type() != "veth" {
			macs = append(macs, a.HardwareAddr.String())
		}
	}
	slices.Sort(macs)
	return slices.Compact(macs)
}

func nicOf(l netlink.Link) NIC { return NIC{Name: l.Attrs().Name, MTU: l.Attrs().MTU} }

// isDerived returns whether a link is on another link and has the MAC of that one.
func isDerived(l netlink.Link) bool {
	switch l.Type() {
	case "vlan", "macvlan", "macvtap", "ipvlan", "bridge":
		return true
	}
	return false
}

// MTU returns the MTU, in bytes, of the node's link that has the address. ok is false
// if no link has it.
func (m *Machine) MTU(a netip.Addr) (mtu int, ok bool) {
	addrs, err := m.node.addrs(nil, family(a))
	if err != nil {
		return 0, false
	}
	for _, have := range addrs {
		if found, _ := netip.AddrFromSlice(have.IP); found.Unmap() != a {
			continue
		}
		if link, err := m.node.LinkByIndex(have.LinkIndex); err == nil {
			return link.Attrs().MTU, true
		}
	}
	return 0, false
}
