package client

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
	"github.com/isthmus-cni/isthmus/internal/neutron/trunk"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// OfUnit reads a unit's objects: those with the unit's tags, and those with its
// description and no tags, because an earlier process died before it wrote them.
func (a *Client) OfUnit(ctx context.Context, m plan.Owner) ([]plan.Object, error) {
	queries := []url.Values{
		{"tags": {strings.Join(m.Tags(), ",")}},
		{"description": {m.Description()}},
	}
	var all []plan.Object
	for _, k := range []plan.Kind{plan.KindGroup, plan.KindNetwork, plan.KindSubnet, plan.KindPort} {
		for _, q := range queries {
			found, err := a.List(ctx, k, q)
			if err != nil {
				return nil, err
			}
			all = AppendNew(all, k, found, m.Owns)
		}
	}
	return a.addInterfaces(ctx, all)
}

// AppendNew appends to all those of found, of kind k, for which selected returns true and
// that are not in all yet.
func AppendNew(all []plan.Object, k plan.Kind, found []Resource, selected func(plan.Object) bool) []plan.Object {
	for _, w := range found {
		o := w.Object(k)
		same := func(h plan.Object) bool { return h.Kind == k && h.ID == o.ID }
		if selected(o) && !slices.ContainsFunc(all, same) { // selected first: found may have many foreign objects
			all = append(all, o)
			all = append(all, w.GroupRules()...)
		}
	}
	return all
}

// addInterfaces adds the router interfaces of the unit's networks: they have no tags or
// description of ours.
func (a *Client) addInterfaces(ctx context.Context, all []plan.Object) ([]plan.Object, error) {
	for _, n := range slices.Clone(all) {
		if n.Kind != plan.KindNetwork {
			continue
		}
		found, err := a.List(ctx, plan.KindPort, url.Values{"network_id": {n.ID}, "device_owner": {plan.RouterInterfaceOwner}})
		if err != nil {
			return nil, err
		}
		for _, w := range found {
			all = append(all, ownInterfaces(w, all)...)
		}
	}
	return plan.Named(all), nil
}

// ownInterfaces returns the router interfaces of a router's port on our subnets.
func ownInterfaces(w Resource, all []plan.Object) []plan.Object {
	return slices.DeleteFunc(w.routerInterfaces(), func(j plan.Object) bool {
		return !slices.ContainsFunc(all, func(s plan.Object) bool { return s.Kind == plan.KindSubnet && s.ID == j.Fields["subnet_id"] })
	})
}

// OfCluster reads all objects of an owner, by unit. It also returns all trunks if one of
// the ports is a subport, else nil.
func (a *Client) OfCluster(ctx context.Context, owner string) (map[intent.Unit][]plan.Object, []trunk.Trunk, error) {
	var all []plan.Object
	ours := func(o plan.Object) bool { _, is := plan.UnitOf(owner, o); return is }
	queries := []struct {
		plan.Kind
		url.Values
	}{
		{plan.KindGroup, nil},
		{plan.KindNetwork, nil},
		{plan.KindSubnet, nil},
		{plan.KindPort, url.Values{"device_owner": {plan.DeviceOwner}}},
		// Subports get their tag before they are attached. Listing by device_owner would
		// also return the foreign subports in the cloud, of which there may be many.
		{plan.KindPort, url.Values{"tags": {openstack.TagOwner + owner + "," + plan.SubportTag}}},
	}
	for _, q := range queries {
		found, err := a.List(ctx, q.Kind, q.Values)
		if err != nil {
			return nil, nil, err
		}
		all = AppendNew(all, q.Kind, found, ours)
	}
	found, err := a.List(ctx, plan.KindPort, url.Values{"device_owner": {plan.RouterInterfaceOwner}})
	if err != nil {
		return nil, nil, err
	}
	for _, w := range found {
		all = append(all, ownInterfaces(w, all)...)
	}
	all, trunks, err := a.placeSubports(ctx, all)
	return byUnit(owner, all), trunks, err
}

