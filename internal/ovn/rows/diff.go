package rows

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// Existing is a row that a unit has in the database.
type Existing struct {
	ID
	UUID    string
	Columns Columns
	// InGroups are the UUIDs of the port groups that the port is known to be in.
	InGroups map[string]bool
}

// Parent returns the parent port and the VLAN id of a switch port: empty and 0 if it
// has none.
func (e Existing) Parent() (port string, vlan int) {
	parents, _ := e.Columns["parent_name"].(set)
	tags, _ := e.Columns["tag"].(ints)
	if len(parents) == 1 && len(tags) == 1 {
		return parents[0], tags[0]
	}
	return "", 0
}

// RecordedGroups returns the names of the port groups that a port's row records.
func (e Existing) RecordedGroups() []string { return RecordedGroups(e.Columns.ids()) }

// IsPort returns whether the row was made for the unit's port of that name.
func (e Existing) IsPort(name string) bool {
	return e.ID == ID{nbdb.LogicalSwitchPortTable, prefixPort + name}
}

// Plan has the operations that turn a unit's existing rows into the wanted ones.
type Plan struct {
	// Ops are the operations, in order.
	Ops []Op
	// Changed counts the rows and memberships that change.
	Changed int
	// Joined and Left are the memberships that the plan adds and removes.
	Joined, Left []Membership
}

// Op is one operation, and how to judge its result.
type Op struct {
	ovsdb.Operation
	// MustMatch is true if the operation has failed when it matched no row.
	MustMatch bool
	// Err is the error to return if the server refuses this operation; nil to return
	// the server's own error.
	Err error
}

// Membership says that a port is in a port group. Both are UUIDs, or, for new rows,
// names inside the transaction.
type Membership struct{ Port, Group string }

// Names makes the names of new rows, which are unique inside one transaction.
type Names int

func (n *Names) next() string {
	*n++
	return "row" + strconv.Itoa(int(*n))
}

// Compare orders IDs by table, then by key.
func (a ID) Compare(b ID) int {
	return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Key, b.Key))
}

// Diff returns the plan that turns have into want. groups has the UUIDs of existing
// port groups by name. n makes the names of the transaction's new rows.
//
// Deletions come first, so that one transaction can delete a name and use it
// again; then insertions, then updates and memberships.
func Diff(have []Existing, want []Row, groups map[string]string, n *Names) *Plan {
	d := &difference{Plan: &Plan{}, have: map[ID]Existing{}, names: map[ID]string{}, groups: groups}
	d.remove(d.index(have, want))
	for _, w := range want {
		if _, there := d.have[w.ID]; !there {
			d.names[w.ID] = n.next()
			d.insert(w)
		}
	}
	for _, w := range want {
		if h, there := d.have[w.ID]; there {
			d.update(h, w)
		}
		d.members(w)
	}
	return d.Plan
}

type difference struct {
	*Plan
	have   map[ID]Existing
	names  map[ID]string
	groups map[string]string
}

// index matches existing rows with wanted ones, and returns the rows to delete. Rows
// match by ID, or by name if another client has changed a row's external_ids. If two
// rows match the same wanted row, the second one is deleted.
func (d *difference) index(have []Existing, want []Row) []Existing {
	wanted := map[ID]bool{}
	byName := map[RowName]ID{}
	for _, w := range want {
		wanted[w.ID] = true
		byName[RowName{w.Table, w.columns.name()}] = w.ID
	}
	slices.SortFunc(have, func(a, b Existing) int { return cmp.Or(a.Compare(b.ID), cmp.Compare(a.UUID, b.UUID)) })
	var left, gone []Existing
	for _, h := range have {
		if _, twice := d.have[h.ID]; twice || !wanted[h.ID] {
			left = append(left, h)
			continue
		}
		d.have[h.ID] = h
	}
	for _, h := range left {
		known, ok := byName[RowName{h.Table, h.Columns.name()}]
		if _, twice := d.have[known]; twice || !ok {
			gone = append(gone, h)
			continue
		}
		d.have[known] = h
	}
	return gone
}

// remove deletes rows. It first deletes the rows that exist only while another row
// refers to them, because a switch or router must be empty when it is deleted.
func (d *difference) remove(gone []Existing) {
	for _, h := range gone {
		if parent, ok := referrers[h.Table]; ok {
			d.Changed++
			d.unlink(parent, h.UUID)
		}
	}
	for _, h := range gone {
		if _, ok := referrers[h.Table]; ok {
			continue
		}
		d.Changed++
		if column, ok := mustBeEmpty[h.Table]; ok {
			d.guardEmpty(h, column)
		}
		d.Ops = append(d.Ops, Op{Operation: ovsdb.Operation{Op: ovsdb.OperationDelete, Table: h.Table, Where: byUUID(h.UUID)}})
	}
}

// referrer is the column of another table that refers to a row. ovsdb-server(7)
// deletes a row of a non-root table when no row refers to it.
type referrer struct{ table, column string }

var referrers = map[string]referrer{
	nbdb.LogicalSwitchPortTable:   {nbdb.LogicalSwitchTable, "ports"},
	nbdb.LogicalRouterPortTable:   {nbdb.LogicalRouterTable, "ports"},
	nbdb.LogicalRouterPolicyTable: {nbdb.LogicalRouterTable, "policies"},
	nbdb.LogicalRouterRouteTable:  {nbdb.LogicalRouterTable, "static_routes"},
}

