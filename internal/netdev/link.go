package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/isthmus-cni/isthmus/internal/offload"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// addVeth makes the pair straight inside the pod's namespace: moving a link
// there costs a grace period of the kernel's.
func (m *Machine) addVeth(pod *Namespace, s plug.Veth) (made bool, err error) {
	switch err := m.checkVeth(pod, s); {
	case err == nil:
		return false, m.remark(s)
	case has(pod, s.Link) && !has(m.node, s.Host):
		return false, fmt.Errorf("the pod has an interface %s already, which is not ours", s.Link)
	}
	// What is left of an earlier attempt is not worth mending.
	if err := m.delLink(s.Host); err != nil {
		return false, err
	}
	if err := pod.LinkAdd(m.veth(s)); err != nil {
		return false, err
	}
	host, err := m.node.LinkByName(s.Host)
	if err != nil {
		return true, err
	}
	if err := m.node.LinkSetAlias(host, s.Alias); err != nil {
		return true, fmt.Errorf("name it ours: %w", err)
	}
	if err := quiet(m.node, host); err != nil {
		return true, err
	}
	return true, m.up(pod, s, host)
}

// remark has the mark say what it says today; it costs nothing if it does.
func (m *Machine) remark(s plug.Veth) error {
	host, err := m.node.LinkByName(s.Host)
	if err != nil || host.Attrs().Alias == s.Alias {
		return err
	}
	return m.node.LinkSetAlias(host, s.Alias)
}

func (m *Machine) veth(s plug.Veth) *netlink.Veth {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = s.Link, s.MTU
	if mac, err := net.ParseMAC(string(s.MAC)); err == nil {
		attrs.HardwareAddr = mac
	}
	v := netlink.NewVeth(attrs)
	v.PeerName, v.PeerNamespace = s.Host, netlink.NsFd(m.node.fd())
	return v
}

// quiet keeps the kernel from giving the link an IPv6 address of its own:
// the switch's side of a cable has nothing to say.
func quiet(n *Namespace, link netlink.Link) error {
	err := n.LinkSetIP6AddrGenMode(link, nl6None)
	if err == nil || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return fmt.Errorf("turn off IPv6 autoconfiguration of %s: %w", link.Attrs().Name, err)
}

// nl6None is IN6_ADDR_GEN_MODE_NONE.
const nl6None = 1

func (m *Machine) up(pod *Namespace, s plug.Veth, host netlink.Link) error {
	link, err := pod.LinkByName(s.Link)
	if err != nil {
		return err
	}
	if s.Link == plug.HostLink {
		if err := quiet(pod, link); err != nil {
			return err
		}
	}
	if err := pod.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", s.Link, err)
	}
	// With the userspace datapath the node's kernel sees what the pod sends, too:
	// it must not answer for the node's addresses in the switch's place.
	if s.Link != plug.HostLink {
		if err := m.node.LinkSetARPOff(host); err != nil {
			return fmt.Errorf("turn off ARP of %s: %w", s.Host, err)
		}
	}
	if err := m.node.LinkSetUp(host); err != nil {
		return fmt.Errorf("set %s up: %w", s.Host, err)
	}
	return nil
}

func has(n *Namespace, name string) bool {
	_, err := n.LinkByName(name)
	return err == nil
}

func (m *Machine) checkVeth(pod *Namespace, s plug.Veth) error {
	link, err := pod.LinkByName(s.Link)
	if err != nil {
		return fmt.Errorf("in the pod: %w", err)
	}
	host, err := m.node.LinkByName(s.Host)
	if err != nil {
		return fmt.Errorf("on the node: %w", err)
	}
	in, out := link.Attrs(), host.Attrs()
	switch {
	case in.ParentIndex != out.Index || out.ParentIndex != in.Index:
		return errors.New("the two are not one pair")
	case s.MAC != "" && in.HardwareAddr.String() != string(s.MAC):
		return fmt.Errorf("%s has the MAC address %s", s.Link, in.HardwareAddr)
	case s.MTU != 0 && in.MTU != s.MTU:
		return fmt.Errorf("%s has an MTU of %d", s.Link, in.MTU)
	case in.Flags&net.FlagUp == 0 || out.Flags&net.FlagUp == 0:
		return errors.New("it is down")
	}
	return nil
}

// MTU of the node's link that bears the address.
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

func (m *Machine) delLink(name string) error {
	link, err := m.node.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	// The pod's namespace may be ending, and take the pair along, right now.
	if err := m.node.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("delete link %s: %w", name, err)
	}
	return nil
}

func (m *Machine) checksumOff(pod *Namespace, s plug.ChecksumOff) error {
	if err := m.node.do(func() error { return offload.TxChecksumOff(s.Host) }); err != nil {
		return err
	}
	return pod.do(func() error { return offload.TxChecksumOff(s.Link) })
}

func family(a netip.Addr) int {
	if a.Is6() {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func addAddress(n *Namespace, name string, p netip.Prefix) error {
	link, err := n.LinkByName(name)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		// OVN lets nobody else have it, so nobody need be asked.
		addr.Flags = unix.IFA_F_NODAD
	}
	if p.IsSingleIP() && p.Addr().IsLinkLocalUnicast() {
		addr.Scope = unix.RT_SCOPE_LINK
	}
	return n.AddrReplace(link, addr)
}

func checkAddress(n *Namespace, name string, p netip.Prefix) error {
	link, err := n.LinkByName(name)
	if err != nil {
		return err
	}
	addrs, err := n.addrs(link, family(p.Addr()))
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	want := ipNet(p).String()
	for _, a := range addrs {
		if a.IPNet.String() == want {
			return nil
		}
	}
	return errors.New("it is not there")
}

// addrs asks again when the kernel's answer was torn by a change.
func (n *Namespace) addrs(link netlink.Link, family int) ([]netlink.Addr, error) {
	var addrs []netlink.Addr
	var err error
	for range 5 {
		if addrs, err = n.AddrList(link, family); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return addrs, err
		}
	}
	return addrs, err
}

func route(link netlink.Link, s plug.PodRoute) *netlink.Route {
	r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(s.To)}
	if s.Via.IsValid() {
		r.Gw = s.Via.AsSlice()
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	if s.OnLink {
		r.Flags = int(netlink.FLAG_ONLINK)
	}
	return r
}

func addRoute(pod *Namespace, s plug.PodRoute) error {
	link, err := pod.LinkByName(s.Link)
	if err != nil {
		return err
	}
	return pod.RouteReplace(route(link, s))
}

func checkRoute(pod *Namespace, s plug.PodRoute) error {
	link, err := pod.LinkByName(s.Link)
	if err != nil {
		return err
	}
	routes, err := pod.RouteList(link, family(s.To.Addr()))
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if sameRoute(r, s) {
			return nil
		}
	}
	return errors.New("it is not there")
}

func sameRoute(r netlink.Route, s plug.PodRoute) bool {
	to := s.To.Masked()
	zero := to.Bits() == 0
	if r.Dst == nil && !zero || r.Dst != nil && r.Dst.String() != ipNet(to).String() {
		return false
	}
	via, _ := netip.AddrFromSlice(r.Gw)
	return via.Unmap() == s.Via
}
