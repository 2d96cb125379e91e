package neutron

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/isthmus-cni/isthmus/internal/intent"
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
	objects []object
	want    []object
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
	m := mark{f.Owner, u}
	f.name(u, w, e)
	if err := f.know(ctx, a, m, e); err != nil {
		return intent.Observed{}, err
	}
	around, err := f.around(ctx, a, w, e)
	if err != nil {
		return intent.Observed{}, err
	}
	want, err := translate(m, w, around)
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
func (f *Fabric) know(ctx context.Context, a *api, m mark, e *entry) error {
	if e.sure {
		return nil
	}
	found, err := a.look(ctx, m)
	if err != nil {
		return err
	}
	lent, err := a.stillThere(ctx, e.objects, m)
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
func (f *Fabric) bring(ctx context.Context, a *api, u intent.Unit, e *entry) (int, error) {
	changed := 0
	for range rounds {
		steps := f.toPool(e, diff(e.objects, e.want, a.born()))
		if len(steps) == 0 {
			return changed, nil
		}
		if onlyNames(steps) && f.areHandedOut(steps) {
			f.unnamed.add(u)
			return changed, nil
		}
		steps = f.urgent(steps)
		f.drainPools(steps)
		if err := errors.Join(f.addressesFree(steps), f.deserted(u, steps), a.vacant(ctx, steps)); err != nil {
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
func (f *Fabric) urgent(steps []step) []step {
	if !f.areHandedOut(steps) {
		return steps
	}
	return slices.DeleteFunc(steps, func(s step) bool { return s.verb == tag })
}

// run does steps in order. Until all are done, nobody knows what is there.
func (f *Fabric) run(ctx context.Context, a *api, e *entry, steps []step) error {
	e.sure = false
	for len(steps) > 0 {
		n := together(steps)
		if err := f.do(ctx, a, e, steps[:n]); err != nil {
			f.missed(err)
			return err
		}
		steps = steps[n:]
	}
	e.sure = true
	return nil
}

// together is how many of the first steps go in one call: ports that are made,
// or put behind the same one, or taken from there.
func together(steps []step) int {
	n := 1
	for n < len(steps) && n < bulk && bulky(steps[0], steps[n]) {
		n++
	}
	return n
}

func bulky(a, b step) bool {
	if a.verb != b.verb || a.kind != kindPort || b.kind != kindPort {
		return false
	}
	return a.verb == create || (a.verb == attach || a.verb == detach) && a.fields["parent"] == b.fields["parent"]
}

func (f *Fabric) do(ctx context.Context, a *api, e *entry, steps []step) error {
	for i := range steps {
		steps[i].object = e.resolved(steps[i])
	}
	s := steps[0]
	leave, err := f.quiet.enter(ctx, s)
	if err != nil {
		return err
	}
	defer leave()
	switch s.verb {
	case create:
		if s.kind == kindRule && e.has(s.kind, s.name) {
			return nil // it came with its group
		}
		made, err := a.create(ctx, steps)
		for _, w := range made {
			f.made(e, w, s.kind)
		}
		return err
	case update:
		now, err := a.update(ctx, s)
		if err == nil {
			f.changed(e, now.object(s.kind))
		}
		return err
	case tag:
		err := a.tag(ctx, s)
		if i := e.index(s.object); err == nil && i >= 0 {
			e.objects[i].tags = s.tags
			f.touch(s.id)
			f.markNamed(s.id)
		}
		return err
	case remove:
		err := a.remove(ctx, s)
		if err == nil {
			f.gone(e, s.object)
			f.Removed(s.called())
		}
		return err
	case attach:
		return f.attach(ctx, a, e, steps)
	case detach:
		return f.detach(ctx, a, e, steps)
	}
	return fmt.Errorf("no such step: %s", s)
}

// resolved puts ids in place of refs to what is there by now.
func (e *entry) resolved(s step) object {
	o := s.object
	id := func(r ref) string {
		for _, h := range e.objects {
			if h.kind == r.kind && h.name == r.name {
				return h.id
			}
		}
		return ""
	}
	if o.id == "" && (s.verb == tag || s.verb == attach) { // it has just been made
		o.id = id(ref{o.kind, o.name})
	}
	f := fields{}
	for k, v := range o.fields {
		f[k] = v
		if r, is := v.(ref); is {
			f[k] = id(r)
		}
	}
	o.fields = f
	return o
}

func (e *entry) has(k kind, name string) bool {
	return slices.ContainsFunc(e.objects, func(o object) bool { return o.kind == k && o.name == name })
}

func (e *entry) index(o object) int {
	return slices.IndexFunc(e.objects, o.is)
}

func (f *Fabric) made(e *entry, w wire, k kind) {
	if w.ID == "" {
		return // the call failed
	}
	o := w.object(k)
	f.touch(o.id)
	e.objects = named(append(append(e.objects, o), w.rules()...))
}

// changed keeps the tags: the answer to a change may show old ones. It does not
// show what a port is behind.
func (f *Fabric) changed(e *entry, o object) {
	f.touch(o.id)
	if i := e.index(o); i >= 0 {
		o.tags = e.objects[i].tags
		if parent, vlan := e.objects[i].fields["parent"], e.objects[i].fields["vlan"]; parent != nil {
			o.fields["parent"], o.fields["vlan"] = parent, vlan
		}
		e.objects[i] = o
		e.objects = named(e.objects)
	}
}

func (f *Fabric) gone(e *entry, o object) {
	f.touch(o.id)
	f.markNamed(o.id)
	f.forget(o.id)
	if i := e.index(o); i >= 0 {
		e.objects = slices.Delete(e.objects, i, i+1)
	}
	e.objects = slices.DeleteFunc(e.objects, func(h object) bool {
		return h.kind == kindRule && o.kind == kindGroup && h.fields["security_group_id"] == o.id
	})
}

func (f *Fabric) touch(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.touched[id] = true
}

// areHandedOut tells whether all steps change ports from the pool that have no name yet.
func (f *Fabric) areHandedOut(steps []step) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !slices.ContainsFunc(steps, func(s step) bool { return f.handedOut[s.id] == "" })
}

// forget: nobody may refer to what is gone.
func (f *Fabric) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups.forget(id)
	f.pending.Forget(id)
	maps.DeleteFunc(f.segments, func(_ string, s Segment) bool { return s.ID == id })
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

func (e *entry) segment(s intent.Network) Segment {
	var network object
	var subnets []object
	for _, o := range e.objects {
		switch {
		case o.kind == kindNetwork && o.name == openstack.Shorten(s.Name):
			network = o
		case o.kind == kindSubnet:
			subnets = append(subnets, o)
		}
	}
	return segmentOf(network, subnets, s.Prefixes)
}

func (f *Fabric) seen(w intent.Want, e *entry, changed int) intent.Observed {
	seen := intent.Observed{Changed: changed, Up: map[string]bool{}, Ports: map[string]intent.PortStatus{}}
	d := &differ{have: e.objects, kept: map[ref]object{}}
	for _, p := range w.Ports {
		i := slices.IndexFunc(e.want, func(o object) bool { return o.kind == kindPort && o.name == openstack.Shorten(p.Name) })
		h, found := d.choose(object{kind: kindPort, name: e.want[i].name, fields: e.resolved(step{object: e.want[i]}).fields})
		if !found {
			continue
		}
		d.kept[ref{kindPort, p.Name}] = h
		s, _ := f.Segment(p.Network)
		seen.Ports[p.Name] = bound(h, s)
		seen.Up[p.Name] = f.isUp(h) // a hint: Neutron loses events
	}
	return seen
}
