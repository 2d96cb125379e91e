package octavia

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/attributestags"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// A floating IP that we create has its owner in the description from the start, because
// Neutron takes tags only later. A user's floating IP keeps its description, and has our
// tags while it points to one of our load balancers.

// floatingIPs makes the calls to Neutron for floating IPs.
type floatingIPs struct {
	neutron *gophercloud.ServiceClient
	removed func(what string)
}

// ensure makes the owner's floating IP point to port, or releases it if want is nil. It returns
// the floating IP, nil if there is none, and the number of changes. It sets *none when the
// owner neither wants nor has one; the next call with a nil want then asks nothing.
func (n floatingIPs) ensure(ctx context.Context, owner openstack.Owner, port string, want *intent.FloatingIP, none *bool) (*intent.FloatingIPStatus, int, error) {
	if want == nil && *none {
		return nil, 0, nil
	}
	*none = false
	have, err := n.listOwned(ctx, owner)
	if err != nil {
		return nil, 0, err
	}
	kept, changed, err := n.releaseOthers(ctx, owner, port, want, have)
	if err != nil || want == nil {
		*none = err == nil
		return nil, changed, err
	}
	if kept == nil {
		changed++
		if kept, err = n.find(ctx, owner, port, *want); err != nil {
			return nil, changed, err
		}
	}
	own := kept.Description == owner.Description()
	if kept.PortID != port {
		if kept.PortID != "" && !own {
			return nil, changed, floatingIPInUse(*kept)
		}
		changed++
		if err := n.associate(ctx, *kept, port); err != nil {
			return nil, changed, err
		}
	}
	addr, err := netip.ParseAddr(kept.FloatingIP)
	return &intent.FloatingIPStatus{ID: kept.ID, Addr: addr, Own: own}, changed, err
}

// releaseOthers releases all floating IPs in have except the wanted one. It returns the
// wanted one, nil if it is not among them, and the number of released ones.
func (n floatingIPs) releaseOthers(ctx context.Context, owner openstack.Owner, port string, want *intent.FloatingIP, have []floatingips.FloatingIP) (*floatingips.FloatingIP, int, error) {
	var kept *floatingips.FloatingIP
	changed := 0
	for i, fip := range have {
		if kept == nil && isWanted(fip, owner, want) {
			kept = &have[i]
			continue
		}
		changed++
		if err := n.release(ctx, owner, port, fip); err != nil {
			return nil, changed, err
		}
	}
	return kept, changed, nil
}

// isWanted reports whether the owner's floating IP fip is the wanted one.
func isWanted(fip floatingips.FloatingIP, owner openstack.Owner, want *intent.FloatingIP) bool {
	switch {
	case want == nil:
		return false
	case want.Addr.IsValid():
		return fip.FloatingIP == want.Addr.String()
	}
	return fip.Description == owner.Description() && fip.FloatingNetworkID == want.Network
}

// listOwned returns the floating IPs that were created for the owner, and the user's
// floating IPs that point to the owner's load balancer.
func (n floatingIPs) listOwned(ctx context.Context, owner openstack.Owner) ([]floatingips.FloatingIP, error) {
	created, err := n.list(ctx, floatingips.ListOpts{Description: owner.Description()})
	if err != nil {
		return nil, err
	}
	tags := owner.Tags()
	tagged, err := n.list(ctx, floatingips.ListOpts{Tags: tags[0] + "," + tags[1]})
	for _, fip := range tagged {
		if hasAll(fip.Tags, tags) && fip.Description != owner.Description() {
			created = append(created, fip)
		}
	}
	return created, err
}

func (n floatingIPs) list(ctx context.Context, q floatingips.ListOpts) ([]floatingips.FloatingIP, error) {
	pages, err := floatingips.List(n.neutron, q).AllPages(ctx)
	if err != nil {
		return nil, classifyError("list floating IPs", err)
	}
	return floatingips.ExtractFloatingIPs(pages)
}

// find creates a floating IP, or tags the user's one if want names it.
func (n floatingIPs) find(ctx context.Context, owner openstack.Owner, port string, want intent.FloatingIP) (*floatingips.FloatingIP, error) {
	if !want.Addr.IsValid() {
		created, err := floatingips.Create(ctx, n.neutron, floatingips.CreateOpts{
			Description: owner.Description(), FloatingNetworkID: want.Network, PortID: port,
		}).Extract()
		return created, classifyError("create a floating IP", err)
	}
	found, err := n.list(ctx, floatingips.ListOpts{FloatingIP: want.Addr.String()})
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, intent.Stop{Reason: "NoSuchFloatingIP", Why: fmt.Sprintf(
			"the project has no floating IP %s: create it, or remove loadBalancerIP from the Service", want.Addr)}
	case found[0].PortID != "" && found[0].PortID != port:
		return nil, floatingIPInUse(found[0])
	}
	return &found[0], n.tag(ctx, found[0], openstack.ReplaceTags(found[0].Tags, owner.Tags()))
}

// tag replaces all tags in one call. The call for a single tag has the tag in its path,
// which cannot contain the slashes of our tags.
func (n floatingIPs) tag(ctx context.Context, fip floatingips.FloatingIP, tags []string) error {
	if tags == nil {
		tags = []string{} // JSON needs a list, not null
	}
	_, err := attributestags.ReplaceAll(ctx, n.neutron, "floatingips", fip.ID, attributestags.ReplaceAllOpts{Tags: tags}).Extract()
	return classifyError("tag floating IP "+fip.FloatingIP, err)
}

func floatingIPInUse(fip floatingips.FloatingIP) error {
	return intent.Wait{Reason: "AddressTaken", After: operatorDelay, For: fmt.Sprintf("floating IP %s: it leads to port %s", fip.FloatingIP, fip.PortID)}
}

// associate makes a floating IP point to a port, or to none if port is empty.
func (n floatingIPs) associate(ctx context.Context, fip floatingips.FloatingIP, port string) error {
	_, err := floatingips.Update(ctx, n.neutron, fip.ID, floatingips.UpdateOpts{PortID: &port}).Extract()
	return classifyError("set the port of floating IP "+fip.FloatingIP, err)
}

// release deletes a floating IP that we created. From a user's floating IP it removes our
// tags and the association with port. If the user has associated it with another port,
// that association stays.
func (n floatingIPs) release(ctx context.Context, owner openstack.Owner, port string, fip floatingips.FloatingIP) error {
	if fip.Description == owner.Description() {
		err := classifyError("delete floating IP "+fip.FloatingIP, floatingips.Delete(ctx, n.neutron, fip.ID).ExtractErr())
		if err := ignoreNotFound(err); err != nil {
			return err
		}
		n.removed(describeFloatingIP(fip, owner))
		return nil
	}
	if fip.PortID != "" && fip.PortID == port {
		if err := n.associate(ctx, fip, ""); err != nil {
			return err
		}
	}
	if err := ignoreNotFound(n.tag(ctx, fip, openstack.ReplaceTags(fip.Tags, nil))); err != nil {
		return err
	}
	n.removed(describeFloatingIP(fip, owner))
	return nil
}
