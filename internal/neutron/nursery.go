package neutron

import (
	"context"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// breed makes ports for a pool. Such as are to be behind another are put there
// at once, all in one call, so that they are up before a pod has them.
func (f *Fabric) breed(ctx context.Context, a *api, e *entry, c chore) error {
	if err := f.run(ctx, a, e, f.pattern(c)); err != nil || c.key.Parent == "" {
		return err
	}
	var steps []step
	tags := mark{f.Owner, poolUnit(c.key.Node)}.tagsOf(c.like)
	for _, o := range e.objects {
		if len(o.tags) == 0 { // once it is loose again, the tags tell whose it is
			steps = append(steps, step{tag, object{kind: kindPort, name: o.name, id: o.id, tags: tags}})
		}
	}
	for _, o := range e.objects {
		steps = append(steps, attaching(object{kind: kindPort, name: o.name, id: o.id}, c.key.Parent, nil))
	}
	err := f.run(ctx, a, e, steps)
	if err != nil && !openstack.IsOutcome(err) {
		e.objects = nil // nobody knows which of them are where: the next look says
	}
	return err
}

// await has a pool's new ports looked at until they are up.
func (f *Fabric) await(c chore, made []object) {
	for _, o := range made {
		if c.verb == create && text(o, "parent") != "" && f.stock.knows(o.id) {
			f.rises.await(o.id, "", c.key.Parent)
		}
	}
}

// onItsWay tells whether a port has been made and is not behind another yet.
func onItsWay(o object) bool {
	return o.name == pooledName && text(o, "binding:host_id") == "" && text(o, "parent") == ""
}

// discardOne has a port deleted that is of no use.
func (s *stock) discardOne(id string) {
	for _, h := range s.shelves {
		for i, o := range h.ready {
			if o.id == id {
				h.ready = slices.Delete(slices.Clone(h.ready), i, i+1)
				s.surplus = append(s.surplus, o)
				return
			}
		}
	}
}

// loosen takes those that have no use from behind a port, as many as go in a call.
func (s *stock) loosen(parent string) chore {
	c := chore{verb: detach}
	s.surplus = slices.DeleteFunc(s.surplus, func(o object) bool {
		goes := text(o, "parent") == parent && len(c.ports) < bulk
		if goes {
			c.ports = append(c.ports, o)
			s.hands[o.id] = o
		}
		return goes
	})
	return c
}
