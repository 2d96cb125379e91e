package neutron

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// enter locks a unit's entry and returns it. It creates the entry if there is none.
func (f *Fabric) enter(u intent.Unit) *entry {
	f.mu.Lock()
	e := f.units[u]
	if e == nil {
		e = &entry{sure: f.listed}
		f.units[u] = e
	}
	e.uses++
	f.mu.Unlock()
	e.Lock()
	return e
}

// leave unlocks the entry, and drops it if the unit has no objects.
func (f *Fabric) leave(u intent.Unit, e *entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.uses--
	if e.uses == 0 && e.sure && f.listed && len(e.objects) == 0 {
		delete(f.units, u)
	}
	e.Unlock()
}

// unnamedPorts returns those of a unit's ports that Neutron still has but does not show as
// the unit's: they came from the pool and have no name yet.
func unnamedPorts(ctx context.Context, a *client.Client, have []plan.Object, m plan.Owner) ([]plan.Object, error) {
	query := url.Values{}
	for _, o := range have {
		if o.Kind == plan.KindPort && !m.Owns(o) {
			query.Add("id", o.ID)
		}
	}
	if len(query) == 0 {
		return nil, nil
	}
	found, err := a.List(ctx, plan.KindPort, query)
	return client.AppendNew(nil, plan.KindPort, found, func(o plan.Object) bool { return !m.Owns(o) }), err
}

// Units returns all units that own an object, sorted, for the sweep at start.
func (f *Fabric) Units(ctx context.Context) ([]intent.Unit, error) {
	a, err := f.api(ctx)
	if err != nil {
		return nil, err
	}
	all, _, err := a.OfCluster(ctx, f.Owner)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(u intent.Unit, _ []plan.Object) bool { return pooled(u) })
	return slices.Sorted(maps.Keys(all)), nil
}

// Refresh reads all objects of this owner, and returns the units whose objects have changed or
// are gone. held maps a port's id to the unit that has the port: after a crash, it identifies
// ports that were handed out of the pool and have no name yet. Call it at start, before units
// are applied, and every few minutes: Neutron may complete a call after the process that made
// it has died, and people change objects by hand. It costs a handful of calls.
func (f *Fabric) Refresh(ctx context.Context, held map[string]intent.Unit) ([]intent.Unit, error) {
	f.refreshing.Lock()
	defer f.refreshing.Unlock()
	ctx = openstack.Background(ctx)
	a, err := f.api(ctx)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	clear(f.touched)
	f.mu.Unlock()
	all, trunks, err := a.OfCluster(ctx, f.Owner)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if trunks != nil {
		f.trunks.Sync(trunks, func(port string) bool { return f.touched[port] })
	}
	f.assignHandedOut(all, held)
	changed := slices.Concat(f.changedUnits, f.compare(all), f.compareGroups(all))
	f.changedUnits = nil
	f.syncPool(all)
	f.listed = true
	slices.Sort(changed)
	return slices.Compact(changed), nil
}

// assignHandedOut assigns ports whose name is not written yet: to the unit that has them
// from the pool, or to the pool if it has them back.
func (f *Fabric) assignHandedOut(all map[intent.Unit][]plan.Object, held map[string]intent.Unit) {
	for _, u := range slices.Sorted(maps.Keys(all)) {
		for _, o := range slices.Clone(all[u]) {
			to, found := f.handedOut[o.ID]
			if !found {
				to, found = held[o.ID]
			}
			switch {
			case !pooled(u) && f.PortPool.Has(o.ID):
				to = poolUnit(f.nodeOf(o))
			case !pooled(u) || !found || f.PortPool.Has(o.ID):
				continue // the pool has it back; held may be outdated
			default:
				f.handedOut[o.ID] = to
			}
			all[u] = slices.DeleteFunc(all[u], o.Is)
			all[to] = append(all[to], o)
		}
	}
}

// compare replaces the known objects by those that were read, and returns the units that
// have changed. It skips units that are worked on now, or that changed an object since
// the read began.
func (f *Fabric) compare(all map[intent.Unit][]plan.Object) []intent.Unit {
	var changed []intent.Unit
	for u := range f.units {
		if _, there := all[u]; !there {
			all[u] = nil
		}
	}
	for _, u := range slices.Sorted(maps.Keys(all)) {
		if pooled(u) {
			continue
		}
		e := f.units[u]
		if e == nil {
			e = &entry{}
		}
		if !e.TryLock() {
			continue
		}
		defer e.Unlock()
		if f.wasTouched(e.objects) || f.wasTouched(all[u]) || sameObjects(e.objects, all[u]) {
			continue
		}
		e.objects, e.sure = all[u], true
		f.units[u] = e
		changed = append(append(changed, u), f.groups.setMembers(u, plan.GroupsOf(e.objects))...)
	}
	return changed
}

func (f *Fabric) wasTouched(objects []plan.Object) bool {
	return slices.ContainsFunc(objects, func(o plan.Object) bool { return f.touched[o.ID] })
}

// sameObjects reports whether a and b have the same objects. It ignores their status.
func sameObjects(a, b []plan.Object) bool {
	sort := func(all []plan.Object) []plan.Object {
		out := slices.Clone(all)
		for i, o := range out {
			out[i].Fields = maps.Clone(o.Fields)
			delete(out[i].Fields, "status")
			out[i].Tags = plan.Sorted(o.Tags)
		}
		slices.SortFunc(out, func(a, b plan.Object) int {
			return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.ID, b.ID), strings.Compare(a.Name, b.Name))
		})
		return out
	}
	return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(sort(a), sort(b)))
}
