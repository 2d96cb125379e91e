package neutron

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/trunks"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// wire is any of Neutron's objects as its API shows it.
type wire struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Project     string   `json:"project_id"`
	Tags        []string `json:"tags"`

	AdminStateUp bool   `json:"admin_state_up"`
	Network      string `json:"network_id"`
	MTU          int    `json:"mtu"`

	CIDR       string      `json:"cidr"`
	IPVersion  int         `json:"ip_version"`
	DHCP       bool        `json:"enable_dhcp"`
	Gateway    *string     `json:"gateway_ip"`
	Allocation []addrRange `json:"allocation_pools"`

	DeviceOwner  string    `json:"device_owner"`
	DeviceID     string    `json:"device_id"`
	Host         *string   `json:"binding:host_id"`
	MAC          string    `json:"mac_address"`
	Status       string    `json:"status"`
	FixedIPs     []fixedIP `json:"fixed_ips"`
	Groups       []string  `json:"security_groups"`
	PortSecurity *bool     `json:"port_security_enabled"`

	Rules       []wire  `json:"security_group_rules"`
	Group       string  `json:"security_group_id"`
	Direction   string  `json:"direction"`
	EtherType   string  `json:"ethertype"`
	Protocol    *string `json:"protocol"`
	First       *int    `json:"port_range_min"`
	Last        *int    `json:"port_range_max"`
	Remote      *string `json:"remote_ip_prefix"`
	RemoteGroup *string `json:"remote_group_id"`

	// Subports are behind a trunk's Port.
	Subports []trunks.Subport `json:"sub_ports"`

	// Port and Subnet are in the answer to a join.
	Port   string `json:"port_id"`
	Subnet string `json:"subnet_id"`
}

// object is what of it matters to us.
func (w wire) object(k kind) object {
	o := object{kind: k, name: w.Name, id: w.ID, tags: w.Tags}
	o.fields = fields{"name": w.Name, "description": w.Description, "project_id": w.Project}
	switch k {
	case kindNetwork:
		o.fields["admin_state_up"], o.fields["mtu"] = w.AdminStateUp, w.MTU
	case kindSubnet:
		w.subnet(o.fields)
	case kindPort:
		w.port(o.fields)
	case kindRule:
		o.fields = w.rule()
	case kindJoin: // the answer to a join names the router as id
		o.id, o.fields = w.Port, fields{"router_id": w.ID, "subnet_id": w.Subnet}
	case kindGroup, kindTrunk:
	}
	return o
}

func (w wire) subnet(f fields) {
	f["network_id"], f["cidr"], f["ip_version"], f["enable_dhcp"] = w.Network, w.CIDR, w.IPVersion, w.DHCP
	f["gateway_ip"] = value(w.Gateway)
	r := ranges(w.Allocation)
	slices.SortFunc(r, func(a, b addrRange) int { return strings.Compare(a.First, b.First) })
	f["allocation_pools"] = r
}

func (w wire) port(f fields) {
	f["network_id"], f["admin_state_up"], f["status"] = w.Network, w.AdminStateUp, w.Status
	f["device_owner"], f["device_id"], f["mac_address"] = w.DeviceOwner, w.DeviceID, w.MAC
	f["fixed_ips"], f["security_groups"] = fixedIPs(w.FixedIPs), set(w.Groups)
	f["binding:host_id"], f["port_security_enabled"] = value(w.Host), value(w.PortSecurity)
}

func (w wire) rule() fields {
	return fields{
		"security_group_id": w.Group, "direction": w.Direction, "ethertype": w.EtherType,
		"protocol": value(w.Protocol), "port_range_min": value(w.First), "port_range_max": value(w.Last),
		"remote_ip_prefix": value(w.Remote), "remote_group_id": value(w.RemoteGroup),
	}
}

func value[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// joins are a router port's places: one for each subnet that it has.
func (w wire) joins() []object {
	var out []object
	for _, ip := range w.FixedIPs {
		out = append(out, object{kind: kindJoin, id: w.ID, fields: fields{"router_id": w.DeviceID, "subnet_id": ip.Subnet}})
	}
	return out
}

// rules are those that came with a group.
func (w wire) rules() []object {
	var out []object
	for _, r := range w.Rules {
		out = append(out, r.object(kindRule))
	}
	return out
}

// named gives those objects a name that Neutron gives none, made of what they
// join or say: in the same words as translate.
func named(all []object) []object {
	names := map[string]ref{}
	for _, o := range all {
		if o.id != "" && o.kind.tagged() {
			names[o.id] = ref{o.kind, o.name}
		}
	}
	out := slices.Clone(all)
	for i, o := range out {
		switch o.kind {
		case kindJoin:
			out[i].name = joinName(text(o, "router_id"), names[text(o, "subnet_id")].name)
		case kindRule:
			f := fields{}
			for _, k := range ruleFields {
				f[k] = o.fields[k]
			}
			if own, is := names[text(o, "remote_group_id")]; is {
				f["remote_group_id"] = own
			}
			out[i].name = ruleName(names[text(o, "security_group_id")].name, f)
		default:
		}
	}
	return out
}

func text(o object, field string) string {
	s, _ := o.fields[field].(string)
	return s
}

// segmentOf is a network with those of its subnets that are meant.
func segmentOf(network object, subnets []object, meant []netip.Prefix) Segment {
	mtu, _ := network.fields["mtu"].(int)
	s := Segment{ID: network.id, MTU: mtu}
	for _, o := range subnets {
		p, err := netip.ParsePrefix(text(o, "cidr"))
		if err != nil || len(meant) > 0 && !slices.Contains(meant, p) {
			continue
		}
		gateway, _ := netip.ParseAddr(text(o, "gateway_ip")) // the zero Addr for none
		s.Subnets = append(s.Subnets, Subnet{o.id, p, gateway})
	}
	slices.SortFunc(s.Subnets, func(a, b Subnet) int {
		if a.Prefix.Addr().Is4() != b.Prefix.Addr().Is4() {
			return map[bool]int{true: -1, false: 1}[a.Prefix.Addr().Is4()]
		}
		return strings.Compare(a.ID, b.ID)
	})
	return s
}

// bound is a port for who attaches it.
func bound(port object, s Segment) intent.PortStatus {
	b := intent.PortStatus{ID: port.id, MAC: intent.MAC(text(port, "mac_address")), MTU: s.MTU}
	b.Tag, _ = port.fields["vlan"].(int)
	ips, _ := port.fields["fixed_ips"].(fixedIPs)
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
