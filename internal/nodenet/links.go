package nodenet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go4.org/netipx"

	"github.com/isthmus-cni/isthmus/internal/offload"
)

// linkTimeout is the time that ovs-vswitchd may take to make ovn0.
const linkTimeout = 10 * time.Second

// hostLinks sets up the node's ends of the host links, and routes probes to them.
func (n *Network) hostLinks(k kernel, p plan, h kernelState) error {
	errs := []error{k.ensureRule()}
	var wanted []route
	for _, path := range p.paths {
		if err := n.hostLink(k, path.link, h.links[path.link]); err != nil {
			errs = append(errs, fmt.Errorf("host link %s: %w", path.link, err))
			continue
		}
		wanted = append(wanted, path.route())
	}
	return errors.Join(append(errs, k.setRoutes(diffRoutes(wanted, h.ours(probeTable))))...)
}

func (n *Network) hostLink(k kernel, name string, l link) error {
	// Answers come from an address that the main table routes elsewhere, so strict
	// reverse-path filtering would drop them. 2 is loose; the kernel uses the greater
	// of this value and that of "all".
	if err := n.sysctl("net/ipv4/conf/"+name+"/rp_filter", "2"); err != nil {
		return err
	}
	if l.up && slices.Contains(l.addrs, LinkAddr) {
		return nil
	}
	dev, err := k.LinkByName(name)
	if err != nil {
		return err
	}
	if err := k.AddrReplace(dev, linkAddr()); err != nil {
		return fmt.Errorf("address %s: %w", LinkAddr, err)
	}
	return k.LinkSetUp(dev)
}

func linkAddr() *netlink.Addr {
	return &netlink.Addr{IPNet: netipx.AddrIPNet(LinkAddr), Scope: int(netlink.SCOPE_LINK)}
}

func (n *Network) dropLinkAddrs(k kernel, h kernelState) error {
	names, err := n.firewallLinks()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if !slices.Contains(h.links[name].addrs, LinkAddr) {
			continue
		}
		dev, err := k.LinkByName(name)
		if err != nil {
			continue // the link is gone, and its address with it
		}
		if err := k.AddrDel(dev, linkAddr()); err != nil {
			errs = append(errs, fmt.Errorf("host link %s: remove %s: %w", name, LinkAddr, err))
		}
	}
	return errors.Join(errs...)
}

// nodeLink plugs ovn0, sets it up, and then adds the routes through it. The kernel
// accepts the gateway as next hop only after ovn0 has its address.
func (n *Network) nodeLink(ctx context.Context, k kernel, want Interface, p plan) error {
	if want.IfaceID == "" {
		return nil
	}
	if err := n.o.Plug(ctx, NodeLink, want.IfaceID, want.MAC); err != nil {
		return fmt.Errorf("plug %s as %s: %w", NodeLink, want.IfaceID, err)
	}
	dev, err := n.awaitLink(ctx, k)
	if err != nil {
		return err
	}
	if err := errors.Join(k.setHardware(dev, want), k.setAddrs(dev, want.Addrs), n.setOffload(dev), n.setForwarding(want)); err != nil {
		return fmt.Errorf("set up %s: %w", NodeLink, err)
	}
	// Read again, because routes may have gone with an earlier ovn0.
	have, err := k.read()
	if err != nil {
		return err
	}
	return k.setRoutes(diffRoutes(p.routes, have.ours(mainTable)))
}

// awaitLink returns ovn0 as soon as the kernel has it. It returns an error after
// linkTimeout.
func (n *Network) awaitLink(ctx context.Context, k kernel) (netlink.Link, error) {
	if l, err := k.LinkByName(NodeLink); err == nil {
		return l, nil
	}
	ctx, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	w := newWatch(n.o.NetNS)
	defer w.stop()
	if err := w.links(); err != nil {
		return nil, fmt.Errorf("watch for %s: %w", NodeLink, err)
	}
	for {
		// Look before the first event, too, because ovn0 may be older than the watch.
		if l, err := k.LinkByName(NodeLink); err == nil {
			return l, nil
		}
		select {
		case <-w.changed.C():
		case <-w.lost.C():
			return nil, fmt.Errorf("watch for %s: %w", NodeLink, errEventsLost)
		case <-ctx.Done():
			return nil, fmt.Errorf("%s did not appear, is ovs-vswitchd running? %w", NodeLink, ctx.Err())
		}
	}
}

