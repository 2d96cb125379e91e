package netdev

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	libovsdb "github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/ovn/vswitch"
	"github.com/isthmus-cni/isthmus/internal/ovsdb"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// ErrNotConnected is returned while the node's switch database is not connected.
var ErrNotConnected = errors.New("the node's Open vSwitch database does not answer: is openvswitch running?")

// NewPort is a port to add or change.
type NewPort struct {
	Bridge, Name string
	// Internal makes the switch create the interface itself, with address MAC,
	// instead of using an existing link of the kernel.
	Internal bool
	MAC      string
	// IDs are the external_ids to set; other keys stay as they are.
	IDs map[string]string
}

// Add adds the port p, or changes the existing one. made is true if the port did not
// exist before. If err is not nil, made is true if the port may exist now: the switch
// may carry out a transaction although ctx ended before its answer. In the same
// transaction, Add removes the owner's other ports with the same iface-id, because
// OVN binds one interface only.
func (s *Switch) Add(ctx context.Context, p NewPort) (made bool, err error) {
	t, err := s.transaction()
	if err != nil {
		return false, err
	}
	for _, name := range s.otherPorts(p) {
		if err := t.drop(ctx, name); err != nil {
			return false, err
		}
	}
	have, err := t.find(ctx, p.Name)
	if err != nil {
		return false, err
	}
	if have {
		t.change(p)
	} else {
		t.insert(p)
	}
	if err := t.commit(ctx); err != nil {
		return !have, fmt.Errorf("add port %s to %s: %w", p.Name, p.Bridge, err)
	}
	return !have, nil
}

// Identify sets external_ids of an existing port; other keys stay as they are.
func (s *Switch) Identify(ctx context.Context, name string, ids map[string]string) error {
	t, err := s.transaction()
	if err != nil {
		return err
	}
	t.change(NewPort{Name: name, IDs: ids})
	if err := t.commit(ctx); err != nil {
		return fmt.Errorf("identify port %s: %w", name, err)
	}
	return nil
}

