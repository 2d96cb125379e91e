package cloud

import (
	"context"
	"sync"

	"github.com/isthmus-cni/isthmus/internal/decide"
)

// projects are the ids of projects that are known to exist.
type projects struct {
	mu     sync.Mutex
	exists map[string]bool
}

func (p *projects) known(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exists[id]
}

func (p *projects) add(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exists == nil {
		p.exists = map[string]bool{}
	}
	p.exists[id] = true
}

// CheckProject returns an error if a project does not exist, or if Keystone
// cannot be asked. It asks once for each project that exists.
func (c *Cloud) CheckProject(ctx context.Context, id string) error {
	if c.projects.known(id) {
		return nil
	}
	if err := c.Fabric.CheckProject(ctx, id); err != nil {
		return err
	}
	c.projects.add(id)
	return nil
}

// quotas are our project's quotas as last read.
type quotas struct {
	mu   sync.Mutex
	last map[string]decide.Quota
	// lowReported is the text about small quotas that was last reported.
	lowReported string
}

// ReadQuotas reads our project's quotas. It returns true if SetLowQuotas has
// something new to report. It only logs a failure, because quotas only matter to
// a warning.
func (c *Cloud) ReadQuotas(ctx context.Context) bool {
	seen, err := c.Fabric.Quotas(ctx)
	if err != nil {
		c.log.Debug("reading quotas failed", "err", err)
		return false
	}
	all := map[string]decide.Quota{}
	for kind, q := range seen {
		all[kind] = decide.Quota(q)
	}
	c.quotas.mu.Lock()
	defer c.quotas.mu.Unlock()
	c.quotas.last = all
	return decide.LowQuotas(all, c.Project()) != c.quotas.lowReported
}

// Quotas returns the quotas as last read; nil before that. Do not change the map.
func (c *Cloud) Quotas() map[string]decide.Quota {
	c.quotas.mu.Lock()
	defer c.quotas.mu.Unlock()
	return c.quotas.last
}

// SetLowQuotas records the text about small quotas, and returns true if it has
// changed.
func (c *Cloud) SetLowQuotas(text string) bool {
	c.quotas.mu.Lock()
	defer c.quotas.mu.Unlock()
	news := text != c.quotas.lowReported
	c.quotas.lowReported = text
	return news
}
