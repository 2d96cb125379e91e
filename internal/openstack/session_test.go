package openstack

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
)

// cloud is a fake Keystone, and a Neutron that accepts only the newest token.
type cloud struct {
	t         *testing.T
	url, file string

	mu       sync.Mutex
	password string
	project  map[string]any
	token    int
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{t: t, password: "first", project: map[string]any{"id": "p1", "name": "k8s"}, file: filepath.Join(t.TempDir(), "clouds.yaml")}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/auth/tokens", c.auth)
	mux.HandleFunc("GET /v2.0/ports", c.ports)
	mux.HandleFunc("GET /{$}", c.versions)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c.url = server.URL
	c.write("first")
	return c
}

// write writes a password into clouds.yaml.
func (c *cloud) write(password string) {
	c.t.Helper()
	text := fmt.Sprintf(`clouds:
  c: {region_name: R, identity_api_version: 3, auth: {auth_url: %s/v3, username: u, password: %s, project_name: k8s, user_domain_id: default, project_domain_id: default}}
`, c.url, password)
	if err := os.WriteFile(c.file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// expect changes the password that Keystone accepts, and invalidates all tokens.
func (c *cloud) expect(password string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.password = password
	c.token++
}

func (c *cloud) auth(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var asked struct {
		Auth struct {
			Identity struct {
				Password struct{ User struct{ Password string } }
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Auth.Identity.Password.User.Password != c.password {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("X-Subject-Token", fmt.Sprint("token-", c.token))
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": map[string]any{
		"project": c.project, "expires_at": "2100-01-01T00:00:00.000000Z",
		"catalog": []map[string]any{{"type": "network", "name": "neutron", "endpoints": []map[string]any{
			{"interface": "public", "region": "R", "region_id": "R", "url": c.url},
		}}},
	}})
}

func (c *cloud) versions(w http.ResponseWriter, _ *http.Request) {
	_, _ = fmt.Fprintf(w, `{"versions": [{"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": "%s/v2.0/"}]}]}`, c.url)
}

func (c *cloud) ports(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Header.Get("X-Auth-Token") != fmt.Sprint("token-", c.token) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = w.Write([]byte(`{"ports": []}`))
}

func list(t *testing.T, s *Session) error {
	t.Helper()
	network, err := s.Network()
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	_, err = network.Get(t.Context(), network.ServiceURL("ports"), &answer, nil)
	return err
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	var calls []string
	s, err := SignIn(t.Context(), Options{Cloud: "c", CloudsFile: c.file, Timeout: time.Minute, Count: func(kind, verb string, background bool) {
		calls = append(calls, fmt.Sprintln(verb, kind, background))
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := list(t, s); err != nil || s.Project != "p1" || s.Cloud != "c" {
		t.Errorf("project %q of cloud %q: %v", s.Project, s.Cloud, err)
	}
	if want := []string{"create token false\n", "list version false\n", "list port false\n"}; !slices.Equal(calls, want) {
		t.Errorf("counted %q, want %q", calls, want)
	}
	if _, err := s.LoadBalancer(); !isNotThere(err) {
		t.Errorf("a cloud without Octavia: %v", err)
	}
}

// isNotThere reports whether the catalog lacks a service.
func isNotThere(err error) bool {
	_, is := errors.AsType[*gophercloud.ErrEndpointNotFound](err)
	return is
}

// A new password in clouds.yaml is used as soon as the old token is refused.
func TestSignInAgain(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	s, err := SignIn(t.Context(), Options{Cloud: "c", CloudsFile: c.file})
	if err != nil {
		t.Fatal(err)
	}
	c.expect("second")
	err = ClassifyError("list ports", list(t, s))
	if reason, wait := outcome(err); reason != "BadCredentials" || !wait {
		t.Errorf("with the old password: %v", err)
	}
	c.write("second")
	if err := list(t, s); err != nil {
		t.Errorf("with the new password: %v", err)
	}
}

func TestSignInFails(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for name, k := range map[string]struct {
		cloud string
		set   func()
		text  string
	}{
		"no such cloud":    {"other", func() {}, "cloud other of " + c.file},
		"a wrong password": {"c", func() { c.expect("second") }, "correct them in clouds.yaml"},
		"no project":       {"c", func() { c.expect("first"); c.project = nil }, "the token has no project"},
	} {
		c.expect("first")
		k.set()
		_, err := SignIn(t.Context(), Options{Cloud: k.cloud, CloudsFile: c.file})
		if err == nil || !strings.Contains(err.Error(), k.text) || strings.Contains(err.Error(), "%!") {
			t.Errorf("%s: %v", name, err)
		}
		c.project = map[string]any{"id": "p1"}
	}
}
