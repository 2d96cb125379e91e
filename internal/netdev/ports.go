package netdev

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/ovn/vswitch"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// ErrAway is returned while the node's switch database does not answer.
var ErrAway = errors.New("the node's Open vSwitch database does not answer: is openvswitch running?")

// NewPort is a port that shall be.
type NewPort struct {
	Bridge, Name string
	// Internal makes an interface of the switch itself instead of taking one
	// of the kernel; MAC is then its address.
	Internal bool
	MAC      string
	// IDs are external_ids that shall be so; others stay as they are.
	IDs map[string]string
}

// Add makes the port be as p says and reports whether it had to be made; if that
// failed, whether it may have been: what was sent is done though ctx ended before
// the answer came. Ports of the same owner for the same iface-id under another
// name go in the same transaction: two of them would fight for the port.
func (s *Switch) Add(ctx context.Context, p NewPort) (made bool, err error) {
	t, err := s.transaction()
	if err != nil {
		return false, err
	}
	for _, name := range s.rivals(p) {
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

// Identify writes external_ids of a port that is there; others stay as they are.
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

// rivals are ports for p's iface-id with another name.
func (s *Switch) rivals(p NewPort) []string {
	var names []string
	for _, other := range s.Ports(plug.KeyIfaceID, p.IDs[plug.KeyIfaceID]) {
		if other.Name != p.Name && other.IDs[plug.KeyOwner] == p.IDs[plug.KeyOwner] {
			names = append(names, other.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Remove takes the port away; that it is not there is no error.
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

// transaction gathers operations. It asks the database itself what there is,
// because what is seen may be older than what we did a moment ago.
type transaction struct {
	c    client.Client
	ops  []ovsdb.Operation
	must []int // operations that must match exactly one row
}

func (s *Switch) transaction() (*transaction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		return nil, ErrAway
	}
	return &transaction{c: s.live}, nil
}

func named(name string) []ovsdb.Condition {
	return []ovsdb.Condition{ovsdb.NewCondition("name", ovsdb.ConditionEqual, name)}
}

func (t *transaction) find(ctx context.Context, name string) (bool, error) {
	uuids, err := t.ports(ctx, name)
	return len(uuids) > 0, err
}

func (t *transaction) ports(ctx context.Context, name string) ([]ovsdb.UUID, error) {
	op := ovsdb.Operation{Op: ovsdb.OperationSelect, Table: vswitch.PortTable, Where: named(name), Columns: []string{"_uuid"}}
	results, err := t.c.Transact(ctx, op)
	if err == nil {
		_, err = ovsdb.CheckOperationResults(results, []ovsdb.Operation{op})
	}
	if err != nil {
		return nil, fmt.Errorf("look for port %s: %w", name, err)
	}
	var uuids []ovsdb.UUID
	for _, row := range results[0].Rows {
		if uuid, ok := row["_uuid"].(ovsdb.UUID); ok {
			uuids = append(uuids, uuid)
		}
	}
	return uuids, nil
}

// drop takes the port out of its bridge; the database then collects it.
func (t *transaction) drop(ctx context.Context, name string) error {
	uuids, err := t.ports(ctx, name)
	if err != nil {
		return err
	}
	for _, uuid := range uuids {
		set := ovsdb.OvsSet{GoSet: []any{uuid}}
		t.ops = append(t.ops, ovsdb.Operation{
			Op: ovsdb.OperationMutate, Table: vswitch.BridgeTable,
			Where:     []ovsdb.Condition{ovsdb.NewCondition("ports", ovsdb.ConditionIncludes, set)},
			Mutations: []ovsdb.Mutation{*ovsdb.NewMutation("ports", ovsdb.MutateOperationDelete, set)},
		})
	}
	return nil
}

func (t *transaction) insert(p NewPort) {
	iface := ovsdb.Row{"name": p.Name, "external_ids": ovsMap(p.IDs)}
	if p.Internal {
		iface["type"], iface["mac"] = "internal", p.MAC
	}
	port := ovsdb.Row{"name": p.Name, "interfaces": ovsdb.UUID{GoUUID: "newiface"}}
	t.ops = append(t.ops,
		ovsdb.Operation{Op: ovsdb.OperationInsert, Table: vswitch.InterfaceTable, UUIDName: "newiface", Row: iface},
		ovsdb.Operation{Op: ovsdb.OperationInsert, Table: vswitch.PortTable, UUIDName: "newport", Row: port})
	// Without its link in the same transaction the port would be collected in silence.
	set := ovsdb.OvsSet{GoSet: []any{ovsdb.UUID{GoUUID: "newport"}}}
	t.one(ovsdb.Operation{
		Op: ovsdb.OperationMutate, Table: vswitch.BridgeTable, Where: named(p.Bridge),
		Mutations: []ovsdb.Mutation{*ovsdb.NewMutation("ports", ovsdb.MutateOperationInsert, set)},
	})
}

// change writes the ids one by one: ovn-controller has its own in the same column.
func (t *transaction) change(p NewPort) {
	keys := ovsdb.OvsSet{}
	for _, k := range slices.Sorted(maps.Keys(p.IDs)) {
		keys.GoSet = append(keys.GoSet, k)
	}
	t.one(ovsdb.Operation{
		Op: ovsdb.OperationMutate, Table: vswitch.InterfaceTable, Where: named(p.Name),
		Mutations: []ovsdb.Mutation{
			*ovsdb.NewMutation("external_ids", ovsdb.MutateOperationDelete, keys),
			*ovsdb.NewMutation("external_ids", ovsdb.MutateOperationInsert, ovsMap(p.IDs)),
		},
	})
	if p.Internal {
		t.one(ovsdb.Operation{Op: ovsdb.OperationUpdate, Table: vswitch.InterfaceTable, Where: named(p.Name), Row: ovsdb.Row{"mac": p.MAC}})
	}
}

func (t *transaction) one(op ovsdb.Operation) {
	t.must = append(t.must, len(t.ops))
	t.ops = append(t.ops, op)
}

func (t *transaction) commit(ctx context.Context) error {
	if len(t.ops) == 0 {
		return nil
	}
	results, err := t.c.Transact(ctx, t.ops...)
	if err != nil {
		return err
	}
	if _, err := ovsdb.CheckOperationResults(results, t.ops); err != nil {
		return err
	}
	for _, i := range t.must {
		if results[i].Count != 1 {
			return fmt.Errorf("no such row in table %s: is ovn-controller running on this node?", t.ops[i].Table)
		}
	}
	return nil
}

func ovsMap(m map[string]string) ovsdb.OvsMap {
	out := ovsdb.OvsMap{GoMap: map[any]any{}}
	for k, v := range m {
		out.GoMap[k] = v
	}
	return out
}

// check compares a port with what is seen of it.
func (s *Switch) check(want plug.SwitchPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		return ErrAway
	}
	have, ok := s.seen.named(want.Name)
	if !ok {
		return errors.New("the switch has no such interface")
	}
	for k, v := range want.IDs {
		if have.ExternalIDs[k] != v {
			return fmt.Errorf("external_ids:%s is %q, not %q", k, have.ExternalIDs[k], v)
		}
	}
	return nil
}
