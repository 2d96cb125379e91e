package ovn

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// portsLeftAgain is when to look whether a switch or router is empty: what is
// on a switch is not watched.
const portsLeftAgain = 5 * time.Second

func byUUID(uuid string) []ovsdb.Condition {
	return []ovsdb.Condition{{Column: "_uuid", Function: ovsdb.ConditionEqual, Value: ovsdb.UUID{GoUUID: uuid}}}
}

func byName(name string) []ovsdb.Condition {
	return []ovsdb.Condition{{Column: "name", Function: ovsdb.ConditionEqual, Value: name}}
}

func mutate(table string, where []ovsdb.Condition, column string, m ovsdb.Mutator, uuid string) op {
	return op{Operation: ovsdb.Operation{
		Op: ovsdb.OperationMutate, Table: table, Where: where,
		Mutations: []ovsdb.Mutation{{Column: column, Mutator: m, Value: wire(uuids{uuid})}},
	}}
}

// guardName makes the transaction fail if a row of that name is there, as the
// database itself does for the tables that have an index.
func (d *difference) guardName(w row) {
	now := 0
	name := w.columns.name()
	d.ops = append(d.ops, op{
		Operation: ovsdb.Operation{
			Op: ovsdb.OperationWait, Table: w.table, Timeout: &now, Where: byName(name),
			Columns: []string{"name"}, Until: "!=", Rows: []ovsdb.Row{{"name": name}},
		},
		refused: fmt.Errorf("a row %s has just appeared in %s", name, w.table),
	})
}

// errTagTaken says that another port has just got the VLAN id.
var errTagTaken = errors.New("another port behind the same one has just got the VLAN id")

// guardTag makes the transaction fail if another port has the VLAN id that this
// one is about to get: somebody else may have chosen it at the same time.
func (d *difference) guardTag(w row, had columns) {
	parent, tag := w.columns["parent_name"], w.columns["tag"]
	if blank(parent) || reflect.DeepEqual(parent, had["parent_name"]) && reflect.DeepEqual(tag, had["tag"]) {
		return
	}
	now := 0
	d.ops = append(d.ops, op{
		Operation: ovsdb.Operation{
			Op: ovsdb.OperationWait, Table: w.table, Timeout: &now,
			Where: []ovsdb.Condition{
				{Column: "parent_name", Function: ovsdb.ConditionEqual, Value: wire(parent)},
				{Column: "tag", Function: ovsdb.ConditionEqual, Value: wire(tag)},
			},
			Columns: []string{"parent_name", "tag"}, Until: "!=",
			Rows: []ovsdb.Row{{"parent_name": wire(parent), "tag": wire(tag)}},
		},
		refused: errTagTaken,
	})
}

// guardEmpty makes the transaction fail if the row still holds others'.
func (d *difference) guardEmpty(h had, column string) {
	now := 0
	d.ops = append(d.ops, op{
		Operation: ovsdb.Operation{
			Op: ovsdb.OperationWait, Table: h.table, Timeout: &now, Where: byUUID(h.uuid),
			Columns: []string{column}, Until: "==", Rows: []ovsdb.Row{{column: wire(uuids{})}},
		},
		refused: intent.Wait{
			Reason: "PortsLeft", After: portsLeftAgain,
			For: fmt.Sprintf("all ports of the %s %s to go", what(h.table), h.columns.name()),
		},
	})
}

// what is a table's row for people: "logical switch port".
func what(table string) string { return strings.ToLower(strings.ReplaceAll(table, "_", " ")) }
