package controller

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/isthmus-cni/isthmus/internal/app/controller/trigger"
	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron"
	"github.com/isthmus-cni/isthmus/internal/octavia"
)

// newBalancers is Octavia, which finds segments as Neutron has them.
func (c *cluster) newBalancers(cl *cloud) *octavia.Fabric {
	n := c.settings.Neutron
	return octavia.New(octavia.Options{
		Owner: c.settings.Cluster, Cloud: n.Cloud, CloudsFile: n.CloudsFile, Provider: n.LoadBalancerProvider,
		Subnet: cl.subnetOf, Pause: c.atMost(balancerPause),
		Count: c.countCalls("octavia"), Log: c.log,
	})
}

// balancerPause is how long a load balancer that is in error again is left alone.
const balancerPause = 5 * time.Second

// segmentDelay is when to look again for a segment that is being made.
const segmentDelay = time.Second

// subnetOf is the id of the segment's subnet that an address lies in; of one
// that it does not lie in, that of the address's family.
func (c *cloud) subnetOf(segment string, a netip.Addr) (string, error) {
	s, _ := c.Segment(segment)
	family := ""
	for _, sub := range s.Subnets {
		switch {
		case sub.Prefix.Contains(a):
			return sub.ID, nil
		case sub.Prefix.Addr().Is4() == a.Is4():
			family = sub.ID
		}
	}
	if family == "" {
		return "", intent.Wait{Reason: notReady, After: segmentDelay, For: fmt.Sprintf("network %s in Neutron, where %v is reached", segment, a)}
	}
	return family, nil
}

// externalNetwork is the id of a network, by id or name.
func (c *cloud) externalNetwork(ctx context.Context, name string) (string, error) {
	if id := c.external.Load(); id != nil {
		return *id, nil
	}
	id, err := c.Find(ctx, neutron.Network, name)
	if err != nil {
		return "", err
	}
	c.external.Store(&id)
	return id, nil
}

// watchBalancers finds what Services that went meanwhile have left in Octavia,
// as often as it takes, and then what others change.
func (c *cluster) watchBalancers(ctx context.Context, b *octavia.Fabric, f *fabrics, q *trigger.Queues) error {
	changed := func(u intent.Unit) {
		f.mark(u, intent.FabricOctavia, true)
		q.Add(u)
	}
	first, last := c.retries()
	for retry := first; ; retry = min(2*retry, last) {
		owners, err := b.Units(ctx)
		for _, u := range owners {
			changed(u)
		}
		if err == nil {
			break
		}
		c.log.Warn("Octavia cannot be read, trying again", "err", err, "after", retry)
		timer := time.NewTimer(retry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	b.Watch(ctx, c.settings.Neutron.LookEvery.Duration, changed)
	return ctx.Err()
}
