// Package octaviatest is a small OpenStack for tests: Keystone, what Octavia
// says and does with provider ovn, and of Neutron the addresses. It is a state
// machine behind HTTP: what is told to change is PENDING until it has been
// looked at so and so often, takes no other call meanwhile, and can be made to
// fail at any call. What it does was seen at Zed's.
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

// Ids of what stands from the start.
const (
	Project  = "0123456789abcdef0123456789abcdef"
	Services = "subnet-services"
	Pods     = "subnet-pods"
	External = "network-external"
)

// Fault is how a call fails. The zero Fault lets it pass.
type Fault struct {
	// Code and Text are answered instead of what would be.
	Code int
	Text string
	// After is true if the call is done all the same.
	After bool
	// Then is called before the answer.
	Then func()
}

type thing = map[string]any

// Cloud is one OpenStack.
type Cloud struct {
	// CloudsFile names cloud "test".
	CloudsFile string

	server *httptest.Server
	mu     sync.Mutex
	calls  []string
	fail   func(call int, method, path string) Fault
	things map[string][]thing // by collection
	next   int
	reads  int // how often a change is seen PENDING
	turns  map[string]int
	broken int // how many changes end in ERROR
	quota  int
}

// New starts a cloud that ends with the test.
func New(tb testing.TB) *Cloud {
	tb.Helper()
	c := &Cloud{things: map[string][]thing{}, reads: 1, turns: map[string]int{}}
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

// Fail sets what happens to calls to Octavia and Neutron, counted from 1 on.
func (c *Cloud) Fail(f func(call int, method, path string) Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail, c.calls = f, nil
}

// Calls are those since the start or Fail, as "POST /lb/v2.0/lbaas/pools".
func (c *Cloud) Calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// Break lets the next n changes end in status ERROR.
func (c *Cloud) Break(n int) { c.set(func() { c.broken = n }) }

// Slow sets how often a change is seen PENDING before it is done.
func (c *Cloud) Slow(reads int) { c.set(func() { c.reads = reads }) }

// Quota sets how many load balancers there may be; 0 for any number.
func (c *Cloud) Quota(n int) { c.set(func() { c.quota = n }) }

func (c *Cloud) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// Names are the sorted names, or addresses, in a collection: "loadbalancers",
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

// Snapshot is all there is, as JSON, sorted.
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

func (c *Cloud) nameOf(collection string, id any) any {
	if o := c.byID(collection, id); o != nil {
		return o["address"]
	}
	return ""
}

// Edit changes, or with a nil f deletes, all things of a collection with a name
// as somebody else would.
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

// Add puts a thing there as somebody else would have made it, and returns its id.
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
	reply(w, fault.Code, thing{"faultstring": fault.Text})
}

func (c *Cloud) keystone(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		reply(w, http.StatusOK, thing{"version": thing{"id": "v3.14", "status": "stable", "links": []thing{{"rel": "self", "href": c.server.URL + "/identity/v3/"}}}})
		return
	}
	endpoint := func(kind, name, path string) thing {
		return thing{"type": kind, "name": name, "id": name, "endpoints": []thing{{"interface": "public", "region_id": "RegionOne", "region": "RegionOne", "url": c.server.URL + path, "id": name}}}
	}
	w.Header().Set("X-Subject-Token", "token")
	reply(w, http.StatusCreated, thing{"token": thing{
		"expires_at": now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z"),
		"project":    thing{"id": Project, "name": "p", "domain": thing{"id": "default", "name": "Default"}},
		"catalog":    []thing{endpoint("network", "neutron", "/net"), endpoint("load-balancer", "octavia", "/lb")},
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

func now() time.Time { return time.Now() } //nolint:forbidigo // a fake cloud has the real time
