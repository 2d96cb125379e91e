package ovn

import (
	"context"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

// Watch sets who is told. What happened since Dial is told at once.
func (f *Fabric) Watch(n Notify) { f.book.watch(n) }

// tellAll tells what is news, until ctx ends.
func (f *Fabric) tellAll(ctx context.Context) {
	for {
		select {
		case <-f.book.wake:
			f.tell()
		case <-ctx.Done():
			return
		}
	}
}

func (f *Fabric) tell() {
	n, units, routers, hosts := f.book.take()
	for u, sure := range units {
		if sure || f.stale(u) {
			n.Unit(u)
		}
	}
	for name := range routers {
		if r, there := f.Router(name); f.book.show(name, r, there) {
			n.Router(name)
		}
	}
	for word := range hosts {
		n.Host(word)
	}
	if n.Up == nil {
		return // nobody listens yet
	}
	for port := range f.book.takeRisen() {
		n.Up(port)
	}
}

// stale says whether to apply a unit again would do or say anything else than
// it did last. Our own changes make no unit stale.
func (f *Fabric) stale(u intent.Unit) bool {
	w, said, known := f.book.recall(u)
	if !known {
		return false
	}
	p, err := f.plan(u, w, new(names))
	if err != nil {
		return said == nil || said.Error() != err.Error()
	}
	return said != nil || len(p.ops) > 0
}

// changed marks the units and routers that a changed row is of interest to.
func (f *Fabric) changed(s *session, was, is model.Model) {
	for _, m := range []model.Model{was, is} {
		switch r := m.(type) {
		case *nbdb.LogicalSwitch:
			f.changedSwitch(s, r, was, is)
		case *nbdb.LogicalSwitchPort:
			f.changedPort(s, r, was, is)
		case *nbdb.LogicalRouter:
			f.changedRouter(r, is)
		case *nbdb.LogicalRouterPort:
			f.changedRouterPort(r)
		case *nbdb.PortGroup:
			f.touchUsersOf(nbdb.PortGroupTable, r.Name, was, is)
		}
		if m != nil {
			if _, _, ids := header(m); ids[keyOwner] == f.owner {
				f.book.touch(intent.Unit(ids[keyUnit]))
			}
		}
	}
	f.bell.ring()
}

// touchUsersOf marks those who say a name when it comes or goes: what else
// changes in a row does not concern them.
func (f *Fabric) touchUsersOf(table, name string, was, is model.Model) {
	if !sameName(was, is) {
		f.book.touchUsers(table, name)
	}
}

func sameName(a, b model.Model) bool {
	if a == nil || b == nil {
		return false
	}
	_, an, _ := header(a)
	_, bn, _ := header(b)
	return an == bn
}

// changedSwitch also marks the routers on the switch: their MTU may be another.
func (f *Fabric) changedSwitch(s *session, r *nbdb.LogicalSwitch, was, is model.Model) {
	f.touchUsersOf(nbdb.LogicalSwitchTable, r.Name, was, is)
	for _, p := range s.view().marked(nbdb.LogicalRouterPortTable, neutronNetwork, r.Name) {
		uuid, _, _ := header(p)
		if router, ok := f.book.owner(uuid); ok {
			f.book.touchRouter(router)
		}
	}
}

func (f *Fabric) changedPort(s *session, r *nbdb.LogicalSwitchPort, was, is model.Model) {
	f.touchUsersOf(nbdb.LogicalSwitchPortTable, r.Name, was, is)
	f.book.touchHosts(s.hosts.change(was, is))
	f.changedSiblings(s, was, is)
	if is == nil {
		s.members.forget(r.UUID)
		return
	}
	// A port behind another has nobody on its node who sees it come up.
	if r.ParentName == nil || !up(is) || up(was) {
		return
	}
	switch r.ExternalIDs[keyOwner] {
	case f.owner:
		f.book.call(intent.Unit(r.ExternalIDs[keyUnit]))
	case "":
		f.book.rise(r.Name)
	}
}

// changedSiblings marks those of ours that must give way to a port behind the
// same one, and those that found no place there.
func (f *Fabric) changedSiblings(s *session, was, is model.Model) {
	clash, freed := s.siblings.change(was, is)
	for _, u := range clash {
		f.book.touch(u)
	}
	if freed != "" {
		f.book.touchUsers(nbdb.LogicalSwitchPortTable, freed)
	}
}

func up(m model.Model) bool {
	p, ok := m.(*nbdb.LogicalSwitchPort)
	return ok && p.Up != nil && *p.Up
}

// changedRouter marks all who join it, whatever changed: its load balancers
// and its ports concern them.
func (f *Fabric) changedRouter(r *nbdb.LogicalRouter, is model.Model) {
	if model.Model(r) == is {
		f.book.own(r.Name, r.Ports)
	} else {
		f.book.disown(r.Ports)
	}
	f.book.touchRouter(r.Name)
	f.book.touchUsers(nbdb.LogicalRouterTable, r.Name)
}

func (f *Fabric) changedRouterPort(r *nbdb.LogicalRouterPort) {
	f.book.touchUsers(nbdb.LogicalRouterPortTable, r.Name)
	if router, ok := f.book.owner(r.UUID); ok {
		f.book.touchRouter(router)
		f.book.touchUsers(nbdb.LogicalRouterTable, router)
	}
}
