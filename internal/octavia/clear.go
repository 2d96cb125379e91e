package octavia

import (
	"context"
	"errors"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Owned says in words what is ours, and what is the user's and leads to it. A
// cloud without Octavia has nothing of ours here.
func (f *Fabric) Owned(ctx context.Context) ([]string, error) {
	a, err := f.api(ctx)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	fips, err := a.floats(ctx, floatingips.ListOpts{})
	if err != nil {
		return nil, err
	}
	for _, fip := range fips {
		if u, is := f.holder(fip); is {
			out = append(out, floatCalled(fip, mark{f.Owner, u}))
		}
	}
	found, err := a.list(ctx, loadbalancers.ListOpts{Tags: []string{tagOwner + f.Owner}})
	for _, lb := range found {
		if _, is := unitOf(f.Owner, lb.Tags); is && lb.ProvisioningStatus != deleted {
			out = append(out, called(lb.Name, lb.ID))
		}
	}
	return out, err
}

// Clear takes away what all units have, and counts the units that have nothing
// left. What Octavia is still at work on is an error: try again.
func (f *Fabric) Clear(ctx context.Context) (int, error) {
	units, err := f.Units(ctx)
	if absent(err) {
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

// absent tells whether a cloud has no Octavia.
func absent(err error) bool {
	_, is := errors.AsType[*gophercloud.ErrEndpointNotFound](err)
	return is
}

func called(name, id string) string { return "load balancer " + name + " (" + id + ")" }

func floatCalled(fip floatingips.FloatingIP, m mark) string {
	text := "floating IP " + fip.FloatingIP + " (" + fip.ID + ")"
	if fip.Description != m.description() {
		text += ", which is the user's and stays, from its load balancer"
	}
	return text
}
