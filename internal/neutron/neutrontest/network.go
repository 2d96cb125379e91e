package neutrontest

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
)

// subnet completes a new subnet. Without allocation pools it gets one with all free
// addresses.
func (c call) subnet(o, asked thing) *refusal {
	network, _ := asked["network_id"].(string)
	if c.things["networks"][network] == nil {
		return refuse(http.StatusNotFound, "NetworkNotFound", "Network %s could not be found.", network)
	}
	if refused := c.fromPool(asked); refused != nil {
		return refused
	}
	text, _ := asked["cidr"].(string)
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return refuse(http.StatusBadRequest, "HTTPBadRequest", "Invalid input for cidr. Reason: '%s' is not a valid IP subnet.", text)
	}
	for _, s := range c.things["subnets"] {
		if other, err := netip.ParsePrefix(s["cidr"].(string)); err == nil && s["network_id"] == network && other.Overlaps(p) {
			return refuse(http.StatusBadRequest, "InvalidInput",
				"Invalid input for operation: Requested subnet with cidr: %s for network: %s overlaps with another subnet.", text, network)
		}
	}
	maps.Copy(o, thing{"enable_dhcp": true, "gateway_ip": p.Addr().Next().String()})
	maps.Copy(o, asked)
	if _, given := asked["allocation_pools"]; !given {
		o["allocation_pools"] = []any{map[string]any{"start": p.Addr().Next().String(), "end": last(p).String()}}
	}
	return nil
}

// last returns the last host address of a prefix, or one far enough from the first.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	if a.Is4() {
		return a.Prev()
	}
	return a
}

// port completes a new port with its addresses.
func (c call) port(o, asked thing) *refusal {
	network, _ := asked["network_id"].(string)
	if c.things["networks"][network] == nil {
		return refuse(http.StatusNotFound, "NetworkNotFound", "Network %s could not be found.", network)
	}
	project := cmp.Or(fmt.Sprint(orEmpty(asked["project_id"])), Project)
	if refused := c.room(project); refused != nil {
		return refused
	}
	maps.Copy(o, thing{
		"network_id": network, "admin_state_up": true, "status": "DOWN", "device_owner": "", "device_id": "", "binding:host_id": "",
		"mac_address": fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", c.ids>>16&255, c.ids>>8&255, c.ids&255), "port_security_enabled": true,
		"security_groups": []string{c.standardGroup(project)}, "fixed_ips": []thing{},
	})
	if asked["fixed_ips"] == nil {
		asked["fixed_ips"] = c.anywhere(network)
	}
	if refused := c.changePort(o, asked); refused != nil {
		return refused
	}
	maps.Copy(o, asked)
	return nil
}

func orEmpty(v any) any {
	if v == nil {
		return ""
	}
	return v
}

// anywhere returns one free address of each family.
func (c call) anywhere(network string) []any {
	var out []any
	families := map[any]bool{}
	for _, s := range c.sorted("subnets") {
		if s["network_id"] == network && !families[s["ip_version"]] {
			families[s["ip_version"]] = true
			out = append(out, map[string]any{"subnet_id": s["id"]})
		}
	}
	return out
}

// changePort converts the requested fields of a port into the stored form.
func (c call) changePort(o, asked thing) *refusal {
	if mac, asks := asked["mac_address"]; asks && mac != o["mac_address"] && o["binding:host_id"] != "" {
		return refuse(http.StatusConflict, "PortBound", "Unable to complete operation on port %s, port is already bound.", o["id"])
	}
	if asked["security_groups"] != nil {
		groups := words(asked["security_groups"])
		for _, g := range groups {
			if c.things["security-groups"][g] == nil {
				return refuse(http.StatusNotFound, "SecurityGroupNotFound", "Security group %s does not exist.", g)
			}
		}
		asked["security_groups"] = groups
	}
	if asked["fixed_ips"] == nil {
		return nil
	}
	given, refused := c.addresses(o, asked["fixed_ips"].([]any))
	asked["fixed_ips"] = given
	return refused
}

func (c call) addresses(o thing, asked []any) ([]thing, *refusal) {
	var out []thing
	for _, a := range asked {
		want := a.(map[string]any)
		subnet, _ := want["subnet_id"].(string)
		addr, _ := want["ip_address"].(string)
		s := c.subnetFor(o["network_id"], subnet, addr)
		if s == nil {
			return nil, refuse(http.StatusBadRequest, "InvalidIpForNetwork", "IP address %s is not a valid IP for any of the subnets on the specified network.", addr)
		}
		if addr == "" {
			addr = c.free(s, o)
		} else if by := c.user(s["id"], addr); by != "" && by != o["id"] {
			return nil, refuse(http.StatusConflict, "IpAddressAlreadyAllocated", "IP address %s already allocated in subnet %s.", addr, s["id"])
		}
		if addr == "" {
			return nil, refuse(http.StatusConflict, "IpAddressGenerationFailure", "No more IP addresses available on network %s.", o["network_id"])
		}
		out = append(out, thing{"subnet_id": s["id"], "ip_address": addr})
	}
	return out, nil
}

func (c call) subnetFor(network any, id, addr string) thing {
	a, _ := netip.ParseAddr(addr)
	for _, s := range c.sorted("subnets") {
		p, err := netip.ParsePrefix(s["cidr"].(string))
		if err != nil || s["network_id"] != network || id != "" && s["id"] != id || addr != "" && !p.Contains(a) {
			continue
		}
		return s
	}
	return nil
}

