// Package rows says which rows of OVN's northbound database a unit wants, and
// which operations turn the rows that it has into those. It works on values
// only: it reads no database and no clock, and the same input gives the same
// output. Translate (this file) turns an intent.Want into rows; Diff (diff.go)
// compares them with the existing rows.
//
// Rows refer to one another by ref. Diff turns a ref into a UUID if the row exists,
// and into a name inside the transaction if it does not.
package rows

import (
	"fmt"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// ID identifies a row within its unit by the table and the row's purpose. It does not
// depend on the row's UUID.
type ID struct{ Table, Key string }

// ref refers to a row: an existing one by UUID, or a wanted one of the same unit.
type ref struct {
	uuid string
	row  ID
}

// Row is a row that a unit wants.
type Row struct {
	ID
	columns Columns
	// referrer is the row that must refer to this one. It is set for the tables in
	// referrers.
	referrer ref
	// groups are the port groups that a port is a member of, by name.
	groups map[string]ref
}

// Dependencies are the existing rows that a unit's rows depend on. A row that is not
// in a map does not exist.
type Dependencies struct {
	// Networks and Groups have the UUIDs of switches and port groups by name.
	Networks, Groups map[string]string
	// Routers has the routers by name.
	Routers map[string]RouterDependency
	// VLANs has the VLAN ids for the unit's ports that have a parent port, by
	// port name. A port is missing if all ids behind its parent are in use.
	VLANs map[string]int
	// Taken has the names that the unit wants for its rows but other owners use.
	Taken map[RowName]Owner
}

// RowName is a row's table and the value of its column "name".
type RowName struct{ Table, Name string }

// RouterDependency has the properties of an existing router that rows depend on.
type RouterDependency struct {
	UUID string
	// Ours is true if a unit of our cluster owns the router.
	Ours bool
	// LoadBalancers are the UUIDs of its load balancers.
	LoadBalancers []string
	// NeutronSubnet is the id of one of Neutron's subnets on it; empty if none.
	NeutronSubnet string
}

// Translate returns the rows that make w true for owner o, sorted by ID. The error is
// an intent.Stop if only a new spec helps; otherwise an intent.Wait if another row
// must exist first. The Wait has no time, because an event reports that row.
func Translate(o Owner, w intent.Want, d Dependencies) ([]Row, error) {
	t := &translation{Owner: o, Dependencies: d, rows: map[ID]Row{}}
	for _, r := range w.Routers {
		t.router(r)
	}
	for _, s := range w.Networks {
		t.network(s)
	}
	for _, g := range w.Groups {
		t.group(g)
	}
	for _, j := range w.RouterInterfaces {
		t.routerInterface(j)
	}
	for _, p := range w.Ports {
		t.port(p)
	}
	for _, r := range w.RoutePolicies {
		t.routePolicy(r)
	}
	return t.result()
}

// translation collects the rows of one unit, the first Stop and the first Wait.
type translation struct {
	Owner
	Dependencies
	rows map[ID]Row
	stop error
	wait error
}

func (t *translation) result() ([]Row, error) {
	if t.stop != nil {
		return nil, t.stop
	}
	if t.wait != nil {
		return nil, t.wait
	}
	rows := make([]Row, 0, len(t.rows))
	for _, r := range t.rows {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b Row) int { return a.Compare(b.ID) })
	return rows, nil
}

// stopFor records why only a new spec helps, unless a reason is recorded already.
func (t *translation) stopFor(reason, format string, args ...any) {
	if t.stop == nil {
		t.stop = intent.Stop{Reason: reason, Why: fmt.Sprintf(format, args...)}
	}
}

// waitFor records which row must exist first, unless a reason is recorded already. It
// returns an empty ref, for the caller to return.
func (t *translation) waitFor(reason, format string, args ...any) ref {
	if t.wait == nil {
		t.wait = intent.Wait{Reason: reason, For: fmt.Sprintf(format, args...)}
	}
	return ref{}
}

