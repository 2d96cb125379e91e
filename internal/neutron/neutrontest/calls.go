package neutrontest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

var collections = []string{"subnetpools", "networks", "subnets", "ports", "routers", "security-groups", "security-group-rules", "trunks"}

// call is one API call.
type call struct {
	*Cloud
	collection, one string
	all             map[string]object
	body            map[string]json.RawMessage
}

func one(collection string) string {
	return strings.TrimSuffix(strings.ReplaceAll(collection, "-", "_"), "s")
}

func camel(one string) string {
	var b strings.Builder
	for w := range strings.SplitSeq(one, "_") {
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

// refusal is an error answer.
type refusal struct {
	code int
	body object
}

func refuse(code int, word, format string, args ...any) *refusal {
	return &refusal{code, errorBody(word, format, args...)}
}

func (c call) list(address *url.URL) (int, any) {
	query := address.Query()
	found := []object{}
	for _, o := range c.sorted(c.collection) {
		if matches(o, query) {
			found = append(found, o)
		}
	}
	many := c.one + "s"
	out := object{many: found}
	if c.pages == 0 {
		return http.StatusOK, out
	}
	if i := slices.IndexFunc(found, func(o object) bool { return o["id"] == query.Get("marker") }); i >= 0 {
		found = found[i+1:]
	}
	if len(found) > c.pages {
		found = found[:c.pages]
		query.Set("marker", found[len(found)-1]["id"].(string))
		out[many+"_links"] = []object{{"rel": "next", "href": c.server.URL + address.Path + "?" + query.Encode()}}
	}
	out[many] = found
	return http.StatusOK, out
}

// matches reports whether an object matches a query: every key must match, with one of
// its values; of tags all must match.
func matches(o object, query url.Values) bool {
	for key, values := range query {
		switch key {
		case "marker", "limit", "fields":
		case "tags":
			for t := range strings.SplitSeq(values[0], ",") {
				if !slices.Contains(o["tags"].([]string), t) {
					return false
				}
			}
		default:
			if !slices.Contains(values, fmt.Sprint(o[key])) {
				return false
			}
		}
	}
	return true
}

func (c call) create() (int, any) {
	if raw, single := c.body[c.one]; single {
		o, refused := c.make(raw)
		if refused != nil {
			return refused.code, refused.body
		}
		return http.StatusCreated, object{c.one: o}
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(c.body[c.one+"s"], &raws); err != nil {
		return http.StatusBadRequest, errorBody("HTTPBadRequest", "%v", err)
	}
	var made []object
	for _, raw := range raws {
		o, refused := c.make(raw)
		if refused != nil { // all objects or none
			for _, m := range made {
				delete(c.all, m["id"].(string))
			}
			return refused.code, refused.body
		}
		made = append(made, o)
	}
	return http.StatusCreated, object{c.one + "s": made}
}

func (c call) make(raw json.RawMessage) (object, *refusal) {
	requested := object{}
	if err := json.Unmarshal(raw, &requested); err != nil {
		return nil, refuse(http.StatusBadRequest, "HTTPBadRequest", "%v", err)
	}
	c.ids++
	o := object{
		"id": fmt.Sprintf("%08d-0000-4000-8000-%012d", c.ids, c.ids), "name": "", "description": "", "tags": []string{},
		"project_id": Project, "tenant_id": Project, "revision_number": 0,
	}
	if refused := c.check(requested); refused != nil {
		return nil, refused
	}
	if refused := c.complete(o, requested); refused != nil {
		return nil, refused
	}
	c.all[o["id"].(string)] = o
	return o, nil
}

// check refuses values that are too long.
func (c call) check(requested object) *refusal {
	for _, k := range []string{"name", "description"} {
		if s, _ := requested[k].(string); len(s) > 255 {
			return refuse(http.StatusBadRequest, "HTTPBadRequest", "Invalid input for %s. Reason: '%s' exceeds maximum length of 255.", k, s)
		}
	}
	return nil
}

// complete completes a new object according to its kind.
func (c call) complete(o, requested object) *refusal {
	if tags, asks := requested["tags"]; asks {
		delete(requested, "tags") // without the extension Neutron accepts and ignores them
		if c.collection == "ports" && c.has("tag-ports-during-bulk-creation") {
			o["tags"] = words(tags)
		}
	}
	switch c.collection {
	case "networks":
		maps.Copy(o, object{"admin_state_up": true, "mtu": 1442, "status": "ACTIVE", "port_security_enabled": true})
	case "subnetpools":
		return c.pool(o, requested)
	case "subnets":
		return c.subnet(o, requested)
	case "ports":
		return c.port(o, requested)
	case "security-groups":
		maps.Copy(o, requested)
		if refused := c.room(fmt.Sprint(o["project_id"])); refused != nil {
			return refused
		}
		o["security_group_rules"] = c.defaultRules(o)
		return nil
	case "security-group-rules":
		return c.rule(o, requested)
	case "trunks":
		return c.trunk(o, requested)
	}
	maps.Copy(o, requested)
	return nil
}

func words(v any) []string {
	out := []string{}
	list, _ := v.([]any)
	for _, w := range list {
		out = append(out, fmt.Sprint(w))
	}
	return out
}

func (c call) update(o object) (int, any) {
	requested := object{}
	if err := json.Unmarshal(c.body[c.one], &requested); err != nil {
		return http.StatusBadRequest, errorBody("HTTPBadRequest", "%v", err)
	}
	if refused := c.check(requested); refused != nil {
		return refused.code, refused.body
	}
	if c.collection == "ports" {
		if refused := c.changePort(o, requested); refused != nil {
			return refused.code, refused.body
		}
	}
	maps.Copy(o, requested)
	return http.StatusOK, object{c.one: o}
}

// action handles a call on one object other than read, update and delete.
func (c call) action(o object, name string) (int, any) {
	switch name {
	case "tags":
		var tags []any
		_ = json.Unmarshal(c.body["tags"], &tags)
		o["tags"] = words(tags)
		return http.StatusOK, object{"tags": o["tags"]}
	case "add_router_interface", "remove_router_interface":
		var subnet string
		_ = json.Unmarshal(c.body["subnet_id"], &subnet)
		if name == "add_router_interface" {
			return c.join(o, subnet)
		}
		return c.part(o, subnet)
	case "add_subports":
		return c.attach(o)
	case "remove_subports":
		return c.detach(o)
	}
	return http.StatusNotFound, nil
}

func (c call) remove(o object) (int, any) {
	id := o["id"].(string)
	if refused := c.inUse(id); refused != nil {
		return refused.code, refused.body
	}
	delete(c.all, id)
	switch c.collection {
	case "networks":
		maps.DeleteFunc(c.objects["subnets"], func(_ string, s object) bool { return s["network_id"] == id })
	case "security-group-rules":
		g := c.objects["security-groups"][o["security_group_id"].(string)]
		g["security_group_rules"] = slices.DeleteFunc(g["security_group_rules"].([]object), func(r object) bool { return r["id"] == id })
	case "security-groups":
		c.removeRules(id)
	case "trunks":
		c.trunkGone(o)
	}
	return http.StatusNoContent, nil
}

// removeRules deletes the rules of a group, and the rules of other groups that refer to
// it.
func (c call) removeRules(group string) {
	goes := func(r object) bool { return r["security_group_id"] == group || r["remote_group_id"] == group }
	maps.DeleteFunc(c.objects["security-group-rules"], func(_ string, r object) bool { return goes(r) })
	for _, g := range c.objects["security-groups"] {
		g["security_group_rules"] = slices.DeleteFunc(g["security_group_rules"].([]object), goes)
	}
}

// inUse refuses to delete an object that others refer to.
func (c call) inUse(id string) *refusal {
	if c.collection == "ports" {
		if refused := c.inTrunk(id); refused != nil {
			return refused
		}
	}
	for _, p := range c.objects["ports"] {
		switch {
		case c.collection == "networks" && p["network_id"] == id:
			return refuse(http.StatusConflict, "NetworkInUse",
				"Unable to complete operation on network %s. There are one or more ports still in use on the network, id for these ports is: %s.", id, p["id"])
		case c.collection == "subnets" && hasSubnet(p, id):
			return refuse(http.StatusConflict, "SubnetInUse",
				"Unable to complete operation on subnet %s: One or more ports have an IP allocation from this subnet.", id)
		case c.collection == "security-groups" && slices.Contains(p["security_groups"].([]string), id):
			return refuse(http.StatusConflict, "SecurityGroupInUse", "Security Group %s in use.", id)
		case c.collection == "ports" && p["id"] == id && strings.HasPrefix(p["device_owner"].(string), "network:"):
			return refuse(http.StatusConflict, "ServicePortInUse", "Port %s cannot be deleted directly via the port API: has device owner %s.", id, p["device_owner"])
		}
	}
	return nil
}

func hasSubnet(port object, id string) bool {
	return slices.ContainsFunc(port["fixed_ips"].([]object), func(ip object) bool { return ip["subnet_id"] == id })
}
