package client

import (
	"context"
	"net/url"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/trunks"

	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/neutron/trunk"
)

// describeSubports names the subports of a call, as Describe does.
func describeSubports(ports []trunk.Subport) string {
	var steps []plan.Step
	for _, p := range ports {
		steps = append(steps, plan.Step{Object: plan.Object{Kind: plan.KindPort, Name: p.Name}})
	}
	return Describe(steps)
}

// Trunks implements trunk.API. It does not use gophercloud's list of trunks, which does
// not follow the links between pages.
func (a *Client) Trunks(ctx context.Context, parent string) ([]trunk.Trunk, error) {
	query := url.Values{}
	if parent != "" {
		query.Set("port_id", parent)
	}
	found, err := a.List(ctx, plan.KindTrunk, query)
	out := []trunk.Trunk{}
	for _, w := range found {
		t := trunk.Trunk{ID: w.ID, Parent: w.Port}
		for _, s := range w.Subports {
			t.Subports = append(t.Subports, trunk.Subport{Port: s.PortID, VLAN: s.SegmentationID})
		}
		out = append(out, t)
	}
	return out, err
}

// AddSubports implements trunk.API.
func (a *Client) AddSubports(ctx context.Context, id string, ports []trunk.Subport) error {
	var opts trunks.AddSubportsOpts
	for _, p := range ports {
		opts.Subports = append(opts.Subports, trunks.Subport{PortID: p.Port, SegmentationType: "vlan", SegmentationID: p.VLAN})
	}
	return classifyError(plan.Attach, describeSubports(ports), trunks.AddSubports(ctx, a.Networking, id, opts).Err)
}

// RemoveSubports implements trunk.API.
func (a *Client) RemoveSubports(ctx context.Context, id string, ports []trunk.Subport) error {
	var opts trunks.RemoveSubportsOpts
	for _, p := range ports {
		opts.Subports = append(opts.Subports, trunks.RemoveSubport{PortID: p.Port})
	}
	return classifyError(plan.Detach, describeSubports(ports), trunks.RemoveSubports(ctx, a.Networking, id, opts).Err)
}
