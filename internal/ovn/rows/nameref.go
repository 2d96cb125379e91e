package rows

import (
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// NameRef is a row that a want names. Own is true if the unit wants the row itself,
// false if it refers to a row of another owner.
type NameRef struct {
	RowName
	Own bool
}

// NameRefs returns all rows that a want names, in no order, some perhaps twice.
func NameRefs(w intent.Want) []NameRef {
	var m []NameRef
	own := func(table, name string) { m = append(m, NameRef{RowName{table, name}, true}) }
	other := func(table, name string) {
		if name != "" {
			m = append(m, NameRef{RowName{table, name}, false})
		}
	}
	for _, r := range w.Routers {
		own(nbdb.LogicalRouterTable, r.Name)
	}
	for _, s := range w.Networks {
		own(nbdb.LogicalSwitchTable, s.Name)
		other(nbdb.LogicalRouterTable, s.LoadBalancersOf)
	}
	for _, g := range w.Groups {
		own(nbdb.PortGroupTable, g.Name)
	}
	for _, j := range w.RouterInterfaces {
		own(nbdb.LogicalSwitchPortTable, j.NetworkPort)
		own(nbdb.LogicalRouterPortTable, j.RouterPort)
		other(nbdb.LogicalSwitchTable, j.Network)
		other(nbdb.LogicalRouterTable, j.Router)
	}
	for _, p := range w.Ports {
		own(nbdb.LogicalSwitchPortTable, p.Name)
		other(nbdb.LogicalSwitchTable, p.Network)
		other(nbdb.LogicalSwitchPortTable, p.Parent)
		for _, g := range p.Groups {
			other(nbdb.PortGroupTable, g)
		}
	}
	for _, r := range w.RoutePolicies {
		other(nbdb.LogicalRouterTable, r.Router)
		other(nbdb.PortGroupTable, r.From)
	}
	return m
}
