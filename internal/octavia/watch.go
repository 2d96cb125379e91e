package octavia

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// Units are all that have a balancer or a floating IP.
func (f *Fabric) Units(ctx context.Context) ([]intent.Unit, error) {
	a, err := f.api(ctx)
	if err != nil {
		return nil, err
	}
	found, err := a.list(ctx, loadbalancers.ListOpts{Tags: []string{tagOwner + f.Owner}})
	if err != nil {
		return nil, err
	}
	var out []intent.Unit
	for _, lb := range found {
		if u, is := unitOf(f.Owner, lb.Tags); is {
			out = append(out, u)
		}
	}
	fips, err := a.floats(ctx, floatingips.ListOpts{})
	if err != nil {
		return nil, err
	}
	for _, fip := range fips {
		if u, is := f.holder(fip); is {
			out = append(out, u)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// holder is the unit of ours that has a floating IP; false if none has.
func (f *Fabric) holder(fip floatingips.FloatingIP) (intent.Unit, bool) {
	if u, is := unitOf(f.Owner, fip.Tags); is {
		return u, true
	}
	u, born := strings.CutPrefix(fip.Description, tagOwner+f.Owner+","+tagUnit)
	return intent.Unit(u), born
}

// Drifted are the units whose balancer or floating IP is not as we left it: it
// is gone, or somebody has changed it or what belongs to it. That costs one
// call for all balancers, and one for all floating IPs if there are any.
func (f *Fabric) Drifted(ctx context.Context) ([]intent.Unit, error) {
	a, err := f.api(ctx)
	if err != nil {
		return nil, err
	}
	was := f.left()
	is, err := a.standing(ctx, f.Owner)
	if err != nil {
		return nil, err
	}
	leads, err := a.leads(ctx, was)
	if err != nil {
		return nil, err
	}
	var out []intent.Unit
	for u, e := range was {
		// any change of what belongs to a balancer changes its status for a
		// while, and with it the time
		h, there := is[e.was.ID]
		if !there || h.Status != e.was.Status || !h.Changed.Equal(e.was.Changed) || leads[e.float.id] != e.float.port {
			out = append(out, u)
		}
	}
	slices.Sort(out)
	return out, nil
}

// standing are the balancers of an owner, by id.
func (a *api) standing(ctx context.Context, owner string) (map[string]balancer, error) {
	found, err := a.list(ctx, loadbalancers.ListOpts{Tags: []string{tagOwner + owner}})
	is := map[string]balancer{}
	for _, lb := range found {
		is[lb.ID] = shown(lb)
	}
	return is, err
}

// leads are the ports of floating IPs, by id, if any of these has one.
func (a *api) leads(ctx context.Context, was map[intent.Unit]entry) (map[string]string, error) {
	out := map[string]string{}
	if !slices.ContainsFunc(slices.Collect(maps.Values(was)), func(e entry) bool { return e.float.id != "" }) {
		return out, nil
	}
	fips, err := a.floats(ctx, floatingips.ListOpts{})
	for _, fip := range fips {
		out[fip.ID] = fip.PortID
	}
	return out, err
}

// left are the units as we left them.
func (f *Fabric) left() map[intent.Unit]entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[intent.Unit]entry{}
	for u, e := range f.units {
		if e.flight == nil && e.was.ID != "" {
			out[u] = *e
		}
	}
	return out
}

// Watch tells, until ctx ends, of units that should be applied again, because
// somebody changed what they have in Octavia. It looks every so often: there
// are no events. It also deletes ports that Octavia left in the subnets of our
// balancers when it failed to make one. Tell must not block.
func (f *Fabric) Watch(ctx context.Context, every time.Duration, tell func(intent.Unit)) {
	ctx = openstack.Background(ctx)
	for rest(ctx, every) == nil {
		units, err := f.Drifted(ctx)
		if err == nil {
			err = f.sweep(ctx)
		}
		if err != nil && ctx.Err() == nil {
			f.Log.Warn("could not look for changes in Octavia, trying again later", "err", err, "after", every)
		}
		for _, u := range units {
			tell(u)
		}
	}
}

// sweep deletes the ports of balancers that were never made.
func (f *Fabric) sweep(ctx context.Context) error {
	a, err := f.api(ctx)
	if err != nil {
		return err
	}
	subnets := map[string]bool{}
	for _, e := range f.left() {
		subnets[e.was.Subnet] = true
	}
	for id := range subnets {
		pages, err := ports.List(a.network, ports.ListOpts{FixedIPs: []ports.FixedIPOpts{{SubnetID: id}}}).AllPages(ctx)
		if err != nil {
			return classifyError("list the ports of subnet "+id, err)
		}
		all, err := ports.ExtractPorts(pages)
		if err != nil {
			return err
		}
		if err := f.sweepPorts(ctx, a, all); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fabric) sweepPorts(ctx context.Context, a *api, all []ports.Port) error {
	known := map[string]bool{}
	for _, e := range f.left() {
		known[e.was.VIPPort] = true
	}
	for _, p := range all {
		if known[p.ID] || time.Since(p.CreatedAt) < young || !strings.HasPrefix(p.Name, vipPort) {
			continue
		}
		orphan, err := a.orphan(ctx, p)
		if err != nil {
			return err
		}
		if orphan {
			if err := a.deletePort(ctx, p); err != nil {
				return err
			}
			f.Log.Info("deleted a port that Octavia left behind", "port", p.Name)
		}
	}
	return nil
}
