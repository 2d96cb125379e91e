// Package reach says what traffic passes, without sending any: once by the
// groups of ports and their rules, as a cloud reads them, and once by the
// objects of Kubernetes, as its API describes NetworkPolicies. The two know
// nothing of each other, so that one can be held against the other, and both
// against a network. It decides nothing and makes nothing.
package reach

import (
	"net/netip"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Flow is a new connection, or a packet that nobody asked for.
type Flow struct {
	From, To netip.Addr
	// Protocol is tcp, udp, sctp or icmp; Port is what it is sent to, 0 if it has none.
	Protocol string
	Port     int
}

// Network is ports with their groups, as security groups see them: what leaves
// a port and what comes to one must be let through by a rule of one of its groups.
type Network struct {
	Ports     []Port
	Groups    []intent.Group
	Balancers []intent.LoadBalancer
}

// Port is an interface; what has none in a Network is outside, and not held back there.
type Port struct {
	Name                string
	Addrs               []netip.Addr
	Groups, CloudGroups []string
	// Free is a port whose own groups are not known here, and not looked at: a
	// machine's.
	Free bool
}

// Passes tells whether a flow gets through. A flow to a balancer must get
// through to each of its members: which one it comes to is chance. OVN looks at
// the first packet before the balancer's address becomes a member's and at all
// others after that, so what leaves must be let out to both.
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
		if f.From == m.Addr { // its own flow comes back to it from the balancer
			arriving.From = f.To
		}
		return !n.leaves(behind) || !n.enters(arriving)
	})
}

func (n Network) members(f Flow) ([]intent.Member, bool) {
	for _, b := range n.Balancers {
		if b.VIP != f.To {
			continue
		}
		for _, l := range b.Listeners {
			if lower(l.Protocol) == f.Protocol && l.Port == f.Port {
				return l.Members, true
			}
		}
		return nil, true
	}
	return nil, false
}

func (n Network) leaves(f Flow) bool { return n.lets(intent.Egress, f.From, f.To, f) }

func (n Network) enters(f Flow) bool { return n.lets(intent.Ingress, f.To, f.From, f) }

// lets tells whether a rule of the port at one end lets the flow through.
func (n Network) lets(d intent.Direction, at, peer netip.Addr, f Flow) bool {
	port, inside := n.port(at)
	if !inside || port.Free {
		return true
	}
	for _, g := range n.Groups {
		if !slices.Contains(port.Groups, g.Name) {
			continue
		}
		if slices.ContainsFunc(g.Rules, func(r intent.Rule) bool { return n.fits(r, d, peer, f) }) {
			return true
		}
	}
	return false
}

func (n Network) fits(r intent.Rule, d intent.Direction, peer netip.Addr, f Flow) bool {
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
