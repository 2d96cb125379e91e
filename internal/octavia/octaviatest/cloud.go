// Package octaviatest is a small OpenStack for tests: Keystone, Octavia with
// provider ovn, and Neutron's floating IPs and ports. It is a state machine behind
// HTTP. A load balancer that changes is PENDING until it was read a number of
// times, and refuses other calls in the meantime. Any call can be made to fail.
// It does what Zed's Octavia does; TestContract in internal/octavia checks that.
package octaviatest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Ids that exist from the start.
const (
	Project  = "0123456789abcdef0123456789abcdef"
	Services = "subnet-services"
	Pods     = "subnet-pods"
	External = "network-external"
)

// Fault makes a call fail. The zero Fault does nothing.
type Fault struct {
	// Code and Text replace the answer. If Code is 0, the connection breaks.
	Code int
	Text string
	// After is true if the call is executed before it fails.
	After bool
	// Then is called before the answer.
	Then func()
}

// Cloud is one OpenStack.
type Cloud struct {
	// CloudsFile names cloud "test".
	CloudsFile string

	server *httptest.Server
	mu     sync.Mutex
	calls  []string
	fail   func(call int, method, path string) Fault
	service
}

// New starts a cloud that ends with the test.
func New(tb testing.TB) *Cloud {
	tb.Helper()
	c := &Cloud{service: newService()}
	c.server = httptest.NewServer(http.HandlerFunc(c.serve))
	tb.Cleanup(c.server.Close)
	c.CloudsFile = filepath.Join(tb.TempDir(), "clouds.yaml")
	text := fmt.Sprintf(`clouds:
  test:
    region_name: RegionOne
    identity_api_version: 3
    auth: {auth_url: %s/identity/v3, username: u, password: secret, project_name: p, user_domain_id: default, project_domain_id: default}
`, c.server.URL)
	if err := os.WriteFile(c.CloudsFile, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return c
}

// Fail sets which calls to Octavia and Neutron fail. Calls are counted from 1
// on; Keystone's are not counted.
func (c *Cloud) Fail(f func(call int, method, path string) Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail, c.calls = f, nil
}

// Calls returns the calls since the start or Fail, as "POST
// /lb/v2.0/lbaas/pools".
func (c *Cloud) Calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// Break makes the next n changes end in status ERROR.
func (c *Cloud) Break(n int) { c.set(func() { c.failed = n }) }

// Slow sets for how many reads a change is PENDING. The default is 1.
func (c *Cloud) Slow(reads int) { c.set(func() { c.reads = reads }) }

// Quota sets the maximum number of load balancers; 0 means no limit.
func (c *Cloud) Quota(n int) { c.set(func() { c.quota = n }) }

func (c *Cloud) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// Names returns the sorted names, or addresses, in a collection: "loadbalancers",
// "listeners", "pools", "members", "ports", "floatingips".
func (c *Cloud) Names(collection string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, o := range c.things[collection] {
		name, _ := o["name"].(string)
		if collection == "floatingips" {
			name = fmt.Sprintf("%v -> %v", o["floating_ip_address"], c.nameOf("ports", o["port_id"]))
		}
		if collection == "ports" {
			name = fmt.Sprint(o["address"])
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Snapshot returns all resources as JSON, sorted.
func (c *Cloud) Snapshot() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []string{}
	for collection, all := range c.things {
		for _, o := range all {
			text, err := json.Marshal(o)
			if err != nil {
				panic(err) // it came as JSON
			}
			out = append(out, collection+" "+string(text))
		}
	}
	slices.Sort(out)
	return out
}

// Edit changes all resources of a collection that have a name, as another client would. A
// nil f deletes them.
func (c *Cloud) Edit(collection, name string, f func(map[string]any)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range slices.Clone(c.things[collection]) {
		if o["name"] != name && o["address"] != name && o["floating_ip_address"] != name {
			continue
		}
		if lb := c.balancerOf(collection, o); lb != nil {
			c.touch(lb)
		}
		switch {
		case f != nil:
			f(o)
		case collection == "loadbalancers":
			c.cascade(o)
		default:
			c.dropPart(collection, o)
		}
	}
}

// Add creates a resource as another client would, and returns its id.
func (c *Cloud) Add(collection string, o map[string]any) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.put(collection, o)["id"].(string)
}

func (c *Cloud) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, "/identity") {
		c.keystone(w, r)
		return
	}
	c.calls = append(c.calls, r.Method+" "+r.URL.Path)
	var fault Fault
	if c.fail != nil {
		fault = c.fail(len(c.calls), r.Method, r.URL.Path)
	}
	if fault.Code == 0 && fault.Then == nil {
		code, answer := c.answer(r, body)
		reply(w, code, answer)
		return
	}
	if fault.After {
		c.answer(r, body)
	}
	if fault.Then != nil {
		fault.Then()
	}
	if fault.Code == 0 {
		panic(http.ErrAbortHandler) // the connection breaks
	}
	reply(w, fault.Code, resource{"faultstring": fault.Text})
}

func (c *Cloud) keystone(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		reply(w, http.StatusOK, resource{"version": resource{"id": "v3.14", "status": "stable", "links": []resource{{"rel": "self", "href": c.server.URL + "/identity/v3/"}}}})
		return
	}
	endpoint := func(kind, name, path string) resource {
		return resource{"type": kind, "name": name, "id": name, "endpoints": []resource{{"interface": "public", "region_id": "RegionOne", "region": "RegionOne", "url": c.server.URL + path, "id": name}}}
	}
	w.Header().Set("X-Subject-Token", "token")
	reply(w, http.StatusCreated, resource{"token": resource{
		"expires_at": now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z"),
		"project":    resource{"id": Project, "name": "p", "domain": resource{"id": "default", "name": "Default"}},
		"catalog":    []resource{endpoint("network", "neutron", "/net"), endpoint("load-balancer", "octavia", "/lb")},
	}})
}

func reply(w http.ResponseWriter, code int, body any) {
	if body == nil {
		w.WriteHeader(code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func now() time.Time { return time.Now() }
