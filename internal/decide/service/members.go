package service

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// endpoint is one endpoint of a slice, with the slice's ports.
type endpoint struct {
	discoveryv1.Endpoint
	ports []discoveryv1.EndpointPort
	addr  netip.Addr
}

// endpoints returns the endpoints that get traffic: the ready ones, or if none is
// ready, those that still serve while they terminate.
func (f Facts) endpoints(vip netip.Addr) []endpoint {
	var ready, ending []endpoint
	for _, s := range f.Slices {
		if !s.DeletionTimestamp.IsZero() || s.AddressType != addressType(vip) {
			continue
		}
		for _, e := range s.Endpoints {
			addr, err := onlyAddress(e.Addresses)
			switch {
			case err != nil:
			case e.Conditions.Ready == nil || *e.Conditions.Ready || f.Service.Spec.PublishNotReadyAddresses:
				ready = append(ready, endpoint{e, s.Ports, addr})
			case isTrue(e.Conditions.Serving) && isTrue(e.Conditions.Terminating):
				ending = append(ending, endpoint{e, s.Ports, addr})
			}
		}
	}
	if len(ready) > 0 {
		return ready
	}
	return ending
}

func addressType(a netip.Addr) discoveryv1.AddressType {
	if a.Is4() {
		return discoveryv1.AddressTypeIPv4
	}
	return discoveryv1.AddressTypeIPv6
}

// onlyAddress returns the first address of an endpoint. The Kubernetes API
// defines no meaning for the others. It errs if there is none or if it is
// invalid.
func onlyAddress(addrs []string) (netip.Addr, error) {
	if len(addrs) == 0 {
		return netip.Addr{}, errors.New("an endpoint without address")
	}
	return netip.ParseAddr(addrs[0])
}

func isTrue(b *bool) bool { return b != nil && *b }

// members returns the endpoints behind one port of the Service, without
// duplicates.
func (f Facts) members(endpoints []endpoint, p corev1.ServicePort) []intent.Member {
	var out []intent.Member
	for _, e := range endpoints {
		for _, port := range e.ports {
			if !matchesPort(port, p) {
				continue
			}
			addr, segment := f.memberAddress(e)
			out = append(out, intent.Member{Name: f.memberName(e), Addr: addr, Port: int(*port.Port), Network: segment})
		}
	}
	slices.SortFunc(out, func(a, b intent.Member) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Port, b.Port), strings.Compare(a.Name, b.Name))
	})
	return slices.CompactFunc(out, func(a, b intent.Member) bool { return a.Addr == b.Addr && a.Port == b.Port })
}

// matchesPort tells whether a slice's port belongs to the Service's port: both have
// the same name and protocol.
func matchesPort(e discoveryv1.EndpointPort, p corev1.ServicePort) bool {
	name, protocol := "", corev1.ProtocolTCP
	if e.Name != nil {
		name = *e.Name
	}
	if e.Protocol != nil {
		protocol = *e.Protocol
	}
	return e.Port != nil && name == p.Name && protocol == cmp.Or(p.Protocol, corev1.ProtocolTCP)
}

// memberAddress returns the address and the network of an endpoint. A pod on its
// node's network is reached at the node's address on the pods' network. An
// address in none of EndpointNetworks is reached through the router, as if it
// were on the network of the cluster IPs.
func (f Facts) memberAddress(e endpoint) (netip.Addr, string) {
	if p, found := f.networkOf(e.addr); found {
		return e.addr, cmp.Or(p.Network, f.Network)
	}
	if e.NodeName != nil {
		for _, a := range f.Nodes[*e.NodeName] {
			if p, _ := f.networkOf(a); p.Network != "" && a.Is4() == e.addr.Is4() {
				return a, p.Network
			}
		}
	}
	return e.addr, f.Network
}

func (f Facts) networkOf(a netip.Addr) (EndpointNetwork, bool) {
	for _, p := range f.EndpointNetworks {
		if p.Prefix.Contains(a) {
			return p, true
		}
	}
	return EndpointNetwork{}, false
}

// memberName returns the pod's name; for an endpoint that is no pod, its address.
func (f Facts) memberName(e endpoint) string {
	if t := e.TargetRef; t != nil && t.Name != "" {
		return cmp.Or(t.Namespace, f.Namespace) + "/" + t.Name
	}
	return f.Namespace + "/" + e.addr.String()
}
