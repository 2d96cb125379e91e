// Package plug decides how a pod's interface reaches the network: it turns a
// port and what the node is like into an ordered list of steps, each of which
// can be taken back. It is pure: package netdev does the steps.
package plug

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
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
	// IfaceID and IfaceIDVer name the port in OVN. In mode VLAN there are the MAC
	// of the node's trunk interface and a Tag instead.
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
}

// Steps says what plugs p into n, in order: the switch comes last, so that no
// packet meets a half-made interface, and then the wait for OVN.
func Steps(p Port, n Node) ([]Step, error) {
	if err := fits(p, n); err != nil {
		return nil, err
	}
	host := HostName(p.Container, p.Link)
	steps := []Step{Veth{Host: host, Link: p.Link, MAC: p.MAC, MTU: p.MTU, Alias: Alias(p.Container, p.Pod)}}
	if n.Userspace {
		steps = append(steps, ChecksumOff{Host: host, Link: p.Link})
	}
	for _, a := range p.Addrs {
		steps = append(steps, Address{Link: p.Link, Prefix: a})
	}
	steps = append(steps, routes(p)...)
	if p.HostLink {
		steps = append(steps, hostLink(p)...)
	}
	return append(steps, switchPort(p, n, host), Installed{Name: host}), nil
}

// Remains are the steps whose undo removes all that any Steps may have made
// for this interface; it needs no claim.
func Remains(container, link string) []Step {
	host := HostName(container, link)
	return []Step{Veth{Host: host, Link: link}, Veth{Host: hostLinkName(container, link), Link: HostLink}, SwitchPort{Name: host}}
}

// fits says why p cannot be plugged into n at all.
func fits(p Port, n Node) error {
	if n.Mode != OVS || p.Tag != 0 {
		return fmt.Errorf("pod %s: its claim asks for a VLAN link on a trunk port, which this node cannot give yet", p.Pod)
	}
	if p.IfaceID == "" {
		return fmt.Errorf("pod %s: its claim names no port (attach.ovs.ifaceID)", p.Pod)
	}
	if len(p.Addrs) == 0 {
		return fmt.Errorf("pod %s: its claim has no address", p.Pod)
	}
	if _, err := net.ParseMAC(string(p.MAC)); err != nil {
		return fmt.Errorf("pod %s: its claim: %w", p.Pod, err)
	}
	overhead := tunnelOverhead4
	if n.Underlay6 {
		overhead = tunnelOverhead6
	}
	if most := n.UnderlayMTU - overhead; n.UnderlayMTU > 0 && p.MTU > most {
		return fmt.Errorf("pod %s: its MTU of %d does not fit: the node's underlay has %d, which leaves %d in a tunnel; "+
			"set the Subnet's spec.mtu to %d or raise the MTU of the node's tunnel interface", p.Pod, p.MTU, n.UnderlayMTU, most, most)
	}
	return nil
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
	name, one := hostLinkName(p.Container, p.Link), netip.PrefixFrom(HostAddr, HostAddr.BitLen())
	return []Step{
		Veth{Host: name, Link: HostLink, Alias: Alias(p.Container, p.Pod)},
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
		ids[KeyHostLink] = hostLinkName(p.Container, p.Link)
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

// HostName names the node's side of a pod's interface. Whoever knows the
// sandbox finds it, without a record.
func HostName(container, link string) string { return "i" + digest(container, link) }

// HostNames are all the names that an interface's steps can give on the node.
func HostNames(container, link string) []string {
	return []string{HostName(container, link), hostLinkName(container, link)}
}

func hostLinkName(container, link string) string { return "h" + digest(container, link) }

// digest is short enough for a Linux interface name with its prefix.
func digest(container, link string) string {
	sum := sha256.Sum256([]byte(container + "/" + link))
	return hex.EncodeToString(sum[:6])
}

const aliasPrefix = "isthmus "

// Alias marks a link of the node as ours, so that GC finds it without its
// switch port. The kernel takes up to 255 bytes.
func Alias(container, pod string) string {
	text := aliasPrefix + container + " " + pod
	return text[:min(len(text), 255)]
}

// ParseAlias returns the container of a link of ours.
func ParseAlias(alias string) (container string, ours bool) {
	rest, ours := strings.CutPrefix(alias, aliasPrefix)
	container, _, _ = strings.Cut(rest, " ")
	return container, ours
}
