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

// rounds is how often a unit is looked at after its steps: a new security group
// brings rules along that nobody asked for.
const rounds = 3

// bulk is how many objects go into one call at most: Neutron takes a third of
// a second for each port.
const bulk = 10

// entry is what is known of a unit's objects.
type entry struct {
	sync.Mutex // of all but uses: held while the unit is worked on
	uses       int
	// sure is false when Neutron may hold something else than objects.
	sure    bool
	objects []plan.Object
	want    []plan.Object
}

// Apply makes w true for unit u, and returns when it is so. A port that the
// pool has ready costs no call; its name is written soon after. Its errors are
// intent.Wait, intent.Stop, or such that trying again may help.
func (f *Fabric) Apply(ctx context.Context, u intent.Unit, w intent.Want) (intent.Observed, error) {
	e := f.enter(u)
	defer f.leave(u, e)
	seen, err := f.apply(ctx, u, w, e)
	if err != nil && !openstack.IsOutcome(err) {
		err = fmt.Errorf("apply %s to Neutron: %w", u, err)
	}
	return seen, err
}

func (f *Fabric) apply(ctx context.Context, u intent.Unit, w intent.Want, e *entry) (intent.Observed, error) {
	a, err := f.api(ctx)
	if err != nil {
		return intent.Observed{}, err
	}
	m := plan.Owner{Name: f.Owner, Unit: u}
	f.name(u, w, e)
	if err := f.know(ctx, a, m, e); err != nil {
		return intent.Observed{}, err
	}
	around, err := f.around(ctx, a, w, e)
	if err != nil {
		return intent.Observed{}, err
	}
	want, err := plan.Translate(m, w, around)
	if err != nil {
		return intent.Observed{}, err
	}
	e.want = want
	f.fromPool(u, e)
	changed, err := f.bring(ctx, a, u, e)
	if err != nil {
		return intent.Observed{}, err
	}
	f.remember(u, w, e)
	seen := f.seen(w, e, changed)
	return seen, f.awaitUp(u, w, seen)
}

// know makes sure that what the entry says is there, is, and nothing else.
func (f *Fabric) know(ctx context.Context, a *client.Client, m plan.Owner, e *entry) error {
	if e.sure {
		return nil
	}
	found, err := a.OfUnit(ctx, m)
	if err != nil {
		return err
	}
	lent, err := stillThere(ctx, a, e.objects, m)
	if err != nil {
		return err
	}
	if e.objects, err = f.placed(ctx, a, append(found, lent...)); err != nil {
		return err
	}
	e.sure = true
	return nil
}

// bring does what is missing, and counts the steps.
func (f *Fabric) bring(ctx context.Context, a *client.Client, u intent.Unit, e *entry) (int, error) {
	changed := 0
	for range rounds {
		steps := f.toPool(e, plan.Diff(e.objects, e.want, a.TagsOnCreate()))
		if len(steps) == 0 {
			return changed, nil
		}
		if plan.OnlyNames(steps) && f.areHandedOut(steps) {
			f.unnamed.add(u)
			return changed, nil
		}
		steps = f.urgent(steps)
		f.drainPools(steps)
		if err := errors.Join(f.addressesFree(steps), f.deserted(u, steps), a.NetworksEmpty(ctx, steps)); err != nil {
			return changed, err
		}
		if err := f.runAs(ctx, a, u, e, steps); err != nil {
			return changed, err
		}
		changed += len(steps)
	}
	return changed, errors.New("neutron does not show what it was told: somebody else changes it, too")
}

// urgent leaves out of what is to be done to ports from the pool what can wait:
// a pod waits for one call that changes its port's groups, not for its tags.
func (f *Fabric) urgent(steps []plan.Step) []plan.Step {
	if !f.areHandedOut(steps) {
		return steps
	}
	return slices.DeleteFunc(steps, func(s plan.Step) bool { return s.Verb == plan.Tag })
}

