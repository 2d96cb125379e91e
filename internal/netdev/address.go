package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/isthmus-cni/isthmus/internal/plug"
)

func family(a netip.Addr) int {
	if a.Is6() {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// addAddress adds the address to a link unless the link has it.
func addAddress(n *Namespace, name string, p netip.Prefix) error {
	link, err := n.LinkByName(name)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		// OVN gives the address to this pod only, so duplicate address detection would
		// only cause a delay.
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

// addrs returns the addresses of a link, or of all links if link is nil. It repeats a
// dump that a change in the kernel has interrupted.
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

// route returns a route of a pod as netlink wants it.
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
