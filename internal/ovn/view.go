package ovn

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/model"
	libovsdb "github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
	"github.com/isthmus-cni/isthmus/internal/ovsdb"
)

// tables are those whose rows a unit can own.
var tables = []string{
	nbdb.LogicalSwitchTable, nbdb.LogicalSwitchPortTable, nbdb.LogicalRouterTable,
	nbdb.LogicalRouterPortTable, nbdb.LogicalRouterPolicyTable, nbdb.LogicalRouterRouteTable, nbdb.PortGroupTable,
}

// view reads the replica of the database: by index, never by scanning, so that
// what a unit costs does not depend on how many others there are. It keeps the
// first error for whoever asks in the end.
type view struct {
	session *ovsdb.Session
	err     error
}

func (v *view) find(table string, c libovsdb.Condition) []model.Model {
	found, err := v.session.Table(table).RowsByCondition([]libovsdb.Condition{c})
	if err != nil {
		v.err = cmp.Or(v.err, fmt.Errorf("read %s: %w", table, err))
	}
	rows := make([]model.Model, 0, len(found))
	for _, m := range found {
		rows = append(rows, m)
	}
	return rows
}

func (v *view) named(table, name string) []model.Model {
	return v.find(table, libovsdb.Condition{Column: "name", Function: libovsdb.ConditionEqual, Value: name})
}

func (v *view) marked(table, key, value string) []model.Model {
	return v.find(table, libovsdb.Condition{
		Column: "external_ids", Function: libovsdb.ConditionIncludes,
		Value: libovsdb.OvsMap{GoMap: map[any]any{key: value}},
	})
}

// all are the rows of a table. They are shared: only to be read.
func (v *view) all(table string) map[string]model.Model { return v.session.Table(table).RowsShallow() }

// of are the rows of one unit.
func (v *view) of(h holder) []had {
	var rows []had
	for _, table := range tables {
		for _, m := range v.marked(table, keyUnit, string(h.unit)) {
			uuid, _, ids := header(m)
			if holderOf(ids) == h {
				rows = append(rows, had{id: id{table, ids[keyKey]}, uuid: uuid, columns: columnsOf(m)})
			}
		}
	}
	return rows
}

// around looks up what a want refers to, and what of that is somebody else's.
func (v *view) around(h holder, w intent.Want, have []had) around {
	a := around{
		switches: map[string]string{}, groups: map[string]string{},
		routers: map[string]surroundingRouter{}, taken: map[named]holder{},
	}
	for _, n := range mentions(w) {
		v.lookup(h, n, a)
	}
	for _, r := range have {
		for _, g := range recordedGroups(r.columns.ids()) {
			v.lookup(h, mention{named: named{nbdb.PortGroupTable, g}}, a)
		}
	}
	return a
}

func (v *view) lookup(h holder, n mention, a around) {
	rows := v.named(n.table, n.name)
	// The database lets switches and routers share a name: ours goes first.
	slices.SortFunc(rows, func(x, y model.Model) int { return compareOwned(h.owner, x, y) })
	for _, m := range rows {
		if _, _, ids := header(m); n.wanted && holderOf(ids) != h {
			a.taken[n.named] = holderOf(ids)
		}
	}
	if len(rows) == 0 {
		return
	}
	switch r := rows[0].(type) {
	case *nbdb.LogicalSwitch:
		a.switches[n.name] = r.UUID
	case *nbdb.PortGroup:
		a.groups[n.name] = r.UUID
	case *nbdb.LogicalRouter:
		a.routers[n.name] = surroundingRouter{
			uuid: r.UUID, ours: r.ExternalIDs[keyOwner] == h.owner, balancers: r.LoadBalancer, subnet: v.subnet(r),
		}
	}
}

func compareOwned(owner string, x, y model.Model) int {
	rank := func(ids map[string]string) int {
		if ids[keyOwner] == owner {
			return 0
		}
		return 1
	}
	xu, _, xi := header(x)
	yu, _, yi := header(y)
	return cmp.Or(cmp.Compare(rank(xi), rank(yi)), cmp.Compare(xu, yu))
}
