package neutrontest

import (
	"cmp"
	"encoding/json"
	"net/http"
)

// Tenant sets the HTTP status with which Keystone answers a request for another project.
// The default is 404.
func (c *Cloud) Tenant(id string, code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tenants[id] = code
}

// keystone answers a request for a token.
func (c *Cloud) keystone(w http.ResponseWriter, r *http.Request) {
	var requested struct {
		Auth struct {
			Identity struct {
				Password struct{ User struct{ Password string } }
			}
		}
	}
	c.mu.Lock()
	revoked := c.revoked
	c.mu.Unlock()
	if err := json.NewDecoder(r.Body).Decode(&requested); err != nil || revoked || requested.Auth.Identity.Password.User.Password != Secret {
		reply(w, http.StatusUnauthorized, object{"error": object{"code": 401, "message": "The request you have made requires authentication."}})
		return
	}
	w.Header().Set("X-Subject-Token", c.current())
	reply(w, http.StatusCreated, object{"token": object{
		"project":    object{"id": Project, "name": "k8s"},
		"expires_at": "2100-01-01T00:00:00.000000Z",
		"catalog":    []object{c.endpoint("network", "neutron", ""), c.endpoint("identity", "keystone", "/v3")},
	}})
}

func (c *Cloud) endpoint(kind, name, path string) object {
	return object{"type": kind, "name": name, "endpoints": []object{
		{"interface": "public", "region": "R", "region_id": "R", "url": c.server.URL + path},
	}}
}

// tenant answers a request for a project.
func (c *Cloud) tenant(w http.ResponseWriter, id string) {
	c.mu.Lock()
	code := cmp.Or(c.tenants[id], http.StatusNotFound)
	c.mu.Unlock()
	if code != http.StatusOK {
		reply(w, code, object{"error": object{"code": code, "message": http.StatusText(code)}})
		return
	}
	reply(w, code, object{"project": object{"id": id, "name": id, "enabled": true}})
}
