package neutron

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/client"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// maxRounds is how often Apply compares a unit's objects with what it wants and runs the
// steps. Once is not enough: Neutron creates rules of its own in a new security group.
const maxRounds = 3

// bulk is the maximum number of objects in one call: Neutron takes a third of a second
// for each port.
const bulk = 10

// entry has the objects of one unit.
type entry struct {
	sync.Mutex // held while the unit is worked on; guards everything but uses
	uses       int
	// sure is false when Neutron may hold other objects than these.
	sure    bool
	objects []plan.Object
	want    []plan.Object
}

// Apply makes Neutron hold what w asks for unit u, and returns when it does. A port from
// the pool costs no call; its name and tags are written soon after. Apply returns
// intent.Wait, intent.Stop, or an error that a retry may resolve.
func (f *Fabric) Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
	e := f.enter(u)
	defer f.leave(u, e)
	observed, err := f.apply(ctx, u, w, e)
	if err != nil && !openstack.IsOutcome(err) {
		err = fmt.Errorf("apply %s to Neutron: %w", u, err)
	}
	return observed, err
}

func (f *Fabric) apply(ctx context.Context, u intent.Unit, w intent.Want, e *entry) (intent.Observed, error) {
	a, err := f.api(ctx)
	if err != nil {
		return intent.Observed{}, err
	}
	m := plan.Owner{Name: f.Owner, Unit: u}
	f.setGroupUsers(u, w, e)
	if err := f.readUnit(ctx, a, m, e); err != nil {
		return intent.Observed{}, err
	}
	deps, err := f.dependencies(ctx, a, w, e)
	if err != nil {
		return intent.Observed{}, err
	}
	want, err := plan.Translate(m, w, deps)
	if err != nil {
		return intent.Observed{}, err
	}
	e.want = want
	f.takeFromPool(u, e)
	changed, err := f.reconcile(ctx, a, u, e)
	if err != nil {
		return intent.Observed{}, err
	}
	f.remember(u, w, e)
	observed := f.observe(w, e, changed)
	return observed, f.awaitUp(u, w, observed)
}

// readUnit reads the unit's objects from Neutron, unless the entry's objects are certain.
func (f *Fabric) readUnit(ctx context.Context, a *client.Client, m plan.Owner, e *entry) error {
	if e.sure {
		return nil
	}
	found, err := a.OfUnit(ctx, m)
	if err != nil {
		return err
	}
	unnamed, err := unnamedPorts(ctx, a, e.objects, m)
	if err != nil {
		return err
	}
	if e.objects, err = f.placeSubports(ctx, a, append(found, unnamed...)); err != nil {
		return err
	}
	e.sure = true
	return nil
}

// reconcile runs the missing steps and returns how many it ran.
func (f *Fabric) reconcile(ctx context.Context, a *client.Client, u intent.Unit, e *entry) (int, error) {
	changed := 0
	for range maxRounds {
		steps := f.returnToPool(e, plan.Diff(e.objects, e.want, a.TagsOnCreate()))
		if len(steps) == 0 {
			return changed, nil
		}
		if plan.OnlyNames(steps) && f.areHandedOut(steps) {
			f.unnamed.add(u)
			return changed, nil
		}
		steps = f.urgent(steps)
		f.drainPools(steps)
		if err := errors.Join(f.addressesFree(steps), f.groupsUnused(u, steps), a.NetworksEmpty(ctx, steps)); err != nil {
			return changed, err
		}
		if err := f.runSteps(ctx, a, u, e, steps); err != nil {
			return changed, err
		}
		changed += len(steps)
	}
	return changed, errors.New("neutron does not show what it was told: somebody else changes it, too")
}

// urgent drops the steps that only write tags of ports from the pool: a pod waits for the
// call that changes its port's groups, but not for its tags.
func (f *Fabric) urgent(steps []plan.Step) []plan.Step {
	if !f.areHandedOut(steps) {
		return steps
	}
	return slices.DeleteFunc(steps, func(s plan.Step) bool { return s.Verb == plan.Tag })
}

// run does steps in order. The entry is not sure until all are done.
func (f *Fabric) run(ctx context.Context, a *client.Client, e *entry, steps []plan.Step) error {
	e.sure = false
	for len(steps) > 0 {
		n := plan.Together(steps, bulk)
		if err := f.do(ctx, a, e, steps[:n]); err != nil {
			f.noteMissingGroups(err)
			return err
		}
		steps = steps[n:]
	}
	e.sure = true
	return nil
}

func (f *Fabric) do(ctx context.Context, a *client.Client, e *entry, steps []plan.Step) error {
	for i := range steps {
		steps[i].Object = e.resolved(steps[i])
	}
	s := steps[0]
	leave, err := f.limiter.enter(ctx, s)
	if err != nil {
		return err
	}
	defer leave()
	switch s.Verb {
	case plan.Create:
		return f.create(ctx, a, e, steps)
	case plan.Update:
		now, err := a.Update(ctx, s)
		if err == nil {
			f.noteUpdated(e, now.Object(s.Kind))
		}
		return err
	case plan.Tag:
		return f.tag(ctx, a, e, s)
	case plan.Delete:
		err := a.Delete(ctx, s)
		if err == nil {
			f.noteDeleted(e, s.Object)
			f.Removed(describe(s.Object))
		}
		return err
	case plan.Attach:
		return f.attach(ctx, a, e, steps)
	case plan.Detach:
		return f.detach(ctx, a, e, steps)
	}
	return fmt.Errorf("no such step: %s", s)
}

