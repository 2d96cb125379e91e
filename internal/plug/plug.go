// Package plug decides how a pod's interface reaches the network: it turns a
// port and what the node is like into an ordered list of steps, each of which
// can be taken back. It is pure: package netdev does the steps.
package plug

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Mode is how interfaces of a node reach the network.
type Mode string

// OVS plugs a veth into the node's integration bridge. VLAN is a link on the
// node's trunk interface, where the node is itself a virtual machine.
const (
	OVS  Mode = "ovs"
	VLAN Mode = "vlan"
)

// HostLink is the pod's side of its second veth, and HostAddr the node's
// address on the other side.
const HostLink = "host0"

// HostAddr is the same on every node and every host link.
var HostAddr = netip.AddrFrom4([4]byte{169, 254, 1, 1})

// tunnelOverhead is what Geneve and its outer headers take of a packet.
const (
	tunnelOverhead4 = 58
	tunnelOverhead6 = 78
)

// Port is the interface that is to be, as its claim says.
type Port struct {
	// Container is the sandbox, and Link the interface's name in the pod.
	Container, Link string
	// Pod is "namespace/name", and UID tells it from others of that name.
	Pod, UID string
	// IfaceID and IfaceIDVer name the port in OVN. In mode VLAN there is Tag
	// instead, on the node's interface with the MAC Parent.
	IfaceID, IfaceIDVer string
	Parent              intent.MAC
	Tag                 int
	MAC                 intent.MAC
	Addrs               []netip.Prefix
	Gateways            []netip.Addr
	Routes              []Route
	MTU                 int
	// HostLink asks for a second interface to the node, for its probes.
	HostLink bool
}

// Route is a destination and its next hop.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Node is what the steps depend on besides the port.
type Node struct {
	Mode   Mode
	Bridge string
	// Owner marks what is ours in the node's switch database.
	Owner string
	// Userspace is true when the bridge's datapath is, which takes packets
	// with half-made checksums as they are.
	Userspace bool
	// UnderlayMTU is that of the interface that carries the tunnels, and
	// Underlay6 whether they run over IPv6. 0 if unknown.
	UnderlayMTU int
	Underlay6   bool
	// Trunk is the node's interface for VLANs in mode VLAN, with its MTU.
	Trunk    string
	TrunkMTU int
}

// Steps says what plugs p into n, in order.
func Steps(p Port, n Node) ([]Step, error) {
	if err := fits(p, n); err != nil {
		return nil, fmt.Errorf("pod %s: %w", p.Pod, err)
	}
	if n.Mode == VLAN {
		return onTrunk(p, n), nil
	}
	return onSwitch(p, n), nil
}

// onSwitch has the switch last, so that no packet meets a half-made interface,
// and then the wait for OVN.
func onSwitch(p Port, n Node) []Step {
	host := HostName(p.Container, p.Link)
	steps := []Step{Veth{Host: host, Link: p.Link, MAC: p.MAC, MTU: p.MTU, Alias: p.mark().Alias()}}
	if n.Userspace {
		steps = append(steps, ChecksumOff{Host: host, Link: p.Link})
	}
	steps = slices.Concat(steps, addresses(p), routes(p))
	if p.HostLink {
		steps = append(steps, hostLink(p)...)
	}
	return append(steps, switchPort(p, n, host), Installed{Name: host})
}

// onTrunk has the host link first, and always: from there the node finds the
// pod's namespace again, which is all that it remembers of a VLAN in there.
func onTrunk(p Port, n Node) []Step {
	link := VLANLink{
		Host: HostLinkName(p.Container, p.Link), Trunk: n.Trunk, Tag: p.Tag,
		Link: p.Link, MAC: p.MAC, MTU: p.MTU, Alias: p.mark().Alias(),
	}
	return slices.Concat(hostLink(p), []Step{link}, addresses(p), routes(p))
}

// Remains are the steps whose undo removes all that Steps may have made
// for this interface in that mode; it needs no claim.
func Remains(mode Mode, container, link string) []Step {
	host, second := HostName(container, link), HostLinkName(container, link)
	if mode == VLAN {
		return []Step{Veth{Host: second, Link: HostLink}, VLANLink{Host: second, Link: link}}
	}
	return []Step{Veth{Host: host, Link: link}, Veth{Host: second, Link: HostLink}, SwitchPort{Name: host}}
}

// fits says why p cannot be plugged into n at all.
func fits(p Port, n Node) error {
	if len(p.Addrs) == 0 {
		return errors.New("its claim has no address")
	}
	if _, err := net.ParseMAC(string(p.MAC)); err != nil {
		return fmt.Errorf("its claim: %w", err)
	}
	if n.Mode == VLAN {
		return fitsTrunk(p, n)
	}
	return fitsSwitch(p, n)
}

