package plan

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/openstack"
)

// Waiting times for objects of other units.
const (
	shortWait = time.Second
	longWait  = 10 * time.Second
)

func (t *translation) port(p intent.Port) {
	f := Fields{
		"admin_state_up": true, "device_owner": DeviceOwner, "device_id": p.Version,
		"project_id": ProjectOf(p, t.Dependencies),
	}
	t.setNetwork(p, f)
	t.setSecurity(p, f)
	if p.Parent != "" { // Neutron refuses to attach a port with a device_id, so a subport has none
		f["device_id"], f["parent"], f["vlan"], f["node"] = "", p.Parent, p.Tag, p.Node
	} else if t.Binding {
		f["binding:host_id"] = p.Node
	} else if p.Node != "" {
		t.refuse("NotSupported", "port %s cannot be bound to %s: this Neutron lacks extension binding, or does not show it to our user", p.Name, p.Node)
	}
	if p.MAC != "" {
		f["mac_address"] = string(p.MAC)
	}
	t.add(Object{Kind: KindPort, Name: openstack.Shorten(p.Name), Fields: f})
}

// ProjectOf returns the id of the project for the port.
func ProjectOf(p intent.Port, a Dependencies) string {
	if p.Project != "" {
		return p.Project
	}
	return a.Project
}

// setNetwork sets the port's network and addresses. The network is the unit's own, or a
// known one.
func (t *translation) setNetwork(p intent.Port, f Fields) {
	own := Ref{Kind: KindNetwork, Name: openstack.Shorten(p.Network)}
	if _, ours := t.objects[own]; ours {
		f["network_id"] = own
		if len(p.Addrs) > 0 {
			f["fixed_ips"] = fixedIPs(p.Addrs, Network{})
		}
		return
	}
	s, known := t.Networks[p.Network]
	if !known {
		t.await("WaitingForNetwork", shortWait, "the network of Subnet %s", p.Network)
		return
	}
	f["network_id"] = s.ID
	f["fixed_ips"] = fixedIPs(p.Addrs, s)
	if len(p.Addrs) == 0 {
		f["fixed_ips"] = anyAddresses(s)
	}
}

// fixedIPs returns the fixed addresses, each with the subnet that contains it.
func fixedIPs(addrs []netip.Addr, s Network) FixedIPs {
	var out FixedIPs
	for _, a := range addrs {
		ip := FixedIP{Addr: a.String()}
		for _, n := range s.Subnets {
			if n.Prefix.Contains(a) {
				ip.Subnet = n.ID
			}
		}
		out = append(out, ip)
	}
	return out
}

// anyAddresses returns one address in each of the network's subnets, for Neutron to
// choose.
func anyAddresses(s Network) FixedIPs {
	var out FixedIPs
	for _, n := range s.Subnets {
		out = append(out, FixedIP{Subnet: n.ID})
	}
	return out
}

// setSecurity sets the port's security groups and port security.
func (t *translation) setSecurity(p intent.Port, f Fields) {
	if p.UnknownAddresses {
		t.disableSecurity(p, f)
		return
	}
	if t.PortSecurity {
		f["port_security_enabled"] = true
	}
	f["security_groups"] = t.groupsOf(p)
	if len(f["security_groups"].(Set)) == 0 {
		delete(f, "security_groups") // Neutron uses its default
	}
}

// groupsOf returns the ids of the port's security groups.
func (t *translation) groupsOf(p intent.Port) Set {
	ids := slices.Clone(p.CloudGroups)
	for _, g := range p.Groups {
		id, known := t.Groups[g]
		if !known {
			t.await("WaitingForGroup", longWait, "the security group %s", g)
		}
		ids = append(ids, id)
	}
	if defaultGroup := t.DefaultGroups[ProjectOf(p, t.Dependencies)]; len(ids) == 0 && defaultGroup != "" {
		ids = append(ids, defaultGroup)
	}
	return Sorted(ids)
}

func (t *translation) disableSecurity(p intent.Port, f Fields) {
	if !t.PortSecurity {
		t.refuse("NotSupported", "port %s: this Neutron cannot let a port take traffic for other addresses, it lacks extension port-security", p.Name)
	}
	if len(p.Groups)+len(p.CloudGroups) > 0 {
		t.refuse("InvalidSpec", "port %s: a port that takes traffic for other addresses has no security groups", p.Name)
	}
	f["port_security_enabled"], f["security_groups"] = false, Set{}
}

// group adds a security group. Without rules it allows no traffic.
func (t *translation) group(g intent.Group) {
	r := t.add(Object{Kind: KindGroup, Name: openstack.Shorten(g.Name), Fields: Fields{}})
	for _, rule := range g.Rules {
		for _, family := range families(rule) {
			t.rule(r, rule, family)
		}
	}
}

func families(r intent.Rule) []string {
	switch {
	case r.Remote.IsValid() && r.Remote.Addr().Is4(), !r.Remote.IsValid() && r.Family == 4:
		return []string{"IPv4"}
	case r.Remote.IsValid(), r.Family == 6:
		return []string{"IPv6"}
	}
	return []string{"IPv4", "IPv6"}
}

func (t *translation) rule(group Ref, r intent.Rule, family string) {
	f := Fields{
		"security_group_id": group, "direction": string(r.Direction), "ethertype": family,
		"protocol": orNil(r.Protocol), "port_range_min": orNil(r.First), "port_range_max": orNil(r.Last),
		"remote_ip_prefix": nil, "remote_group_id": orNil(r.RemoteCloudGroup),
	}
	if r.Last == 0 {
		f["port_range_max"] = f["port_range_min"]
	}
	if r.Protocol == "icmp" && family == "IPv6" {
		f["protocol"] = "ipv6-icmp"
	}
	if r.Remote.IsValid() && r.Remote.Bits() > 0 {
		f["remote_ip_prefix"] = r.Remote.Masked().String()
	}
	if r.RemoteGroup != "" {
		f["remote_group_id"] = t.remoteGroup(r.RemoteGroup)
	}
	o := Object{Kind: KindRule, Fields: f}
	o.Name = ruleName(group.Name, f)
	if _, exists := t.objects[Ref{Kind: KindRule, Name: o.Name}]; !exists { // Neutron refuses duplicates
		t.add(o)
	}
}

// remoteGroup returns the id of one of our groups, or a Ref to a group of the same unit.
func (t *translation) remoteGroup(name string) any {
	if slices.ContainsFunc(t.want.Groups, func(g intent.Group) bool { return g.Name == name }) {
		return Ref{Kind: KindGroup, Name: openstack.Shorten(name)}
	}
	id, known := t.Groups[name]
	if !known {
		t.await("WaitingForGroup", longWait, "the security group %s", name)
	}
	return id
}

func orNil[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// ruleFields are all fields of a rule but its group, in the order of its name.
var ruleFields = []string{
	"direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id",
}

// ruleName returns a rule's name, made of all its fields: equal rules have equal names.
func ruleName(group string, f Fields) string {
	words := []string{group}
	for _, k := range ruleFields {
		words = append(words, format(f[k]))
	}
	return strings.Join(words, " ")
}
