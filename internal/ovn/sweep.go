package ovn

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// The functions of this file read whole tables. They run when the controller
// starts and when the cluster is removed, not for a single unit.

// units returns all units of the cluster that have rows.
func (v *view) units(cluster string) map[intent.Unit]bool {
	units := map[intent.Unit]bool{}
	for _, table := range tables {
		for _, m := range v.all(table) {
			if _, _, ids := rows.Header(m); ids[rows.KeyOwner] == cluster {
				units[intent.Unit(ids[rows.KeyUnit])] = true
			}
		}
	}
	return units
}

// routerNames returns the names of all routers.
func (v *view) routerNames() map[string]bool {
	names := map[string]bool{}
	for _, m := range v.all(nbdb.LogicalRouterTable) {
		names[m.(*nbdb.LogicalRouter).Name] = true
	}
	return names
}

// routersByPort returns the names of all routers by their ports' UUIDs.
func (v *view) routersByPort() map[string]string {
	names := map[string]string{}
	for _, m := range v.all(nbdb.LogicalRouterTable) {
		for _, p := range m.(*nbdb.LogicalRouter).Ports {
			names[p] = m.(*nbdb.LogicalRouter).Name
		}
	}
	return names
}

// Units returns all units that have rows, sorted. It errs while the database is not
// connected. The controller calls it when it starts, to find units without an object.
func (f *Fabric) Units(_ context.Context) ([]intent.Unit, error) {
	s := f.current()
	if !s.Alive() {
		return nil, errNotConnected
	}
	return slices.Sorted(maps.Keys(s.view().units(f.cluster))), nil
}

// Ports returns the ports of all units as they are in the database, without the
// ports of router interfaces. It errs while the database is not connected. A
// controller that was killed after it made a port, but before it wrote the claim,
// finds the port's address here.
func (f *Fabric) Ports(_ context.Context) (map[intent.Unit][]intent.Port, error) {
	s := f.current()
	if !s.Alive() {
		return nil, errNotConnected
	}
	ports := map[intent.Unit][]intent.Port{}
	for _, m := range s.view().all(nbdb.LogicalSwitchPortTable) {
		r := m.(*nbdb.LogicalSwitchPort)
		if r.ExternalIDs[rows.KeyOwner] == f.cluster && rows.IsPort(r.ExternalIDs) {
			u := intent.Unit(r.ExternalIDs[rows.KeyUnit])
			ports[u] = append(ports[u], rows.PortOf(r))
		}
	}
	for _, p := range ports {
		slices.SortFunc(p, func(a, b intent.Port) int { return strings.Compare(a.Name, b.Name) })
	}
	return ports, nil
}

// Clear deletes all rows of the cluster and returns the number of units whose rows
// it deleted. Switches and routers that have ports of others stay; the error then
// names them.
func (f *Fabric) Clear(ctx context.Context) (int, error) {
	cleared := 0
	for {
		units, err := f.Units(ctx)
		if err != nil || len(units) == 0 {
			return cleared, err
		}
		done, err := f.clear(ctx, units)
		cleared += done
		if done == 0 { // else the other units may have waited for these
			return cleared, err
		}
	}
}

func (f *Fabric) clear(ctx context.Context, units []intent.Unit) (int, error) {
	errs := make([]error, len(units))
	var all sync.WaitGroup
	for i, u := range units {
		all.Go(func() { _, errs[i] = f.Apply(ctx, u, intent.Want{}) })
	}
	all.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		}
	}
	return done, errors.Join(errs...)
}
