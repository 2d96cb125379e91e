package rows

import (
	"strings"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// Our keys in external_ids. A row is ours if, and only if, KeyOwner is our cluster's
// name.
const (
	KeyOwner   = "isthmus-owner"
	KeyUnit    = "isthmus-unit"
	KeyRow     = "isthmus-key"     // ID.Key
	KeyNetwork = "isthmus-segment" // on ports: the switch's name
	KeyRouter  = "isthmus-router"  // on router ports, policies and routes: the router's name
	KeyGroups  = "isthmus-groups"  // on ports: the port groups' names, separated by spaces
)

// Neutron's keys in external_ids that we read.
const (
	NeutronNetwork = "neutron:network_name"
	NeutronSubnets = "neutron:subnet_ids"
	NeutronMTU     = "neutron:mtu"
	NeutronDevice  = "neutron:device_id"
	// NeutronGatewayPort is on a router: the id of its port on the external network.
	// NeutronExternal is on that port.
	NeutronGatewayPort = "neutron:gw_port_id"
	NeutronExternal    = "neutron:is_ext_gw"
)

// ID.Key begins with the row's purpose.
const (
	prefixNetwork   = "segment/"
	prefixRouter    = "router/"
	prefixInterface = "join/"
	prefixPort      = "port/"
	prefixGroup     = "group/"
	prefixPolicy    = "reroute/"
	prefixRoute     = "route/"
)

// Owner is who has a row: a unit of a cluster.
type Owner struct {
	Cluster string
	Unit    intent.Unit
}

// marks returns the external_ids of a row with that ID.Key; more are further
// pairs of key and value.
func (o Owner) marks(key string, more ...string) pairs {
	p := pairs{KeyOwner: o.Cluster, KeyUnit: string(o.Unit), KeyRow: key}
	for i := 0; i+1 < len(more); i += 2 {
		p[more[i]] = more[i+1]
	}
	return p
}

// OwnerOf returns the owner that a row's external_ids name. It is the zero Owner for
// rows that Isthmus did not make.
func OwnerOf(ids map[string]string) Owner {
	return Owner{ids[KeyOwner], intent.Unit(ids[KeyUnit])}
}

// String names the owner for messages.
func (o Owner) String() string {
	switch {
	case o.Cluster == "":
		return "somebody else, it is not marked as Isthmus's"
	case o.Unit == "":
		return "cluster " + o.Cluster
	}
	return string(o.Unit) + " of cluster " + o.Cluster
}

// Header returns the columns that all tables have. name is empty in tables without
// names; all are empty for nil and for other models.
func Header(m model.Model) (uuid, name string, ids map[string]string) {
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

// RecordedGroups returns the names of the port groups that a port's external_ids
// record.
func RecordedGroups(ids map[string]string) []string { return strings.Fields(ids[KeyGroups]) }

// IsPort returns whether a row of Logical_Switch_Port was made for an
// intent.Port, not for a router interface.
func IsPort(ids map[string]string) bool { return strings.HasPrefix(ids[KeyRow], prefixPort) }
