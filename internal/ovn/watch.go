package ovn

import (
	"context"
	"sync/atomic"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
	"github.com/isthmus-cni/isthmus/internal/signal"
)

// watcher turns changes of the replica into calls of Notify. A changed row marks
// the units and routers that it may matter to as pending. run compares them with the
// replica and notifies of those that have changed.
type watcher struct {
	current func() *session
	notify  atomic.Pointer[Notify] // nil until Watch
	units   *unitIndex
	routers *routerIndex
	pending *pending
	// replicaChanged wakes the Applies that wait for the replica.
	replicaChanged signal.Broadcast
}

func newWatcher(current func() *session) *watcher {
	return &watcher{current: current, units: newUnitIndex(), routers: newRouterIndex(), pending: newPending()}
}

func (w *watcher) watch(n Notify) {
	w.notify.Store(&n)
	w.pending.wake.Set()
}

// begin and end are called before and after an Apply. During an Apply, the watcher
// does not notify of the unit.

func (w *watcher) begin(u intent.Unit, want intent.Want) { w.units.begin(u, want) }

func (w *watcher) end(u intent.Unit, err error) {
	w.units.end(u, err)
	w.pending.wake.Set()
}

// reopen marks all units, routers and parent keys when a session opens: those that
// are known and those in the database. routersByPort has the routers' names by their
// ports' UUIDs.
func (w *watcher) reopen(units map[intent.Unit]bool, routers map[string]bool, routersByPort map[string]string) {
	known, unknown := w.units.reopen(units)
	for _, u := range known {
		w.pending.addUnit(u, false)
	}
	for _, u := range unknown {
		w.pending.addUnit(u, true)
	}
	for name := range routers {
		w.pending.addRouter(name)
	}
	for _, name := range w.routers.reopen(routersByPort) {
		w.pending.addRouter(name)
	}
	w.pending.addParentKey("")
}

