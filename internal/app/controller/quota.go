package controller

import (
	"context"

	"github.com/isthmus-cni/isthmus/internal/decide"
)

// lookAtQuotas learns our project's quotas, and tells whether there is something
// new to be said of them. They are worth no more than a word: not to see them
// keeps nobody from anything.
func (c *cluster) lookAtQuotas(ctx context.Context, cl *cloud) bool {
	if c.settings.Overlay() {
		return false
	}
	seen, err := cl.Quotas(ctx)
	if err != nil {
		c.log.Debug("quotas are not to be seen", "err", err)
		return false
	}
	all := map[string]decide.Quota{}
	for kind, q := range seen {
		all[kind] = decide.Quota(q)
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.quota = all
	return decide.Short(all, cl.Project()) != cl.short
}

func (c *cloud) quotas() map[string]decide.Quota {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quota
}

// tellShort says once that a quota may be too small.
func (c *cluster) tellShort(f decide.ClusterFacts, told decide.ClusterReport) {
	cl, main := c.cloud.Load(), f.Main()
	if cl == nil || main == nil {
		return
	}
	cl.mu.Lock()
	news := told.Short != cl.short
	cl.short = told.Short
	cl.mu.Unlock()
	if news && told.Short != "" {
		c.log.Warn("a quota may be too small", "unit", c.unitOfCluster(), "err", told.Short)
		c.reporter.warn(main, "QuotaLow", told.Short)
	}
}
