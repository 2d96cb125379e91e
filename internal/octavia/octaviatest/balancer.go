package octaviatest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// service is Octavia with provider ovn, and Neutron's floating IPs and ports. It answers
// calls and changes the store. A change ends after it has been read a number of times.
type service struct {
	store
	reads  int            // number of reads during which a change is PENDING
	turns  map[string]int // by load balancer, how many reads are left
	failed int            // number of changes from now on that end in ERROR
	quota  int            // maximum number of load balancers; 0 means no limit
}

func newService() service {
	return service{store: store{things: map[string][]resource{}}, reads: 1, turns: map[string]int{}}
}

// balancerOf returns the load balancer that a thing belongs to, nil if there is none.
func (c *service) balancerOf(collection string, o resource) resource {
	switch collection {
	case "loadbalancers":
		return o
	case "members":
		o = c.byID("pools", o["pool"])
		if o == nil {
			return nil
		}
	}
	return c.byID("loadbalancers", o["lb"])
}

// touch begins a change: lb and the parts that change become PENDING.
func (c *service) touch(lb resource, what ...resource) { c.begin("PENDING_UPDATE", lb, what...) }

func (c *service) begin(status string, lb resource, what ...resource) {
	lb["provisioning_status"] = status
	for _, o := range what {
		o["provisioning_status"] = "PENDING_UPDATE"
	}
	c.turns[lb["id"].(string)] = c.reads
	c.next++
	lb["updated_at"] = time.Date(2026, 1, 1, 0, 0, c.next, 0, time.UTC).Format("2006-01-02T15:04:05")
	if c.reads == 0 {
		c.settle(lb)
	}
}

// countRead counts a read of lb, and ends its change after the last one.
func (c *service) countRead(lb resource) {
	id := lb["id"].(string)
	if !strings.HasPrefix(lb["provisioning_status"].(string), "PENDING") {
		return
	}
	if c.turns[id]--; c.turns[id] < 0 {
		c.settle(lb)
	}
}

func (c *service) settle(lb resource) {
	if lb["provisioning_status"] == "PENDING_DELETE" {
		c.cascade(lb)
		return
	}
	status := "ACTIVE"
	if c.failed > 0 {
		c.failed--
		status = "ERROR"
	}
	lb["provisioning_status"] = status
	for _, collection := range []string{"listeners", "pools", "members"} {
		for _, o := range c.things[collection] {
			if b := c.balancerOf(collection, o); b != nil && b["id"] == lb["id"] && strings.HasPrefix(o["provisioning_status"].(string), "PENDING") {
				o["provisioning_status"] = "ACTIVE"
			}
		}
	}
}

func (c *service) cascade(lb resource) {
	for _, collection := range []string{"members", "listeners", "pools", "loadbalancers"} {
		for _, o := range slices.Clone(c.things[collection]) {
			if b := c.balancerOf(collection, o); b != nil && b["id"] == lb["id"] {
				c.drop(collection, o)
			}
		}
	}
	for _, p := range slices.Clone(c.things["ports"]) {
		if p["id"] == lb["vip_port_id"] {
			c.dropPort(p)
		}
	}
}

func (c *service) dropPort(p resource) {
	c.drop("ports", p)
	for _, f := range c.things["floatingips"] {
		if f["port_id"] == p["id"] {
			f["port_id"] = nil
		}
	}
}

func (c *service) create(collection string, requested resource) (int, any) {
	switch collection {
	case "loadbalancers":
		return c.createBalancer(requested)
	case "floatingips":
		return c.floating(requested)
	}
	lb := c.byID("loadbalancers", requested["loadbalancer_id"])
	if lb == nil {
		return fault(http.StatusNotFound, "Load Balancer not found.")
	}
	if code, answer := immutable(lb); code != 0 {
		return code, answer
	}
	var o resource
	if collection == "pools" {
		o = c.pool(lb, requested)
	} else {
		for _, l := range c.things["listeners"] {
			if l["lb"] == lb["id"] && l["protocol"] == requested["protocol"] && l["protocol_port"] == requested["protocol_port"] {
				return fault(http.StatusConflict, "Another Listener on this Load Balancer is already using protocol_port.")
			}
		}
		o = c.listener(lb, requested, requested["default_pool_id"])
	}
	c.touch(lb, o)
	return http.StatusCreated, resource{strings.TrimSuffix(collection, "s"): o}
}

