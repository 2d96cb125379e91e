// Package nodenet keeps the node's own network: its way to the pods, the pods'
// way out under its address, and the host links on which it probes them. It
// knows the kernel's links, routes, rules and nftables; it knows nothing of
// Kubernetes, of OVN, or of the pods' own namespaces.
//
//	node's processes ──main table──▶ ovn0 ──▶ br-int: join, ovn-cluster, its pods
//	        │
//	        └─ output hook: to a pod of State.Probes, connection opened here
//	              └─ mark ─▶ rule ─▶ table 7349: <pod>/32 dev <link> ─▶ host0 of the pod
//
//	pods ──br-int──▶ ovn0 ──forward──▶ the node's NIC (masquerade)
//
// All of ours bears a mark of its own, and nothing else is touched: routes and
// the rule bear protocol 73, the firewall is the table "inet isthmus", which is
// replaced as a whole. What other tables drop stays dropped: a chain of ours
// can accept a packet only for itself. A node whose own firewall drops
// forwarded packets needs rules there that admit the pods.
//
// Path MTU: ovn0 has the MTU of the overlay. What the node forwards to a pod
// and is too long for it is answered as RFC 1191 says, by the node, so ICMP
// "fragmentation needed" must not be filtered on the way to the outside.
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

// LinkAddr is what a pod sees as the source of its node's probes, and what the
// node's end of every host link bears.
var LinkAddr = netip.MustParseAddr("169.254.1.1")

// State is all that the node's network shall be. It is always whole: what it
// does not name is taken away.
type State struct {
	// Node is ovn0. While it is zero, ovn0 and the routes through it are left
	// as they are: the claim is not known yet.
	Node Interface
	// Routes are the pod networks that are reached through ovn0.
	Routes []netip.Prefix
	// Masquerade are the sources that leave the node under its own address,
	// unless they go to one of Local.
	Masquerade, Local []netip.Prefix
	// Probes are the host links of the pods on this node that no route of
	// Routes leads to.
	Probes []Probe
}

// Interface is what ovn0 is to be.
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
	Log *slog.Logger
	// Plug makes the OVS internal port with that external_ids:iface-id and MAC
	// on br-int, or changes it to be so. It is called by every Apply that knows
	// the node's claim, and need not wait for the kernel's interface.
	Plug func(ctx context.Context, name, ifaceID, mac string) error
	// Unplug removes the port; that it is not there is no error.
	Unplug func(ctx context.Context, name string) error
	// NetNS is the network namespace to work in, by default the process's own.
	NetNS *netns.NsHandle
}

// Network is the node's network. Its methods may be called from any goroutine.
type Network struct {
	o  Options
	mu sync.Mutex
}

// New touches nothing yet.
func New(o Options) *Network {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Network{o: o}
}

// Apply makes s true. It is level-triggered and idempotent: what is as it
// should be is not written again. One part's failure does not keep the others
// from being done. It waits up to some seconds for ovn0 to appear, last of all.
// The refusals are all that hold now, not the new ones.
func (n *Network) Apply(ctx context.Context, s State) ([]Refusal, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k, err := n.open()
	if err != nil {
		return nil, err
	}
	defer k.Close()
	have, err := k.look()
	if err != nil {
		return nil, err
	}
	p := decide(s, have)
	err = errors.Join(p.wrong, n.firewall(p), n.hostLinks(k, p, have), n.nodeLink(ctx, k, s.Node, p))
	return p.refusals, err
}

// Remove takes all of ours off the node. Forwarding stays on: others may have
// come to rely on it.
func (n *Network) Remove(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	k, err := n.open()
	if err != nil {
		return err
	}
	defer k.Close()
	have, err := k.look()
	if err != nil {
		return err
	}
	return errors.Join(
		k.setRoutes(diffRoutes(nil, have.ours(anyTable))),
		k.dropRules(),
		n.dropLinkAddrs(k, have),
		n.dropFirewall(),
		n.o.Unplug(ctx, NodeLink))
}

// kernel is a connection to the kernel of one network namespace.
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
