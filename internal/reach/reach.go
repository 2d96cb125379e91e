// Package reach computes what traffic passes, without sending any. It does so in
// two ways: from groups of ports and their rules, as OpenStack evaluates them,
// and from Kubernetes objects, as the API defines NetworkPolicies. The two are
// independent, so that tests can compare them with each other and both with a
// real network.
package reach

import (
	"net/netip"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Flow is a new connection, or a packet that belongs to no connection.
type Flow struct {
	From, To netip.Addr
	// Protocol is tcp, udp, sctp or icmp. Port is the destination port; 0 if the
	// protocol has none.
	Protocol string
	Port     int
}

// Network is a set of ports with their groups. As for security groups, a rule of
// one of its groups must permit what a port sends and what it receives.
type Network struct {
	Ports         []Port
	Groups        []intent.Group
	LoadBalancers []intent.LoadBalancer
}

// Port is an interface. An address without a Port is outside, and no rule
// restricts it.
type Port struct {
	Name                string
	Addrs               []netip.Addr
	Groups, CloudGroups []string
	// Free is true for a port whose own groups are not known and are ignored: a
	// machine's outside of the cluster.
	Free bool
}

// Passes tells whether a flow passes. A flow to a load balancer must pass to each
// of its members, because any of them may get it. OVN evaluates the first packet
// before it replaces the load balancer's address with a member's and all other
// packets after that, so egress to both addresses must be permitted.
func (n Network) Passes(f Flow) bool {
	members, isVIP := n.members(f)
	if !isVIP {
		return f.From == f.To || n.leaves(f) && n.enters(f)
	}
	if !n.leaves(f) || len(members) == 0 {
		return false
	}
	return !slices.ContainsFunc(members, func(m intent.Member) bool {
		behind := Flow{From: f.From, To: m.Addr, Protocol: f.Protocol, Port: m.Port}
		arriving := behind
		if f.From == m.Addr { // its own flow comes back to it from the load balancer's address
			arriving.From = f.To
		}
		return !n.leaves(behind) || !n.enters(arriving)
	})
}

func (n Network) members(f Flow) ([]intent.Member, bool) {
	for _, b := range n.LoadBalancers {
		if b.VIP != f.To {
			continue
		}
		for _, l := range b.Listeners {
			if protocolName(l.Protocol) == f.Protocol && l.Port == f.Port {
				return l.Members, true
			}
		}
		return nil, true
	}
	return nil, false
}

func (n Network) leaves(f Flow) bool { return n.permits(intent.Egress, f.From, f.To, f) }

func (n Network) enters(f Flow) bool { return n.permits(intent.Ingress, f.To, f.From, f) }

// permits tells whether a rule of the port at one end permits the flow.
func (n Network) permits(d intent.Direction, at, peer netip.Addr, f Flow) bool {
	port, inside := n.port(at)
	if !inside || port.Free {
		return true
	}
	for _, g := range n.Groups {
		if !slices.Contains(port.Groups, g.Name) {
			continue
		}
		if slices.ContainsFunc(g.Rules, func(r intent.Rule) bool { return n.matches(r, d, peer, f) }) {
			return true
		}
	}
	return false
}

func (n Network) matches(r intent.Rule, d intent.Direction, peer netip.Addr, f Flow) bool {
	switch {
	case r.Direction != d,
		r.Protocol != "" && r.Protocol != f.Protocol,
		r.First != 0 && (f.Port < r.First || f.Port > max(r.First, r.Last)),
		r.Family != 0 && (r.Family == 4) != peer.Is4():
		return false
	case r.Remote.IsValid():
		return r.Remote.Contains(peer)
	case r.RemoteGroup != "":
		p, _ := n.port(peer)
		return slices.Contains(p.Groups, r.RemoteGroup)
	case r.RemoteCloudGroup != "":
		p, _ := n.port(peer)
		return slices.Contains(p.CloudGroups, r.RemoteCloudGroup)
	}
	return true
}

func (n Network) port(a netip.Addr) (Port, bool) {
	for _, p := range n.Ports {
		if slices.Contains(p.Addrs, a) {
			return p, true
		}
	}
	return Port{}, false
}