// mustBeEmpty has the column of references that must be empty before a row is
// deleted. Otherwise the server would also delete the rows that it refers to, even
// those of others.
var mustBeEmpty = map[string]string{
	nbdb.LogicalSwitchTable: "ports",
	nbdb.LogicalRouterTable: "ports",
}

// uniqueByGuard has the tables whose schema allows two rows with the same name.
var uniqueByGuard = map[string]bool{nbdb.LogicalSwitchTable: true, nbdb.LogicalRouterTable: true}

func (d *difference) insert(w Row) {
	d.Changed++
	if uniqueByGuard[w.Table] {
		d.guardName(w)
	}
	d.guardTag(w, Columns{})
	fresh := ovsdb.Row{}
	for column, v := range w.columns {
		if !isDefault(v) {
			fresh[column] = wire(v)
		}
	}
	d.Ops = append(d.Ops, Op{Operation: ovsdb.Operation{
		Op: ovsdb.OperationInsert, Table: w.Table, Row: fresh, UUIDName: d.names[w.ID],
	}})
	if parent, ok := referrers[w.Table]; ok {
		d.link(parent, w.referrer, d.names[w.ID])
	}
}

func (d *difference) update(h Existing, w Row) {
	changed := ovsdb.Row{}
	for column, v := range w.columns {
		if !reflect.DeepEqual(v, h.Columns[column]) {
			changed[column] = wire(v)
		}
	}
	if len(changed) == 0 {
		return
	}
	d.Changed++
	d.guardTag(w, h.Columns)
	d.Ops = append(d.Ops, Op{MustMatch: true, Operation: ovsdb.Operation{
		Op: ovsdb.OperationUpdate, Table: w.Table, Row: changed, Where: byUUID(h.UUID),
	}})
	if parent, ok := referrers[w.Table]; ok && changesReferrer(h, w) {
		d.unlink(parent, h.UUID)
		d.link(parent, w.referrer, h.UUID)
	}
}

// changesReferrer returns whether the wanted row belongs to another switch or
// router than the existing one. It compares the external_ids, since the columns
// of references are not replicated.
func changesReferrer(h Existing, w Row) bool {
	key := KeyRouter
	if w.Table == nbdb.LogicalSwitchPortTable {
		key = KeyNetwork
	}
	return h.Columns.ids()[key] != w.columns.ids()[key]
}

// members adds a port to its groups, and removes it from all other groups that it is
// known to be in. It adds the port again unless both the port's external_ids and the
// group show the membership.
func (d *difference) members(w Row) {
	if w.Table != nbdb.LogicalSwitchPortTable {
		return
	}
	h := d.have[w.ID]
	port := d.uuid(ref{row: w.ID})
	recorded := RecordedGroups(h.Columns.ids())
	wanted := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(w.groups)) {
		group := d.uuid(w.groups[name])
		wanted[group] = true
		if !h.InGroups[group] || !slices.Contains(recorded, name) {
			d.member(ovsdb.MutateOperationInsert, port, group)
		}
	}
	was := map[string]bool{}
	maps.Copy(was, h.InGroups)
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
	d.Changed++
	m := mutate(nbdb.PortGroupTable, byUUID(group), "ports", mutator, port)
	m.MustMatch = mutator == ovsdb.MutateOperationInsert
	d.Ops = append(d.Ops, m)
	if m.MustMatch {
		d.Joined = append(d.Joined, Membership{port, group})
		return
	}
	d.Left = append(d.Left, Membership{port, group})
}

func (d *difference) link(h referrer, to ref, child string) {
	m := mutate(h.table, byUUID(d.uuid(to)), h.column, ovsdb.MutateOperationInsert, child)
	m.MustMatch = true
	d.Ops = append(d.Ops, m)
}

// unlink removes the reference to a row from the row that has it. The condition lets
// the database find that row, because our record of it could be out of date.
func (d *difference) unlink(h referrer, child string) {
	where := []ovsdb.Condition{{
		Column: h.column, Function: ovsdb.ConditionIncludes, Value: ovsdb.UUID{GoUUID: child},
	}}
	d.Ops = append(d.Ops, mutate(h.table, where, h.column, ovsdb.MutateOperationDelete, child))
}

// uuid returns the row's UUID, or its name inside the transaction.
func (d *difference) uuid(r ref) string {
	if r.uuid != "" {
		return r.uuid
	}
	if h, ok := d.have[r.row]; ok {
		return h.UUID
	}
	return d.names[r.row]
}

// Rank orders the plans of one transaction: 0 for plans that delete no row, 1 for
// those that delete rows, 2 for those that delete a router. A switch must be empty
// when it is deleted, and it has the peers of router ports.
func (p *Plan) Rank() int {
	rank := 0
	for _, o := range p.Ops {
		if o.Op == ovsdb.OperationDelete {
			rank = max(rank, 1)
			if o.Table == nbdb.LogicalRouterTable {
				rank = 2
			}
		}
	}
	return rank
}
