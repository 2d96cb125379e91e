package neutron

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// findGroups adds to out the ids of our groups that a unit refers to. It asks Neutron only
// before all objects of ours have been read.
func (f *Fabric) findGroups(ctx context.Context, a *client.Client, w intent.Want, out plan.Dependencies) error {
	for _, name := range groupsIn(w) {
		if err := f.findGroup(ctx, a, name); err != nil {
			return fmt.Errorf("security group %s: %w", name, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range groupsIn(w) {
		if h, known := f.groups.groups[openstack.Shorten(name)]; known {
			out.Groups[name] = h.id
		}
	}
	maps.Copy(out.DefaultGroups, f.defaultGroups)
	return nil
}

func (f *Fabric) findGroup(ctx context.Context, a *client.Client, name string) error {
	f.mu.Lock()
	_, known := f.groups.groups[openstack.Shorten(name)]
	known = known || f.listed
	f.mu.Unlock()
	if known {
		return nil
	}
	found, err := a.List(ctx, plan.KindGroup, url.Values{"name": {openstack.Shorten(name)}, "tags": {openstack.TagOwner + f.Owner}})
	if err != nil || len(found) == 0 {
		return err
	}
	u, _ := plan.UnitOf(f.Owner, found[0].Object(plan.KindGroup))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups.learn(openstack.Shorten(name), ownedGroup{found[0].ID, u})
	return nil
}

// groupsIn returns the names of the groups of other units that w refers to.
func groupsIn(w intent.Want) []string {
	var names []string
	for _, p := range w.Ports {
		names = append(names, p.Groups...)
	}
	own := map[string]bool{}
	for _, g := range w.Groups {
		own[g.Name] = true
	}
	for _, g := range w.Groups {
		for _, r := range g.Rules {
			if r.RemoteGroup != "" && !own[r.RemoteGroup] {
				names = append(names, r.RemoteGroup)
			}
		}
	}
	return plan.Sorted(names)
}

// setGroupUsers notes which groups a unit refers to, so that it is applied again when one of
// them changes. If the entry has an object that is gone, the entry is no longer sure.
func (f *Fabric) setGroupUsers(u intent.Unit, w intent.Want, e *entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups.setUsers(u, groupsIn(w))
	if f.staleUnits[u] {
		delete(f.staleUnits, u)
		e.sure = false
	}
}

// groupsUnused returns an intent.Wait if other units' ports, or ports of the pool, are in
// a group that is to be deleted.
func (f *Fabric) groupsUnused(u intent.Unit, steps []plan.Step) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range steps {
		if s.Verb != plan.Delete || s.Kind != plan.KindGroup {
			continue
		}
		in := slices.DeleteFunc(f.groups.awaitEmpty(u, s.ID), func(m intent.Unit) bool { return m == u })
		if len(in) > 0 {
			return intent.Wait{Reason: "InUse", After: client.LongWait, For: fmt.Sprintf("%s to leave security group %s", describeUnits(in), s.Name)}
		}
		if f.PortPool.GroupInUse(s.ID) {
			return intent.Wait{Reason: "InUse", After: client.ShortWait, For: "ports of the pool to leave security group " + s.Name}
		}
	}
	return nil
}

// describeUnits names up to three units, and counts the others.
func describeUnits(units []intent.Unit) string {
	const most = 3
	var names []string
	for _, u := range units[:min(most, len(units))] {
		names = append(names, string(u))
	}
	if len(units) > most {
		return fmt.Sprintf("%s and %d others", strings.Join(names, ", "), len(units)-most)
	}
	return strings.Join(names, ", ")
}

// runSteps runs steps, and notes which groups the unit's ports are in. Until all steps are
// done, they count as members of the groups of before and of those of after.
func (f *Fabric) runSteps(ctx context.Context, a *client.Client, u intent.Unit, e *entry, steps []plan.Step) error {
	f.mu.Lock()
	f.groups.addMembers(u, append(plan.GroupsOf(e.objects), plan.GroupsOf(e.want)...))
	f.mu.Unlock()
	return f.run(ctx, a, e, steps)
}

// rememberGroups stores the ids of a unit's groups, and which groups its ports are in. It
// wakes the units that have waited for either.
func (f *Fabric) rememberGroups(u intent.Unit, e *entry) {
	f.mu.Lock()
	affected := f.groups.setMembers(u, plan.GroupsOf(e.objects))
	for _, o := range e.objects {
		if o.Kind == plan.KindGroup {
			affected = append(affected, f.groups.learn(o.Name, ownedGroup{o.ID, u})...)
		}
	}
	f.mu.Unlock()
	f.wake(slices.DeleteFunc(affected, func(w intent.Unit) bool { return w == u }))
}

// wake causes units to be applied again.
func (f *Fabric) wake(units []intent.Unit) {
	if f.Changed == nil {
		return
	}
	slices.Sort(units)
	for _, u := range slices.Compact(units) {
		f.Changed(u)
	}
}

// noteMissingGroups checks whether a call has failed because one of our groups is gone.
// If so, it wakes the unit that owns the group, which creates the group again. The units
// that refer to the group are woken after that.
func (f *Fabric) noteMissingGroups(err error) {
	var gone client.MissingGroups
	if !errors.As(err, &gone) {
		return
	}
	var owners []intent.Unit
	f.mu.Lock()
	for _, id := range gone.IDs {
		if u := f.groups.forget(id); u != "" {
			f.staleUnits[u] = true
			owners = append(owners, u)
		}
		maps.DeleteFunc(f.defaultGroups, func(_, known string) bool { return known == id })
	}
	f.mu.Unlock()
	f.wake(owners)
}

// compareGroups stores which groups exist. It returns the units that refer to a group
// that is gone or new.
func (f *Fabric) compareGroups(all map[intent.Unit][]plan.Object) []intent.Unit {
	there := map[string]bool{}
	for _, objects := range all {
		for _, o := range objects {
			there[o.ID] = there[o.ID] || o.Kind == plan.KindGroup
		}
	}
	affected := f.groups.prune(func(id string) bool { return there[id] || f.touched[id] })
	for _, u := range slices.Sorted(maps.Keys(all)) {
		for _, o := range all[u] {
			if _, known := f.groups.groups[o.Name]; o.Kind == plan.KindGroup && !known && !f.touched[o.ID] {
				affected = append(affected, f.groups.learn(o.Name, ownedGroup{o.ID, u})...)
			}
		}
	}
	return affected
}
