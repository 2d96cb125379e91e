package ovn

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/model"
	libovsdb "github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
	"github.com/isthmus-cni/isthmus/internal/ovsdb"
)

// tables are those in which a unit can have rows.
var tables = []string{
	nbdb.LogicalSwitchTable, nbdb.LogicalSwitchPortTable, nbdb.LogicalRouterTable,
	nbdb.LogicalRouterPortTable, nbdb.LogicalRouterPolicyTable, nbdb.LogicalRouterRouteTable, nbdb.PortGroupTable,
}

// view reads the replica of the database. For a single unit it reads by index,
// never whole tables, so that a unit's cost does not grow with the number of
// others. It keeps the first error, for the caller to check at the end.
type view struct {
	session *ovsdb.Session
	err     error
}

// find returns the rows that meet a condition; none if they cannot be read.
func (v *view) find(table string, c libovsdb.Condition) []model.Model {
	found, err := v.session.Table(table).RowsByCondition([]libovsdb.Condition{c})
	if err != nil {
		v.err = cmp.Or(v.err, fmt.Errorf("read %s: %w", table, err))
	}
	return slices.Collect(maps.Values(found))
}

// named returns the rows of a table that have that name.
func (v *view) named(table, name string) []model.Model {
	return v.find(table, libovsdb.Condition{Column: "name", Function: libovsdb.ConditionEqual, Value: name})
}

// marked returns the rows of a table whose external_ids have key with that value.
func (v *view) marked(table, key, value string) []model.Model {
	return v.find(table, libovsdb.Condition{
		Column: "external_ids", Function: libovsdb.ConditionIncludes,
		Value: libovsdb.OvsMap{GoMap: map[any]any{key: value}},
	})
}

// all returns a whole table by UUID. The caller must not change its rows.
func (v *view) all(table string) map[string]model.Model { return v.session.Table(table).RowsShallow() }

// rowsOf returns the rows of one unit.
func (v *view) rowsOf(o rows.Owner) []rows.Existing {
	var found []rows.Existing
	for _, table := range tables {
		for _, m := range v.marked(table, rows.KeyUnit, string(o.Unit)) {
			uuid, _, ids := rows.Header(m)
			if rows.OwnerOf(ids) == o {
				id := rows.ID{Table: table, Key: ids[rows.KeyRow]}
				found = append(found, rows.Existing{ID: id, UUID: uuid, Columns: rows.ColumnsOf(m)})
			}
		}
	}
	return found
}

// dependencies returns the existing rows that a want refers to, and those of its
// names that other owners use. It sets no VLAN ids.
func (v *view) dependencies(o rows.Owner, w intent.Want, existing []rows.Existing) rows.Dependencies {
	d := rows.Dependencies{
		Networks: map[string]string{}, Groups: map[string]string{},
		Routers: map[string]rows.RouterDependency{}, Taken: map[rows.RowName]rows.Owner{},
	}
	for _, n := range rows.NameRefs(w) {
		v.lookup(o, n, d)
	}
	for _, r := range existing {
		for _, g := range r.RecordedGroups() {
			v.lookup(o, rows.NameRef{RowName: rows.RowName{Table: nbdb.PortGroupTable, Name: g}}, d)
		}
	}
	return d
}

// lookup adds one named row to d. The schema allows several switches or routers
// with the same name; lookup prefers the cluster's own.
func (v *view) lookup(o rows.Owner, n rows.NameRef, d rows.Dependencies) {
	found := v.named(n.Table, n.Name)
	slices.SortFunc(found, func(a, b model.Model) int { return compareOwned(o.Cluster, a, b) })
	for _, m := range found {
		if _, _, ids := rows.Header(m); n.Own && rows.OwnerOf(ids) != o {
			d.Taken[n.RowName] = rows.OwnerOf(ids)
		}
	}
	if len(found) == 0 {
		return
	}
	switch r := found[0].(type) {
	case *nbdb.LogicalSwitch:
		d.Networks[n.Name] = r.UUID
	case *nbdb.PortGroup:
		d.Groups[n.Name] = r.UUID
	case *nbdb.LogicalRouter:
		d.Routers[n.Name] = rows.RouterDependency{
			UUID: r.UUID, Ours: r.ExternalIDs[rows.KeyOwner] == o.Cluster, LoadBalancers: r.LoadBalancer, NeutronSubnet: v.neutronSubnet(r),
		}
	}
}

// compareOwned orders rows: the cluster's own ones first, then by UUID.
func compareOwned(cluster string, a, b model.Model) int {
	rank := func(ids map[string]string) int {
		if ids[rows.KeyOwner] == cluster {
			return 0
		}
		return 1
	}
	uuidOfA, _, idsOfA := rows.Header(a)
	uuidOfB, _, idsOfB := rows.Header(b)
	return cmp.Or(cmp.Compare(rank(idsOfA), rank(idsOfB)), cmp.Compare(uuidOfA, uuidOfB))
}
