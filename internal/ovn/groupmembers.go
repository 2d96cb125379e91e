package ovn

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// groupMembers knows in which port groups our ports are. Column Port_Group.ports is
// too large to replicate. groupMembers reads it once for each session, and then
// records the transactions that we commit.
type groupMembers struct {
	mu     sync.Mutex
	byPort map[string]map[string]bool // port groups by port, all UUIDs
}

func newGroupMembers() *groupMembers { return &groupMembers{byPort: map[string]map[string]bool{}} }

// read reads all port groups and keeps the memberships of our ports.
func (g *groupMembers) read(ctx context.Context, s *session) error {
	ops := []ovsdb.Operation{{
		Op: ovsdb.OperationSelect, Table: nbdb.PortGroupTable, Columns: []string{"_uuid", "ports"},
	}}
	results, err := s.Transact(ctx, ops...)
	if err != nil {
		return err
	}
	if _, err := ovsdb.CheckOperationResults(results, ops); err != nil {
		return fmt.Errorf("read port groups: %w", err)
	}
	ours := map[string]bool{}
	for uuid, m := range s.view().all(nbdb.LogicalSwitchPortTable) {
		_, _, ids := rows.Header(m)
		ours[uuid] = ids[rows.KeyOwner] == s.cluster
	}
	for _, row := range results[0].Rows {
		for _, group := range references(row["_uuid"]) {
			for _, port := range references(row["ports"]) {
				if ours[port] {
					g.join(rows.Membership{Port: port, Group: group})
				}
			}
		}
	}
	return nil
}

// references returns the UUIDs of a value in OVSDB's notation: one UUID or a set.
func references(v any) []string {
	switch v := v.(type) {
	case ovsdb.UUID:
		return []string{v.GoUUID}
	case ovsdb.OvsSet:
		var all []string
		for _, e := range v.GoSet {
			all = append(all, references(e)...)
		}
		return all
	}
	return nil
}

// of returns the UUIDs of the port groups that the port is in.
func (g *groupMembers) of(port string) map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.byPort[port])
}

func (g *groupMembers) join(s rows.Membership) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byPort[s.Port] == nil {
		g.byPort[s.Port] = map[string]bool{}
	}
	g.byPort[s.Port][s.Group] = true
}

func (g *groupMembers) leave(s rows.Membership) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.byPort[s.Port], s.Group)
}

// forget removes a deleted port.
func (g *groupMembers) forget(port string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.byPort, port)
}

// apply records the memberships of a committed plan. uuids has the UUIDs of its
// new rows by their names in the transaction.
func (g *groupMembers) apply(p *rows.Plan, uuids map[string]string) {
	real := func(s rows.Membership) rows.Membership {
		return rows.Membership{Port: cmp.Or(uuids[s.Port], s.Port), Group: cmp.Or(uuids[s.Group], s.Group)}
	}
	for _, s := range p.Left {
		g.leave(real(s))
	}
	for _, s := range p.Joined {
		g.join(real(s))
	}
}
