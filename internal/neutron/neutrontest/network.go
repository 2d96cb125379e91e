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
func (c call) subnet(o, requested object) *refusal {
	network, _ := requested["network_id"].(string)
	if c.objects["networks"][network] == nil {
		return refuse(http.StatusNotFound, "NetworkNotFound", "Network %s could not be found.", network)
	}
	if refused := c.fromPool(requested); refused != nil {
		return refused
	}
	text, _ := requested["cidr"].(string)
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return refuse(http.StatusBadRequest, "HTTPBadRequest", "Invalid input for cidr. Reason: '%s' is not a valid IP subnet.", text)
	}
	for _, s := range c.objects["subnets"] {
		if other, err := netip.ParsePrefix(s["cidr"].(string)); err == nil && s["network_id"] == network && other.Overlaps(p) {
			return refuse(http.StatusBadRequest, "InvalidInput",
				"Invalid input for operation: Requested subnet with cidr: %s for network: %s overlaps with another subnet.", text, network)
		}
	}
	maps.Copy(o, object{"enable_dhcp": true, "gateway_ip": p.Addr().Next().String()})
	maps.Copy(o, requested)
	if _, given := requested["allocation_pools"]; !given {
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
func (c call) port(o, requested object) *refusal {
	network, _ := requested["network_id"].(string)
	if c.objects["networks"][network] == nil {
		return refuse(http.StatusNotFound, "NetworkNotFound", "Network %s could not be found.", network)
	}
	project := cmp.Or(fmt.Sprint(orEmpty(requested["project_id"])), Project)
	if refused := c.room(project); refused != nil {
		return refused
	}
	maps.Copy(o, object{
		"network_id": network, "admin_state_up": true, "status": "DOWN", "device_owner": "", "device_id": "", "binding:host_id": "",
		"mac_address": fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", c.ids>>16&255, c.ids>>8&255, c.ids&255), "port_security_enabled": true,
		"security_groups": []string{c.defaultGroup(project)}, "fixed_ips": []object{},
	})
	if requested["fixed_ips"] == nil {
		requested["fixed_ips"] = c.anyAddresses(network)
	}
	if refused := c.changePort(o, requested); refused != nil {
		return refused
	}
	maps.Copy(o, requested)
	return nil
}

func orEmpty(v any) any {
	if v == nil {
		return ""
	}
	return v
}

// anyAddresses returns one free address of each family.
func (c call) anyAddresses(network string) []any {
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
func (c call) changePort(o, requested object) *refusal {
	if mac, asks := requested["mac_address"]; asks && mac != o["mac_address"] && o["binding:host_id"] != "" {
		return refuse(http.StatusConflict, "PortBound", "Unable to complete operation on port %s, port is already bound.", o["id"])
	}
	if requested["security_groups"] != nil {
		groups := words(requested["security_groups"])
		for _, g := range groups {
			if c.objects["security-groups"][g] == nil {
				return refuse(http.StatusNotFound, "SecurityGroupNotFound", "Security group %s does not exist.", g)
			}
		}
		requested["security_groups"] = groups
	}
	if requested["fixed_ips"] == nil {
		return nil
	}
	given, refused := c.addresses(o, requested["fixed_ips"].([]any))
	requested["fixed_ips"] = given
	return refused
}

func (c call) addresses(o object, requested []any) ([]object, *refusal) {
	var out []object
	for _, a := range requested {
		want := a.(map[string]any)
		subnet, _ := want["subnet_id"].(string)
		addr, _ := want["ip_address"].(string)
		s := c.subnetFor(o["network_id"], subnet, addr)
		if s == nil {
			return nil, refuse(http.StatusBadRequest, "InvalidIpForNetwork", "IP address %s is not a valid IP for any of the subnets on the specified network.", addr)
		}
		if addr == "" {
			addr = c.free(s, o)
		} else if by := c.portWith(s["id"], addr); by != "" && by != o["id"] {
			return nil, refuse(http.StatusConflict, "IpAddressAlreadyAllocated", "IP address %s already allocated in subnet %s.", addr, s["id"])
		}
		if addr == "" {
			return nil, refuse(http.StatusConflict, "IpAddressGenerationFailure", "No more IP addresses available on network %s.", o["network_id"])
		}
		out = append(out, object{"subnet_id": s["id"], "ip_address": addr})
	}
	return out, nil
}

func (c call) subnetFor(network any, id, addr string) object {
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

// portWith returns the id of the port that has an address, empty if there is none.
func (c call) portWith(subnet any, addr string) string {
	for _, p := range c.objects["ports"] {
		for _, ip := range p["fixed_ips"].([]object) {
			if ip["subnet_id"] == subnet && ip["ip_address"] == addr {
				return p["id"].(string)
			}
		}
	}
	return ""
}

func (c call) free(s, o object) string {
	for _, ip := range o["fixed_ips"].([]object) {
		if ip["subnet_id"] == s["id"] {
			return ip["ip_address"].(string)
		}
	}
	for _, pool := range s["allocation_pools"].([]any) {
		r := pool.(map[string]any)
		first, _ := netip.ParseAddr(r["start"].(string))
		end, _ := netip.ParseAddr(r["end"].(string))
		for a := first; a.IsValid() && !end.Less(a); a = a.Next() {
			if a.String() != s["gateway_ip"] && c.portWith(s["id"], a.String()) == "" {
				return a.String()
			}
		}
	}
	return ""
}

// join attaches a subnet to a router.
func (c call) join(router object, subnet string) (int, any) {
	s := c.objects["subnets"][subnet]
	switch {
	case s == nil:
		return http.StatusNotFound, errorBody("SubnetNotFound", "Subnet %s could not be found.", subnet)
	case s["gateway_ip"] == nil:
		return http.StatusBadRequest, errorBody("BadRequest", "Bad router request: Subnet for router interface must have a gateway IP.")
	case c.interfaceOf(router, subnet) != nil:
		return http.StatusBadRequest, errorBody("BadRequest", "Bad router request: Router already has a port on subnet %s.", subnet)
	}
	c.ids++
	id := fmt.Sprintf("%08d-0000-4000-8000-%012d", c.ids, c.ids)
	c.objects["ports"][id] = object{
		"id": id, "name": "", "description": "", "tags": []string{}, "project_id": "", "network_id": s["network_id"],
		"device_owner": "network:router_interface", "device_id": router["id"], "status": "ACTIVE", "security_groups": []string{},
		"fixed_ips": []object{{"subnet_id": subnet, "ip_address": s["gateway_ip"]}},
	}
	return http.StatusOK, object{"id": router["id"], "port_id": id, "subnet_id": subnet}
}

func (c call) interfaceOf(router object, subnet string) object {
	for _, p := range c.objects["ports"] {
		if p["device_id"] == router["id"] && hasSubnet(p, subnet) {
			return p
		}
	}
	return nil
}

func (c call) part(router object, subnet string) (int, any) {
	p := c.interfaceOf(router, subnet)
	if p == nil {
		return http.StatusNotFound, errorBody("RouterInterfaceNotFoundForSubnet", "Router %s has no interface on subnet %s", router["id"], subnet)
	}
	delete(c.objects["ports"], p["id"].(string))
	return http.StatusOK, object{"id": router["id"], "port_id": p["id"], "subnet_id": subnet}
}

// defaultGroup returns the id of a project's default security group.
func (c *Cloud) defaultGroup(project string) string {
	id := "default-of-" + project
	if c.objects["security-groups"][id] == nil {
		c.objects["security-groups"][id] = object{
			"id": id, "name": "default", "description": "Default security group", "tags": []string{}, "project_id": project,
			"security_group_rules": []object{},
		}
	}
	return id
}

// defaultRules returns the rules that Neutron creates with each group. They allow all
// egress traffic.
func (c call) defaultRules(group object) []object {
	var out []object
	for _, family := range []string{"IPv4", "IPv6"} {
		c.ids++
		r := object{
			"id": fmt.Sprintf("%08d-0000-4000-8000-%012d", c.ids, c.ids), "name": "", "description": "", "tags": []string{}, "security_group_id": group["id"],
			"direction": "egress", "ethertype": family, "protocol": nil, "port_range_min": nil, "port_range_max": nil,
			"remote_ip_prefix": nil, "remote_group_id": nil, "project_id": Project,
		}
		c.objects["security-group-rules"][r["id"].(string)] = r
		out = append(out, r)
	}
	return out
}

var ruleFields = []string{"direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id"}

// rule completes a new rule. It refuses a duplicate.
func (c call) rule(o, requested object) *refusal {
	group, _ := requested["security_group_id"].(string)
	if c.objects["security-groups"][group] == nil {
		return refuse(http.StatusNotFound, "SecurityGroupNotFound", "Security group %s does not exist.", group)
	}
	if remote, names := requested["remote_group_id"].(string); names && c.objects["security-groups"][remote] == nil {
		return refuse(http.StatusNotFound, "SecurityGroupNotFound", "Security group %s does not exist.", remote)
	}
	for _, k := range ruleFields {
		o[k] = requested[k]
	}
	o["security_group_id"] = group
	for _, r := range c.objects["security-group-rules"] {
		if r["security_group_id"] == group && !slices.ContainsFunc(ruleFields, func(k string) bool { return fmt.Sprint(r[k]) != fmt.Sprint(o[k]) }) {
			return refuse(http.StatusConflict, "SecurityGroupRuleExists", "Security group rule already exists. Rule id is %s.", r["id"])
		}
	}
	g := c.objects["security-groups"][group]
	g["security_group_rules"] = append(g["security_group_rules"].([]object), o)
	return nil
}
