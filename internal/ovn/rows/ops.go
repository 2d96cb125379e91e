package rows

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// portsLeftAgain is the time after which to try again to delete a switch or router
// that still has ports. No event comes, because a switch's ports are not replicated.
const portsLeftAgain = 5 * time.Second

func byUUID(uuid string) []ovsdb.Condition {
	return []ovsdb.Condition{{Column: "_uuid", Function: ovsdb.ConditionEqual, Value: ovsdb.UUID{GoUUID: uuid}}}
}

func byName(name string) []ovsdb.Condition {
	return []ovsdb.Condition{{Column: "name", Function: ovsdb.ConditionEqual, Value: name}}
}

func mutate(table string, where []ovsdb.Condition, column string, m ovsdb.Mutator, uuid string) Op {
	return Op{Operation: ovsdb.Operation{
		Op: ovsdb.OperationMutate, Table: table, Where: where,
		Mutations: []ovsdb.Mutation{{Column: column, Mutator: m, Value: wire(uuids{uuid})}},
	}}
}

// guardName makes the transaction fail if a row of that name exists. The server does
// so only for tables that have an index.
func (d *difference) guardName(w Row) {
	now := 0
	name := w.columns.name()
	d.Ops = append(d.Ops, Op{
		Operation: ovsdb.Operation{
			Op: ovsdb.OperationWait, Table: w.Table, Timeout: &now, Where: byName(name),
			Columns: []string{"name"}, Until: "!=", Rows: []ovsdb.Row{{"name": name}},
		},
		Err: fmt.Errorf("a row %s has just appeared in %s", name, w.Table),
	})
}

// ErrVLANTaken is the error of a unit whose VLAN id another port got first.
var ErrVLANTaken = errors.New("another port behind the same one has just got the VLAN id")

// guardTag makes the transaction fail if another port has the VLAN id that this port
// is to get. Two clients may choose the same id at the same time.
func (d *difference) guardTag(w Row, had Columns) {
	parent, tag := w.columns["parent_name"], w.columns["tag"]
	if isDefault(parent) || reflect.DeepEqual(parent, had["parent_name"]) && reflect.DeepEqual(tag, had["tag"]) {
		return
	}
	now := 0
	d.Ops = append(d.Ops, Op{
		Operation: ovsdb.Operation{
			Op: ovsdb.OperationWait, Table: w.Table, Timeout: &now,
			Where: []ovsdb.Condition{
				{Column: "parent_name", Function: ovsdb.ConditionEqual, Value: wire(parent)},
				{Column: "tag", Function: ovsdb.ConditionEqual, Value: wire(tag)},
			},
			Columns: []string{"parent_name", "tag"}, Until: "!=",
			Rows: []ovsdb.Row{{"parent_name": wire(parent), "tag": wire(tag)}},
		},
		Err: ErrVLANTaken,
	})
}

// guardEmpty makes the transaction fail if the row still refers to other rows.
func (d *difference) guardEmpty(h Existing, column string) {
	now := 0
	d.Ops = append(d.Ops, Op{
		Operation: ovsdb.Operation{
			Op: ovsdb.OperationWait, Table: h.Table, Timeout: &now, Where: byUUID(h.UUID),
			Columns: []string{column}, Until: "==", Rows: []ovsdb.Row{{column: wire(uuids{})}},
		},
		Err: intent.Wait{
			Reason: "PortsLeft", After: portsLeftAgain,
			For: fmt.Sprintf("all ports of the %s %s to go", KindOf(h.Table), h.Columns.name()),
		},
	})
}

// KindOf returns the name for a row of the table in messages: "logical switch port".
func KindOf(table string) string { return strings.ToLower(strings.ReplaceAll(table, "_", " ")) }
