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
	return code, thing{"faultcode": "Client", "faultstring": fmt.Sprintf(format, args...)}
}

// answer executes one call, and returns the status and the body.
func (c *service) answer(r *http.Request, body []byte) (int, any) {
	path := strings.Trim(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/lb"), "/net"), "/")
	path = strings.TrimPrefix(strings.TrimPrefix(path, "v2.0/"), "lbaas/")
	if path == "" || path == "v2.0" {
		return http.StatusOK, thing{"versions": []thing{{"id": "v2.0", "status": "SUPPORTED"}, {"id": "v2.26", "status": "CURRENT"}}}
	}
	words := strings.Split(path, "/")
	collection := words[0]
	var asked thing
	_ = json.Unmarshal(body, &asked)
	for _, key := range []string{"member", strings.TrimSuffix(collection, "s")} {
		if inner, is := asked[key].(thing); is {
			asked = inner
		}
	}
	if len(words) == 1 {
		if r.Method == http.MethodPost {
			return c.create(collection, asked)
		}
		return http.StatusOK, thing{collection: c.list(collection, r.URL.Query())}
	}
	o := c.byID(collection, words[1])
	if o == nil {
		return fault(http.StatusNotFound, "%s %s not found.", collection, words[1])
	}
	if len(words) > 2 {
		return c.below(r.Method, collection, o, words[2:], asked)
	}
	switch r.Method {
	case http.MethodGet:
		if collection == "loadbalancers" {
			c.look(o)
		}
		return http.StatusOK, thing{strings.TrimSuffix(collection, "s"): o}
	case http.MethodPut:
		return c.update(collection, o, asked)
	}
	return c.remove(collection, o, r.URL.Query())
}

// below executes calls on a part of a resource, such as pools/ID/members.
func (c *service) below(method, collection string, o thing, words []string, asked thing) (int, any) {
	switch {
	case words[0] == "status":
		c.look(o)
		if c.byID(collection, o["id"]) == nil {
			return fault(http.StatusNotFound, "Load Balancer %s not found.", o["id"])
		}
		return http.StatusOK, thing{"statuses": thing{"loadbalancer": c.tree(o)}}
	case words[0] == "members" && method == http.MethodPut:
		return c.batch(o, asked)
	case words[0] == "members":
		return c.single(method, o, words[1:], asked)
	case words[0] == "tags" && method == http.MethodPut:
		o["tags"] = list(asked["tags"])
		return http.StatusOK, thing{"tags": o["tags"]}
	}
	return fault(http.StatusNotFound, "no such call")
}

func list(v any) []any {
	l, _ := v.([]any)
	return slices.Clone(l)
}

func (c *service) list(collection string, q url.Values) []thing {
	out := []thing{}
	for _, o := range slices.Clone(c.things[collection]) {
		if !c.matches(o, q) {
			continue
		}
		if collection == "loadbalancers" {
			c.look(o)
			if c.byID(collection, o["id"]) == nil {
				continue
			}
		}
		out = append(out, o)
	}
	return out
}

func (c *service) matches(o thing, q url.Values) bool {
	for key, values := range q {
		for _, v := range values {
			if !matchesOne(o, key, v) {
				return false
			}
		}
	}
	return true
}

func matchesOne(o thing, key, v string) bool {
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
func (c *service) floating(asked thing) (int, any) {
	if port := asked["port_id"]; port != nil && c.byID("ports", port) == nil {
		return http.StatusNotFound, thing{"NeutronError": thing{"type": "PortNotFound", "message": "Port could not be found."}}
	}
	o := thing{"description": "", "tags": []any{}, "floating_ip_address": fmt.Sprintf("172.24.4.%d", 10+c.next), "project_id": Project}
	maps.Copy(o, asked)
	return http.StatusCreated, thing{"floatingip": c.put("floatingips", o)}
}
