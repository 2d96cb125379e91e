package cloud

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron"
	"github.com/isthmus-cni/isthmus/internal/openstack"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

// Watcher has the callbacks and intervals of Watch.
type Watcher struct {
	// Ports returns the ids of the Neutron ports that claims name, and their
	// units.
	Ports func(context.Context) (map[string]intent.Unit, error)
	// Owns is called for each unit that may have something in Neutron, before
	// Ready returns nil. Changed is called for the same units after that.
	Owns, Changed func(intent.Unit)
	// AfterFirst is called after Neutron has been read for the first time.
	AfterFirst func(context.Context)
	// AfterEach is called after each successful read. If it errs, the read counts
	// as failed.
	AfterEach func(context.Context) error
	// Every is the pause after a successful read. Backoff has the pauses after
	// failures.
	Every   time.Duration
	Backoff retry.Backoff
}

// Watch reads Neutron until it succeeds, and then at intervals for what others
// have changed, because Neutron sends no events. It returns ctx's error.
func (c *Cloud) Watch(ctx context.Context, w Watcher) error {
	for delays := w.Backoff.Delays(); ; {
		changed, err := c.readAll(openstack.Background(ctx), w)
		pause := w.Every
		if err != nil {
			pause = delays()
			c.setProblem(err)
		} else {
			delays = w.Backoff.Delays()
		}
		c.notify(ctx, w, changed, err == nil)
		if err := retry.Pause(ctx, pause); err != nil {
			return err
		}
	}
}

// notify runs the units whose resources have changed. The order matters: a unit
// that runs before Ready returns nil waits, and a unit that is not marked as an
// owner would leave its resources in Neutron.
func (c *Cloud) notify(ctx context.Context, w Watcher, changed []intent.Unit, complete bool) {
	for _, u := range changed {
		w.Owns(u)
	}
	first := complete && !c.read.Swap(true)
	for _, u := range changed {
		w.Changed(u)
	}
	if first {
		w.AfterFirst(ctx)
	}
}

func (c *Cloud) readAll(ctx context.Context, w Watcher) ([]intent.Unit, error) {
	ports, err := w.Ports(ctx)
	if err != nil {
		return nil, err
	}
	changed, err := c.Read(ctx, ports)
	if err != nil {
		return nil, err
	}
	return changed, w.AfterEach(ctx)
}

// Read reads all of our resources, and looks up what the settings name. It
// returns the units whose resources have changed since the last read.
func (c *Cloud) Read(ctx context.Context, ports map[string]intent.Unit) ([]intent.Unit, error) {
	err := errors.Join(
		c.findOnce(ctx, neutron.Router, c.settings.Router, &c.router),
		c.findOnce(ctx, neutron.Network, c.settings.PodNetwork, &c.podNetwork),
		c.findOnce(ctx, neutron.Network, c.settings.ServiceNetwork, &c.serviceNetwork),
	)
	if err != nil {
		return nil, err
	}
	c.groups.refresh(ctx)
	for _, name := range c.settings.SecurityGroups {
		if _, err := c.groups.id(ctx, name); err != nil {
			return nil, err
		}
	}
	return c.Refresh(ctx, ports)
}

// findOnce looks up the id of an object that the settings name. It does nothing
// if they name none or if the id is known.
func (c *Cloud) findOnce(ctx context.Context, what, name string, at *atomic.Pointer[string]) error {
	if name == "" || at.Load() != nil {
		return nil
	}
	id, err := c.Find(ctx, what, name)
	if err == nil {
		at.Store(&id)
	}
	return err
}

// setProblem records why Neutron cannot be read, and logs it if it has changed.
func (c *Cloud) setProblem(err error) {
	text := err.Error()
	if old := c.problem.Swap(&text); old == nil || *old != text {
		c.log.Warn("reading Neutron failed, trying again", "err", err)
	}
}