func immutable(lb resource) (int, any) {
	if status := lb["provisioning_status"].(string); status != "ACTIVE" {
		return fault(http.StatusConflict, "Load Balancer %s is immutable and cannot be updated.", lb["id"])
	}
	return 0, nil
}

// createBalancer creates a load balancer with all its parts. Like provider ovn, it
// creates the port of the address first, and leaves it behind if the creation then fails.
func (c *service) createBalancer(requested resource) (int, any) {
	if c.quota > 0 && len(c.things["loadbalancers"]) >= c.quota {
		return fault(http.StatusForbidden, "Quota has been met for resources: Load Balancer")
	}
	for _, p := range c.things["ports"] {
		if p["address"] == requested["vip_address"] && p["subnet"] == requested["vip_subnet_id"] {
			return fault(http.StatusInternalServerError, "Provider 'ovn' reports error: IP address %s already allocated in subnet %s\nNeutron server returns request_ids: ['req-1']", requested["vip_address"], requested["vip_subnet_id"])
		}
	}
	port := c.put("ports", resource{"address": requested["vip_address"], "subnet": requested["vip_subnet_id"], "device_owner": ""})
	ls := list(requested["listeners"])
	for _, l := range ls {
		if p := l.(resource)["default_pool"].(resource); p["lb_algorithm"] != "SOURCE_IP_PORT" || l.(resource)["allowed_cidrs"] != nil {
			port["name"] = "ovn-lb-vip-rolled-back"
			return fault(http.StatusNotImplemented, "Provider 'ovn' does not support a requested option")
		}
	}
	lb := c.put("loadbalancers", resource{
		"name": requested["name"], "project_id": projectOf(requested), "provider": requested["provider"], "vip_address": requested["vip_address"],
		"vip_subnet_id": requested["vip_subnet_id"], "vip_port_id": port["id"], "tags": list(requested["tags"]), "provisioning_status": "ACTIVE",
	})
	port["name"] = "ovn-lb-vip-" + lb["id"].(string)
	for _, l := range ls {
		p := c.pool(lb, l.(resource)["default_pool"].(resource))
		for _, m := range list(l.(resource)["default_pool"].(resource)["members"]) {
			c.member(p, m.(resource))
		}
		c.listener(lb, l.(resource), p["id"])
	}
	c.begin("PENDING_CREATE", lb)
	return http.StatusCreated, resource{"loadbalancer": lb}
}

// projectOf returns the requested project, or else the caller's own.
func projectOf(requested resource) any {
	if id := requested["project_id"]; id != nil {
		return id
	}
	return Project
}

func (c *service) pool(lb, requested resource) resource {
	return c.put("pools", resource{
		"lb": lb["id"], "name": requested["name"], "protocol": requested["protocol"], "lb_algorithm": requested["lb_algorithm"], "tags": list(requested["tags"]),
		"session_persistence": requested["session_persistence"], "provisioning_status": "PENDING_CREATE",
	})
}

func (c *service) listener(lb, requested resource, pool any) resource {
	return c.put("listeners", resource{
		"lb": lb["id"], "name": requested["name"], "protocol": requested["protocol"], "protocol_port": requested["protocol_port"], "default_pool_id": pool,
		"timeout_client_data": 50000, "timeout_member_data": 50000, "allowed_cidrs": requested["allowed_cidrs"], "tags": list(requested["tags"]),
		"provisioning_status": "PENDING_CREATE",
	})
}

func (c *service) member(pool, requested resource) {
	c.put("members", resource{
		"pool": pool["id"], "name": requested["name"], "address": requested["address"], "protocol_port": requested["protocol_port"],
		"subnet_id": requested["subnet_id"], "provisioning_status": "PENDING_CREATE",
	})
}

func (c *service) membersOf(pool resource) []resource {
	var out []resource
	for _, m := range c.things["members"] {
		if m["pool"] == pool["id"] {
			out = append(out, m)
		}
	}
	return out
}

