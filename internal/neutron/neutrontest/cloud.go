// Package neutrontest is a fake Neutron, with as much of Keystone as signing in needs,
// that keeps its state in memory. It is for tests of Neutron's clients, and of failures
// of Neutron. It answers as Neutron does, errors included, and knows nothing of its
// clients.
package neutrontest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
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

// Project is the id of the project of every user who signs in.
const Project = "11110000111100001111000011110000"

// Secret is the user's password. No error and no log may contain it.
const Secret = "the-very-secret"

// Name is the name of the cloud in CloudsFile.
const Name = "fake"

// Cloud is a fake Neutron.
type Cloud struct {
	// CloudsFile is the path of a clouds.yaml for this cloud.
	CloudsFile string

	server *httptest.Server

	mu      sync.Mutex
	objects map[string]map[string]object // by collection and id
	ids     int
	quotas  map[string]map[string]int // by project and kind
	tenants map[string]int            // Keystone's HTTP status for a project, by its id
	aliases []string
	token   int
	revoked bool
	calls   []string
	fault   func(call int, r *http.Request) *Fault
	pages   int
	ended   chan struct{}
}

// object is an object as JSON.
type object map[string]any

// Fault replaces the answer to a call.
type Fault struct {
	// After is true if the call is executed, and only its answer is lost.
	After bool
	// Code is the HTTP status of the answer. With 0 there is no answer.
	Code int
	// Word and Text are the type and the message of Neutron's error.
	Word, Text string
	// Slow is how long the answer takes.
	Slow time.Duration
	// Reached is closed when the call has been executed. Its answer comes when Until is
	// closed. Either both or none are nil.
	Reached chan<- struct{}
	Until   <-chan struct{}
}

// New starts a fake Neutron, which ends with the test.
func New(t testing.TB) *Cloud {
	t.Helper()
	c := &Cloud{
		ended: make(chan struct{}), objects: map[string]map[string]object{}, quotas: map[string]map[string]int{}, tenants: map[string]int{},
		aliases: []string{"standard-attr-tag", "standard-attr-description", "port-security", "binding", "router", "security-group", "trunk", "quotas", "quota_details", "subnet_allocation"},
	}
	for _, name := range collections {
		c.objects[name] = map[string]object{}
	}
	c.defaultGroup(Project)
	c.server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(func() { close(c.ended); c.server.Close() })
	c.CloudsFile = filepath.Join(t.TempDir(), "clouds.yaml")
	text := fmt.Sprintf("clouds:\n  %s:\n    region_name: R\n    auth:\n      auth_url: %s/v3\n      username: isthmus\n"+
		"      password: %s\n      project_name: k8s\n      user_domain_id: default\n      project_domain_id: default\n", Name, c.server.URL, Secret)
	if err := os.WriteFile(c.CloudsFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// Fail sets what replaces the answers to calls to Neutron, counted from 1. A nil Fault
// replaces nothing.
func (c *Cloud) Fail(f func(call int, r *http.Request) *Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault, c.calls = f, nil
}

// Calls returns the calls since the last Fail, such as "POST /ports".
func (c *Cloud) Calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// Extend adds an extension.
func (c *Cloud) Extend(alias string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aliases = append(c.aliases, alias)
}

// Lack removes an extension.
func (c *Cloud) Lack(alias string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aliases = slices.DeleteFunc(c.aliases, func(a string) bool { return a == alias })
}

// Page sets the maximum number of objects in one page of a list.
func (c *Cloud) Page(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pages = size
}

// Expire makes all tokens invalid.
func (c *Cloud) Expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token++
}

// Revoke makes all tokens and the password invalid.
func (c *Cloud) Revoke() {
	c.Expire()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revoked = true
}

// Set sets a field that Neutron itself changes, such as the status.
func (c *Cloud) Set(collection, id, field string, value any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, is := c.objects[collection][id]; is {
		o[field] = value
	}
}

// Add creates an object as another client would, and returns its id.
func (c *Cloud) Add(collection string, fields map[string]any) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err) // a mistake in a test
	}
	o, refused := call{c, collection, one(collection), c.objects[collection], nil}.make(text)
	if refused != nil {
		panic(fmt.Sprint(refused.body))
	}
	return o["id"].(string)
}

// Remove deletes an object as another client would.
func (c *Cloud) Remove(collection, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.objects[collection][id]; collection == "trunks" && o != nil {
		c.trunkGone(o)
	}
	delete(c.objects[collection], id)
}

// Thing returns an object by its id, nil if there is none.
func (c *Cloud) Thing(collection, id string) map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.objects[collection][id])
}

// Names returns the sorted names of the objects in a collection.
func (c *Cloud) Names(collection string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := []string{}
	for _, o := range c.objects[collection] {
		names = append(names, o["name"].(string))
	}
	slices.Sort(names)
	return names
}

