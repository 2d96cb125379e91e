package neutron

import (
	"maps"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// register has the ids of our security groups and the units that refer to them. It makes
// no calls. It is not safe for concurrent use. Groups are known by their shortened names,
// as Neutron stores them.
type register struct {
	groups map[string]ownedGroup
	// users has the names of the groups that each unit's want refers to, members the ids
	// of those that its ports are in or may be in.
	users   map[intent.Unit][]string
	members map[intent.Unit][]string
	// leaving has, by a group's id, the unit that waits until the group has no member.
	leaving map[string]intent.Unit
}

// ownedGroup is a group's id and the unit that owns the group.
type ownedGroup struct {
	id   string
	unit intent.Unit
}

func newRegister() *register {
	return &register{map[string]ownedGroup{}, map[intent.Unit][]string{}, map[intent.Unit][]string{}, map[string]intent.Unit{}}
}

// learn stores a group. If its id has changed, learn returns the units that refer to it.
func (r *register) learn(name string, h ownedGroup) []intent.Unit {
	was := r.groups[name]
	r.groups[name] = h
	if was.id == h.id {
		return nil
	}
	return r.usersOf(name)
}

func (r *register) usersOf(name string) []intent.Unit {
	return unitsWith(r.users, name)
}

func unitsWith(all map[intent.Unit][]string, word string) []intent.Unit {
	var out []intent.Unit
	for _, u := range slices.Sorted(maps.Keys(all)) {
		if slices.Contains(all[u], word) {
			out = append(out, u)
		}
	}
	return out
}

// forget removes a group that is gone. It returns the unit that owned it, empty if the
// group was not ours.
func (r *register) forget(id string) intent.Unit {
	for name, h := range r.groups {
		if h.id == id {
			delete(r.groups, name)
			return h.unit
		}
	}
	return ""
}

// nameOf returns a group's name, or its id if the group is not ours.
func (r *register) nameOf(id string) string {
	for name, h := range r.groups {
		if h.id == id {
			return name
		}
	}
	return id
}

// prune removes the groups that are gone, and returns the units that refer to them.
func (r *register) prune(there func(id string) bool) []intent.Unit {
	var out []intent.Unit
	for name, h := range r.groups {
		if !there(h.id) {
			delete(r.groups, name)
			out = append(out, r.usersOf(name)...)
		}
	}
	return out
}

// setUsers stores which groups a unit's want refers to.
func (r *register) setUsers(u intent.Unit, groups []string) {
	if len(groups) == 0 {
		delete(r.users, u)
		return
	}
	r.users[u] = nil
	for _, g := range groups {
		r.users[u] = append(r.users[u], openstack.Shorten(g))
	}
}

// addMembers adds groups that a unit's ports are in, or may be in soon.
func (r *register) addMembers(u intent.Unit, ids []string) {
	if all := plan.Sorted(append(slices.Clone(r.members[u]), ids...)); len(all) > 0 {
		r.members[u] = all
	}
}

// setMembers sets the groups that a unit's ports are in. It returns the units that waited
// for a group to have no member.
func (r *register) setMembers(u intent.Unit, ids []string) []intent.Unit {
	r.members[u] = plan.Sorted(ids)
	if len(ids) == 0 {
		delete(r.members, u)
	}
	var out []intent.Unit
	for id, by := range r.leaving {
		if len(unitsWith(r.members, id)) == 0 {
			delete(r.leaving, id)
			out = append(out, by)
		}
	}
	return out
}

// awaitEmpty returns the units with ports in a group that u wants to delete. If there are
// any, u is woken when they have left.
func (r *register) awaitEmpty(u intent.Unit, id string) []intent.Unit {
	in := unitsWith(r.members, id)
	if len(in) > 0 {
		r.leaving[id] = u
	}
	return in
}
