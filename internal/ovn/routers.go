package ovn

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// ports returns a router's ports, sorted by name.
func (v *view) ports(r *nbdb.LogicalRouter) []*nbdb.LogicalRouterPort {
	var ports []*nbdb.LogicalRouterPort
	for _, uuid := range r.Ports {
		if p, ok := v.session.Table(nbdb.LogicalRouterPortTable).Row(uuid).(*nbdb.LogicalRouterPort); ok {
			ports = append(ports, p)
		}
	}
	slices.SortFunc(ports, func(a, b *nbdb.LogicalRouterPort) int { return cmp.Compare(a.Name, b.Name) })
	return ports
}

// neutronSubnet returns the id of one of Neutron's subnets on a router; empty if
// there is none. If there are several, it always returns the same one. It never
// returns a subnet of the external network: Octavia treats the subnet that our port
// names as internal, and would not translate floating IPs of load balancers there.
func (v *view) neutronSubnet(r *nbdb.LogicalRouter) string {
	var subnets []string
	for _, p := range v.ports(r) {
		if p.ExternalIDs[rows.KeyOwner] == "" && !isGateway(r, p) {
			subnets = append(subnets, strings.Fields(p.ExternalIDs[rows.NeutronSubnets])...)
		}
	}
	if len(subnets) == 0 {
		return ""
	}
	return slices.Min(subnets)
}

// isGateway returns whether a port is the router's gateway to an external
// network. Zed's Neutron records that on the router, later releases on the port.
func isGateway(r *nbdb.LogicalRouter, p *nbdb.LogicalRouterPort) bool {
	gateway := r.ExternalIDs[rows.NeutronGatewayPort]
	return gateway != "" && p.Name == "lrp-"+gateway || strings.EqualFold(p.ExternalIDs[rows.NeutronExternal], "true")
}

// router returns a router with the networks that its ports lead to.
func (v *view) router(cluster string, r *nbdb.LogicalRouter) Router {
	out := Router{Name: r.Name, Ours: r.ExternalIDs[rows.KeyOwner] == cluster}
	networks := map[string]bool{}
	for _, p := range v.ports(r) {
		network := networkOf(p)
		for _, n := range p.Networks {
			if prefix, err := netip.ParsePrefix(n); err == nil {
				out.Interfaces = append(out.Interfaces, RouterInterface{
					Prefix: prefix.Masked(), Network: network, Port: p.Name, Ours: p.ExternalIDs[rows.KeyOwner] == cluster,
				})
			}
		}
		if network != "" && !networks[network] {
			networks[network] = true
			out.MTU = smallerMTU(out.MTU, v.mtu(network))
		}
	}
	out.Networks = slices.Sorted(maps.Keys(networks))
	slices.SortFunc(out.Interfaces, func(a, b RouterInterface) int {
		return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.Port, b.Port))
	})
	return out
}

// networkOf returns the name of the switch that a router port leads to, from the
// port's external_ids: our ports and Neutron's have it there. It returns empty for other
// ports.
func networkOf(p *nbdb.LogicalRouterPort) string {
	return cmp.Or(p.ExternalIDs[rows.KeyNetwork], p.ExternalIDs[rows.NeutronNetwork])
}

// mtu returns the MTU in bytes that Neutron records for a network; 0 if none.
func (v *view) mtu(network string) int {
	for _, m := range v.named(nbdb.LogicalSwitchTable, network) {
		if n, err := strconv.Atoi(m.(*nbdb.LogicalSwitch).ExternalIDs[rows.NeutronMTU]); err == nil {
			return n
		}
	}
	return 0
}

// smallerMTU returns the smaller of two MTUs of which 0 means none.
func smallerMTU(a, b int) int {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// router returns the router of that name; if there are several, ours. ok is false if
// there is none.
func (s *session) router(name string) (Router, bool) {
	v := s.view()
	found := v.named(nbdb.LogicalRouterTable, name)
	if len(found) == 0 {
		return Router{}, false
	}
	slices.SortFunc(found, func(a, b model.Model) int { return compareOwned(s.cluster, a, b) })
	return v.router(s.cluster, found[0].(*nbdb.LogicalRouter)), true
}

// Router returns the router of that name; if there are several, ours. ok is false if
// there is none. While the database is not connected, it returns the last state.
func (f *Fabric) Router(name string) (Router, bool) { return f.current().router(name) }

// Routers returns all routers, ours and others', sorted by name. While the
// database is not connected, it returns the last state.
func (f *Fabric) Routers() []Router {
	s := f.current()
	var out []Router
	for _, m := range s.view().all(nbdb.LogicalRouterTable) {
		out = append(out, s.view().router(s.cluster, m.(*nbdb.LogicalRouter)))
	}
	slices.SortFunc(out, func(a, b Router) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
