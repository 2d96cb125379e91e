package plan

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/neutron/trunk"
)

// Named returns the objects with names for those that have none in Neutron: router
// interfaces and rules. The names are the same as Translate gives.
func Named(all []Object) []Object {
	names := map[string]Ref{}
	for _, o := range all {
		if o.ID != "" && o.Kind.Tagged() {
			names[o.ID] = Ref{Kind: o.Kind, Name: o.Name}
		}
	}
	out := slices.Clone(all)
	for i, o := range out {
		switch o.Kind {
		case KindRouterInterface:
			out[i].Name = interfaceName(o.Text("router_id"), names[o.Text("subnet_id")].Name)
		case KindRule:
			f := Fields{}
			for _, k := range ruleFields {
				f[k] = o.Fields[k]
			}
			if own, is := names[o.Text("remote_group_id")]; is {
				f["remote_group_id"] = own
			}
			out[i].Name = ruleName(names[o.Text("security_group_id")].Name, f)
		default:
		}
	}
	return out
}

// Text returns a field's string, empty if the field holds no string.
func (o Object) Text(field string) string {
	s, _ := o.Fields[field].(string)
	return s
}

// NetworkOf returns a network with those of its subnets whose prefix is in selected; with
// all of them if selected is empty.
func NetworkOf(network Object, subnets []Object, selected []netip.Prefix) Network {
	mtu, _ := network.Fields["mtu"].(int)
	s := Network{ID: network.ID, MTU: mtu}
	for _, o := range subnets {
		p, err := netip.ParsePrefix(o.Text("cidr"))
		if err != nil || len(selected) > 0 && !slices.Contains(selected, p) {
			continue
		}
		gateway, _ := netip.ParseAddr(o.Text("gateway_ip")) // the zero Addr if there is none
		s.Subnets = append(s.Subnets, Subnet{o.ID, p, gateway})
	}
	slices.SortFunc(s.Subnets, func(a, b Subnet) int {
		if a.Prefix.Addr().Is4() != b.Prefix.Addr().Is4() {
			return map[bool]int{true: -1, false: 1}[a.Prefix.Addr().Is4()]
		}
		return strings.Compare(a.ID, b.ID)
	})
	return s
}

// PortStatus returns what an agent needs to attach the port.
func PortStatus(port Object, s Network) intent.PortStatus {
	b := intent.PortStatus{ID: port.ID, MAC: intent.MAC(port.Text("mac_address")), MTU: s.MTU}
	b.Tag, _ = port.Fields["vlan"].(int)
	ips, _ := port.Fields["fixed_ips"].(FixedIPs)
	for _, n := range s.Subnets {
		for _, ip := range ips {
			if a, err := netip.ParseAddr(ip.Addr); err == nil && ip.Subnet == n.ID {
				b.Addrs = append(b.Addrs, netip.PrefixFrom(a, n.Prefix.Bits()))
			}
		}
		if n.Gateway.IsValid() {
			b.Gateways = append(b.Gateways, n.Gateway)
		}
	}
	return b
}

// GroupsOf returns the ids of the groups that the objects' ports are in, sorted.
func GroupsOf(objects []Object) []string {
	var ids []string
	for _, o := range objects {
		in, _ := o.Fields["security_groups"].(Set)
		ids = append(ids, in...)
	}
	return Sorted(ids)
}

// OnTrunk returns the port as a subport, attached to a trunk.
func (o Object) OnTrunk(at trunk.Attachment) Object {
	o.Fields = maps.Clone(o.Fields)
	o.Fields["device_owner"], o.Fields["parent"], o.Fields["vlan"] = SubportOwner, at.Parent, at.VLAN
	return o
}

// OffTrunk returns the port as one that has been detached from its trunk.
func (o Object) OffTrunk() Object {
	o.Fields = maps.Clone(o.Fields)
	o.Fields["device_owner"] = ""
	delete(o.Fields, "parent")
	delete(o.Fields, "vlan")
	return o
}

// IsSubport reports whether a port is a subport or was created to be one.
func IsSubport(f Fields) bool {
	_, is := f["parent"]
	return is || f["device_owner"] == SubportOwner
}

// Unplaced reports whether an object is a subport of an unknown trunk.
func Unplaced(o Object) bool {
	return o.Kind == KindPort && o.Text("device_owner") == SubportOwner && o.Fields["parent"] == nil
}

// Place adds to each subport its parent and VLAN id, which find returns. Neutron shows
// them only on the trunk.
func Place(all []Object, find func(port string) (trunk.Attachment, bool)) []Object {
	out := slices.Clone(all)
	for i, o := range out {
		if o.Kind != KindPort || o.Text("device_owner") != SubportOwner {
			continue
		}
		if at, attached := find(o.ID); attached {
			out[i] = o.OnTrunk(at)
		}
	}
	return out
}
