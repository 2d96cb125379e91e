package ovn

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// These read whole tables: for a start and an end, not for each unit.

func (v *view) units(owner string) map[intent.Unit]bool {
	units := map[intent.Unit]bool{}
	for _, table := range tables {
		for _, m := range v.all(table) {
			if _, _, ids := header(m); ids[keyOwner] == owner {
				units[intent.Unit(ids[keyUnit])] = true
			}
		}
	}
	return units
}

func (v *view) routerNames() map[string]bool {
	names := map[string]bool{}
	for _, m := range v.all(nbdb.LogicalRouterTable) {
		names[m.(*nbdb.LogicalRouter).Name] = true
	}
	return names
}

func (v *view) portOwners() map[string]string {
	owners := map[string]string{}
	for _, m := range v.all(nbdb.LogicalRouterTable) {
		for _, p := range m.(*nbdb.LogicalRouter).Ports {
			owners[p] = m.(*nbdb.LogicalRouter).Name
		}
	}
	return owners
}

// Units are all that own anything, sorted: for the sweep at a start.
func (f *Fabric) Units(_ context.Context) ([]intent.Unit, error) {
	s := f.current()
	if !s.Alive() {
		return nil, errNotConnected
	}
	return slices.Sorted(maps.Keys(s.view().units(f.owner))), nil
}

// Ports are the ports of all units as they stand, without those that join a
// segment to a router: whoever claimed an address but died before saying so
// finds it here.
func (f *Fabric) Ports(_ context.Context) (map[intent.Unit][]intent.Port, error) {
	s := f.current()
	if !s.Alive() {
		return nil, errNotConnected
	}
	ports := map[intent.Unit][]intent.Port{}
	for _, m := range s.view().all(nbdb.LogicalSwitchPortTable) {
		r := m.(*nbdb.LogicalSwitchPort)
		if r.ExternalIDs[keyOwner] == f.owner && strings.HasPrefix(r.ExternalIDs[keyKey], kindPort) {
			u := intent.Unit(r.ExternalIDs[keyUnit])
			ports[u] = append(ports[u], portOf(r))
		}
	}
	for _, p := range ports {
		slices.SortFunc(p, func(a, b intent.Port) int { return strings.Compare(a.Name, b.Name) })
	}
	return ports, nil
}

// portOf is the port that a row was made for.
func portOf(r *nbdb.LogicalSwitchPort) intent.Port {
	p := intent.Port{
		Name: r.Name, Network: r.ExternalIDs[keySegment], Version: r.Options["iface-id-ver"],
		Groups: recordedGroups(r.ExternalIDs),
	}
	for _, line := range r.Addresses {
		words := strings.Fields(line)
		if line == "unknown" || len(words) == 0 {
			p.UnknownAddresses = p.UnknownAddresses || line == "unknown"
			continue
		}
		p.MAC = intent.MAC(words[0])
		for _, w := range words[1:] {
			if a, err := netip.ParseAddr(w); err == nil {
				p.Addrs = append(p.Addrs, a)
			}
		}
	}
	if r.ParentName != nil && r.Tag != nil {
		p.Parent, p.Tag = *r.ParentName, *r.Tag
	}
	return p
}

// Clear deletes all that is ours, and counts the units. What holds others'
// ports stays, and the error says so.
func (f *Fabric) Clear(ctx context.Context) (int, error) {
	cleared := 0
	for {
		units, err := f.Units(ctx)
		if err != nil || len(units) == 0 {
			return cleared, err
		}
		done, err := f.clear(ctx, units)
		cleared += done
		if done == 0 { // a unit may wait for another, but not all for nobody
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
