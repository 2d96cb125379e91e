package netdev

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/isthmus-cni/isthmus/internal/offload"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// vethPairs makes the veth pairs between the node and its pods.
type vethPairs struct{ node *Namespace }

// add makes the pair with the pod's end directly inside the pod's namespace:
// moving a link there later costs an RCU grace period of the kernel. made is
// false if the pair exists and is as it should be.
func (p vethPairs) add(pod *Namespace, s plug.Veth) (made bool, err error) {
	switch err := p.check(pod, s); {
	case err == nil:
		return false, p.setMark(s)
	case has(pod, s.Link) && !has(p.node, s.Host):
		return false, fmt.Errorf("the pod has an interface %s already, which is not ours", s.Link)
	}
	// An earlier attempt may have left an incomplete pair, so make it again.
	if err := removeLink(p.node, s.Host); err != nil {
		return false, err
	}
	if err := pod.LinkAdd(p.veth(s)); err != nil {
		return false, err
	}
	host, err := p.node.LinkByName(s.Host)
	if err != nil {
		return true, err
	}
	if err := p.node.LinkSetAlias(host, s.Alias); err != nil {
		return true, fmt.Errorf("set the alias of %s: %w", s.Host, err)
	}
	if err := disableIPv6Autoconf(p.node, host); err != nil {
		return true, err
	}
	return true, p.up(pod, s, host)
}

// setMark writes the mark into the alias if the alias differs. The old mark may be of
// an earlier release, or name an earlier VLAN of the pod.
func (p vethPairs) setMark(s plug.Veth) error {
	host, err := p.node.LinkByName(s.Host)
	if err != nil || host.Attrs().Alias == s.Alias {
		return err
	}
	return p.node.LinkSetAlias(host, s.Alias)
}

// veth returns the pair as netlink wants it.
func (p vethPairs) veth(s plug.Veth) *netlink.Veth {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = s.Link, s.MTU
	if mac, err := net.ParseMAC(string(s.MAC)); err == nil {
		attrs.HardwareAddr = mac
	}
	v := netlink.NewVeth(attrs)
	v.PeerName, v.PeerNamespace = s.Host, netlink.NsFd(p.node.fd())
	return v
}

// disableIPv6Autoconf prevents the kernel from giving the link an IPv6 address. The
// node's end of a pair needs none: it only carries the pod's packets.
func disableIPv6Autoconf(n *Namespace, link netlink.Link) error {
	err := n.LinkSetIP6AddrGenMode(link, addrGenModeNone)
	if err == nil || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return fmt.Errorf("turn off IPv6 autoconfiguration of %s: %w", link.Attrs().Name, err)
}

// addrGenModeNone is IN6_ADDR_GEN_MODE_NONE.
const addrGenModeNone = 1

// up sets both ends of the pair up.
func (p vethPairs) up(pod *Namespace, s plug.Veth, host netlink.Link) error {
	link, err := pod.LinkByName(s.Link)
	if err != nil {
		return err
	}
	if s.Link == plug.HostLink {
		if err := disableIPv6Autoconf(pod, link); err != nil {
			return err
		}
	}
	if err := pod.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", s.Link, err)
	}
	// With the userspace datapath, the node's kernel also receives the pod's packets.
	// It must not answer ARP requests for the node's addresses.
	if s.Link != plug.HostLink {
		if err := p.node.LinkSetARPOff(host); err != nil {
			return fmt.Errorf("turn off ARP of %s: %w", s.Host, err)
		}
	}
	if err := p.node.LinkSetUp(host); err != nil {
		return fmt.Errorf("set %s up: %w", s.Host, err)
	}
	return nil
}

func has(n *Namespace, name string) bool {
	_, err := n.LinkByName(name)
	return err == nil
}

// check returns an error if the pair is missing or differs from s.
func (p vethPairs) check(pod *Namespace, s plug.Veth) error {
	link, err := pod.LinkByName(s.Link)
	if err != nil {
		return fmt.Errorf("in the pod: %w", err)
	}
	host, err := p.node.LinkByName(s.Host)
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

// removeLink deletes a link. A missing link is no error.
func removeLink(n *Namespace, name string) error {
	link, err := n.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	// The pod's namespace, and the pair in it, may end at the same moment.
	if err := n.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("delete link %s: %w", name, err)
	}
	return nil
}

// checksumOff makes both ends of the pair send packets with complete checksums.
func (p vethPairs) checksumOff(pod *Namespace, s plug.ChecksumOff) error {
	if err := p.node.do(func() error { return offload.TxChecksumOff(s.Host) }); err != nil {
		return err
	}
	return pod.do(func() error { return offload.TxChecksumOff(s.Link) })
}