// run notifies until ctx ends.
func (w *watcher) run(ctx context.Context) {
	for {
		select {
		case <-w.pending.wake.C():
			if n := w.notify.Load(); n != nil {
				w.notifyPending(*n)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) notifyPending(n Notify) {
	for u, sure := range w.pending.takeUnits(w.units.running) {
		if sure || w.stale(u) {
			n.Unit(u)
		}
	}
	for _, name := range w.pending.takeRouters() {
		if r, exists := w.current().router(name); w.routers.update(name, r, exists) {
			n.Router(name)
		}
	}
	for _, key := range w.pending.takeParentKeys() {
		n.ParentKey(key)
	}
	if n.SubportUp == nil {
		return
	}
	for _, port := range w.pending.takeSubportsUp() {
		n.SubportUp(port)
	}
}

// stale returns whether another Apply of the unit would change rows or return
// another error than the last one. Our own changes do not make a unit stale.
func (w *watcher) stale(u intent.Unit) bool {
	want, last, known := w.units.last(u)
	if !known {
		return false
	}
	p, err := w.current().plan(u, want, new(rows.Names))
	if err != nil {
		return last == nil || last.Error() != err.Error()
	}
	return last != nil || len(p.Ops) > 0
}

// rowChanged marks all that a changed row may matter to. before is nil for a new row,
// after for a deleted one.
func (w *watcher) rowChanged(s *session, before, after model.Model) {
	for _, m := range []model.Model{before, after} {
		switch r := m.(type) {
		case *nbdb.LogicalSwitch:
			w.switchChanged(s, r, before, after)
		case *nbdb.LogicalSwitchPort:
			w.portChanged(s, r, before, after)
		case *nbdb.LogicalRouter:
			w.routerChanged(r, after)
		case *nbdb.LogicalRouterPort:
			w.routerPortChanged(r)
		case *nbdb.PortGroup:
			w.nameChanged(nbdb.PortGroupTable, r.Name, before, after)
		}
		if m == nil {
			continue
		}
		if _, _, ids := rows.Header(m); ids[rows.KeyOwner] == s.cluster {
			w.markUnit(intent.Unit(ids[rows.KeyUnit]))
		}
	}
	w.replicaChanged.Set()
}

// markUnit marks a unit whose rows changed.
func (w *watcher) markUnit(u intent.Unit) {
	if matters, sure := w.units.matters(u); matters {
		w.pending.addUnit(u, sure)
	}
}

// markUsers marks the units whose want names a row.
func (w *watcher) markUsers(table, name string) {
	for _, u := range w.units.usersOf(rows.RowName{Table: table, Name: name}) {
		w.pending.addUnit(u, false)
	}
}

// nameChanged marks the units that name a row if the row was added, deleted or
// renamed. Other changes of the row do not matter to them.
func (w *watcher) nameChanged(table, name string, before, after model.Model) {
	if !sameName(before, after) {
		w.markUsers(table, name)
	}
}

func sameName(a, b model.Model) bool {
	if a == nil || b == nil {
		return false
	}
	_, nameOfA, _ := rows.Header(a)
	_, nameOfB, _ := rows.Header(b)
	return nameOfA == nameOfB
}

// switchChanged also marks the routers on the switch: their MTU may have changed.
func (w *watcher) switchChanged(s *session, r *nbdb.LogicalSwitch, before, after model.Model) {
	w.nameChanged(nbdb.LogicalSwitchTable, r.Name, before, after)
	for _, p := range s.view().marked(nbdb.LogicalRouterPortTable, rows.NeutronNetwork, r.Name) {
		uuid, _, _ := rows.Header(p)
		if router, ok := w.routers.routerOf(uuid); ok {
			w.pending.addRouter(router)
		}
	}
}

func (w *watcher) portChanged(s *session, r *nbdb.LogicalSwitchPort, before, after model.Model) {
	w.nameChanged(nbdb.LogicalSwitchPortTable, r.Name, before, after)
	for _, key := range s.parents.update(before, after) {
		w.pending.addParentKey(key)
	}
	w.vlanChanged(s, before, after)
	if after == nil {
		s.groups.forget(r.UUID)
		return
	}
	// No agent notices that a port with a parent comes up: the parent is bound on a
	// hypervisor.
	if r.ParentName == nil || !isUp(after) || isUp(before) {
		return
	}
	switch r.ExternalIDs[rows.KeyOwner] {
	case s.cluster:
		w.pending.addUnit(intent.Unit(r.ExternalIDs[rows.KeyUnit]), true)
	case "":
		w.pending.addSubportUp(r.Name)
	}
}

// vlanChanged marks our units that must give up a VLAN id, and our units that wait
// for one.
func (w *watcher) vlanChanged(s *session, before, after model.Model) {
	clash, freed := s.vlans.update(before, after)
	for _, u := range clash {
		w.markUnit(u)
	}
	if freed != "" {
		w.markUsers(nbdb.LogicalSwitchPortTable, freed)
	}
}

// isUp returns whether ovn-northd has set the column "up" of a port. It returns false
// for nil and for other rows.
func isUp(m model.Model) bool {
	p, ok := m.(*nbdb.LogicalSwitchPort)
	return ok && p.Up != nil && *p.Up
}

// routerChanged marks all units that name the router after any change of it, because
// its load balancers and ports matter to them.
func (w *watcher) routerChanged(r *nbdb.LogicalRouter, after model.Model) {
	if model.Model(r) == after {
		w.routers.addPorts(r.Name, r.Ports)
	} else {
		w.routers.removePorts(r.Ports)
	}
	w.pending.addRouter(r.Name)
	w.markUsers(nbdb.LogicalRouterTable, r.Name)
}

func (w *watcher) routerPortChanged(r *nbdb.LogicalRouterPort) {
	w.markUsers(nbdb.LogicalRouterPortTable, r.Name)
	if router, ok := w.routers.routerOf(r.UUID); ok {
		w.pending.addRouter(router)
		w.markUsers(nbdb.LogicalRouterTable, router)
	}
}
