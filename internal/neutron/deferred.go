package neutron

import (
	"context"
	"slices"
	"sync"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/signal"
)

// A pod that gets a port from the pool does not wait until Neutron shows the port's new
// name and tags: only people and the next start need them. They are written afterwards.

// nameWriters is the number of goroutines that write names.
const nameWriters = 2

// unitQueue is a FIFO queue of units. Each unit is in it at most once. It is safe for
// concurrent use.
type unitQueue struct {
	added signal.Signal
	mu    sync.Mutex
	units []intent.Unit
}

func (q *unitQueue) add(u intent.Unit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(q.units, u) {
		q.units = append(q.units, u)
	}
	q.added.Set()
}

// next removes the first unit and returns it, or false if the queue is empty.
func (q *unitQueue) next() (intent.Unit, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.units) == 0 {
		return "", false
	}
	u := q.units[0]
	q.units = q.units[1:]
	if len(q.units) > 0 {
		q.added.Set() // for another receiver
	}
	return u, true
}

// wait blocks until a unit has been added and returns true. It returns false when ctx ends.
func (q *unitQueue) wait(ctx context.Context) bool {
	select {
	case <-q.added.C():
		return true
	case <-ctx.Done():
		return false
	}
}

func (q *unitQueue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.units) == 0
}

// writeNames writes the names of ports that came from the pool, until ctx ends.
func (f *Fabric) writeNames(ctx context.Context) {
	var writers sync.WaitGroup
	for range nameWriters {
		writers.Go(func() {
			for f.unnamed.wait(ctx) {
				for u, any := f.unnamed.next(); any; u, any = f.unnamed.next() {
					f.writeName(ctx, u)
				}
				f.PortPool.Wake()
			}
		})
	}
	writers.Wait()
}

// writeName runs the steps that Apply has deferred. If one fails, the unit is applied
// again, and that Apply returns the error.
func (f *Fabric) writeName(ctx context.Context, u intent.Unit) {
	e := f.enter(u)
	defer f.leave(u, e)
	a := f.session.Load()
	steps := plan.Diff(e.objects, e.want, a.TagsOnCreate())
	if ctx.Err() != nil || !e.sure || !plan.OnlyNames(steps) {
		return
	}
	err := f.run(ctx, a, e, steps)
	if err == nil || ctx.Err() != nil {
		return
	}
	f.Log.Warn("writing the name of a port from the pool failed", "unit", u, "err", err)
	f.wake([]intent.Unit{u})
}
