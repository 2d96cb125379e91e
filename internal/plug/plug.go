// Package plug decides how a pod's interface reaches the network: it turns a port
// and the node's properties into an ordered list of steps, each with its undo. It
// is pure: package netdev does the steps. Read Steps first.
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

// OVS plugs a veth into the node's integration bridge. VLAN makes a VLAN link on the
// trunk interface of a node that is a virtual machine.
const (
	OVS  Mode = "ovs"
	VLAN Mode = "vlan"
)

// HostLink is the pod's end of its second veth, which leads to the node.
const HostLink = "host0"

// HostAddr is the node's address on every host link of every node.
var HostAddr = netip.AddrFrom4([4]byte{169, 254, 1, 1})

// The bytes that Geneve and its outer headers need, over IPv4 and over IPv6.
const (
	tunnelOverhead4 = 58
	tunnelOverhead6 = 78
)

// Port is a pod's interface as its claim describes it.
type Port struct {
	// Container is the sandbox, and Link the interface's name in the pod.
	Container, Link string
	// Pod is "namespace/name"; UID distinguishes it from other pods of that name.
	Pod, UID string
	// IfaceID and IfaceIDVer name the port in OVN, in mode OVS. Tag is the VLAN id on
	// the node's interface that has the MAC Parent, in mode VLAN.
	IfaceID, IfaceIDVer string
	Parent              intent.MAC
	Tag                 int
	MAC                 intent.MAC
	Addrs               []netip.Prefix
	Gateways            []netip.Addr
	Routes              []Route
	MTU                 int
	// HostLink asks for a second interface, for probes from the node.
	HostLink bool
}

// Route is a destination and its next hop.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Node has the properties of the node that the steps depend on.
type Node struct {
	Mode   Mode
	Bridge string
	// Owner marks our rows in the node's switch database.
	Owner string
	// Userspace is true if the bridge has the userspace datapath, which forwards
	// packets with incomplete checksums as they are.
	Userspace bool
	// UnderlayMTU is the MTU of the interface that carries the tunnels; 0 if unknown.
	// Underlay6 is true if they run over IPv6.
	UnderlayMTU int
	Underlay6   bool
	// Trunk is the node's interface for VLAN links in mode VLAN, and TrunkMTU its MTU;
	// 0 if unknown.
	Trunk    string
	TrunkMTU int
}

// Steps returns what plugs p into n, in order. It returns an error if p cannot be
// plugged into n.
func Steps(p Port, n Node) ([]Step, error) {
	if err := checkPort(p, n); err != nil {
		return nil, fmt.Errorf("pod %s: %w", p.Pod, err)
	}
	if n.Mode == VLAN {
		return trunkSteps(p, n), nil
	}
	return switchSteps(p, n), nil
}

// switchSteps plugs the interface into the switch only when it is complete, so that it
// receives no packets before. The last step waits for OVN.
func switchSteps(p Port, n Node) []Step {
	host := HostName(p.Container, p.Link)
	steps := []Step{Veth{Host: host, Link: p.Link, MAC: p.MAC, MTU: p.MTU, Alias: p.mark().Alias()}}
	if n.Userspace {
		steps = append(steps, ChecksumOff{Host: host, Link: p.Link})
	}
	steps = slices.Concat(steps, addressSteps(p), routeSteps(p))
	if p.HostLink {
		steps = append(steps, hostLinkSteps(p)...)
	}
	return append(steps, switchPort(p, n, host), Installed{Name: host})
}

// trunkSteps always makes the host link, as the first step. By the host link, the node
// later finds the pod's namespace and the VLAN link in it.
func trunkSteps(p Port, n Node) []Step {
	link := VLANLink{
		Host: HostLinkName(p.Container, p.Link), Trunk: n.Trunk, Tag: p.Tag,
		Link: p.Link, MAC: p.MAC, MTU: p.MTU, Alias: p.mark().Alias(),
	}
	return slices.Concat(hostLinkSteps(p), []Step{link}, addressSteps(p), routeSteps(p))
}

// Remains returns steps whose undo removes everything that Steps may have made for an
// interface in that mode. It needs no claim.
func Remains(mode Mode, container, link string) []Step {
	host, second := HostName(container, link), HostLinkName(container, link)
	if mode == VLAN {
		return []Step{Veth{Host: second, Link: HostLink}, VLANLink{Host: second, Link: link}}
	}
	return []Step{Veth{Host: host, Link: link}, Veth{Host: second, Link: HostLink}, SwitchPort{Name: host}}
}

// checkPort returns an error if p cannot be plugged into n.
func checkPort(p Port, n Node) error {
	if len(p.Addrs) == 0 {
		return errors.New("its claim has no address")
	}
	if _, err := net.ParseMAC(string(p.MAC)); err != nil {
		return fmt.Errorf("its claim: %w", err)
	}
	if n.Mode == VLAN {
		return checkForTrunk(p, n)
	}
	return checkForSwitch(p, n)
}

func checkForTrunk(p Port, n Node) error {
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

func checkForSwitch(p Port, n Node) error {
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

func addressSteps(p Port) []Step {
	var steps []Step
	for _, a := range p.Addrs {
		steps = append(steps, Address{Link: p.Link, Prefix: a})
	}
	return steps
}

// routeSteps returns the steps for p's routes. The default routes come first, because
// other routes may need the same gateway.
func routeSteps(p Port) []Step {
	var steps []Step
	for _, g := range p.Gateways {
		zero := netip.IPv4Unspecified()
		if g.Is6() {
			zero = netip.IPv6Unspecified()
		}
		steps = append(steps, p.routeStep(Route{To: netip.PrefixFrom(zero, 0), Via: g}))
	}
	for _, r := range p.Routes {
		steps = append(steps, p.routeStep(r))
	}
	return steps
}

// routeStep returns the step for a route. The route is on-link if no prefix of the port
// contains its next hop.
func (p Port) routeStep(r Route) Step {
	onLink := true
	for _, a := range p.Addrs {
		onLink = onLink && !a.Contains(r.Via)
	}
	return PodRoute{Link: p.Link, To: r.To, Via: r.Via, OnLink: onLink}
}

func hostLinkSteps(p Port) []Step {
	name, one := HostLinkName(p.Container, p.Link), netip.PrefixFrom(HostAddr, HostAddr.BitLen())
	return []Step{
		Veth{Host: name, Link: HostLink, Alias: p.mark().Alias()},
		NodeAddress{Host: name, Prefix: one},
		PodRoute{Link: HostLink, To: one},
	}
}

// Keys in external_ids of our interfaces in the node's switch database. The agent keeps
// no other record of them.
const (
	KeyIfaceID    = "iface-id"
	KeyIfaceIDVer = "iface-id-ver"
	KeyOwner      = "isthmus-owner"
	KeyContainer  = "isthmus-container"
	KeyPod        = "isthmus-pod"
	KeyUID        = "isthmus-pod-uid"
	// KeyHostLink has the name of the node's end of the host link, and KeyAddrs the
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
