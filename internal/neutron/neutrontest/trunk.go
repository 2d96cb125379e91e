package neutrontest

import (
	"encoding/json"
	"net/http"
	"slices"
)

// trunk completes a new trunk.
func (c call) trunk(o, requested object) *refusal {
	port, _ := requested["port_id"].(string)
	if c.objects["ports"][port] == nil {
		return refuse(http.StatusNotFound, "PortNotFound", "Port %s could not be found.", port)
	}
	for _, t := range c.objects["trunks"] {
		if t["port_id"] == port {
			return refuse(http.StatusConflict, "ParentPortInUse", "Port %s is currently in use and is not eligible for use as a parent port.", port)
		}
	}
	o["port_id"], o["status"], o["admin_state_up"], o["name"] = port, "ACTIVE", true, orEmpty(requested["name"])
	o["sub_ports"] = []object{}
	return nil
}

// subports returns the subports in the call's body.
func (c call) subports() []object {
	var all []object
	_ = json.Unmarshal(c.body["sub_ports"], &all)
	return all
}

// attach adds subports to a trunk, all or none.
func (c call) attach(trunk object) (int, any) {
	subs := slices.Clone(trunk["sub_ports"].([]object))
	for _, s := range c.subports() {
		tag, _ := s["segmentation_id"].(float64)
		s = object{"port_id": s["port_id"], "segmentation_type": s["segmentation_type"], "segmentation_id": int(tag)}
		if refused := c.checkSubport(trunk, subs, s); refused != nil {
			return refused.code, refused.body
		}
		subs = append(subs, s)
	}
	parent := c.objects["ports"][trunk["port_id"].(string)]
	for _, s := range c.subports() {
		p := c.objects["ports"][s["port_id"].(string)]
		p["device_owner"], p["status"] = "trunk:subport", parent["status"]
	}
	trunk["sub_ports"] = subs
	return http.StatusOK, trunk
}

func (c call) checkSubport(trunk object, subs []object, s object) *refusal {
	id, _ := s["port_id"].(string)
	p := c.objects["ports"][id]
	switch {
	case p == nil:
		return refuse(http.StatusNotFound, "PortNotFound", "Port %s could not be found.", id)
	case c.trunkOf(id) != nil || slices.ContainsFunc(subs, func(o object) bool { return o["port_id"] == id }):
		return refuse(http.StatusConflict, "TrunkPortInUse", "Port %s is in use by another trunk.", id)
	case p["device_id"] != "":
		return refuse(http.StatusConflict, "PortInUse", "Unable to complete operation on port %s for network %s. Port already has an attached device %s.", id, p["network_id"], p["device_id"])
	case slices.ContainsFunc(subs, func(o object) bool { return o["segmentation_id"] == s["segmentation_id"] }):
		return refuse(http.StatusConflict, "DuplicateSubPort", "segmentation_type vlan and segmentation_id %v already in use on trunk %s.", s["segmentation_id"], trunk["id"])
	}
	return nil
}

// trunkOf returns the trunk that a subport is attached to, nil if there is none.
func (c *Cloud) trunkOf(port string) object {
	for _, t := range c.objects["trunks"] {
		if slices.ContainsFunc(t["sub_ports"].([]object), func(s object) bool { return s["port_id"] == port }) {
			return t
		}
	}
	return nil
}

// detach removes subports from a trunk, all or none.
func (c call) detach(trunk object) (int, any) {
	subs := slices.Clone(trunk["sub_ports"].([]object))
	for _, s := range c.subports() {
		i := slices.IndexFunc(subs, func(o object) bool { return o["port_id"] == s["port_id"] })
		if i < 0 {
			return http.StatusNotFound, errorBody("SubPortNotFound", "SubPort %s on trunk %s could not be found.", s["port_id"], trunk["id"])
		}
		subs = slices.Delete(subs, i, i+1)
	}
	for _, s := range c.subports() {
		c.detachSubport(s["port_id"].(string))
	}
	trunk["sub_ports"] = subs
	return http.StatusOK, trunk
}

func (c *Cloud) detachSubport(port string) {
	if p := c.objects["ports"][port]; p != nil {
		p["device_owner"], p["status"] = "", "DOWN"
	}
}

// trunkGone detaches all subports of a deleted trunk.
func (c *Cloud) trunkGone(trunk object) {
	for _, s := range trunk["sub_ports"].([]object) {
		c.detachSubport(s["port_id"].(string))
	}
}

// inTrunk refuses to delete a parent port or a subport.
func (c call) inTrunk(port string) *refusal {
	if t := c.trunkOf(port); t != nil {
		return refuse(http.StatusConflict, "PortInUseAsSubPort", "Port %s is currently a subport for trunk %s.", port, t["id"])
	}
	for _, t := range c.objects["trunks"] {
		if t["port_id"] == port {
			return refuse(http.StatusConflict, "PortInUseAsTrunkParent", "Port %s is currently a parent port for trunk %s.", port, t["id"])
		}
	}
	return nil
}

// Behind returns the VLAN ids of a parent port's subports, by the subport's id.
func (c *Cloud) Behind(parent string) map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	vlans := map[string]int{}
	for _, t := range c.objects["trunks"] {
		for _, s := range t["sub_ports"].([]object) {
			if t["port_id"] == parent {
				vlans[s["port_id"].(string)] = s["segmentation_id"].(int)
			}
		}
	}
	return vlans
}

// Trunk creates a network with a virtual machine's port, which is up, and a trunk on that
// port, as another client would. It returns the ids of the port and the trunk.
func (c *Cloud) Trunk(name string) (port, trunk string) {
	network := c.Add("networks", map[string]any{"name": "net-of-" + name})
	port = c.Add("ports", map[string]any{"name": name, "network_id": network, "device_id": "server-" + name, "device_owner": "compute:nova"})
	c.Set("ports", port, "status", "ACTIVE")
	return port, c.Add("trunks", map[string]any{"name": name + "-trunk", "port_id": port})
}

// AddSubport attaches a port to a trunk as another client would.
func (c *Cloud) AddSubport(trunk, port string, vlan int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.objects["trunks"][trunk]
	t["sub_ports"] = append(t["sub_ports"].([]object), object{"port_id": port, "segmentation_type": "vlan", "segmentation_id": vlan})
	if p := c.objects["ports"][port]; p != nil {
		p["device_owner"] = "trunk:subport"
	}
}
