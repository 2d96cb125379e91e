package ovn

import (
	"strings"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// Our keys in external_ids. A row is ours if it bears the owner's, and never
// because it bears nobody else's.
const (
	keyOwner   = "isthmus-owner"
	keyUnit    = "isthmus-unit"
	keyKey     = "isthmus-key"     // the row within the unit
	keySegment = "isthmus-segment" // of a port: the switch's name
	keyRouter  = "isthmus-router"  // of a router's port, policy or route: the router's name
	keyGroups  = "isthmus-groups"  // of a port: its groups, with blanks between
)

// Neutron's keys that we read.
const (
	neutronNetwork = "neutron:network_name"
	neutronSubnets = "neutron:subnet_ids"
	neutronMTU     = "neutron:mtu"
	neutronServer  = "neutron:device_id"
	// a router's port to its external network, and the mark on that port
	neutronGateway  = "neutron:gw_port_id"
	neutronLeadsOut = "neutron:is_ext_gw"
)

// The kinds of rows begin their keys.
const (
	kindSegment = "segment/"
	kindRouter  = "router/"
	kindJoin    = "join/"
	kindPort    = "port/"
	kindGroup   = "group/"
	kindReroute = "reroute/"
	kindRoute   = "route/"
)

// holder is whose a row is.
type holder struct {
	owner string
	unit  intent.Unit
}

func (h holder) marks(key string, more ...string) pairs {
	p := pairs{keyOwner: h.owner, keyUnit: string(h.unit), keyKey: key}
	for i := 0; i+1 < len(more); i += 2 {
		p[more[i]] = more[i+1]
	}
	return p
}

func holderOf(ids map[string]string) holder {
	return holder{ids[keyOwner], intent.Unit(ids[keyUnit])}
}

// String says whose a row is, for people.
func (h holder) String() string {
	switch {
	case h.owner == "":
		return "somebody else, it is not marked as Isthmus's"
	case h.unit == "":
		return "cluster " + h.owner
	}
	return string(h.unit) + " of cluster " + h.owner
}

// header is what all rows have.
func header(m model.Model) (uuid, name string, ids map[string]string) {
	switch r := m.(type) {
	case *nbdb.LogicalSwitch:
		return r.UUID, r.Name, r.ExternalIDs
	case *nbdb.LogicalSwitchPort:
		return r.UUID, r.Name, r.ExternalIDs
	case *nbdb.LogicalRouter:
		return r.UUID, r.Name, r.ExternalIDs
	case *nbdb.LogicalRouterPort:
		return r.UUID, r.Name, r.ExternalIDs
	case *nbdb.LogicalRouterPolicy:
		return r.UUID, "", r.ExternalIDs
	case *nbdb.LogicalRouterRoute:
		return r.UUID, "", r.ExternalIDs
	case *nbdb.PortGroup:
		return r.UUID, r.Name, r.ExternalIDs
	}
	return "", "", nil
}

func recordedGroups(ids map[string]string) []string { return strings.Fields(ids[keyGroups]) }
