package controller

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/isthmus-cni/isthmus/internal/retry"
	"github.com/isthmus-cni/isthmus/internal/settings"
)

// longestRetry is the longest pause before a failed unit runs again.
const longestRetry = 30 * time.Second

// pacing computes the pauses of retries and waits from the settings.
type pacing settings.Settings

// backoff returns the pauses after OpenStack could not be read.
func (p pacing) backoff() retry.Backoff {
	return retry.Backoff{First: p.atMost(time.Second), Longest: p.atMost(longestRetry)}
}

// atMost returns d, but no longer than the interval at which OpenStack is read.
func (p pacing) atMost(d time.Duration) time.Duration {
	if p.Neutron == nil {
		return d
	}
	return min(d, p.Neutron.LookEvery.Duration)
}

// limiter bounds how long a unit waits before it runs again.
type limiter struct {
	reconcile.Reconciler
	atMost func(time.Duration) time.Duration
}

// Reconcile runs the unit.
func (l limiter) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	r, err := l.Reconciler.Reconcile(ctx, req)
	r.RequeueAfter = l.atMost(r.RequeueAfter)
	return r, err
}
