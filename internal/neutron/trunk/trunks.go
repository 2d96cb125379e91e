package trunk

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// vlanAttempts is how often VLAN ids are chosen anew before the caller gets to know that
// they are always taken.
const vlanAttempts = 3

// Trunks is what is known of all trunks. It is safe for concurrent use.
type Trunks struct {
	// limit waits until another call may be made, and returns how to end it.
	limit func(context.Context) (release func(), err error)

	mu       sync.Mutex // of all below
	byParent map[string]*trunk
}

// trunk is what is known of one trunk.
type trunk struct {
	// one is held by who changes the subports: Neutron refuses two changes at once.
	one *semaphore.Weighted
	id  string
	vlanAllocator
}

// New returns Trunks that know none yet. limit is called before each change; it waits until
// one more call may be made, and returns what to call afterwards.
func New(limit func(context.Context) (release func(), err error)) *Trunks {
	return &Trunks{limit: limit, byParent: map[string]*trunk{}}
}

// Ensure reads the trunk of a parent port unless it is known. Its error is an intent.Wait
// with reason NoTrunk if there is none.
func (t *Trunks) Ensure(ctx context.Context, api API, parent string) error {
	_, err := t.trunkOf(ctx, api, parent)
	return err
}

func (t *Trunks) trunkOf(ctx context.Context, api API, parent string) (*trunk, error) {
	t.mu.Lock()
	known := t.byParent[parent]
	t.mu.Unlock()
	if known != nil {
		return known, nil
	}
	return t.read(ctx, api, parent)
}

func (t *Trunks) read(ctx context.Context, api API, parent string) (*trunk, error) {
	found, err := api.Trunks(ctx, parent)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(found) == 0 {
		delete(t.byParent, parent)
		return nil, noTrunk(parent)
	}
	return t.learn(found[0]), nil
}

// learn takes over what Neutron says of a trunk. t.mu is held.
func (t *Trunks) learn(found Trunk) *trunk {
	known := t.byParent[found.Parent]
	if known == nil {
		known = &trunk{one: semaphore.NewWeighted(1)}
		t.byParent[found.Parent] = known
	}
	known.id, known.vlans = found.ID, map[string]int{}
	for _, s := range found.Subports {
		known.vlans[s.Port] = s.VLAN
	}
	return known
}

// Learn takes over trunks that have just been read, and keeps what is known of others.
func (t *Trunks) Learn(found []Trunk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range found {
		t.learn(f)
	}
}

// Sync takes over all trunks as they were when somebody began to read them. changed tells
// of the id of a port whether it was attached or detached since: that is known better.
func (t *Trunks) Sync(all []Trunk, changed func(port string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	exists := map[string]bool{}
	for _, found := range all {
		exists[found.Parent] = true
		was := map[string]int{}
		if known := t.byParent[found.Parent]; known != nil {
			was = known.vlans
		}
		now := t.learn(found)
		maps.DeleteFunc(now.vlans, func(port string, _ int) bool { return changed(port) })
		for port, vlan := range was {
			if changed(port) {
				now.vlans[port] = vlan
			}
		}
	}
	maps.DeleteFunc(t.byParent, func(parent string, _ *trunk) bool { return !exists[parent] })
}

// Find returns where a subport is attached; false if it is on no trunk that is known.
func (t *Trunks) Find(port string) (Attachment, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for parent, known := range t.byParent {
		if vlan, attached := known.vlans[port]; attached {
			return Attachment{parent, vlan}, true
		}
	}
	return Attachment{}, false
}

// Attach attaches ports to the trunk of a parent port, all in one call, and returns them with
// their VLAN ids. If somebody else has taken one of these meanwhile, the trunk is read again
// and other ids are tried. Its errors are those of API, and intent.Wait.
func (t *Trunks) Attach(ctx context.Context, api API, parent string, ports []Subport) ([]Subport, error) {
	on, leave, err := t.enter(ctx, api, parent)
	if err != nil {
		return nil, err
	}
	defer leave()
	for attempt := 1; ; attempt++ {
		id, reserved, err := t.reserve(on, parent, ports)
		if err != nil {
			return nil, err
		}
		if err = api.AddSubports(ctx, id, reserved); err == nil {
			return reserved, nil
		}
		t.release(on, reserved)
		var taken VLANTaken
		if !errors.As(err, &taken) || attempt == vlanAttempts {
			return nil, t.forgetMissing(parent, err)
		}
		if on, err = t.read(ctx, api, parent); err != nil {
			return nil, err
		}
	}
}

// Detach detaches ports from the trunk of a parent port, all in one call. Ports that are not
// attached, or whose trunk does not exist, are no error.
func (t *Trunks) Detach(ctx context.Context, api API, parent string, ports []Subport) error {
	on, leave, err := t.enter(ctx, api, parent)
	if isNoTrunk(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer leave()
	err = api.RemoveSubports(ctx, t.idOf(on), ports)
	if errors.As(err, &NotAttached{}) {
		err = t.detachRest(ctx, api, parent, ports)
	}
	if err == nil {
		t.release(on, ports)
	}
	return err
}

// detachRest detaches those ports that are still attached.
func (t *Trunks) detachRest(ctx context.Context, api API, parent string, ports []Subport) error {
	found, err := api.Trunks(ctx, parent)
	if err != nil || len(found) == 0 {
		return err
	}
	attached := Attachments(found)
	left := slices.DeleteFunc(slices.Clone(ports), func(s Subport) bool { _, is := attached[s.Port]; return !is })
	if len(left) == 0 {
		return nil
	}
	return api.RemoveSubports(ctx, found[0].ID, left)
}

// enter begins a change of a trunk's subports; leave ends it. Who waits for the trunk is not
// yet counted by the limit: calls for others go on meanwhile.
func (t *Trunks) enter(ctx context.Context, api API, parent string) (on *trunk, leave func(), err error) {
	if on, err = t.trunkOf(ctx, api, parent); err != nil {
		return nil, nil, err
	}
	if err := on.one.Acquire(ctx, 1); err != nil {
		return nil, nil, err
	}
	release, err := t.limit(ctx)
	if err != nil {
		on.one.Release(1)
		return nil, nil, err
	}
	one := on.one
	return on, func() { release(); one.Release(1) }, nil
}

// reserve returns the trunk's id, which changes when the trunk is created anew, and the ports
// with VLAN ids.
func (t *Trunks) reserve(on *trunk, parent string, ports []Subport) (id string, reserved []Subport, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	reserved, enough := on.reserve(ports)
	if !enough {
		return "", nil, noVLAN(parent)
	}
	return on.id, reserved, nil
}

func (t *Trunks) release(on *trunk, ports []Subport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	on.release(ports)
}

func (t *Trunks) idOf(on *trunk) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return on.id
}

// forgetMissing forgets a trunk if a call failed because it does not exist, and says so in
// the same words as Ensure.
func (t *Trunks) forgetMissing(parent string, err error) error {
	if !isNoTrunk(err) {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byParent, parent)
	return noTrunk(parent)
}

func isNoTrunk(err error) bool {
	var wait intent.Wait
	return errors.As(err, &wait) && wait.Reason == NoTrunk
}
