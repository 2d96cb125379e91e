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
)

// ports are a router's.
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

// subnet is one of Neutron's subnets on a router: always the same one of many,
// and none of the external network's. Octavia takes the subnet that our port
// names for one inside, and would not translate floating IPs of balancers there.
func (v *view) subnet(r *nbdb.LogicalRouter) string {
	var subnets []string
	for _, p := range v.ports(r) {
		if p.ExternalIDs[keyOwner] == "" && !leadsOut(r, p) {
			subnets = append(subnets, strings.Fields(p.ExternalIDs[neutronSubnets])...)
		}
	}
	if len(subnets) == 0 {
		return ""
	}
	return slices.Min(subnets)
}

// leadsOut tells whether a port is the router's gateway to an external network.
// Zed's Neutron says that on the router, newer ones on the port.
func leadsOut(r *nbdb.LogicalRouter, p *nbdb.LogicalRouterPort) bool {
	gateway := r.ExternalIDs[neutronGateway]
	return gateway != "" && p.Name == "lrp-"+gateway || strings.EqualFold(p.ExternalIDs[neutronLeadsOut], "true")
}

// router is what there is of a router, from its own ports outwards.
func (v *view) router(owner string, r *nbdb.LogicalRouter) Router {
	out := Router{Name: r.Name, Ours: r.ExternalIDs[keyOwner] == owner}
	segments := map[string]bool{}
	for _, p := range v.ports(r) {
		segment := segmentOf(p)
		for _, n := range p.Networks {
			if prefix, err := netip.ParsePrefix(n); err == nil {
				out.Interfaces = append(out.Interfaces, RouterInterface{
					Prefix: prefix.Masked(), Network: segment, Port: p.Name, Ours: p.ExternalIDs[keyOwner] == owner,
				})
			}
		}
		if segment != "" && !segments[segment] {
			segments[segment] = true
			out.MTU = smaller(out.MTU, v.mtu(segment))
		}
	}
	out.Networks = slices.Sorted(maps.Keys(segments))
	slices.SortFunc(out.Interfaces, func(a, b RouterInterface) int {
		return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.Port, b.Port))
	})
	return out
}

// segmentOf is the name of the switch that a router's port leads to: the port
// itself says it, ours as well as Neutron's.
func segmentOf(p *nbdb.LogicalRouterPort) string {
	return cmp.Or(p.ExternalIDs[keySegment], p.ExternalIDs[neutronNetwork])
}

func (v *view) mtu(segment string) int {
	for _, m := range v.named(nbdb.LogicalSwitchTable, segment) {
		if n, err := strconv.Atoi(m.(*nbdb.LogicalSwitch).ExternalIDs[neutronMTU]); err == nil {
			return n
		}
	}
	return 0
}

// smaller of two of which 0 means none.
func smaller(a, b int) int {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// Routers are all that there are, ours and others', sorted by name; while the
// database cannot be reached, those that there were.
func (f *Fabric) Routers() []Router {
	v := f.current().view()
	var out []Router
	for _, m := range v.all(nbdb.LogicalRouterTable) {
		out = append(out, v.router(f.owner, m.(*nbdb.LogicalRouter)))
	}
	slices.SortFunc(out, func(a, b Router) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Router is the one of that name; if there are several, ours.
func (f *Fabric) Router(name string) (Router, bool) {
	v := f.current().view()
	rows := v.named(nbdb.LogicalRouterTable, name)
	if len(rows) == 0 {
		return Router{}, false
	}
	slices.SortFunc(rows, func(x, y model.Model) int { return compareOwned(f.owner, x, y) })
	return v.router(f.owner, rows[0].(*nbdb.LogicalRouter)), true
}
