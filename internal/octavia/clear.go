package octavia

import (
	"context"
	"errors"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// Owned describes what the cluster owns, and the user's floating IPs that point to it,
// for people. It returns nil in a cloud without Octavia.
func (f *Fabric) Owned(ctx context.Context) ([]string, error) {
	c, err := f.session.Get(ctx)
	if octaviaMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	fips, err := c.floating.list(ctx, floatingips.ListOpts{})
	if err != nil {
		return nil, err
	}
	for _, fip := range fips {
		if u, ours := openstack.UnitOf(f.Owner, fip.Tags, fip.Description); ours && u != "" {
			out = append(out, describeFloatingIP(fip, f.owner(u)))
		}
	}
	found, err := c.listOf(ctx, f.Owner)
	for _, lb := range found {
		if lb.Status != deleted {
			out = append(out, describeLoadBalancer(lb.Name, lb.ID))
		}
	}
	return out, err
}

// Clear deletes everything that the units have. It returns the number of units that have
// nothing left. It returns an error if Octavia has not finished or a call failed; the
// caller then calls it again.
func (f *Fabric) Clear(ctx context.Context) (int, error) {
	units, err := f.Units(ctx)
	if octaviaMissing(err) {
		return 0, nil
	}
	done := 0
	errs := []error{err}
	for _, u := range units {
		_, err := f.Apply(ctx, u, intent.Want{})
		if err == nil {
			done++
		}
		errs = append(errs, err)
	}
	return done, errors.Join(errs...)
}

// listOf returns the load balancers of all units of a cluster, without their parts.
func (c *client) listOf(ctx context.Context, cluster string) ([]loadBalancer, error) {
	found, err := c.listLoadBalancers(ctx, loadbalancers.ListOpts{Tags: []string{openstack.TagOwner + cluster}})
	var out []loadBalancer
	for _, lb := range found {
		if u, ours := openstack.UnitOf(cluster, lb.Tags, ""); ours && u != "" {
			out = append(out, fromList(lb))
		}
	}
	return out, err
}

// octaviaMissing reports whether the cloud has no Octavia.
func octaviaMissing(err error) bool {
	_, is := errors.AsType[*gophercloud.ErrEndpointNotFound](err)
	return is
}

func describeLoadBalancer(name, id string) string { return "load balancer " + name + " (" + id + ")" }

func describeFloatingIP(fip floatingips.FloatingIP, owner openstack.Owner) string {
	text := "floating IP " + fip.FloatingIP + " (" + fip.ID + ")"
	if fip.Description != owner.Description() {
		text += ", which is the user's and stays, from its load balancer"
	}
	return text
}
