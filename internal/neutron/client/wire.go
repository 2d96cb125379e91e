package client

import (
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/trunks"
	"github.com/isthmus-cni/isthmus/internal/neutron/plan"
)

// Resource is any Neutron object in the API's JSON.
type Resource struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Project     string   `json:"project_id"`
	Tags        []string `json:"tags"`

	AdminStateUp bool   `json:"admin_state_up"`
	Network      string `json:"network_id"`
	MTU          int    `json:"mtu"`

	CIDR       string       `json:"cidr"`
	IPVersion  int          `json:"ip_version"`
	DHCP       bool         `json:"enable_dhcp"`
	Gateway    *string      `json:"gateway_ip"`
	Allocation []plan.Range `json:"allocation_pools"`

	DeviceOwner  string         `json:"device_owner"`
	DeviceID     string         `json:"device_id"`
	Host         *string        `json:"binding:host_id"`
	MAC          string         `json:"mac_address"`
	Status       string         `json:"status"`
	FixedIPs     []plan.FixedIP `json:"fixed_ips"`
	Groups       []string       `json:"security_groups"`
	PortSecurity *bool          `json:"port_security_enabled"`

	Rules       []Resource `json:"security_group_rules"`
	Group       string     `json:"security_group_id"`
	Direction   string     `json:"direction"`
	EtherType   string     `json:"ethertype"`
	Protocol    *string    `json:"protocol"`
	First       *int       `json:"port_range_min"`
	Last        *int       `json:"port_range_max"`
	Remote      *string    `json:"remote_ip_prefix"`
	RemoteGroup *string    `json:"remote_group_id"`

	// Subports are the subports of a trunk, whose parent port is Port.
	Subports []trunks.Subport `json:"sub_ports"`

	// Port and Subnet are in the answer to the call that adds a router interface.
	Port   string `json:"port_id"`
	Subnet string `json:"subnet_id"`
}

// Object returns the object with the fields that we use.
func (w Resource) Object(k plan.Kind) plan.Object {
	o := plan.Object{Kind: k, Name: w.Name, ID: w.ID, Tags: w.Tags}
	o.Fields = plan.Fields{"name": w.Name, "description": w.Description, "project_id": w.Project}
	switch k {
	case plan.KindNetwork:
		o.Fields["admin_state_up"], o.Fields["mtu"] = w.AdminStateUp, w.MTU
	case plan.KindSubnet:
		w.subnet(o.Fields)
	case plan.KindPort:
		w.port(o.Fields)
	case plan.KindRule:
		o.Fields = w.rule()
	case plan.KindRouterInterface: // the answer to add_router_interface has the router's id in field id
		o.ID, o.Fields = w.Port, plan.Fields{"router_id": w.ID, "subnet_id": w.Subnet}
	case plan.KindGroup, plan.KindTrunk:
	}
	return o
}

func (w Resource) subnet(f plan.Fields) {
	f["network_id"], f["cidr"], f["ip_version"], f["enable_dhcp"] = w.Network, w.CIDR, w.IPVersion, w.DHCP
	f["gateway_ip"] = value(w.Gateway)
	r := plan.Ranges(w.Allocation)
	slices.SortFunc(r, func(a, b plan.Range) int { return strings.Compare(a.First, b.First) })
	f["allocation_pools"] = r
}

func (w Resource) port(f plan.Fields) {
	f["network_id"], f["admin_state_up"], f["status"] = w.Network, w.AdminStateUp, w.Status
	f["device_owner"], f["device_id"], f["mac_address"] = w.DeviceOwner, w.DeviceID, w.MAC
	f["fixed_ips"], f["security_groups"] = plan.FixedIPs(w.FixedIPs), plan.Set(w.Groups)
	f["binding:host_id"], f["port_security_enabled"] = value(w.Host), value(w.PortSecurity)
}

func (w Resource) rule() plan.Fields {
	return plan.Fields{
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

// routerInterfaces returns a router port's interfaces: one for each of its subnets.
func (w Resource) routerInterfaces() []plan.Object {
	var out []plan.Object
	for _, ip := range w.FixedIPs {
		out = append(out, plan.Object{Kind: plan.KindRouterInterface, ID: w.ID, Fields: plan.Fields{"router_id": w.DeviceID, "subnet_id": ip.Subnet}})
	}
	return out
}

// GroupRules returns the rules that Neutron created with a group.
func (w Resource) GroupRules() []plan.Object {
	var out []plan.Object
	for _, r := range w.Rules {
		out = append(out, r.Object(plan.KindRule))
	}
	return out
}
