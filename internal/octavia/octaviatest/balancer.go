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
	return service{store: store{things: map[string][]thing{}}, reads: 1, turns: map[string]int{}}
}

// balancerOf returns the load balancer that a thing belongs to, nil if there is none.
func (c *service) balancerOf(collection string, o thing) thing {
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
func (c *service) touch(lb thing, what ...thing) { c.begin("PENDING_UPDATE", lb, what...) }

func (c *service) begin(status string, lb thing, what ...thing) {
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

// look counts a read of lb, and ends its change after the last one.
func (c *service) look(lb thing) {
	id := lb["id"].(string)
	if !strings.HasPrefix(lb["provisioning_status"].(string), "PENDING") {
		return
	}
	if c.turns[id]--; c.turns[id] < 0 {
		c.settle(lb)
	}
}

func (c *service) settle(lb thing) {
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

func (c *service) cascade(lb thing) {
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

func (c *service) dropPort(p thing) {
	c.drop("ports", p)
	for _, f := range c.things["floatingips"] {
		if f["port_id"] == p["id"] {
			f["port_id"] = nil
		}
	}
}

func (c *service) create(collection string, asked thing) (int, any) {
	switch collection {
	case "loadbalancers":
		return c.createBalancer(asked)
	case "floatingips":
		return c.floating(asked)
	}
	lb := c.byID("loadbalancers", asked["loadbalancer_id"])
	if lb == nil {
		return fault(http.StatusNotFound, "Load Balancer not found.")
	}
	if code, answer := immutable(lb); code != 0 {
		return code, answer
	}
	var o thing
	if collection == "pools" {
		o = c.pool(lb, asked)
	} else {
		for _, l := range c.things["listeners"] {
			if l["lb"] == lb["id"] && l["protocol"] == asked["protocol"] && l["protocol_port"] == asked["protocol_port"] {
				return fault(http.StatusConflict, "Another Listener on this Load Balancer is already using protocol_port.")
			}
		}
		o = c.listener(lb, asked, asked["default_pool_id"])
	}
	c.touch(lb, o)
	return http.StatusCreated, thing{strings.TrimSuffix(collection, "s"): o}
}

func immutable(lb thing) (int, any) {
	if status := lb["provisioning_status"].(string); status != "ACTIVE" {
		return fault(http.StatusConflict, "Load Balancer %s is immutable and cannot be updated.", lb["id"])
	}
	return 0, nil
}

// createBalancer creates a load balancer with all its parts. Like provider ovn, it
// creates the port of the address first, and leaves it behind if the creation then fails.
func (c *service) createBalancer(asked thing) (int, any) {
	if c.quota > 0 && len(c.things["loadbalancers"]) >= c.quota {
		return fault(http.StatusForbidden, "Quota has been met for resources: Load Balancer")
	}
	for _, p := range c.things["ports"] {
		if p["address"] == asked["vip_address"] && p["subnet"] == asked["vip_subnet_id"] {
			return fault(http.StatusInternalServerError, "Provider 'ovn' reports error: IP address %s already allocated in subnet %s\nNeutron server returns request_ids: ['req-1']", asked["vip_address"], asked["vip_subnet_id"])
		}
	}
	port := c.put("ports", thing{"address": asked["vip_address"], "subnet": asked["vip_subnet_id"], "device_owner": ""})
	ls := list(asked["listeners"])
	for _, l := range ls {
		if p := l.(thing)["default_pool"].(thing); p["lb_algorithm"] != "SOURCE_IP_PORT" || l.(thing)["allowed_cidrs"] != nil {
			port["name"] = "ovn-lb-vip-rolled-back"
			return fault(http.StatusNotImplemented, "Provider 'ovn' does not support a requested option")
		}
	}
	lb := c.put("loadbalancers", thing{
		"name": asked["name"], "project_id": projectOf(asked), "provider": asked["provider"], "vip_address": asked["vip_address"],
		"vip_subnet_id": asked["vip_subnet_id"], "vip_port_id": port["id"], "tags": list(asked["tags"]), "provisioning_status": "ACTIVE",
	})
	port["name"] = "ovn-lb-vip-" + lb["id"].(string)
	for _, l := range ls {
		p := c.pool(lb, l.(thing)["default_pool"].(thing))
		for _, m := range list(l.(thing)["default_pool"].(thing)["members"]) {
			c.member(p, m.(thing))
		}
		c.listener(lb, l.(thing), p["id"])
	}
	c.begin("PENDING_CREATE", lb)
	return http.StatusCreated, thing{"loadbalancer": lb}
}

// projectOf returns the requested project, or else the caller's own.
func projectOf(asked thing) any {
	if id := asked["project_id"]; id != nil {
		return id
	}
	return Project
}

func (c *service) pool(lb, asked thing) thing {
	return c.put("pools", thing{
		"lb": lb["id"], "name": asked["name"], "protocol": asked["protocol"], "lb_algorithm": asked["lb_algorithm"], "tags": list(asked["tags"]),
		"session_persistence": asked["session_persistence"], "provisioning_status": "PENDING_CREATE",
	})
}

func (c *service) listener(lb, asked thing, pool any) thing {
	return c.put("listeners", thing{
		"lb": lb["id"], "name": asked["name"], "protocol": asked["protocol"], "protocol_port": asked["protocol_port"], "default_pool_id": pool,
		"timeout_client_data": 50000, "timeout_member_data": 50000, "allowed_cidrs": asked["allowed_cidrs"], "tags": list(asked["tags"]),
		"provisioning_status": "PENDING_CREATE",
	})
}

func (c *service) member(pool, asked thing) {
	c.put("members", thing{
		"pool": pool["id"], "name": asked["name"], "address": asked["address"], "protocol_port": asked["protocol_port"],
		"subnet_id": asked["subnet_id"], "provisioning_status": "PENDING_CREATE",
	})
}

func (c *service) membersOf(pool thing) []thing {
	var out []thing
	for _, m := range c.things["members"] {
		if m["pool"] == pool["id"] {
			out = append(out, m)
		}
	}
	return out
}

// batch sets all members of a pool.
func (c *service) batch(pool, asked thing) (int, any) {
	lb := c.balancerOf("pools", pool)
	if code, answer := immutable(lb); code != 0 {
		return code, answer
	}
	same := func(a, b thing) bool { return a["address"] == b["address"] && a["protocol_port"] == b["protocol_port"] }
	want := list(asked["members"])
	for _, m := range c.membersOf(pool) {
		i := slices.IndexFunc(want, func(w any) bool { return same(w.(thing), m) })
		if i < 0 {
			c.drop("members", m)
			continue
		}
		m["name"], m["provisioning_status"] = want[i].(thing)["name"], "PENDING_UPDATE"
		want = slices.Delete(want, i, i+1)
	}
	for _, w := range want {
		c.member(pool, w.(thing))
	}
	c.touch(lb, pool)
	return http.StatusAccepted, nil
}

// single executes a call on one member.
func (c *service) single(method string, pool thing, words []string, asked thing) (int, any) {
	lb := c.balancerOf("pools", pool)
	if code, answer := immutable(lb); code != 0 {
		return code, answer
	}
	if method == http.MethodPost {
		for _, m := range c.membersOf(pool) {
			if m["address"] == asked["address"] && m["protocol_port"] == asked["protocol_port"] {
				return fault(http.StatusConflict, "Another member on this pool is already using ip %s", asked["address"])
			}
		}
		c.member(pool, asked)
		c.touch(lb)
		return http.StatusCreated, thing{"member": asked}
	}
	m := c.byID("members", words[0])
	if m == nil {
		return fault(http.StatusNotFound, "Member not found.")
	}
	if method == http.MethodPut {
		m["name"] = asked["name"]
		c.touch(lb, m)
		return http.StatusOK, thing{"member": m}
	}
	c.drop("members", m)
	c.touch(lb)
	return http.StatusNoContent, nil
}

func (c *service) update(collection string, o, asked thing) (int, any) {
	if lb := c.balancerOf(collection, o); lb != nil && collection != "floatingips" {
		if code, answer := immutable(lb); code != 0 {
			return code, answer
		}
		defer c.touch(lb, o)
	}
	for k, v := range asked {
		if k == "port_id" && v == "" {
			v = nil
		}
		o[k] = v
	}
	return http.StatusOK, thing{strings.TrimSuffix(collection, "s"): o}
}

func (c *service) remove(collection string, o thing, q url.Values) (int, any) {
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
		if q.Get("cascade") != "true" && slices.ContainsFunc(c.things["listeners"], func(l thing) bool { return l["lb"] == o["id"] }) {
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
func (c *service) dropPart(collection string, o thing) {
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
func (c *service) tree(lb thing) thing {
	ls := []thing{}
	for _, l := range c.things["listeners"] {
		if l["lb"] != lb["id"] {
			continue
		}
		ps := []thing{}
		if p := c.byID("pools", l["default_pool_id"]); p != nil {
			ps = append(ps, merged(p, thing{"members": c.membersOf(p)}))
		}
		ls = append(ls, merged(l, thing{"pools": ps}))
	}
	return merged(lb, thing{"listeners": ls})
}

func merged(o, more thing) thing {
	out := thing{}
	for _, k := range []string{"id", "name", "provisioning_status"} {
		out[k] = o[k]
	}
	maps.Copy(out, more)
	return out
}
