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

// enter begins work on a unit, when nobody else works on it.
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

// leave ends it, and forgets a unit that has nothing.
func (f *Fabric) leave(u intent.Unit, e *entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.uses--
	if e.uses == 0 && e.sure && f.listed && len(e.objects) == 0 {
		delete(f.units, u)
	}
	e.Unlock()
}

// stillThere are those of a unit's ports that Neutron cannot know as its own,
// because they came from the pool and have not been named yet.
func stillThere(ctx context.Context, a *client.Client, have []plan.Object, m plan.Owner) ([]plan.Object, error) {
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

// Units are all that own anything, sorted: for the sweep at a start.
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

// Refresh reads all that is ours, and returns the units that have something
// else than they had: somebody changed or deleted it. Held says which unit has
// a port, by the port's id: what was handed out of the pool and not named yet
// before a crash. To be called at a start, before units are applied, and every
// few minutes: a call of one that died may be done after all, and people do
// things. It costs a handful of calls.
func (f *Fabric) Refresh(ctx context.Context, held map[string]intent.Unit) ([]intent.Unit, error) {
	f.looking.Lock()
	defer f.looking.Unlock()
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
	f.lend(all, held)
	changed := slices.Concat(f.found, f.compare(all), f.regroup(all))
	f.found = nil
	f.syncPool(all)
	f.listed = true
	slices.Sort(changed)
	return slices.Compact(changed), nil
}

// lend says of ports whose name is not written yet whose they are: a unit has
// them from the pool, or the pool has them back.
func (f *Fabric) lend(all map[intent.Unit][]plan.Object, held map[string]intent.Unit) {
	for _, u := range slices.Sorted(maps.Keys(all)) {
		for _, o := range slices.Clone(all[u]) {
			to, lent := f.handedOut[o.ID]
			if !lent {
				to, lent = held[o.ID]
			}
			switch {
			case !pooled(u) && f.PortPool.Has(o.ID):
				to = poolUnit(f.nodeOf(o))
			case !pooled(u) || !lent || f.PortPool.Has(o.ID):
				continue // what the pool has back, nobody holds: held may be of a moment ago
			default:
				f.handedOut[o.ID] = to
			}
			all[u] = slices.DeleteFunc(all[u], o.Is)
			all[to] = append(all[to], o)
		}
	}
}

// compare puts what is there in the place of what was known. What is being
// worked on, or was since the look began, is left alone.
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
		if f.worked(e.objects) || f.worked(all[u]) || same(e.objects, all[u]) {
			continue
		}
		e.objects, e.sure = all[u], true
		f.units[u] = e
		changed = append(append(changed, u), f.groups.is(u, plan.GroupsOf(e.objects))...)
	}
	return changed
}

func (f *Fabric) worked(objects []plan.Object) bool {
	return slices.ContainsFunc(objects, func(o plan.Object) bool { return f.touched[o.ID] })
}

// same tells whether objects are the same, whatever their status is.
func same(a, b []plan.Object) bool {
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