// otherPorts returns the names of the owner's other ports that have p's iface-id.
func (s *Switch) otherPorts(p NewPort) []string {
	var names []string
	for _, other := range s.Ports(plug.KeyIfaceID, p.IDs[plug.KeyIfaceID]) {
		if other.Name != p.Name && other.IDs[plug.KeyOwner] == p.IDs[plug.KeyOwner] {
			names = append(names, other.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Remove removes the port. A missing port is no error.
func (s *Switch) Remove(ctx context.Context, name string) error {
	t, err := s.transaction()
	if err != nil {
		return err
	}
	if err := t.drop(ctx, name); err != nil {
		return err
	}
	if err := t.commit(ctx); err != nil {
		return fmt.Errorf("remove port %s: %w", name, err)
	}
	return nil
}

// transaction collects operations. It looks for existing ports in the database,
// because the replica may not show our last changes yet.
type transaction struct {
	session  *ovsdb.Session
	ops      []libovsdb.Operation
	matching []int // operations that must match exactly one row
}

func (s *Switch) transaction() (*transaction, error) {
	session := s.session.Load()
	if session == nil {
		return nil, ErrNotConnected
	}
	return &transaction{session: session}, nil
}

func named(name string) []libovsdb.Condition {
	return []libovsdb.Condition{libovsdb.NewCondition("name", libovsdb.ConditionEqual, name)}
}

func (t *transaction) find(ctx context.Context, name string) (bool, error) {
	uuids, err := t.ports(ctx, name)
	return len(uuids) > 0, err
}

func (t *transaction) ports(ctx context.Context, name string) ([]libovsdb.UUID, error) {
	op := libovsdb.Operation{Op: libovsdb.OperationSelect, Table: vswitch.PortTable, Where: named(name), Columns: []string{"_uuid"}}
	results, err := t.session.Transact(ctx, op)
	if err == nil {
		_, err = libovsdb.CheckOperationResults(results, []libovsdb.Operation{op})
	}
	if err != nil {
		return nil, fmt.Errorf("look for port %s: %w", name, err)
	}
	var uuids []libovsdb.UUID
	for _, row := range results[0].Rows {
		if uuid, ok := row["_uuid"].(libovsdb.UUID); ok {
			uuids = append(uuids, uuid)
		}
	}
	return uuids, nil
}

// drop removes the port from its bridge. The database then deletes the port.
func (t *transaction) drop(ctx context.Context, name string) error {
	uuids, err := t.ports(ctx, name)
	if err != nil {
		return err
	}
	for _, uuid := range uuids {
		set := libovsdb.OvsSet{GoSet: []any{uuid}}
		t.ops = append(t.ops, libovsdb.Operation{
			Op: libovsdb.OperationMutate, Table: vswitch.BridgeTable,
			Where:     []libovsdb.Condition{libovsdb.NewCondition("ports", libovsdb.ConditionIncludes, set)},
			Mutations: []libovsdb.Mutation{*libovsdb.NewMutation("ports", libovsdb.MutateOperationDelete, set)},
		})
	}
	return nil
}

func (t *transaction) insert(p NewPort) {
	iface := libovsdb.Row{"name": p.Name, "external_ids": ovsMap(p.IDs)}
	if p.Internal {
		iface["type"], iface["mac"] = "internal", p.MAC
	}
	port := libovsdb.Row{"name": p.Name, "interfaces": libovsdb.UUID{GoUUID: "newiface"}}
	t.ops = append(t.ops,
		libovsdb.Operation{Op: libovsdb.OperationInsert, Table: vswitch.InterfaceTable, UUIDName: "newiface", Row: iface},
		libovsdb.Operation{Op: libovsdb.OperationInsert, Table: vswitch.PortTable, UUIDName: "newport", Row: port})
	// The database deletes a port that no bridge refers to at the end of the
	// transaction, without an error.
	set := libovsdb.OvsSet{GoSet: []any{libovsdb.UUID{GoUUID: "newport"}}}
	t.addMatching(libovsdb.Operation{
		Op: libovsdb.OperationMutate, Table: vswitch.BridgeTable, Where: named(p.Bridge),
		Mutations: []libovsdb.Mutation{*libovsdb.NewMutation("ports", libovsdb.MutateOperationInsert, set)},
	})
}

// change sets the ids one by one, because ovn-controller has its own ids in the same
// column.
func (t *transaction) change(p NewPort) {
	keys := libovsdb.OvsSet{}
	for _, k := range slices.Sorted(maps.Keys(p.IDs)) {
		keys.GoSet = append(keys.GoSet, k)
	}
	t.addMatching(libovsdb.Operation{
		Op: libovsdb.OperationMutate, Table: vswitch.InterfaceTable, Where: named(p.Name),
		Mutations: []libovsdb.Mutation{
			*libovsdb.NewMutation("external_ids", libovsdb.MutateOperationDelete, keys),
			*libovsdb.NewMutation("external_ids", libovsdb.MutateOperationInsert, ovsMap(p.IDs)),
		},
	})
	if p.Internal {
		t.addMatching(libovsdb.Operation{Op: libovsdb.OperationUpdate, Table: vswitch.InterfaceTable, Where: named(p.Name), Row: libovsdb.Row{"mac": p.MAC}})
	}
}

func (t *transaction) addMatching(op libovsdb.Operation) {
	t.matching = append(t.matching, len(t.ops))
	t.ops = append(t.ops, op)
}

func (t *transaction) commit(ctx context.Context) error {
	if len(t.ops) == 0 {
		return nil
	}
	results, err := t.session.Transact(ctx, t.ops...)
	if err != nil {
		return err
	}
	if _, err := libovsdb.CheckOperationResults(results, t.ops); err != nil {
		return err
	}
	for _, i := range t.matching {
		if results[i].Count != 1 {
			return fmt.Errorf("no such row in table %s: is ovn-controller running on this node?", t.ops[i].Table)
		}
	}
	return nil
}

func ovsMap(m map[string]string) libovsdb.OvsMap {
	out := libovsdb.OvsMap{GoMap: map[any]any{}}
	for k, v := range m {
		out.GoMap[k] = v
	}
	return out
}

// check returns an error if the replica shows the port differently or not at all.
func (s *Switch) check(want plug.SwitchPort) error {
	session := s.session.Load()
	if session == nil {
		return ErrNotConnected
	}
	have := interfaceNamed(session, want.Name)
	if have == nil {
		return errors.New("the switch has no such interface")
	}
	for k, v := range want.IDs {
		if have.ExternalIDs[k] != v {
			return fmt.Errorf("external_ids:%s is %q, not %q", k, have.ExternalIDs[k], v)
		}
	}
	return nil
}
