package neutron

import (
	"context"
	"math"

	"golang.org/x/sync/semaphore"
)

// quiet keeps deletions of security groups away from calls about ports. Neutron
// takes a port out of a group before OVN has heard of it; where the group is
// deleted in between, OVN refuses all that Neutron writes of the port, and what
// its other groups say does not hold for minutes.
//
// Who comes first goes first, so neither starves the other.
type quiet struct{ all *semaphore.Weighted }

func newQuiet() quiet { return quiet{semaphore.NewWeighted(math.MaxInt64)} }

// enter waits until steps may be done, and returns what to call when they are.
func (q quiet) enter(ctx context.Context, s step) (leave func(), err error) {
	n := int64(1)
	switch {
	case s.kind == kindGroup && s.verb == remove:
		n = math.MaxInt64
	case s.kind != kindPort:
		return func() {}, nil
	}
	if err := q.all.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { q.all.Release(n) }, nil
}
