package ovn

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// had is a row of a unit that is there.
type had struct {
	id
	uuid    string
	columns columns
	// member are the Port_Groups that hold the port, by UUID, as far as known.
	member map[string]bool
}

// plan is what makes the rows of one unit those that it wants.
type plan struct {
	unit    intent.Unit
	ops     []op
	changed int
	joined  []membership
	left    []membership
}

// op is one operation, with what must come of it.
type op struct {
	ovsdb.Operation
	// must is set if the operation has failed when it found no row.
	must bool
	// refused is what it means that the database refused just this one, if the
	// database's own words do not say it.
	refused error
}

// membership of a port in a group: UUIDs, or the names that they have inside
// the transaction.
type membership struct{ port, group string }

// names hands out names for rows inside one transaction.
type names int

func (n *names) next() string {
	*n++
	return "row" + strconv.Itoa(int(*n))
}

func (a id) compare(b id) int {
	return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(a.key, b.key))
}

// diff says what turns have into want. It reads no clock and no database; the
// same input gives the same operations. Groups are UUIDs by name.
//
// The order: what goes, what comes, what changes, who holds what. So a name can
// be given up and taken in one transaction; what nothing holds at its end goes.
func diff(have []had, want []row, groups map[string]string, n *names) *plan {
	d := &difference{plan: &plan{}, have: map[id]had{}, names: map[id]string{}, groups: groups}
	d.remove(d.index(have, want))
	for _, w := range want {
		if _, there := d.have[w.id]; !there {
			d.names[w.id] = n.next()
			d.insert(w)
		}
	}
	for _, w := range want {
		if h, there := d.have[w.id]; there {
			d.update(h, w)
		}
		d.members(w)
	}
	return d.plan
}

type difference struct {
	*plan
	have   map[id]had
	names  map[id]string
	groups map[string]string
}

// index keeps what is there for each row that is wanted, and gives back what
// must go. A row is known by its key; if somebody tampered with that, by its
// name; and there can be two.
func (d *difference) index(have []had, want []row) []had {
	wanted := map[id]bool{}
	byName := map[named]id{}
	for _, w := range want {
		wanted[w.id] = true
		byName[named{w.table, w.columns.name()}] = w.id
	}
	slices.SortFunc(have, func(a, b had) int { return cmp.Or(a.compare(b.id), cmp.Compare(a.uuid, b.uuid)) })
	var left, gone []had
	for _, h := range have {
		if _, twice := d.have[h.id]; twice || !wanted[h.id] {
			left = append(left, h)
			continue
		}
		d.have[h.id] = h
	}
	for _, h := range left {
		known, ok := byName[named{h.table, h.columns.name()}]
		if _, twice := d.have[known]; twice || !ok {
			gone = append(gone, h)
			continue
		}
		d.have[known] = h
	}
	return gone
}

// remove takes ports and policies out of what holds them before the rest goes:
// a switch or a router goes only when it is empty.
func (d *difference) remove(gone []had) {
	for _, h := range gone {
		if holder, ok := homes[h.table]; ok {
			d.changed++
			d.unlink(holder, h.uuid)
		}
	}
	for _, h := range gone {
		if _, ok := homes[h.table]; ok {
			continue
		}
		d.changed++
		if column, ok := mustBeEmpty[h.table]; ok {
			d.guardEmpty(h, column)
		}
		d.ops = append(d.ops, op{Operation: ovsdb.Operation{Op: ovsdb.OperationDelete, Table: h.table, Where: byUUID(h.uuid)}})
	}
}

// home is where the rows of a table live: in a set column of another table's
// row. A row that nothing holds is no more.
type home struct{ table, column string }

var homes = map[string]home{
	nbdb.LogicalSwitchPortTable:   {nbdb.LogicalSwitchTable, "ports"},
	nbdb.LogicalRouterPortTable:   {nbdb.LogicalRouterTable, "ports"},
	nbdb.LogicalRouterPolicyTable: {nbdb.LogicalRouterTable, "policies"},
	nbdb.LogicalRouterRouteTable:  {nbdb.LogicalRouterTable, "static_routes"},
}

// mustBeEmpty are the tables whose rows would take others' with them.
var mustBeEmpty = map[string]string{
	nbdb.LogicalSwitchTable: "ports",
	nbdb.LogicalRouterTable: "ports",
}

