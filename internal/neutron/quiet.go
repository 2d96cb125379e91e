package neutron

import (
	"context"

	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"golang.org/x/sync/semaphore"
)

// sideBySide is how many calls about ports are with Neutron at a time. Its workers
// are few, and each call takes them as long as if it were alone: of thirty at
// once all would wait for all, until their time is over.
const sideBySide = 8

// quiet lets a few calls about ports through at a time, and keeps deletions of
// security groups away from them. Neutron takes a port out of a group before OVN
// has heard of it; where the group is deleted in between, OVN refuses all that
// Neutron writes of the port, and what its other groups say does not hold for
// minutes.
//
// Who comes first goes first, so neither starves the other.
type quiet struct{ all *semaphore.Weighted }

func newQuiet() quiet { return quiet{semaphore.NewWeighted(sideBySide)} }

// enter waits until steps may be done, and returns what to call when they are. A
// change of a trunk waits for the trunk first: see trunk.Trunks.
func (q quiet) enter(ctx context.Context, s plan.Step) (leave func(), err error) {
	switch {
	case s.Kind == plan.KindGroup && s.Verb == plan.Delete:
		return q.take(ctx, sideBySide)
	case s.Kind == plan.KindPort && s.Verb != plan.Attach && s.Verb != plan.Detach:
		return q.take(ctx, 1)
	}
	return func() {}, nil
}

func (q quiet) take(ctx context.Context, n int64) (leave func(), err error) {
	if err := q.all.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { q.all.Release(n) }, nil
}