// placeSubports adds to the subports where they are attached. It reads the trunks only if
// there are subports.
func (a *Client) placeSubports(ctx context.Context, all []plan.Object) ([]plan.Object, []trunk.Trunk, error) {
	if !slices.ContainsFunc(all, func(o plan.Object) bool { return o.Kind == plan.KindPort && plan.IsSubport(o.Fields) }) {
		return all, nil, nil
	}
	found, err := a.Trunks(ctx, "")
	attached := trunk.Attachments(found)
	return plan.Place(all, func(port string) (trunk.Attachment, bool) { at, is := attached[port]; return at, is }), found, err
}

// byUnit groups objects by their unit. Router interfaces belong to their subnet's unit,
// rules to their group's. Objects are named within their unit: a rule that refers to
// another unit's group has the group's id in its name.
func byUnit(owner string, all []plan.Object) map[intent.Unit][]plan.Object {
	owners, units := map[string]intent.Unit{}, map[intent.Unit][]plan.Object{}
	for _, o := range all {
		if o.Kind.Tagged() {
			owners[o.ID], _ = plan.UnitOf(owner, o)
		}
	}
	for _, o := range all {
		u := owners[o.ID]
		switch o.Kind {
		case plan.KindRouterInterface:
			u = owners[o.Text("subnet_id")]
		case plan.KindRule:
			u = owners[o.Text("security_group_id")]
		default:
		}
		units[u] = append(units[u], o)
	}
	for u, objects := range units {
		units[u] = plan.Named(objects)
	}
	return units
}

// NetworksEmpty returns an intent.Wait if a network to be deleted has foreign ports or
// subnets. It is called before the network is detached from its router, so that these
// ports stay connected. Foreign subnets count because Neutron deletes them with the
// network.
func (a *Client) NetworksEmpty(ctx context.Context, steps []plan.Step) error {
	for _, s := range steps {
		if s.Verb != plan.Delete || s.Kind != plan.KindNetwork {
			continue
		}
		for _, k := range []plan.Kind{plan.KindPort, plan.KindSubnet} {
			found, err := a.List(ctx, k, url.Values{"network_id": {s.ID}})
			if err != nil {
				return err
			}
			others := slices.DeleteFunc(found, func(w Resource) bool {
				goes := func(s plan.Step) bool { return s.Verb == plan.Delete && s.Kind == k && s.ID == w.ID }
				return strings.HasPrefix(w.DeviceOwner, "network:") || slices.ContainsFunc(steps, goes)
			})
			if len(others) > 0 {
				return intent.Wait{Reason: "InUse", After: ShortWait, For: fmt.Sprintf(
					"the removal of %d %ss from network %s: %s", len(others), k, s.Name, examples(others))}
			}
		}
	}
	return nil
}

// examples names up to three objects.
func examples(all []Resource) string {
	const most = 3
	var names []string
	for _, w := range all {
		names = append(names, cmp.Or(w.Name, w.ID))
	}
	slices.Sort(names)
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// Network reads a foreign network and its subnets. It returns an intent.Wait if the
// network does not exist, and an intent.Stop if it lacks a subnet of s.
func (a *Client) Network(ctx context.Context, s intent.Network) (plan.Network, error) {
	found, err := a.List(ctx, plan.KindNetwork, url.Values{"id": {s.Existing}})
	if err != nil {
		return plan.Network{}, err
	}
	if len(found) == 0 {
		return plan.Network{}, intent.Wait{Reason: "NoNetwork", For: "network " + s.Existing + " in Neutron", After: LongWait}
	}
	subnets, err := a.List(ctx, plan.KindSubnet, url.Values{"network_id": {s.Existing}})
	if err != nil {
		return plan.Network{}, err
	}
	var all []plan.Object
	for _, w := range subnets {
		all = append(all, w.Object(plan.KindSubnet))
	}
	network := plan.NetworkOf(found[0].Object(plan.KindNetwork), all, s.Prefixes)
	if len(s.Prefixes) > len(network.Subnets) {
		return plan.Network{}, intent.Stop{Reason: "NoSubnet", Why: fmt.Sprintf("network %s has no subnet for each of %v: name those that it has", s.Existing, s.Prefixes)}
	}
	return network, nil
}
