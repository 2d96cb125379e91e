package ovn

import (
	"fmt"
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
