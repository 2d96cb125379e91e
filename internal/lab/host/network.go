package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
)

// EnsureBridge creates the bridge of the lab's underlay, with the address at which nodes
// reach the control plane. It errs if another link has an address of the underlay.
func (s Site) EnsureBridge(ctx context.Context) error {
	bridge := s.Bridge()
	if err := s.checkUnderlay(); err != nil {
		return err
	}
	if !linkExists(bridge) {
		if _, err := Run(ctx, "ip", "link", "add", bridge, "type", "bridge", "forward_delay", "0"); err != nil {
			return err
		}
	}
	// without "tx off" the kernel leaves checksums to hardware, and a userspace datapath
	// would forward them incomplete
	return runAll(ctx,
		[]string{"ip", "addr", "replace", s.Gateway().String(), "dev", bridge},
		[]string{"ip", "link", "set", bridge, "up"},
		[]string{"ethtool", "-K", bridge, "tx", "off"},
	)
}

// checkUnderlay errs if another link has an address of the underlay.
func (s Site) checkUnderlay() error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, l := range links {
		addrs, err := l.Addrs()
		if err != nil {
			continue // the link is being removed
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && l.Name != s.Bridge() && p.Overlaps(s.Underlay) {
				return fmt.Errorf("%s has %s: choose another --underlay than %s", l.Name, p, s.Underlay)
			}
		}
	}
	return nil
}

// ensureVeth connects the node to the bridge with a veth pair.
func (n Node) ensureVeth(ctx context.Context) error {
	if !linkExists(n.Link()) {
		// created from inside the node, since ip takes the other end's namespace as a pid, not as a file
		add := n.Enter("ip", "link", "add", Nic, "address", n.MAC(), "type", "veth",
			"peer", "name", n.Link(), "netns", fmt.Sprint(os.Getpid()))
		if _, err := Run(ctx, add...); err != nil {
			return err
		}
	}
	return runAll(ctx,
		[]string{"ip", "link", "set", n.Link(), "master", n.Site.Bridge(), "up"},
		n.Enter("sh", "-c", ignoreNIC),
		n.Enter("ip", "link", "set", Nic, "up"),
		[]string{"ethtool", "-K", n.Link(), "tx", "off"},
		n.Enter("ethtool", "-K", Nic, "tx", "off"),
	)
}

// ignoreNIC is a script that makes the kernel ignore the packets on the NIC, which the switch
// handles. The kernel would accept or forward every packet a second time.
const ignoreNIC = `set -e; cd /proc/sys/net
echo 1 > ipv4/conf/` + Nic + `/rp_filter
echo 1 > ipv4/conf/` + Nic + `/arp_ignore
echo 1 > ipv6/conf/` + Nic + `/disable_ipv6`

// removeLinks deletes the bridge and every veth pair of the lab.
func (s Site) removeLinks(ctx context.Context) error {
	links, err := s.Links()
	var errs []error
	for _, link := range links {
		errs = append(errs, removeLink(ctx, link))
	}
	return errors.Join(append(errs, err)...)
}

// removeLink deletes a link. It returns nil if the link does not exist or disappears
// meanwhile together with the namespace of its other end.
func removeLink(ctx context.Context, link string) error {
	if !linkExists(link) {
		return nil
	}
	if _, err := Run(ctx, "ip", "link", "del", link); err != nil && linkExists(link) {
		return err
	}
	return nil
}

// Links returns the names of the lab's links in our network namespace. It does not read
// /sys, which may show those of another namespace.
func (s Site) Links() ([]string, error) {
	all, err := net.Interfaces()
	var links []string
	for _, l := range all {
		if l.Name == s.Bridge() || strings.HasPrefix(l.Name, s.linkPrefix()) {
			links = append(links, l.Name)
		}
	}
	return links, err
}

func linkExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}