// setMembers sets all members of a pool.
func (c *service) setMembers(pool, requested resource) (int, any) {
	lb := c.balancerOf("pools", pool)
	if code, answer := immutable(lb); code != 0 {
		return code, answer
	}
	same := func(a, b resource) bool {
		return a["address"] == b["address"] && a["protocol_port"] == b["protocol_port"]
	}
	want := list(requested["members"])
	for _, m := range c.membersOf(pool) {
		i := slices.IndexFunc(want, func(w any) bool { return same(w.(resource), m) })
		if i < 0 {
			c.drop("members", m)
			continue
		}
		m["name"], m["provisioning_status"] = want[i].(resource)["name"], "PENDING_UPDATE"
		want = slices.Delete(want, i, i+1)
	}
	for _, w := range want {
		c.member(pool, w.(resource))
	}
	c.touch(lb, pool)
	return http.StatusAccepted, nil
}

// memberCall executes a call on one member.
func (c *service) memberCall(method string, pool resource, parts []string, requested resource) (int, any) {
	lb := c.balancerOf("pools", pool)
	if code, answer := immutable(lb); code != 0 {
		return code, answer
	}
	if method == http.MethodPost {
		for _, m := range c.membersOf(pool) {
			if m["address"] == requested["address"] && m["protocol_port"] == requested["protocol_port"] {
				return fault(http.StatusConflict, "Another member on this pool is already using ip %s", requested["address"])
			}
		}
		c.member(pool, requested)
		c.touch(lb)
		return http.StatusCreated, resource{"member": requested}
	}
	m := c.byID("members", parts[0])
	if m == nil {
		return fault(http.StatusNotFound, "Member not found.")
	}
	if method == http.MethodPut {
		m["name"] = requested["name"]
		c.touch(lb, m)
		return http.StatusOK, resource{"member": m}
	}
	c.drop("members", m)
	c.touch(lb)
	return http.StatusNoContent, nil
}

func (c *service) update(collection string, o, requested resource) (int, any) {
	if lb := c.balancerOf(collection, o); lb != nil && collection != "floatingips" {
		if code, answer := immutable(lb); code != 0 {
			return code, answer
		}
		defer c.touch(lb, o)
	}
	for k, v := range requested {
		if k == "port_id" && v == "" {
			v = nil
		}
		o[k] = v
	}
	return http.StatusOK, resource{strings.TrimSuffix(collection, "s"): o}
}

func (c *service) remove(collection string, o resource, q url.Values) (int, any) {
	switch collection {
	case "floatingips":
		c.drop(collection, o)
		return http.StatusNoContent, nil
	case "ports":
		c.dropPort(o)
		return http.StatusNoContent, nil
	}
	lb := c.balancerOf(collection, o)
	if status := lb["provisioning_status"].(string); strings.HasPrefix(status, "PENDING") || status == "ERROR" && collection != "loadbalancers" {
		return fault(http.StatusConflict, "Load Balancer %s is immutable and cannot be updated.", lb["id"])
	}
	if collection == "loadbalancers" {
		if q.Get("cascade") != "true" && slices.ContainsFunc(c.things["listeners"], func(l resource) bool { return l["lb"] == o["id"] }) {
			return fault(http.StatusBadRequest, "Cannot delete Load Balancer %s - it has children", o["id"])
		}
		c.begin("PENDING_DELETE", lb)
		return http.StatusNoContent, nil
	}
	c.dropPart(collection, o)
	c.touch(lb)
	return http.StatusNoContent, nil
}

// dropPart deletes a part of a load balancer, with the parts below it.
func (c *service) dropPart(collection string, o resource) {
	for _, l := range c.things["listeners"] {
		if collection == "pools" && l["default_pool_id"] == o["id"] {
			l["default_pool_id"] = nil
		}
	}
	for _, m := range c.membersOf(o) {
		c.drop("members", m)
	}
	c.drop(collection, o)
}

// tree returns the status tree, which has only pools with a listener.
func (c *service) tree(lb resource) resource {
	ls := []resource{}
	for _, l := range c.things["listeners"] {
		if l["lb"] != lb["id"] {
			continue
		}
		ps := []resource{}
		if p := c.byID("pools", l["default_pool_id"]); p != nil {
			ps = append(ps, merged(p, resource{"members": c.membersOf(p)}))
		}
		ls = append(ls, merged(l, resource{"pools": ps}))
	}
	return merged(lb, resource{"listeners": ls})
}

func merged(o, more resource) resource {
	out := resource{}
	for _, k := range []string{"id", "name", "provisioning_status"} {
		out[k] = o[k]
	}
	maps.Copy(out, more)
	return out
}
