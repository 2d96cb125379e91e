package neutron

import (
	"maps"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// register is what is known of our security groups: their ids, and which units
// name them. It decides and calls nobody; whoever uses it sees to it that only
// one does at a time. Groups are known by what Neutron takes of their names.
type register struct {
	groups map[string]held
	// users are the groups that a unit's want names, members those that its
	// ports are in, by id, or may be.
	users   map[intent.Unit][]string
	members map[intent.Unit][]string
	// leaving are units that wait until nobody is in their group any more, by its id.
	leaving map[string]intent.Unit
}

// held is a group's id and the unit that has it.
type held struct {
	id string
	by intent.Unit
}

func newRegister() *register {
	return &register{map[string]held{}, map[intent.Unit][]string{}, map[intent.Unit][]string{}, map[string]intent.Unit{}}
}

// learn notes who has a group. It returns the units that know it by another id,
// or have waited for it.
func (r *register) learn(name string, h held) []intent.Unit {
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

// forget: no such group is there. It returns who had it, empty if it was none of ours.
func (r *register) forget(id string) intent.Unit {
	for name, h := range r.groups {
		if h.id == id {
			delete(r.groups, name)
			return h.by
		}
	}
	return ""
}

// nameOf is a group's name, or its id if it is none of ours.
func (r *register) nameOf(id string) string {
	for name, h := range r.groups {
		if h.id == id {
			return name
		}
	}
	return id
}

// lose forgets the groups that are not there, and returns who names them.
func (r *register) lose(there func(id string) bool) []intent.Unit {
	var out []intent.Unit
	for name, h := range r.groups {
		if !there(h.id) {
			delete(r.groups, name)
			out = append(out, r.usersOf(name)...)
		}
	}
	return out
}

// names notes which groups a unit's want names.
func (r *register) names(u intent.Unit, groups []string) {
	if len(groups) == 0 {
		delete(r.users, u)
		return
	}
	r.users[u] = nil
	for _, g := range groups {
		r.users[u] = append(r.users[u], openstack.Shorten(g))
	}
}

// joins notes which groups a unit's ports are in, or may be soon.
func (r *register) joins(u intent.Unit, ids []string) {
	if all := plan.Sorted(append(slices.Clone(r.members[u]), ids...)); len(all) > 0 {
		r.members[u] = all
	}
}

// is notes which groups a unit's ports are in, and no other. It returns the units
// that have waited for that.
func (r *register) is(u intent.Unit, ids []string) []intent.Unit {
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

// leave says which units have ports in a group that u wants to delete. If there
// are any, u is to be told when they have left.
func (r *register) leave(u intent.Unit, id string) []intent.Unit {
	in := unitsWith(r.members, id)
	if len(in) > 0 {
		r.leaving[id] = u
	}
	return in
}