func (k kernel) setHardware(dev netlink.Link, want Interface) error {
	mac, err := net.ParseMAC(want.MAC)
	if err != nil {
		return err
	}
	a := dev.Attrs()
	if !slices.Equal(a.HardwareAddr, mac) {
		err = errors.Join(err, k.LinkSetHardwareAddr(dev, mac))
	}
	if want.MTU > 0 && a.MTU != want.MTU {
		err = errors.Join(err, k.LinkSetMTU(dev, want.MTU))
	}
	if a.Flags&net.FlagUp == 0 {
		k.log.Info("node port set up", "port", a.Name, "addrs", want.Addrs)
		err = errors.Join(err, k.LinkSetUp(dev))
	}
	return err
}

// setAddrs makes want the link's addresses. It removes those of an earlier claim,
// but not IPv6 link-local addresses, which are the kernel's.
func (k kernel) setAddrs(dev netlink.Link, want []netip.Prefix) error {
	list, err := repeatDump(func() ([]netlink.Addr, error) { return k.AddrList(dev, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	var errs []error
	var have []netip.Prefix
	for _, a := range list {
		p, _ := netipx.FromStdIPNet(&net.IPNet{IP: a.IP, Mask: a.Mask})
		p = netip.PrefixFrom(addrOf(a.IP), p.Bits())
		have = append(have, p)
		if !slices.Contains(want, p) && !p.Addr().IsLinkLocalUnicast() {
			errs = append(errs, k.AddrDel(dev, &a))
		}
	}
	for _, p := range want {
		if !slices.Contains(have, p) {
			errs = append(errs, k.AddrAdd(dev, &netlink.Addr{IPNet: netipx.PrefixIPNet(p)}))
		}
	}
	return errors.Join(errs...)
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// setOffload turns checksum offload off if ovn0 is a tap. The userspace datapath makes
// a tap, and it forwards packets with incomplete checksums as they are.
func (n *Network) setOffload(dev netlink.Link) error {
	if _, tap := dev.(*netlink.Tuntap); !tap {
		return nil
	}
	return n.inNamespace(func() error { return offload.TxChecksumOff(dev.Attrs().Name) })
}

// setForwarding turns forwarding on for the whole node, because pods' packets use any
// interface that the node's routes name.
func (n *Network) setForwarding(want Interface) error {
	if err := n.sysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	for _, p := range want.Addrs {
		if p.Addr().Is6() {
			return n.sysctl("net/ipv6/conf/all/forwarding", "1")
		}
	}
	return nil
}

// sysctl writes a setting unless it has that value already.
func (n *Network) sysctl(key, value string) error {
	return n.inNamespace(func() error {
		file := "/proc/sys/" + key
		if old, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(old)) == value {
			return nil
		}
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set %s to %s: %w", key, value, err)
		}
		n.o.Log.Info("kernel setting changed", "key", key, "value", value)
		return nil
	})
}

// inNamespace runs do in our network namespace and returns do's error. do must start
// no goroutines.
func (n *Network) inNamespace(do func() error) error {
	if n.o.NetNS == nil {
		return do()
	}
	result := make(chan error, 1)
	go func() {
		// The thread is never unlocked, so that it ends with the goroutine and no other
		// goroutine runs in the wrong namespace.
		runtime.LockOSThread()
		if err := netns.Set(*n.o.NetNS); err != nil {
			result <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		result <- do()
	}()
	return <-result
}
