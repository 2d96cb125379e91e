package neutron

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// vlanTries is how often VLAN ids are chosen before it is somebody else's turn
// to say why they are always taken.
const vlanTries = 3

// vlanTaken is the failure of a call because somebody has a VLAN id.
type vlanTaken struct{ error }

func (t vlanTaken) Unwrap() error { return t.error }

// attach puts a unit's ports behind another, all in one call. Which VLAN ids
// are free is known; if somebody else took one meanwhile, it is asked for.
func (f *Fabric) attach(ctx context.Context, a *api, e *entry, steps []step) error {
	parent := text(steps[0].object, "parent")
	t, leave, err := f.enterTrunk(ctx, a, parent)
	if err != nil {
		return err
	}
	defer leave()
	for try := 1; ; try++ {
		subs, err := f.reserve(t, parent, steps)
		if err != nil {
			return err
		}
		if err = a.attach(ctx, f.idOf(t), subs, describe(steps)); err == nil {
			f.attached(e, parent, subs)
			return nil
		}
		f.unreserve(t, subs)
		var again vlanTaken
		if !errors.As(err, &again) || try == vlanTries {
			return f.trunkless(parent, err)
		}
		if t, err = f.readTrunk(ctx, a, parent); err != nil {
			return err
		}
	}
}

// trunkless notes that a trunk is gone, if that is why a call failed.
func (f *Fabric) trunkless(parent string, err error) error {
	var wait intent.Wait
	if !errors.As(err, &wait) || wait.Reason != NoTrunk {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.trunks, parent)
	return noTrunk(parent)
}

// idOf is a trunk's id, which changes when the trunk is made anew.
func (f *Fabric) idOf(t *trunk) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return t.id
}

func (f *Fabric) reserve(t *trunk, parent string, steps []step) ([]subport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	subs, enough := t.reserve(steps)
	if !enough {
		return nil, intent.Wait{Reason: "NoVLAN", After: later, For: fmt.Sprintf(
			"a VLAN id on port %s: ports behind it have all %d, have fewer pods on its node or delete trunk ports that nobody needs", parent, lastVLAN)}
	}
	return subs, nil
}

func (f *Fabric) unreserve(t *trunk, subs []subport) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t.release(subs)
}

func (f *Fabric) attached(e *entry, parent string, subs []subport) {
	for _, s := range subs {
		f.touch(s.Port)
		if i := e.index(object{kind: kindPort, id: s.Port}); i >= 0 {
			e.objects[i] = e.objects[i].behind(parent, s.VLAN)
		}
	}
}

// detach takes a unit's ports from behind another, all in one call. What is not
// there any more needs none.
func (f *Fabric) detach(ctx context.Context, a *api, e *entry, steps []step) error {
	parent := text(steps[0].object, "parent")
	t, leave, err := f.enterTrunk(ctx, a, parent)
	var wait intent.Wait
	switch {
	case errors.As(err, &wait) && wait.Reason == NoTrunk:
		f.detached(e, steps)
		return nil
	case err != nil:
		return err
	}
	defer leave()
	var ports []string
	for _, s := range steps {
		ports = append(ports, s.id)
	}
	err = a.detach(ctx, f.idOf(t), ports, describe(steps))
	if errors.As(err, &notBehind{}) {
		err = f.detachRest(ctx, a, parent, ports, describe(steps))
	}
	if err == nil {
		f.detached(e, steps)
	}
	return err
}

// detachRest detaches those that are still there of some of which not all are.
func (f *Fabric) detachRest(ctx context.Context, a *api, parent string, ports []string, what string) error {
	found, err := a.list(ctx, kindTrunk, url.Values{"port_id": {parent}})
	if err != nil || len(found) == 0 {
		return err
	}
	var left []string
	for _, s := range found[0].Subports {
		if slices.Contains(ports, s.Port) {
			left = append(left, s.Port)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return a.detach(ctx, found[0].ID, left, what)
}

func (f *Fabric) detached(e *entry, steps []step) {
	for _, s := range steps {
		f.touch(s.id)
		if i := e.index(s.object); i >= 0 {
			e.objects[i] = e.objects[i].loose()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range steps {
		if t := f.trunks[text(s.object, "parent")]; t != nil {
			delete(t.vlans, s.id)
		}
	}
}

// unplaced tells whether a port is behind another, and nobody knows which.
func unplaced(o object) bool {
	return o.kind == kindPort && text(o, "device_owner") == subportOwner && o.fields["parent"] == nil
}

// placed says of the ports which they are behind. Neutron is asked only for
// what nobody knows.
func (f *Fabric) placed(ctx context.Context, a *api, all []object) ([]object, error) {
	if !slices.ContainsFunc(all, unplaced) {
		return all, nil
	}
	f.mu.Lock()
	all = f.trunks.place(all)
	f.mu.Unlock()
	if !slices.ContainsFunc(all, unplaced) {
		return all, nil
	}
	found, err := a.list(ctx, kindTrunk, nil)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range found {
		f.trunks.learn(w)
	}
	return f.trunks.place(all), nil
}
