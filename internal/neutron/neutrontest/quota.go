package neutrontest

import (
	"encoding/json"
	"maps"
	"net/http"
)

// quota sets, resets or shows a project's quotas.
func (c *Cloud) quota(method, project string, raw json.RawMessage) (int, any) {
	switch method {
	case http.MethodGet:
		return http.StatusOK, object{"quota": c.details(project)}
	case http.MethodDelete:
		delete(c.quotas, project)
		return http.StatusNoContent, nil
	}
	requested := map[string]int{}
	if err := json.Unmarshal(raw, &requested); err != nil {
		return http.StatusBadRequest, errorBody("HTTPBadRequest", "%v", err)
	}
	if c.quotas[project] == nil {
		c.quotas[project] = map[string]int{}
	}
	maps.Copy(c.quotas[project], requested)
	return http.StatusOK, object{"quota": c.quotas[project]}
}

func (c *Cloud) details(project string) object {
	out := object{}
	for _, collection := range collections {
		limit, limited := c.quotas[project][one(collection)]
		if !limited {
			limit = -1
		}
		out[one(collection)] = object{"limit": limit, "used": c.count(collection, project), "reserved": 0}
	}
	return out
}

func (c *Cloud) count(collection, project string) int {
	n := 0
	for _, o := range c.objects[collection] {
		if o["project_id"] == project {
			n++
		}
	}
	return n
}

// room returns nil if the project's quota allows one more object.
func (c call) room(project string) *refusal {
	quota, limited := c.quotas[project][c.one]
	if limited && quota >= 0 && c.count(c.collection, project) >= quota {
		return refuse(http.StatusConflict, "OverQuota", "Quota exceeded for resources: ['%s'].", c.one)
	}
	return nil
}