// create creates the steps' objects in one call and adds them to the entry.
func (f *Fabric) create(ctx context.Context, a *client.Client, e *entry, steps []plan.Step) error {
	s := steps[0]
	if s.Kind == plan.KindRule && e.has(s.Kind, s.Name) {
		return nil // Neutron created it together with its group
	}
	created, err := a.Create(ctx, steps)
	for _, w := range created {
		f.noteCreated(e, w, s.Kind)
	}
	return err
}

func (f *Fabric) tag(ctx context.Context, a *client.Client, e *entry, s plan.Step) error {
	err := a.Tag(ctx, s)
	if i := e.index(s.Object); err == nil && i >= 0 {
		e.objects[i].Tags = s.Tags
		f.touch(s.ID)
		f.markNamed(s.ID)
	}
	return err
}

// resolved returns the step's object with ids in place of references to the entry's objects.
func (e *entry) resolved(s plan.Step) plan.Object {
	o := s.Object
	id := func(r plan.Ref) string {
		for _, h := range e.objects {
			if h.Kind == r.Kind && h.Name == r.Name {
				return h.ID
			}
		}
		return ""
	}
	if o.ID == "" && (s.Verb == plan.Tag || s.Verb == plan.Attach) { // an earlier step created it
		o.ID = id(plan.Ref{Kind: o.Kind, Name: o.Name})
	}
	f := plan.Fields{}
	for k, v := range o.Fields {
		f[k] = v
		if r, is := v.(plan.Ref); is {
			f[k] = id(r)
		}
	}
	o.Fields = f
	return o
}

func (e *entry) has(k plan.Kind, name string) bool {
	return slices.ContainsFunc(e.objects, func(o plan.Object) bool { return o.Kind == k && o.Name == name })
}

func (e *entry) index(o plan.Object) int {
	return slices.IndexFunc(e.objects, o.Is)
}

func (f *Fabric) noteCreated(e *entry, w client.Resource, k plan.Kind) {
	if w.ID == "" {
		return // the call failed
	}
	o := w.Object(k)
	f.touch(o.ID)
	e.objects = plan.Named(append(append(e.objects, o), w.GroupRules()...))
}

// noteUpdated stores an updated object. It keeps the tags, because the answer to an update
// may show old ones, and the parent and the VLAN, because the answer has neither.
func (f *Fabric) noteUpdated(e *entry, o plan.Object) {
	f.touch(o.ID)
	if i := e.index(o); i >= 0 {
		o.Tags = e.objects[i].Tags
		if parent, vlan := e.objects[i].Fields["parent"], e.objects[i].Fields["vlan"]; parent != nil {
			o.Fields["parent"], o.Fields["vlan"] = parent, vlan
		}
		e.objects[i] = o
		e.objects = plan.Named(e.objects)
	}
}

func (f *Fabric) noteDeleted(e *entry, o plan.Object) {
	f.touch(o.ID)
	f.markNamed(o.ID)
	f.forget(o.ID)
	if i := e.index(o); i >= 0 {
		e.objects = slices.Delete(e.objects, i, i+1)
	}
	e.objects = slices.DeleteFunc(e.objects, func(h plan.Object) bool {
		return h.Kind == plan.KindRule && o.Kind == plan.KindGroup && h.Fields["security_group_id"] == o.ID
	})
}

func (f *Fabric) touch(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.touched[id] = true
}

// areHandedOut reports whether all steps change ports from the pool that have no name yet.
func (f *Fabric) areHandedOut(steps []plan.Step) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !slices.ContainsFunc(steps, func(s plan.Step) bool { return f.handedOut[s.ID] == "" })
}

// forget drops the id of a deleted object, so that no unit refers to it.
func (f *Fabric) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups.forget(id)
	f.pending.Forget(id)
	maps.DeleteFunc(f.networks, func(_ string, s plan.Network) bool { return s.ID == id })
}

// markNamed notes that the port's tags show its unit, or that the port is gone.
func (f *Fabric) markNamed(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.handedOut, id)
}

// remember stores the ids of the unit's networks and groups, to which other units refer.
func (f *Fabric) remember(u intent.Unit, w intent.Want, e *entry) {
	for _, s := range w.Networks {
		if s.Existing == "" {
			f.storeNetwork(s.Name, e.network(s))
		}
	}
	f.rememberGroups(u, e)
}

func (e *entry) network(s intent.Network) plan.Network {
	var network plan.Object
	var subnets []plan.Object
	for _, o := range e.objects {
		switch {
		case o.Kind == plan.KindNetwork && o.Name == openstack.Shorten(s.Name):
			network = o
		case o.Kind == plan.KindSubnet:
			subnets = append(subnets, o)
		}
	}
	return plan.NetworkOf(network, subnets, s.Prefixes)
}

func (f *Fabric) observe(w intent.Want, e *entry, changed int) intent.Observed {
	observed := intent.Observed{Changed: changed, Up: map[string]bool{}, Ports: map[string]intent.PortStatus{}}
	var want []plan.Object
	for _, o := range e.want {
		if o.Kind == plan.KindPort {
			want = append(want, e.resolved(plan.Step{Verb: plan.Update, Object: o}))
		}
	}
	found := plan.Match(e.objects, want)
	for _, p := range w.Ports {
		h, exists := found[plan.Ref{Kind: plan.KindPort, Name: openstack.Shorten(p.Name)}]
		if !exists {
			continue
		}
		s, _ := f.Network(p.Network)
		observed.Ports[p.Name] = plan.PortStatus(h, s)
		observed.Up[p.Name] = f.isUp(h) // a hint: Neutron loses events
	}
	return observed
}
