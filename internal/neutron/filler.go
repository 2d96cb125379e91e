package neutron

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// allChores is more than are ever done for the pools at the same time.
const allChores = math.MaxInt64

// labelers is how many names are written at the same time.
const labelers = 2

// queue is the units whose ports wait for their names, first come first served.
type queue struct {
	mu    *sync.Mutex
	units *[]intent.Unit
	rung  chan struct{}
}

func newQueue() queue {
	return queue{&sync.Mutex{}, &[]intent.Unit{}, make(chan struct{}, 1)}
}

func (q queue) add(u intent.Unit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(*q.units, u) {
		*q.units = append(*q.units, u)
	}
	ring(q.rung)
}

func (q queue) next() (intent.Unit, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(*q.units) == 0 {
		return "", false
	}
	u := (*q.units)[0]
	*q.units = (*q.units)[1:]
	if len(*q.units) > 0 {
		ring(q.rung) // another one may help
	}
	return u, true
}

// rest returns when there is something to do; false at the end.
func (q queue) rest(ctx context.Context) bool {
	select {
	case <-q.rung:
		return true
	case <-ctx.Done():
		return false
	}
}

func (q queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(*q.units) == 0
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

func (f *Fabric) wakeChores() { ring(f.chores) }

// fromPool gives a unit ready ports for those that it wants and has not.
func (f *Fabric) fromPool(u intent.Unit, e *entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !isPod(u) {
		return
	}
	for _, o := range e.want {
		f.stock.ask(o.fields, f.always(o.fields))
	}
	for _, s := range diff(e.objects, e.want, nil) {
		if s.verb != create || s.kind != kindPort {
			continue
		}
		if o, ready := f.stock.obtain(s.fields); ready {
			e.objects = append(e.objects, o)
			f.lent[o.id] = u
		}
	}
	f.wakeChores()
}

// always tells whether such ports are kept whoever needs them.
func (f *Fabric) always(want fields) bool {
	groups, _ := want["security_groups"].(set)
	if f.Pool == nil || f.Pool.Always == nil || len(groups) == 0 || !f.there(want) {
		return false
	}
	var names []string
	for _, id := range groups {
		names = append(names, f.groups.nameOf(id))
	}
	return f.Pool.Always(text(object{fields: want}, "binding:host_id"), sorted(names))
}

// there tells whether the node is that such a port is for.
func (f *Fabric) there(want fields) bool {
	k, _ := keyOf(want, false)
	return f.Pool.There == nil || f.Pool.There(k.Node)
}

// toPool takes those steps out that delete what the pool can use.
func (f *Fabric) toPool(e *entry, steps []step) []step {
	f.mu.Lock()
	defer f.mu.Unlock()
	given := map[string]bool{}
	for _, s := range steps {
		i := e.index(s.object)
		if s.verb != remove || s.kind != kindPort || i < 0 || !f.stock.give(e.objects[i]) {
			continue
		}
		given[s.id] = true
		e.objects = slices.Delete(e.objects, i, i+1)
		delete(f.lent, s.id)
		f.wakeChores()
	}
	return slices.DeleteFunc(steps, func(s step) bool { return given[s.id] && s.kind == kindPort })
}

// dissolve ends the pools on what is about to be deleted.
func (f *Fabric) dissolve(steps []step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range steps {
		if s.verb != remove || s.kind == kindPort {
			continue
		}
		f.stock.drain(func(k PoolKey) bool {
			return k.Network == s.id || slices.Contains(split(k.Subnets), s.id) || slices.Contains(split(k.Groups), s.id)
		})
		f.wakeChores()
	}
}

// Pools are all pools of ready ports, sorted.
func (f *Fabric) Pools() []PoolStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stock.status()
}

// restock takes over the pool's ports that are there, and forgets those that
// are not.
func (f *Fabric) restock(all map[intent.Unit][]object) {
	behind := map[string]string{} // what is there
	for u, objects := range all {
		for _, o := range objects {
			behind[o.id] = text(o, "parent")
			f.stock.locate(u, o)
		}
	}
	maps.DeleteFunc(f.rises.up, func(id string, _ bool) bool { _, there := behind[id]; return !there && !f.touched[id] })
	f.stock.keep(func(o object) bool {
		parent, there := behind[o.id]
		return there && parent == text(o, "parent") || f.touched[o.id]
	})
	for _, u := range slices.Sorted(maps.Keys(all)) {
		for _, o := range all[u] {
			if pooled(u) && o.kind == kindPort && !f.touched[o.id] {
				f.stock.add(o)
			}
		}
	}
}

// labelAll writes the names of ports that came from the pool.
func (f *Fabric) labelAll(ctx context.Context) {
	var all sync.WaitGroup
	for range labelers {
		all.Go(func() {
			for f.labels.rest(ctx) {
				for u, any := f.labels.next(); any; u, any = f.labels.next() {
					f.labelOne(ctx, u)
				}
				f.wakeChores()
			}
		})
	}
	all.Wait()
}

