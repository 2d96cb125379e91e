package octavia

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
	"github.com/isthmus-cni/isthmus/internal/retry"
)

// Units returns all units that have a load balancer or a floating IP, sorted.
func (f *Fabric) Units(ctx context.Context) ([]intent.Unit, error) {
	c, err := f.session.Get(ctx)
	if err != nil {
		return nil, err
	}
	found, err := c.listOf(ctx, f.Owner)
	if err != nil {
		return nil, err
	}
	var out []intent.Unit
	for _, lb := range found {
		u, _ := openstack.UnitOf(f.Owner, lb.Tags, "")
		out = append(out, u)
	}
	fips, err := c.floating.list(ctx, floatingips.ListOpts{})
	if err != nil {
		return nil, err
	}
	for _, fip := range fips {
		if u, ours := openstack.UnitOf(f.Owner, fip.Tags, fip.Description); ours && u != "" {
			out = append(out, u)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Drifted returns the units whose load balancer or floating IP is not as Apply left it,
// because it or one of its parts was deleted or changed. Drifted makes one call for all
// load balancers, and one for all floating IPs if there are any.
func (f *Fabric) Drifted(ctx context.Context) ([]intent.Unit, error) {
	c, err := f.session.Get(ctx)
	if err != nil {
		return nil, err
	}
	states := f.applied()
	found, err := c.listOf(ctx, f.Owner)
	if err != nil {
		return nil, err
	}
	now := map[string]loadBalancer{}
	for _, lb := range found {
		now[lb.ID] = lb
	}
	portOf, err := c.readAssociations(ctx, states)
	if err != nil {
		return nil, err
	}
	var out []intent.Unit
	for u, state := range states {
		if b, there := now[state.applied.ID]; !there || changed(state.applied, b) || portOf[state.floatingIP.id] != state.floatingIP.port {
			out = append(out, u)
		}
	}
	slices.Sort(out)
	return out, nil
}

// changed reports whether Octavia has changed a load balancer or one of its parts. A
// change of a part changes the load balancer's status for a while, and with it the time
// of its last change.
func changed(before, now loadBalancer) bool {
	return now.Status != before.Status || !now.Changed.Equal(before.Changed)
}

// readAssociations returns the ports of all floating IPs by the floating IP's id. It
// returns an empty map, without a call, if none of the units has a floating IP.
func (c *client) readAssociations(ctx context.Context, states map[intent.Unit]unitState) (map[string]string, error) {
	out := map[string]string{}
	if !slices.ContainsFunc(slices.Collect(maps.Values(states)), func(s unitState) bool { return s.floatingIP.id != "" }) {
		return out, nil
	}
	fips, err := c.floating.list(ctx, floatingips.ListOpts{})
	for _, fip := range fips {
		out[fip.ID] = fip.PortID
	}
	return out, err
}

// applied returns the units that have been applied and are not being changed.
func (f *Fabric) applied() map[intent.Unit]unitState {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[intent.Unit]unitState{}
	for u, state := range f.units {
		if state.running == nil && state.applied.ID != "" {
			out[u] = *state
		}
	}
	return out
}

// Watch calls drifted, until ctx ends, for each unit that must be applied again because
// its resources in Octavia were changed. Octavia sends no events, so Watch reads once per
// interval. It also deletes ports that Octavia left behind in our subnets after a
// failure. drifted must not block.
func (f *Fabric) Watch(ctx context.Context, interval time.Duration, drifted func(intent.Unit)) {
	ctx = openstack.Background(ctx)
	for retry.Pause(ctx, interval) == nil {
		units, err := f.Drifted(ctx)
		if err == nil {
			err = f.deleteLeftoverPorts(ctx)
		}
		if err != nil && ctx.Err() == nil {
			f.Log.Warn("looking for changes in Octavia failed", "err", err, "after", interval)
		}
		for _, u := range units {
			drifted(u)
		}
	}
}

// deleteLeftoverPorts deletes the ports of load balancers that Octavia failed to create,
// in the subnets of our load balancers.
func (f *Fabric) deleteLeftoverPorts(ctx context.Context) error {
	c, err := f.session.Get(ctx)
	if err != nil {
		return err
	}
	subnets := map[string]bool{}
	for _, state := range f.applied() {
		subnets[state.applied.Subnet] = true
	}
	for id := range subnets {
		all, err := c.listPorts(ctx, ports.FixedIPOpts{SubnetID: id})
		if err != nil {
			return err
		}
		if err := f.deleteLeftovers(ctx, c, all); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fabric) deleteLeftovers(ctx context.Context, c *client, all []ports.Port) error {
	known := map[string]bool{}
	for _, state := range f.applied() {
		known[state.applied.VIPPort] = true
	}
	for _, p := range all {
		if known[p.ID] || time.Since(p.CreatedAt) < creationTime || !strings.HasPrefix(p.Name, vipPortPrefix) {
			continue
		}
		leftover, err := c.isLeftover(ctx, p)
		if err != nil {
			return err
		}
		if !leftover {
			continue
		}
		if err := c.deletePort(ctx, p); err != nil {
			return err
		}
		f.Log.Info("deleted a port that Octavia left behind", "port", p.Name)
	}
	return nil
}
