package neutron

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/trunk"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// look reads what a unit has: what bears its tags, and what died before it got
// them and has the description instead.
func (a *api) look(ctx context.Context, m mark) ([]object, error) {
	queries := []url.Values{
		{"tags": {strings.Join(m.tags(), ",")}},
		{"description": {m.description()}},
	}
	var all []object
	for _, k := range []kind{kindGroup, kindNetwork, kindSubnet, kindPort} {
		for _, q := range queries {
			found, err := a.list(ctx, k, q)
			if err != nil {
				return nil, err
			}
			all = appendNew(all, k, found, m.has)
		}
	}
	return a.lookWithin(ctx, all)
}

func appendNew(all []object, k kind, found []wire, meant func(object) bool) []object {
	for _, w := range found {
		o := w.object(k)
		same := func(h object) bool { return h.kind == k && h.id == o.id }
		if meant(o) && !slices.ContainsFunc(all, same) { // of others' there may be many
			all = append(all, o)
			all = append(all, w.rules()...)
		}
	}
	return all
}

// lookWithin adds what bears no mark, but belongs to what does.
func (a *api) lookWithin(ctx context.Context, all []object) ([]object, error) {
	for _, n := range slices.Clone(all) {
		if n.kind != kindNetwork {
			continue
		}
		found, err := a.list(ctx, kindPort, url.Values{"network_id": {n.id}, "device_owner": {joinOwner}})
		if err != nil {
			return nil, err
		}
		for _, w := range found {
			all = append(all, joinsOf(w, all)...)
		}
	}
	return named(all), nil
}

// joinsOf are a router port's places on subnets of ours.
func joinsOf(w wire, all []object) []object {
	return slices.DeleteFunc(w.joins(), func(j object) bool {
		return !slices.ContainsFunc(all, func(s object) bool { return s.kind == kindSubnet && s.id == j.fields["subnet_id"] })
	})
}

// lookAll reads all that is an owner's, by unit, and the trunks if any of it is
// behind another port.
func (a *api) lookAll(ctx context.Context, owner string) (map[intent.Unit][]object, []trunk.Trunk, error) {
	var all []object
	ours := func(o object) bool { _, is := unitOf(owner, o); return is }
	queries := []struct {
		kind
		url.Values
	}{
		{kindGroup, nil}, {kindNetwork, nil}, {kindSubnet, nil},
		{kindPort, url.Values{"device_owner": {deviceOwner}}},
		// What is behind another was tagged before it was put there: of others'
		// subports in the cloud there may be many.
		{kindPort, url.Values{"tags": {openstack.TagOwner + owner + "," + tagSubport}}},
	}
	for _, q := range queries {
		found, err := a.list(ctx, q.kind, q.Values)
		if err != nil {
			return nil, nil, err
		}
		all = appendNew(all, q.kind, found, ours)
	}
	found, err := a.list(ctx, kindPort, url.Values{"device_owner": {joinOwner}})
	if err != nil {
		return nil, nil, err
	}
	for _, w := range found {
		all = append(all, joinsOf(w, all)...)
	}
	all, trunks, err := a.placeAll(ctx, all)
	return byUnit(owner, all), trunks, err
}

// placeAll says of the ports which they are behind, if any of them is.
func (a *api) placeAll(ctx context.Context, all []object) ([]object, []trunk.Trunk, error) {
	if !slices.ContainsFunc(all, func(o object) bool { return o.kind == kindPort && nests(o.fields) }) {
		return all, nil, nil
	}
	found, err := a.Trunks(ctx, "")
	attached := trunk.Attachments(found)
	return place(all, func(port string) (trunk.Attachment, bool) { at, is := attached[port]; return at, is }), found, err
}

// byUnit sorts objects by who has them; what bears no mark goes with what it
// belongs to. Each unit's are named as if there were no others: what a rule
// says of another unit's group is the group's id.
func byUnit(owner string, all []object) map[intent.Unit][]object {
	holder, units := map[string]intent.Unit{}, map[intent.Unit][]object{}
	for _, o := range all {
		if o.kind.tagged() {
			holder[o.id], _ = unitOf(owner, o)
		}
	}
	for _, o := range all {
		u := holder[o.id]
		switch o.kind {
		case kindJoin:
			u = holder[text(o, "subnet_id")]
		case kindRule:
			u = holder[text(o, "security_group_id")]
		default:
		}
		units[u] = append(units[u], o)
	}
	for u, objects := range units {
		units[u] = named(objects)
	}
	return units
}

// vacant waits for those who are on a network that is to be deleted: before it
// is taken off its router, not when that has cut them off. A network takes
// others' subnets along, so it waits for those, too.
func (a *api) vacant(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if s.verb != remove || s.kind != kindNetwork {
			continue
		}
		for _, k := range []kind{kindPort, kindSubnet} {
			found, err := a.list(ctx, k, url.Values{"network_id": {s.id}})
			if err != nil {
				return err
			}
			others := slices.DeleteFunc(found, func(w wire) bool {
				goes := func(s step) bool { return s.verb == remove && s.kind == k && s.id == w.ID }
				return strings.HasPrefix(w.DeviceOwner, "network:") || slices.ContainsFunc(steps, goes)
			})
			if len(others) > 0 {
				return intent.Wait{Reason: "InUse", After: soon, For: fmt.Sprintf(
					"the removal of %d %ss from network %s: %s", len(others), k, s.name, examples(others))}
			}
		}
	}
	return nil
}

// examples names some of Neutron's objects.
func examples(all []wire) string {
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

// segment reads a network that is somebody else's, and its subnets.
func (a *api) segment(ctx context.Context, s intent.Network) (Segment, error) {
	found, err := a.list(ctx, kindNetwork, url.Values{"id": {s.Existing}})
	if err != nil {
		return Segment{}, err
	}
	if len(found) == 0 {
		return Segment{}, intent.Wait{Reason: "NoNetwork", For: "network " + s.Existing + " in Neutron", After: later}
	}
	subnets, err := a.list(ctx, kindSubnet, url.Values{"network_id": {s.Existing}})
	if err != nil {
		return Segment{}, err
	}
	var all []object
	for _, w := range subnets {
		all = append(all, w.object(kindSubnet))
	}
	seen := segmentOf(found[0].object(kindNetwork), all, s.Prefixes)
	if len(s.Prefixes) > len(seen.Subnets) {
		return Segment{}, intent.Stop{Reason: "NoSubnet", Why: fmt.Sprintf("network %s has no subnet for each of %v: name those that it has", s.Existing, s.Prefixes)}
	}
	return seen, nil
}