// user returns the id of the port that has an address, empty if there is none.
func (c call) user(subnet any, addr string) string {
	for _, p := range c.things["ports"] {
		for _, ip := range p["fixed_ips"].([]thing) {
			if ip["subnet_id"] == subnet && ip["ip_address"] == addr {
				return p["id"].(string)
			}
		}
	}
	return ""
}

func (c call) free(s, o thing) string {
	for _, ip := range o["fixed_ips"].([]thing) {
		if ip["subnet_id"] == s["id"] {
			return ip["ip_address"].(string)
		}
	}
	for _, pool := range s["allocation_pools"].([]any) {
		r := pool.(map[string]any)
		first, _ := netip.ParseAddr(r["start"].(string))
		end, _ := netip.ParseAddr(r["end"].(string))
		for a := first; a.IsValid() && !end.Less(a); a = a.Next() {
			if a.String() != s["gateway_ip"] && c.user(s["id"], a.String()) == "" {
				return a.String()
			}
		}
	}
	return ""
}

// join attaches a subnet to a router.
func (c call) join(router thing, subnet string) (int, any) {
	s := c.things["subnets"][subnet]
	switch {
	case s == nil:
		return http.StatusNotFound, complaint("SubnetNotFound", "Subnet %s could not be found.", subnet)
	case s["gateway_ip"] == nil:
		return http.StatusBadRequest, complaint("BadRequest", "Bad router request: Subnet for router interface must have a gateway IP.")
	case c.interfaceOf(router, subnet) != nil:
		return http.StatusBadRequest, complaint("BadRequest", "Bad router request: Router already has a port on subnet %s.", subnet)
	}
	c.ids++
	id := fmt.Sprintf("%08d-0000-4000-8000-%012d", c.ids, c.ids)
	c.things["ports"][id] = thing{
		"id": id, "name": "", "description": "", "tags": []string{}, "project_id": "", "network_id": s["network_id"],
		"device_owner": "network:router_interface", "device_id": router["id"], "status": "ACTIVE", "security_groups": []string{},
		"fixed_ips": []thing{{"subnet_id": subnet, "ip_address": s["gateway_ip"]}},
	}
	return http.StatusOK, thing{"id": router["id"], "port_id": id, "subnet_id": subnet}
}

func (c call) interfaceOf(router thing, subnet string) thing {
	for _, p := range c.things["ports"] {
		if p["device_id"] == router["id"] && hasSubnet(p, subnet) {
			return p
		}
	}
	return nil
}

func (c call) part(router thing, subnet string) (int, any) {
	p := c.interfaceOf(router, subnet)
	if p == nil {
		return http.StatusNotFound, complaint("RouterInterfaceNotFoundForSubnet", "Router %s has no interface on subnet %s", router["id"], subnet)
	}
	delete(c.things["ports"], p["id"].(string))
	return http.StatusOK, thing{"id": router["id"], "port_id": p["id"], "subnet_id": subnet}
}

// standardGroup returns the id of a project's default security group.
func (c *Cloud) standardGroup(project string) string {
	id := "default-of-" + project
	if c.things["security-groups"][id] == nil {
		c.things["security-groups"][id] = thing{
			"id": id, "name": "default", "description": "Default security group", "tags": []string{}, "project_id": project,
			"security_group_rules": []thing{},
		}
	}
	return id
}

// standardRules returns the rules that Neutron creates with each group. They allow all
// egress traffic.
func (c call) standardRules(group thing) []thing {
	var out []thing
	for _, family := range []string{"IPv4", "IPv6"} {
		c.ids++
		r := thing{
			"id": fmt.Sprintf("%08d-0000-4000-8000-%012d", c.ids, c.ids), "name": "", "description": "", "tags": []string{}, "security_group_id": group["id"],
			"direction": "egress", "ethertype": family, "protocol": nil, "port_range_min": nil, "port_range_max": nil,
			"remote_ip_prefix": nil, "remote_group_id": nil, "project_id": Project,
		}
		c.things["security-group-rules"][r["id"].(string)] = r
		out = append(out, r)
	}
	return out
}

var ruleFields = []string{"direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id"}

// rule completes a new rule. It refuses a duplicate.
func (c call) rule(o, asked thing) *refusal {
	group, _ := asked["security_group_id"].(string)
	if c.things["security-groups"][group] == nil {
		return refuse(http.StatusNotFound, "SecurityGroupNotFound", "Security group %s does not exist.", group)
	}
	if remote, names := asked["remote_group_id"].(string); names && c.things["security-groups"][remote] == nil {
		return refuse(http.StatusNotFound, "SecurityGroupNotFound", "Security group %s does not exist.", remote)
	}
	for _, k := range ruleFields {
		o[k] = asked[k]
	}
	o["security_group_id"] = group
	for _, r := range c.things["security-group-rules"] {
		if r["security_group_id"] == group && !slices.ContainsFunc(ruleFields, func(k string) bool { return fmt.Sprint(r[k]) != fmt.Sprint(o[k]) }) {
			return refuse(http.StatusConflict, "SecurityGroupRuleExists", "Security group rule already exists. Rule id is %s.", r["id"])
		}
	}
	g := c.things["security-groups"][group]
	g["security_group_rules"] = append(g["security_group_rules"].([]thing), o)
	return nil
}
