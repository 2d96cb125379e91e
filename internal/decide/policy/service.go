package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// OVN evaluates the first packet of a connection to a Service before it replaces
// the Service's address with a pod's, and all other packets after that. Policies
// name the pods. So a policy also permits a Service's address if it lets its pods
// reach all endpoints behind the Service. If it lets them reach only some of the
// endpoints, the Service stays closed. An ipBlock that contains only the Service's
// address permits nothing but the first packet.

// Service holds the properties of a Service that matter to egress rules.
type Service struct {
	// Addrs are its cluster IPs.
	Addrs []netip.Addr
	Ports []ServicePort
}

// ServicePort is one port of a Service.
type ServicePort struct {
	// Protocol is tcp, udp or sctp.
	Protocol string
	Port     int
	Backends []Backend
}

// Backend is an endpoint behind a port of a Service.
type Backend struct {
	// Pod is nil if the endpoint is not a pod of the cluster.
	Pod  *Pod
	Addr netip.Addr
	Port int
}

// ServiceOf reads a Service's load balancer. pod returns the pod with an address;
// nil if no pod of the cluster has it or if the pod uses its node's network.
func ServiceOf(b intent.LoadBalancer, pod func(netip.Addr) *Pod) Service {
	s := Service{Addrs: []netip.Addr{b.VIP}}
	for _, l := range b.Listeners {
		p := ServicePort{Protocol: strings.ToLower(l.Protocol), Port: l.Port}
		for _, m := range l.Members {
			p.Backends = append(p.Backends, Backend{Pod: pod(m.Addr), Addr: m.Addr, Port: m.Port})
		}
		s.Ports = append(s.Ports, p)
	}
	return s
}

// toServices returns the rules for the Services that the policy lets its pods
// reach.
func (p *policy) toServices(services []Service) []intent.Rule {
	if !p.usesServices() {
		return nil
	}
	var out []intent.Rule
	for _, s := range services {
		for _, a := range s.Addrs {
			out = append(out, p.toService(s, netip.PrefixFrom(a, a.BitLen()))...)
		}
	}
	return out
}

func (p *policy) toService(s Service, addr netip.Prefix) []intent.Rule {
	var out []intent.Rule
	for _, sp := range s.Ports {
		sp.Backends = slices.DeleteFunc(slices.Clone(sp.Backends), func(b Backend) bool { return b.Addr.Is4() != addr.Addr().Is4() })
		if p.permitsAll(sp) {
			out = append(out, intent.Rule{Direction: intent.Egress, Protocol: sp.Protocol, First: sp.Port, Last: sp.Port, Remote: addr})
		}
	}
	return out
}

func (p *policy) permitsAll(sp ServicePort) bool {
	refused := func(b Backend) bool {
		return !slices.ContainsFunc(p.allows, func(a allow) bool { return a.direction == intent.Egress && a.permits(sp.Protocol, b) })
	}
	return len(sp.Backends) > 0 && !slices.ContainsFunc(sp.Backends, refused)
}

// permits tells whether the pair permits a flow of the protocol to the backend.
func (a allow) permits(protocol string, b Backend) bool {
	switch at := a.at; {
	case at.protocol != "" && at.protocol != protocol,
		at.first != 0 && (b.Port < at.first || b.Port > at.last):
		return false
	case at.name != "":
		if b.Pod == nil {
			return false
		}
		if n, ok := b.Pod.number(at.name, at.protocol); !ok || n != b.Port {
			return false
		}
	}
	return a.peer.has(b)
}

// has tells whether the backend is a peer. It is false for an OpenStack security
// group, because its members are not known here.
func (p peer) has(b Backend) bool {
	switch {
	case p.isEverybody():
		return true
	case p.pods != nil:
		return b.Pod != nil && p.pods.has(*b.Pod)
	}
	return within(p.blocks, b.Addr)
}
