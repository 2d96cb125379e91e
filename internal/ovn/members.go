package ovn

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// members knows which groups hold our ports. Port_Group.ports is not watched:
// it is read once for each connection and then kept up with what we send.
type members struct {
	mu   sync.Mutex
	port map[string]map[string]bool // groups by port, all UUIDs
}

func newMembers() *members { return &members{port: map[string]map[string]bool{}} }

// read asks the database once for all groups, and keeps what is ours.
func (m *members) read(ctx context.Context, s *session, owner string) error {
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
		_, _, ids := header(m)
		ours[uuid] = ids[keyOwner] == owner
	}
	for _, row := range results[0].Rows {
		for _, group := range references(row["_uuid"]) {
			for _, port := range references(row["ports"]) {
				if ours[port] {
					m.join(membership{port, group})
				}
			}
		}
	}
	return nil
}

// references are the UUIDs of a value as the protocol has it: one or a set.
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

func (m *members) of(port string) map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.port[port])
}

func (m *members) join(s membership) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.port[s.port] == nil {
		m.port[s.port] = map[string]bool{}
	}
	m.port[s.port][s.group] = true
}

func (m *members) leave(s membership) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.port[s.port], s.group)
}

// forget is for a port that is no more.
func (m *members) forget(port string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.port, port)
}