// Snapshot returns all objects as JSON, in the order of their creation.
func (c *Cloud) Snapshot() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []string{}
	for _, collection := range collections {
		for _, o := range c.sorted(collection) {
			text, err := json.Marshal(o)
			if err != nil {
				panic(err) // it came as JSON
			}
			out = append(out, collection+" "+string(text))
		}
	}
	return out
}

func (c *Cloud) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/v3/projects/"):
		c.tenant(w, strings.TrimPrefix(r.URL.Path, "/v3/projects/"))
	case r.URL.Path == "/v3/auth/projects":
		reply(w, http.StatusOK, object{"projects": []object{{"id": Project, "name": "k8s"}}})
	case strings.HasPrefix(r.URL.Path, "/v3"):
		c.keystone(w, r)
	case r.URL.Path == "/":
		reply(w, http.StatusOK, object{"versions": []object{{
			"id": "v2.0", "status": "CURRENT", "links": []object{{"rel": "self", "href": c.server.URL + "/v2.0/"}},
		}}})
	case r.Header.Get("X-Auth-Token") != c.current():
		reply(w, http.StatusUnauthorized, object{"error": object{"code": 401, "message": "The request you have made requires authentication."}})
	default:
		c.neutron(w, r)
	}
}

func (c *Cloud) current() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("token-%d", c.token)
}

// neutron executes a call, or applies its Fault.
func (c *Cloud) neutron(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	path := strings.TrimPrefix(r.URL.Path, "/v2.0")
	c.calls = append(c.calls, r.Method+" "+path)
	var f *Fault
	if c.fault != nil {
		f = c.fault(len(c.calls), r)
	}
	var code int
	var body any
	if f == nil || f.After || f.waits() && f.Code == 0 {
		code, body = c.answer(r, path)
	}
	body = copyOf(body)
	c.mu.Unlock()
	if f != nil {
		f.apply(r, c.ended)
		if f.Code != 0 {
			code, body = f.Code, errorBody(f.Word, "%s", f.Text)
		} else if !f.waits() {
			panic(http.ErrAbortHandler)
		}
	}
	reply(w, code, body)
}

func (f *Fault) waits() bool { return f.Slow > 0 || f.Until != nil }

func (f *Fault) apply(r *http.Request, ended chan struct{}) {
	if !f.waits() {
		return
	}
	if f.Until != nil {
		close(f.Reached)
		select {
		case <-f.Until:
		case <-ended:
		}
		return
	}
	_, _ = io.Copy(io.Discard, r.Body) // the server notices that the client is gone only after the body is read
	timer := time.NewTimer(f.Slow)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	case <-ended:
	}
}

// copyOf returns a copy of an answer, which later calls do not change.
func copyOf(body any) any {
	if body == nil {
		return nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // it came as JSON
	}
	return json.RawMessage(text)
}

func errorBody(word, format string, args ...any) object {
	return object{"NeutronError": object{"type": word, "message": fmt.Sprintf(format, args...), "detail": ""}}
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body) // the client may be gone
	}
}

// answer routes a call and returns the status and the body.
func (c *Cloud) answer(r *http.Request, path string) (int, any) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if parts[0] == "extensions" {
		return c.extensions()
	}
	all, known := c.objects[parts[0]]
	if !known && parts[0] != "quotas" {
		return http.StatusNotFound, nil
	}
	var body map[string]json.RawMessage
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return http.StatusBadRequest, errorBody("HTTPBadRequest", "%v", err)
		}
	}
	if parts[0] == "quotas" {
		return c.quota(r.Method, parts[1], body["quota"])
	}
	call := call{c, parts[0], one(parts[0]), all, body}
	switch {
	case len(parts) == 1 && r.Method == http.MethodGet:
		return call.list(r.URL)
	case len(parts) == 1 && r.Method == http.MethodPost:
		return call.create()
	case len(parts) > 1 && all[parts[1]] == nil:
		return http.StatusNotFound, errorBody(camel(call.one)+"NotFound", "%s %s could not be found.", camel(call.one), parts[1])
	case len(parts) == 3:
		return call.action(all[parts[1]], parts[2])
	case r.Method == http.MethodPut:
		return call.update(all[parts[1]])
	case r.Method == http.MethodDelete:
		return call.remove(all[parts[1]])
	}
	return http.StatusOK, object{call.one: all[parts[1]]}
}

func (c *Cloud) extensions() (int, any) {
	var all []object
	for _, a := range c.aliases {
		all = append(all, object{"alias": a, "name": a})
	}
	return http.StatusOK, object{"extensions": all}
}

func (c *Cloud) has(alias string) bool { return slices.Contains(c.aliases, alias) }

// sorted returns the objects of a collection in the order of their creation.
func (c *Cloud) sorted(collection string) []object {
	return slices.SortedFunc(maps.Values(c.objects[collection]), func(a, b object) int {
		return strings.Compare(a["id"].(string), b["id"].(string))
	})
}