// labelOne does what Apply has put off. If that fails, Apply shall tell why.
func (f *Fabric) labelOne(ctx context.Context, u intent.Unit) {
	e := f.enter(u)
	defer f.leave(u, e)
	a := f.session.Load()
	steps := diff(e.objects, e.want, a.born())
	if ctx.Err() != nil || !e.sure || !labels(steps) {
		return
	}
	err := f.run(ctx, a, e, steps)
	if err == nil || ctx.Err() != nil {
		return
	}
	f.Log.Warn("a port from the pool has not got its name", "unit", u, "err", err)
	if f.Changed != nil {
		f.Changed(u)
	}
}

// fill looks after the pools until ctx ends.
func (f *Fabric) fill(ctx context.Context) {
	var again <-chan time.Time
	for {
		select {
		case <-f.chores:
		case <-again:
			again = nil
			f.resume()
		case <-ctx.Done():
			return
		}
		if pause := f.work(ctx); pause > 0 && again == nil {
			again = time.NewTimer(pause).C
		}
	}
}

func (f *Fabric) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stock.resume()
}

// work does chores until there are none, and says when to look again.
func (f *Fabric) work(ctx context.Context) time.Duration {
	pause := time.Duration(0)
	a := f.session.Load()
	for a != nil && ctx.Err() == nil {
		c, err := f.nextChore(ctx, a, func() chore { return f.stock.next(f.labels.empty()) })
		if c.verb == "" {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.stock.anyPaused() {
				return max(pause, f.patience(intent.Wait{After: soon}))
			}
			return pause
		}
		if err != nil && ctx.Err() == nil {
			f.Log.Warn("the pool of ports waits", "node", c.key.Node, "net", c.key.Network, "err", err)
			pause = max(pause, f.patience(err))
			if c.verb == remove || c.verb == detach {
				return pause
			}
		}
	}
	return pause
}

func (f *Fabric) patience(err error) time.Duration {
	pause := later
	var wait intent.Wait
	if errors.As(err, &wait) {
		pause = wait.After
	}
	if f.Pause > 0 {
		return min(pause, f.Pause)
	}
	return pause
}

// nextChore does what there is to do next, and returns it; the zero chore is nothing.
func (f *Fabric) nextChore(ctx context.Context, a *api, next func() chore) (chore, error) {
	if err := f.pooling.Acquire(ctx, 1); err != nil {
		return chore{}, err
	}
	defer f.pooling.Release(1)
	f.mu.Lock()
	c := next()
	f.mu.Unlock()
	if c.verb == "" {
		return c, nil
	}
	return c, f.chore(ctx, a, c)
}

// endPools waits for what is being done for the pools. Nothing is after that, for
// there are none: what had just been made would be in nobody's books.
func (f *Fabric) endPools(ctx context.Context) error {
	if err := f.pooling.Acquire(ctx, allChores); err != nil {
		return fmt.Errorf("wait for the pools of ports: %w", err)
	}
	defer f.pooling.Release(allChores)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stock = newStock(nil)
	return nil
}

func (f *Fabric) chore(ctx context.Context, a *api, c chore) error {
	e := &entry{}
	var err error
	switch c.verb {
	case create:
		err = f.breed(ctx, a, e, c)
	case update:
		e.objects = []object{c.port}
		err = f.run(ctx, a, e, f.cleaning(c.port))
	case remove:
		e.objects = []object{c.port}
		err = f.run(ctx, a, e, []step{{remove, c.port}})
	case detach:
		e.objects = c.ports
		err = f.run(ctx, a, e, diff(c.ports, nil, nil)[:len(c.ports)])
	case tag, attach:
	}
	f.mu.Lock()
	f.stock.done(c, e.objects, err)
	f.await(c, e.objects)
	f.mu.Unlock()
	if err != nil && c.verb == create && !openstack.IsOutcome(err) {
		return errors.Join(err, f.recount(ctx)) // some may have been made
	}
	return err
}

// pattern is the making of ports that are nobody's yet. Their tags come with
// their names, unless Neutron takes them at once.
func (f *Fabric) pattern(c chore) []step {
	m := mark{f.Owner, poolUnit(c.key.Node)}
	like := maps.Clone(c.like)
	delete(like, "vlan") // of the pod that asked for it
	like["name"], like["device_id"], like["description"] = pooledName, "", m.description()
	var steps []step
	for range c.n {
		s := step{create, object{kind: kindPort, name: pooledName, fields: like}}
		if f.session.Load().born()[kindPort] {
			s.tags = m.tagsOf(like)
		}
		steps = append(steps, s)
	}
	return steps
}

// cleaning makes a unit's port nobody's again.
func (f *Fabric) cleaning(o object) []step {
	f.mu.Lock()
	m := mark{f.Owner, poolUnit(f.stock.nodeOf(o))}
	f.mu.Unlock()
	return []step{
		{update, object{kind: kindPort, name: o.name, id: o.id, fields: fields{
			"name": pooledName, "device_id": "", "description": m.description(),
		}}},
		{tag, object{kind: kindPort, name: o.name, id: o.id, tags: retag(o.tags, m.tagsOf(o.fields))}},
	}
}

// recount looks for ports of the pool that nobody knows of. Whatever else it
// finds is told at once, and again by the next look.
func (f *Fabric) recount(ctx context.Context) error {
	changed, err := f.Refresh(ctx, nil)
	f.mu.Lock()
	f.found = append(f.found, changed...)
	f.mu.Unlock()
	f.wake(slices.Clone(changed))
	return err
}