// run does steps in order. Until all are done, nobody knows what is there.
func (f *Fabric) run(ctx context.Context, a *client.Client, e *entry, steps []plan.Step) error {
	e.sure = false
	for len(steps) > 0 {
		n := plan.Together(steps, bulk)
		if err := f.do(ctx, a, e, steps[:n]); err != nil {
			f.missed(err)
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
	leave, err := f.quiet.enter(ctx, s)
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
			f.changed(e, now.Object(s.Kind))
		}
		return err
	case plan.Tag:
		return f.tag(ctx, a, e, s)
	case plan.Delete:
		err := a.Delete(ctx, s)
		if err == nil {
			f.gone(e, s.Object)
			f.Removed(called(s.Object))
		}
		return err
	case plan.Attach:
		return f.attach(ctx, a, e, steps)
	case plan.Detach:
		return f.detach(ctx, a, e, steps)
	}
	return fmt.Errorf("no such step: %s", s)
}

// create makes the steps' objects in one call and notes those that were made.
func (f *Fabric) create(ctx context.Context, a *client.Client, e *entry, steps []plan.Step) error {
	s := steps[0]
	if s.Kind == plan.KindRule && e.has(s.Kind, s.Name) {
		return nil // it came with its group
	}
	made, err := a.Create(ctx, steps)
	for _, w := range made {
		f.made(e, w, s.Kind)
	}
	return err
}

// tag writes an object's tags and notes them.
func (f *Fabric) tag(ctx context.Context, a *client.Client, e *entry, s plan.Step) error {
	err := a.Tag(ctx, s)
	if i := e.index(s.Object); err == nil && i >= 0 {
		e.objects[i].Tags = s.Tags
		f.touch(s.ID)
		f.markNamed(s.ID)
	}
	return err
}

// resolved puts ids in place of refs to what is there by now.
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
	if o.ID == "" && (s.Verb == plan.Tag || s.Verb == plan.Attach) { // it has just been made
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

func (f *Fabric) made(e *entry, w client.Resource, k plan.Kind) {
	if w.ID == "" {
		return // the call failed
	}
	o := w.Object(k)
	f.touch(o.ID)
	e.objects = plan.Named(append(append(e.objects, o), w.GroupRules()...))
}

// changed keeps the tags: the answer to a change may show old ones. It does not
// show what a port is behind.
func (f *Fabric) changed(e *entry, o plan.Object) {
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

func (f *Fabric) gone(e *entry, o plan.Object) {
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

// areHandedOut tells whether all steps change ports from the pool that have no name yet.
func (f *Fabric) areHandedOut(steps []plan.Step) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !slices.ContainsFunc(steps, func(s plan.Step) bool { return f.handedOut[s.ID] == "" })
}

// forget: nobody may refer to what is gone.
func (f *Fabric) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups.forget(id)
	f.pending.Forget(id)
	maps.DeleteFunc(f.segments, func(_ string, s plan.Network) bool { return s.ID == id })
}

// markNamed: the tags tell whose a port is, or there is none.
func (f *Fabric) markNamed(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.handedOut, id)
}

// remember keeps what others refer to.
func (f *Fabric) remember(u intent.Unit, w intent.Want, e *entry) {
	for _, s := range w.Networks {
		if s.Existing == "" {
			f.learn(s.Name, e.segment(s))
		}
	}
	f.rememberGroups(u, e)
}

func (e *entry) segment(s intent.Network) plan.Network {
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

func (f *Fabric) seen(w intent.Want, e *entry, changed int) intent.Observed {
	seen := intent.Observed{Changed: changed, Up: map[string]bool{}, Ports: map[string]intent.PortStatus{}}
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
		seen.Ports[p.Name] = plan.PortStatus(h, s)
		seen.Up[p.Name] = f.isUp(h) // a hint: Neutron loses events
	}
	return seen
}
