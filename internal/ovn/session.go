package ovn

import (
	"context"
	"time"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
	"github.com/isthmus-cni/isthmus/internal/ovsdb"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

const (
	// connectTimeout bounds one attempt: connect, read the schema and the tables.
	connectTimeout = 60 * time.Second
	// probeInterval is how often an idle connection is checked.
	probeInterval = 10 * time.Second
	// The pauses between two attempts to connect.
	shortestPause = 100 * time.Millisecond
	longestPause  = 5 * time.Second
)

// session is one connection: its replica, and the indexes that are derived from the
// replica.
type session struct {
	*ovsdb.Session
	cluster string // the cluster that our rows are marked with
	groups  *groupMembers
	parents *parentIndex
	vlans   *vlanAllocator
}

func (s *session) view() *view { return &view{session: s.Session} }

// keeper returns the Keeper that keeps f connected.
func (f *Fabric) keeper(o Options) ovsdb.Keeper {
	return ovsdb.Keeper{
		Options: ovsdb.Options{
			Database: "the OVN northbound database", Endpoints: o.Addresses, Log: o.Log,
			Model:   func() (model.ClientDBModel, error) { return nbdb.Model(rows.KeyUnit, rows.NeutronNetwork) },
			Columns: nbdb.Columns(), Timeout: connectTimeout, Probe: probeInterval,
			Backoff: retry.Backoff{First: shortestPause, Longest: longestPause},
		},
		Open: f.open,
	}
}

// open makes a session the current one. Changes between two sessions were not seen,
// so the watcher looks at everything again.
func (f *Fabric) open(ctx context.Context, connection *ovsdb.Session) error {
	s := &session{
		Session: connection, cluster: f.cluster,
		groups: newGroupMembers(), parents: newParentIndex(), vlans: newVLANAllocator(f.cluster),
	}
	if err := s.OnChange(func(before, after model.Model) { f.watcher.rowChanged(s, before, after) }); err != nil {
		return err
	}
	s.parents.read(s.view())
	s.vlans.read(s.view())
	if err := s.groups.read(ctx, s); err != nil {
		return err
	}
	f.last.Store(s)
	f.watcher.reopen(s.view().units(f.cluster), s.view().routerNames(), s.view().routersByPort())
	return nil
}

// plan returns the operations that make w true for a unit, given the replica as it
// is now. It errs as rows.Translate does, or if the replica cannot be read.
func (s *session) plan(u intent.Unit, w intent.Want, n *rows.Names) (*rows.Plan, error) {
	o, v := rows.Owner{Cluster: s.cluster, Unit: u}, s.view()
	existing := v.rowsOf(o)
	for i, r := range existing {
		if r.Table == nbdb.LogicalSwitchPortTable {
			existing[i].InGroups = s.groups.of(r.UUID)
		}
	}
	d := v.dependencies(o, w, existing)
	d.VLANs = s.vlans.allocate(w.Ports, existing)
	if v.err != nil {
		return nil, v.err
	}
	wanted, err := rows.Translate(o, w, d)
	if err != nil {
		return nil, err
	}
	return rows.Diff(existing, wanted, d.Groups, n), nil
}
