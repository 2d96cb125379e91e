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

// vlanAttempts is how often Attach chooses VLAN ids before it returns the error that they
// are taken.
const vlanAttempts = 3

// Trunks caches all trunks, and attaches and detaches subports. It is safe for concurrent
// use.
type Trunks struct {
	// limit waits until another call may be made, and returns a function to call after
	// it.
	limit func(context.Context) (release func(), err error)

	mu       sync.Mutex // guards the fields below
	byParent map[string]*trunk
}

// trunk is the cache of one trunk.
type trunk struct {
	// changing is held while the subports are changed: Neutron refuses concurrent changes
	// of one trunk.
	changing *semaphore.Weighted
	id       string
	vlanAllocator
}

// New returns Trunks with an empty cache. limit is called before each change. It waits
// until another call may be made, and returns a function to call after it.
func New(limit func(context.Context) (release func(), err error)) *Trunks {
	return &Trunks{limit: limit, byParent: map[string]*trunk{}}
}

// Ensure reads the trunk of a parent port unless it is in the cache. It returns an
// intent.Wait with reason NoTrunk if the port has no trunk.
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

// learn puts a trunk into the cache. t.mu is held.
func (t *Trunks) learn(found Trunk) *trunk {
	known := t.byParent[found.Parent]
	if known == nil {
		known = &trunk{changing: semaphore.NewWeighted(1)}
		t.byParent[found.Parent] = known
	}
	known.id, known.vlans = found.ID, map[string]int{}
	for _, s := range found.Subports {
		known.vlans[s.Port] = s.VLAN
	}
	return known
}

// Learn puts trunks into the cache, and keeps the others.
func (t *Trunks) Learn(found []Trunk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range found {
		t.learn(f)
	}
}

// Sync replaces the cache by all trunks in Neutron. changed reports whether a port was
// attached or detached after the caller began to read them; for such a port the cache is
// newer and stays.
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

// Find returns where a subport is attached, and false if it is on no known trunk.
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

// Attach attaches ports to the trunk of a parent port in one call, and returns them with
// their VLAN ids. If another client has taken one of the ids, Attach reads the trunk
// again and tries other ids. It returns an intent.Wait if there is no trunk or no free
// VLAN id, and the errors of api.
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

// Detach detaches ports from the trunk of a parent port in one call. It returns nil if
// the ports are not attached or there is no trunk.
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

// detachRest detaches those of the ports that are still attached.
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

// enter waits until a trunk's subports may be changed, and returns a function to call
// after that. It acquires the trunk before the limit, so that changes that wait for this
// trunk do not block calls for others.
func (t *Trunks) enter(ctx context.Context, api API, parent string) (on *trunk, leave func(), err error) {
	if on, err = t.trunkOf(ctx, api, parent); err != nil {
		return nil, nil, err
	}
	if err := on.changing.Acquire(ctx, 1); err != nil {
		return nil, nil, err
	}
	release, err := t.limit(ctx)
	if err != nil {
		on.changing.Release(1)
		return nil, nil, err
	}
	one := on.changing
	return on, func() { release(); one.Release(1) }, nil
}

// reserve returns the trunk's id, which changes when the trunk is created again, and the
// ports with VLAN ids.
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

// forgetMissing removes a trunk from the cache if err says that it does not exist, and
// returns the same error as Ensure. It returns any other err unchanged.
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
