package octaviatest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

func fault(code int, format string, args ...any) (int, any) {
	return code, resource{"faultcode": "Client", "faultstring": fmt.Sprintf(format, args...)}
}

// answer executes one call, and returns the status and the body.
func (c *service) answer(r *http.Request, body []byte) (int, any) {
	path := strings.Trim(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/lb"), "/net"), "/")
	path = strings.TrimPrefix(strings.TrimPrefix(path, "v2.0/"), "lbaas/")
	if path == "" || path == "v2.0" {
		return http.StatusOK, resource{"versions": []resource{{"id": "v2.0", "status": "SUPPORTED"}, {"id": "v2.26", "status": "CURRENT"}}}
	}
	parts := strings.Split(path, "/")
	collection := parts[0]
	var requested resource
	_ = json.Unmarshal(body, &requested)
	for _, key := range []string{"member", strings.TrimSuffix(collection, "s")} {
		if inner, is := requested[key].(resource); is {
			requested = inner
		}
	}
	if len(parts) == 1 {
		if r.Method == http.MethodPost {
			return c.create(collection, requested)
		}
		return http.StatusOK, resource{collection: c.list(collection, r.URL.Query())}
	}
	o := c.byID(collection, parts[1])
	if o == nil {
		return fault(http.StatusNotFound, "%s %s not found.", collection, parts[1])
	}
	if len(parts) > 2 {
		return c.answerPart(r.Method, collection, o, parts[2:], requested)
	}
	switch r.Method {
	case http.MethodGet:
		if collection == "loadbalancers" {
			c.countRead(o)
		}
		return http.StatusOK, resource{strings.TrimSuffix(collection, "s"): o}
	case http.MethodPut:
		return c.update(collection, o, requested)
	}
	return c.remove(collection, o, r.URL.Query())
}

// answerPart executes calls on a part of a resource, such as pools/ID/members.
func (c *service) answerPart(method, collection string, o resource, parts []string, requested resource) (int, any) {
	switch {
	case parts[0] == "status":
		c.countRead(o)
		if c.byID(collection, o["id"]) == nil {
			return fault(http.StatusNotFound, "Load Balancer %s not found.", o["id"])
		}
		return http.StatusOK, resource{"statuses": resource{"loadbalancer": c.tree(o)}}
	case parts[0] == "members" && method == http.MethodPut:
		return c.setMembers(o, requested)
	case parts[0] == "members":
		return c.memberCall(method, o, parts[1:], requested)
	case parts[0] == "tags" && method == http.MethodPut:
		o["tags"] = list(requested["tags"])
		return http.StatusOK, resource{"tags": o["tags"]}
	}
	return fault(http.StatusNotFound, "no such call")
}

func list(v any) []any {
	l, _ := v.([]any)
	return slices.Clone(l)
}

func (c *service) list(collection string, q url.Values) []resource {
	out := []resource{}
	for _, o := range slices.Clone(c.things[collection]) {
		if !c.matches(o, q) {
			continue
		}
		if collection == "loadbalancers" {
			c.countRead(o)
			if c.byID(collection, o["id"]) == nil {
				continue
			}
		}
		out = append(out, o)
	}
	return out
}

func (c *service) matches(o resource, q url.Values) bool {
	for key, values := range q {
		for _, v := range values {
			if !matchesOne(o, key, v) {
				return false
			}
		}
	}
	return true
}

func matchesOne(o resource, key, v string) bool {
	switch key {
	case "tags":
		return !slices.ContainsFunc(strings.Split(v, ","), func(t string) bool { return !slices.Contains(list(o["tags"]), any(t)) })
	case "fixed_ips":
		field, want, _ := strings.Cut(v, "=")
		return o[map[string]string{"ip_address": "address", "subnet_id": "subnet"}[field]] == want
	case "loadbalancer_id":
		return o["lb"] == v
	default:
		return fmt.Sprint(o[key]) == v
	}
}

// floating creates a floating IP.
func (c *service) floating(requested resource) (int, any) {
	if port := requested["port_id"]; port != nil && c.byID("ports", port) == nil {
		return http.StatusNotFound, resource{"NeutronError": resource{"type": "PortNotFound", "message": "Port could not be found."}}
	}
	o := resource{"description": "", "tags": []any{}, "floating_ip_address": fmt.Sprintf("172.24.4.%d", 10+c.next), "project_id": Project}
	maps.Copy(o, requested)
	return http.StatusCreated, resource{"floatingip": c.put("floatingips", o)}
}