func fitsTrunk(p Port, n Node) error {
	switch {
	case p.IfaceID != "":
		return errors.New("its claim is for a node with Open vSwitch, but this node plugs pods on a trunk port: " +
			"the Node's label isthmus.io/plug says which, and a pod that was bound before is to be deleted")
	case p.Tag < 1 || p.Tag > 4094:
		return fmt.Errorf("its claim names no VLAN from 1 to 4094 (attach.vlan.tag is %d)", p.Tag)
	case n.TrunkMTU > 0 && p.MTU > n.TrunkMTU:
		return fmt.Errorf("its MTU of %d does not fit: the node's trunk interface %s has %d; "+
			"set the Subnet's spec.mtu to %d or raise the MTU of the trunk port's network", p.MTU, n.Trunk, n.TrunkMTU, n.TrunkMTU)
	}
	return nil
}

func fitsSwitch(p Port, n Node) error {
	if p.Tag != 0 {
		return errors.New("its claim asks for a VLAN link on a trunk port, but this node plugs pods into Open vSwitch: " +
			"the Node's label isthmus.io/plug says which, and a pod that was bound before is to be deleted")
	}
	if p.IfaceID == "" {
		return errors.New("its claim names no port (attach.ovs.ifaceID)")
	}
	overhead := tunnelOverhead4
	if n.Underlay6 {
		overhead = tunnelOverhead6
	}
	if most := n.UnderlayMTU - overhead; n.UnderlayMTU > 0 && p.MTU > most {
		return fmt.Errorf("its MTU of %d does not fit: the node's underlay has %d, which leaves %d in a tunnel; "+
			"set the Subnet's spec.mtu to %d or raise the MTU of the node's tunnel interface", p.MTU, n.UnderlayMTU, most, most)
	}
	return nil
}

func addresses(p Port) []Step {
	var steps []Step
	for _, a := range p.Addrs {
		steps = append(steps, Address{Link: p.Link, Prefix: a})
	}
	return steps
}

// routes puts the default routes first, because others may go through the same gateway.
func routes(p Port) []Step {
	var steps []Step
	for _, g := range p.Gateways {
		zero := netip.IPv4Unspecified()
		if g.Is6() {
			zero = netip.IPv6Unspecified()
		}
		steps = append(steps, p.route(Route{To: netip.PrefixFrom(zero, 0), Via: g}))
	}
	for _, r := range p.Routes {
		steps = append(steps, p.route(r))
	}
	return steps
}

// route is on-link when no prefix of the port holds the next hop.
func (p Port) route(r Route) Step {
	onLink := true
	for _, a := range p.Addrs {
		onLink = onLink && !a.Contains(r.Via)
	}
	return PodRoute{Link: p.Link, To: r.To, Via: r.Via, OnLink: onLink}
}

func hostLink(p Port) []Step {
	name, one := HostLinkName(p.Container, p.Link), netip.PrefixFrom(HostAddr, HostAddr.BitLen())
	return []Step{
		Veth{Host: name, Link: HostLink, Alias: p.mark().Alias()},
		NodeAddress{Host: name, Prefix: one},
		PodRoute{Link: HostLink, To: one},
	}
}

// Keys in external_ids of an interface of ours in the node's switch database.
// They are all that the agent remembers.
const (
	KeyIfaceID    = "iface-id"
	KeyIfaceIDVer = "iface-id-ver"
	KeyOwner      = "isthmus-owner"
	KeyContainer  = "isthmus-container"
	KeyPod        = "isthmus-pod"
	KeyUID        = "isthmus-pod-uid"
	// KeyHostLink names the node's side of the host link, and KeyAddrs the
	// addresses that the node reaches through it.
	KeyHostLink = "isthmus-host-link"
	KeyAddrs    = "isthmus-addrs"
)

func switchPort(p Port, n Node, host string) SwitchPort {
	ids := map[string]string{
		KeyIfaceID: p.IfaceID, KeyOwner: n.Owner,
		KeyContainer: p.Container, KeyPod: p.Pod, "attached-mac": string(p.MAC),
	}
	if p.UID != "" {
		ids[KeyUID] = p.UID
	}
	if p.IfaceIDVer != "" {
		ids[KeyIfaceIDVer] = p.IfaceIDVer
	}
	if p.HostLink {
		ids[KeyHostLink] = HostLinkName(p.Container, p.Link)
		ids[KeyAddrs] = joinAddrs(p.Addrs)
	}
	return SwitchPort{Bridge: n.Bridge, Name: host, IDs: ids}
}

func joinAddrs(prefixes []netip.Prefix) string {
	var all []string
	for _, p := range prefixes {
		all = append(all, p.Addr().String())
	}
	return strings.Join(all, ",")
}
