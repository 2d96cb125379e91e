// Package nodenet keeps the node's own network: the routes to its pods, the
// masquerading of pods that send under the node's address, and the host links that
// carry the node's probes. It knows the kernel's links, routes, rules and nftables;
// it knows nothing of Kubernetes, of OVN, or of the pods' own namespaces.
// Read Network.Apply (this file) first: it reads the kernel (kernel.go), decides
// (decide.go) and writes (links.go, firewall.go, nft.go).
//
//	node's processes ──main table──▶ ovn0 ──▶ br-int: join, ovn-cluster, its pods
//	        │
//	        └─ output hook: new connection to a pod of State.Probes
//	              └─ mark ─▶ rule ─▶ table 7349: <pod>/32 dev <link> ─▶ host0 of the pod
//
//	pods ──br-int──▶ ovn0 ──forward──▶ the node's NIC (masquerade)
//
// The package changes only what has our mark: our routes and our rule have protocol
// 73, and our firewall is the table "inet isthmus", which is replaced as a whole.
// Packets that other tables drop stay dropped, because a chain accepts a packet only
// for itself. If the node's own firewall drops forwarded packets, it needs rules that
// accept the pods' packets.
//
// Path MTU: ovn0 has the MTU of the overlay. If the node receives a longer packet for
// a pod, it answers with ICMP "fragmentation needed" (RFC 1191). Firewalls between the
// node and the sender must let these messages pass.
package nodenet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/containernetworking/plugins/pkg/netlinksafe"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// NodeLink is the node's own port on the join network.
const NodeLink = "ovn0"

// LinkAddr is the source address of the node's probes, and the address of the
// node's end of every host link.
var LinkAddr = netip.MustParseAddr("169.254.1.1")

// State is the whole wanted network of the node. Apply removes what State does not
// name.
type State struct {
	// Node is ovn0. It is zero while the node's claim is not known; Apply then leaves
	// ovn0 and the routes through it as they are.
	Node Interface
	// Routes are the pod networks that the node reaches through ovn0.
	Routes []netip.Prefix
	// Masquerade are the sources whose packets leave the node under its own
	// address, except packets to Local.
	Masquerade, Local []netip.Prefix
	// Probes are the host links of those pods on this node that Routes do not reach.
	Probes []Probe
}

// Interface has the wanted properties of ovn0.
type Interface struct {
	// IfaceID is the Logical_Switch_Port's name.
	IfaceID string
	MAC     string
	// Addrs are ovn0's addresses with the prefix length of the join network.
	Addrs []netip.Prefix
	// Gateways are the router's addresses in the join network, at most one of each family.
	Gateways []netip.Addr
	MTU      int
}

// Probe is one pod's host link.
type Probe struct {
	// Pod is namespace/name, for messages only.
	Pod string
	// Addr is the pod's address in its own network.
	Addr netip.Addr
	// Link is the name of the node's end of the veth whose other end is host0.
	Link string
}

// Refusal says that a pod of State.Probes cannot be probed, and why.
type Refusal struct{ Pod, Why string }

// Options of a Network. Plug and Unplug are required.
type Options struct {
	// Log may be nil.
	Log *slog.Logger
	// Plug adds the internal port with that external_ids:iface-id and MAC to br-int,
	// or changes it. Every Apply with a State.Node calls it. It need not wait for the
	// kernel's interface.
	Plug func(ctx context.Context, name, ifaceID, mac string) error
	// Unplug removes the port. A missing port is no error.
	Unplug func(ctx context.Context, name string) error
	// NetNS is the network namespace to work in; nil means the process's own.
	NetNS *netns.NsHandle
}

// Network is the node's network. Its methods may be called from any goroutine.
type Network struct {
	o  Options
	mu sync.Mutex
}

// New returns a Network. It changes nothing yet.
func New(o Options) *Network {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Network{o: o}
}

// Apply makes s true. It writes only what differs from the kernel's state. If one part
// fails, it still does the others. ovn0 comes last, because Apply waits up to
// linkTimeout for it. It returns all pods of s.Probes that cannot be probed.
func (n *Network) Apply(ctx context.Context, s State) ([]Refusal, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k, err := n.open()
	if err != nil {
		return nil, err
	}
	defer k.Close()
	have, err := k.read()
	if err != nil {
		return nil, err
	}
	p := decide(s, have)
	err = errors.Join(p.err, n.firewall(p), n.hostLinks(k, p, have), n.nodeLink(ctx, k, s.Node, p))
	return p.refusals, err
}

// Remove removes all that Apply makes: routes, rule, firewall, the host links'
// address, and ovn0 with its addresses. It does not remove the host links themselves,
// because they belong to pods. Forwarding stays on, because others may rely on it by
// now. A missing part is no error, and if one part fails, Remove still does the
// others.
func (n *Network) Remove(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	k, err := n.open()
	if err != nil {
		return err
	}
	defer k.Close()
	have, err := k.read()
	if err != nil {
		return err
	}
	return errors.Join(
		k.setRoutes(diffRoutes(nil, have.ours(anyTable))),
		k.dropRules(),
		n.dropLinkAddrs(k, have),
		n.dropFirewall(),
		n.unplug(ctx))
}

func (n *Network) unplug(ctx context.Context) error {
	if err := n.o.Unplug(ctx, NodeLink); err != nil {
		return fmt.Errorf("unplug %s: %w", NodeLink, err)
	}
	return nil
}

// kernel is a netlink connection to one network namespace.
type kernel struct {
	netlinksafe.Handle
	log *slog.Logger
}

func (n *Network) open() (kernel, error) {
	ns := netns.None()
	if n.o.NetNS != nil {
		ns = *n.o.NetNS
	}
	h, err := netlinksafe.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return kernel{}, fmt.Errorf("open the kernel's routing socket: %w", err)
	}
	return kernel{Handle: h, log: n.o.Log}, nil
}
