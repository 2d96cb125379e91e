package neutron

import (
	"context"

	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"golang.org/x/sync/semaphore"
)

// maxPortCalls is the maximum number of concurrent calls for ports. Neutron has few
// workers, and thirty concurrent calls slow each other down until all time out.
const maxPortCalls = 8

// portLimiter limits the concurrent calls for ports, and runs deletions of security groups
// alone. Neutron removes a port from a group before OVN has it; if the group is deleted
// in between, OVN refuses everything that Neutron writes for the port, and the rules of
// the port's other groups do not apply for minutes.
//
// Calls run in the order in which they came, so neither kind starves the other.
type portLimiter struct{ all *semaphore.Weighted }

func newPortLimiter() portLimiter { return portLimiter{semaphore.NewWeighted(maxPortCalls)} }

// enter waits until the step may run, and returns a function to call after it. Steps that
// change a trunk are limited by trunk.Trunks.
func (q portLimiter) enter(ctx context.Context, s plan.Step) (leave func(), err error) {
	switch {
	case s.Kind == plan.KindGroup && s.Verb == plan.Delete:
		return q.take(ctx, maxPortCalls)
	case s.Kind == plan.KindPort && s.Verb != plan.Attach && s.Verb != plan.Detach:
		return q.take(ctx, 1)
	}
	return func() {}, nil
}

func (q portLimiter) take(ctx context.Context, n int64) (leave func(), err error) {
	if err := q.all.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { q.all.Release(n) }, nil
}