// uniqueByGuard are the tables whose names the database does not keep unique.
var uniqueByGuard = map[string]bool{nbdb.LogicalSwitchTable: true, nbdb.LogicalRouterTable: true}

func (d *difference) insert(w row) {
	d.changed++
	if uniqueByGuard[w.table] {
		d.guardName(w)
	}
	d.guardTag(w, columns{})
	fresh := ovsdb.Row{}
	for column, v := range w.columns {
		if !blank(v) {
			fresh[column] = wire(v)
		}
	}
	d.ops = append(d.ops, op{Operation: ovsdb.Operation{
		Op: ovsdb.OperationInsert, Table: w.table, Row: fresh, UUIDName: d.names[w.id],
	}})
	if holder, ok := homes[w.table]; ok {
		d.link(holder, w.home, d.names[w.id])
	}
}

func (d *difference) update(h had, w row) {
	changed := ovsdb.Row{}
	for column, v := range w.columns {
		if !reflect.DeepEqual(v, h.columns[column]) {
			changed[column] = wire(v)
		}
	}
	if len(changed) == 0 {
		return
	}
	d.changed++
	d.guardTag(w, h.columns)
	d.ops = append(d.ops, op{must: true, Operation: ovsdb.Operation{
		Op: ovsdb.OperationUpdate, Table: w.table, Row: changed, Where: byUUID(h.uuid),
	}})
	if holder, ok := homes[w.table]; ok && moved(h, w) {
		d.unlink(holder, h.uuid)
		d.link(holder, w.home, h.uuid)
	}
}

// moved compares what the rows say of their home: a port cannot be asked, and
// cannot be without the home that it was given.
func moved(h had, w row) bool {
	key := keyRouter
	if w.table == nbdb.LogicalSwitchPortTable {
		key = keySegment
	}
	return h.columns.ids()[key] != w.columns.ids()[key]
}

// members makes a port a member of its groups and of no other that it was
// recorded for. It is a member if the row says so and the group does.
func (d *difference) members(w row) {
	if w.table != nbdb.LogicalSwitchPortTable {
		return
	}
	h := d.have[w.id]
	port := d.uuid(ref{id: w.id})
	recorded := recordedGroups(h.columns.ids())
	wanted := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(w.groups)) {
		group := d.uuid(w.groups[name])
		wanted[group] = true
		if !h.member[group] || !slices.Contains(recorded, name) {
			d.member(ovsdb.MutateOperationInsert, port, group)
		}
	}
	was := map[string]bool{}
	maps.Copy(was, h.member)
	for _, name := range recorded {
		if group, ok := d.groups[name]; ok {
			was[group] = true
		}
	}
	for _, group := range slices.Sorted(maps.Keys(was)) {
		if !wanted[group] {
			d.member(ovsdb.MutateOperationDelete, port, group)
		}
	}
}

func (d *difference) member(mutator ovsdb.Mutator, port, group string) {
	d.changed++
	m := mutate(nbdb.PortGroupTable, byUUID(group), "ports", mutator, port)
	m.must = mutator == ovsdb.MutateOperationInsert
	d.ops = append(d.ops, m)
	if m.must {
		d.joined = append(d.joined, membership{port, group})
		return
	}
	d.left = append(d.left, membership{port, group})
}

func (d *difference) link(h home, to ref, child string) {
	m := mutate(h.table, byUUID(d.uuid(to)), h.column, ovsdb.MutateOperationInsert, child)
	m.must = true
	d.ops = append(d.ops, m)
}

// unlink asks the database who holds the row, rather than trust a record of it.
func (d *difference) unlink(h home, child string) {
	where := []ovsdb.Condition{{
		Column: h.column, Function: ovsdb.ConditionIncludes, Value: ovsdb.UUID{GoUUID: child},
	}}
	d.ops = append(d.ops, mutate(h.table, where, h.column, ovsdb.MutateOperationDelete, child))
}

// uuid is a row's, or the name that it has inside the transaction.
func (d *difference) uuid(r ref) string {
	if r.uuid != "" {
		return r.uuid
	}
	if h, ok := d.have[r.id]; ok {
		return h.uuid
	}
	return d.names[r.id]
}
