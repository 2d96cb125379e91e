package controller

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// mostRetry is how long what fails again and again is left alone at most.
const mostRetry = 30 * time.Second

// retries are how long to wait before what failed is tried once more, and how
// long at most.
func (c *cluster) retries() (first, last time.Duration) {
	return c.atMost(time.Second), c.atMost(mostRetry)
}

// atMost is d, but nothing waits longer than until OpenStack is looked at again.
func (c *cluster) atMost(d time.Duration) time.Duration {
	if c.settings.Neutron == nil {
		return d
	}
	return min(d, c.settings.Neutron.LookEvery.Duration)
}

// paced has a unit that waits looked at again in time.
type paced struct {
	reconcile.Reconciler
	atMost func(time.Duration) time.Duration
}

// Reconcile is that of the unit.
func (p paced) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	r, err := p.Reconciler.Reconcile(ctx, req)
	r.RequeueAfter = p.atMost(r.RequeueAfter)
	return r, err
}
