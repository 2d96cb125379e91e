package octavia

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/attributestags"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// A floating IP that we made has our mark as its description from birth. The
// user's own keeps its description and has our tags while it leads to us.

// float makes the unit's floating IP lead to port, or takes it away, and
// counts what had to be changed. Grounded is true, and stays so, where none is
// wanted and none is there.
func (a *api) float(ctx context.Context, m mark, port string, want *intent.FloatingIP, grounded *bool) (*intent.FloatingIPStatus, int, error) {
	if want == nil && *grounded {
		return nil, 0, nil
	}
	*grounded = false
	have, err := a.floating(ctx, m)
	if err != nil {
		return nil, 0, err
	}
	kept, changed, err := a.keep(ctx, m, port, want, have)
	if err != nil || want == nil {
		*grounded = err == nil
		return nil, changed, err
	}
	if kept == nil {
		changed++
		if kept, err = a.find(ctx, m, port, *want); err != nil {
			return nil, changed, err
		}
	}
	own := kept.Description == m.description()
	if kept.PortID != port {
		if kept.PortID != "" && !own {
			return nil, changed, leadsElsewhere(*kept)
		}
		changed++
		if err := a.lead(ctx, *kept, &port); err != nil {
			return nil, changed, err
		}
	}
	addr, err := netip.ParseAddr(kept.FloatingIP)
	return &intent.FloatingIPStatus{ID: kept.ID, Addr: addr, Own: own}, changed, err
}

// keep takes away all of the unit's floating IPs but the one that is wanted,
// and counts them.
func (a *api) keep(ctx context.Context, m mark, port string, want *intent.FloatingIP, have []floatingips.FloatingIP) (*floatingips.FloatingIP, int, error) {
	var kept *floatingips.FloatingIP
	changed := 0
	for i, fip := range have {
		if kept == nil && suits(fip, m, want) {
			kept = &have[i]
			continue
		}
		changed++
		if err := a.ground(ctx, m, port, fip); err != nil {
			return nil, changed, err
		}
	}
	return kept, changed, nil
}

// suits tells whether a floating IP of the unit is the one that is wanted.
func suits(fip floatingips.FloatingIP, m mark, want *intent.FloatingIP) bool {
	switch {
	case want == nil:
		return false
	case want.Addr.IsValid():
		return fip.FloatingIP == want.Addr.String()
	}
	return fip.Description == m.description() && fip.FloatingNetworkID == want.Network
}

// floating are the unit's floating IPs: ours, and the user's that lead to it.
func (a *api) floating(ctx context.Context, m mark) ([]floatingips.FloatingIP, error) {
	ours, err := a.floats(ctx, floatingips.ListOpts{Description: m.description()})
	if err != nil {
		return nil, err
	}
	tags := m.tags()
	users, err := a.floats(ctx, floatingips.ListOpts{Tags: tags[0] + "," + tags[1]})
	for _, u := range users {
		if hasAll(u.Tags, tags) && u.Description != m.description() {
			ours = append(ours, u)
		}
	}
	return ours, err
}

func (a *api) floats(ctx context.Context, q floatingips.ListOpts) ([]floatingips.FloatingIP, error) {
	pages, err := floatingips.List(a.network, q).AllPages(ctx)
	if err != nil {
		return nil, classifyError("list floating IPs", err)
	}
	return floatingips.ExtractFloatingIPs(pages)
}

// find makes a floating IP, or takes the user's.
func (a *api) find(ctx context.Context, m mark, port string, want intent.FloatingIP) (*floatingips.FloatingIP, error) {
	if !want.Addr.IsValid() {
		made, err := floatingips.Create(ctx, a.network, floatingips.CreateOpts{
			Description: m.description(), FloatingNetworkID: want.Network, PortID: port,
		}).Extract()
		return made, classifyError("make a floating IP", err)
	}
	found, err := a.floats(ctx, floatingips.ListOpts{FloatingIP: want.Addr.String()})
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, intent.Stop{Reason: "NoSuchFloatingIP", Why: fmt.Sprintf("the project has no floating IP %s: make it, or take loadBalancerIP out of the Service", want.Addr)}
	case found[0].PortID != "" && found[0].PortID != port:
		return nil, leadsElsewhere(found[0])
	}
	return &found[0], a.tag(ctx, found[0], retag(found[0].Tags, m.tags()))
}

// tag sets all tags in one call: a tag of ours has slashes, which the call for
// one tag cannot have in its address.
func (a *api) tag(ctx context.Context, fip floatingips.FloatingIP, tags []string) error {
	_, err := attributestags.ReplaceAll(ctx, a.network, "floatingips", fip.ID, attributestags.ReplaceAllOpts{Tags: tags}).Extract()
	return classifyError("tag floating IP "+fip.FloatingIP, err)
}

func leadsElsewhere(fip floatingips.FloatingIP) error {
	return intent.Wait{Reason: "AddressTaken", After: rare, For: fmt.Sprintf("floating IP %s, which leads to port %s", fip.FloatingIP, fip.PortID)}
}

// lead sets where a floating IP leads; nil for nowhere.
func (a *api) lead(ctx context.Context, fip floatingips.FloatingIP, port *string) error {
	if port == nil {
		port = new(string)
	}
	_, err := floatingips.Update(ctx, a.network, fip.ID, floatingips.UpdateOpts{PortID: port}).Extract()
	return classifyError("set the port of floating IP "+fip.FloatingIP, err)
}

// ground deletes a floating IP of ours and lets go of the user's; one that the
// user has led elsewhere than to port stays as it is.
func (a *api) ground(ctx context.Context, m mark, port string, fip floatingips.FloatingIP) error {
	if fip.Description == m.description() {
		err := classifyError("delete floating IP "+fip.FloatingIP, floatingips.Delete(ctx, a.network, fip.ID).ExtractErr())
		if err != nil && !errors.Is(err, errGone) {
			return err
		}
		a.removed(floatCalled(fip, m))
		return nil
	}
	if fip.PortID != "" && fip.PortID == port {
		if err := a.lead(ctx, fip, nil); err != nil {
			return err
		}
	}
	err := a.tag(ctx, fip, retag(fip.Tags, nil))
	if err != nil && !errors.Is(err, errGone) {
		return err
	}
	a.removed(floatCalled(fip, m))
	return nil
}