// add adds a row and checks that its name is free.
func (t *translation) add(r Row) {
	if _, twice := t.rows[r.ID]; twice {
		t.stopFor("NameTaken", "%s %q is wanted twice by %s", KindOf(r.Table), r.columns.name(), t.Unit)
	}
	if by, taken := t.Taken[RowName{r.Table, r.columns.name()}]; taken {
		t.stopFor("NameTaken", "a %s of the name %q is there already and belongs to %s: choose another name, or remove it",
			KindOf(r.Table), r.columns.name(), by)
	}
	t.rows[r.ID] = r
}

func (t *translation) router(r intent.Router) {
	key := prefixRouter + r.Name
	t.add(Row{ID: ID{nbdb.LogicalRouterTable, key}, columns: Columns{
		"name": r.Name, "external_ids": t.marks(key),
	}})
}

func (t *translation) network(s intent.Network) {
	key := prefixNetwork + s.Name
	t.add(Row{ID: ID{nbdb.LogicalSwitchTable, key}, columns: Columns{
		"name": s.Name, "other_config": pairs{}, "load_balancer": uuidsOf(t.Routers[s.LoadBalancersOf].LoadBalancers),
		"external_ids": t.marks(key),
	}})
}

func (t *translation) group(g intent.Group) {
	key := prefixGroup + g.Name
	t.add(Row{ID: ID{nbdb.PortGroupTable, key}, columns: Columns{
		"name": g.Name, "external_ids": t.marks(key),
	}})
}

// routerInterface adds a pair of ports: one on the switch, one on the router.
func (t *translation) routerInterface(j intent.RouterInterface) {
	router := t.refRouter(j.Router, j.Foreign)
	key := prefixInterface + j.NetworkPort
	t.add(Row{
		ID: ID{nbdb.LogicalSwitchPortTable, key}, referrer: t.refSwitch(j.Network),
		columns: Columns{
			"name": j.NetworkPort, "type": "router", "addresses": setOf(string(j.MAC)), "port_security": set{},
			"options": pairs{"router-port": j.RouterPort}, "parent_name": set{}, "tag": ints{},
			"external_ids": t.marks(key, KeyNetwork, j.Network),
		},
	})
	key = prefixInterface + j.RouterPort
	marks := t.marks(key, KeyNetwork, j.Network, KeyRouter, j.Router)
	if subnet := t.Routers[j.Router].NeutronSubnet; j.Foreign && subnet != "" {
		// Octavia's OVN provider looks up a subnet for each port of a router and
		// fails for the whole router if a port has none.
		marks[NeutronSubnets] = subnet
	}
	t.add(Row{
		ID: ID{nbdb.LogicalRouterPortTable, key}, referrer: router,
		columns: Columns{
			"name": j.RouterPort, "mac": string(j.MAC), "networks": setOf(texts(j.Addresses)...), "external_ids": marks,
		},
	})
}

// refSwitch returns a reference to the switch of that name: an existing one, or one
// that the unit wants. If there is neither, the translation waits for the switch.
func (t *translation) refSwitch(name string) ref {
	own := ID{nbdb.LogicalSwitchTable, prefixNetwork + name}
	if uuid, ok := t.Networks[name]; ok {
		return ref{uuid: uuid}
	}
	if _, ok := t.rows[own]; ok {
		return ref{row: own}
	}
	return t.waitFor("WaitingForNetwork", "the switch %s", name)
}

// refGroup does the same for port groups.
func (t *translation) refGroup(name string) ref {
	own := ID{nbdb.PortGroupTable, prefixGroup + name}
	if uuid, ok := t.Groups[name]; ok {
		return ref{uuid: uuid}
	}
	if _, ok := t.rows[own]; ok {
		return ref{row: own}
	}
	return t.waitFor("WaitingForGroup", "the port group %s", name)
}

// refRouter does the same for routers. It refuses a router that is not our cluster's
// unless foreign is set.
func (t *translation) refRouter(name string, foreign bool) ref {
	own := ID{nbdb.LogicalRouterTable, prefixRouter + name}
	if r, ok := t.Routers[name]; ok {
		if !foreign && !r.Ours {
			t.stopFor("NotOurs", "router %s belongs to somebody else: only a port may be added to it", name)
		}
		return ref{uuid: r.UUID}
	}
	if _, ok := t.rows[own]; ok {
		return ref{row: own}
	}
	return t.waitFor("WaitingForRouter", "the router %s", name)
}
