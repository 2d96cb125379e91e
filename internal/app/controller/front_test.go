package controller

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
	"github.com/isthmus-cni/isthmus/internal/octavia/octaviatest"
)

// external is the id of the network of floating IPs: nobody is asked for it.
const external = "11111111-2222-4333-8444-555555555555"

// newFront makes one cloud of two fakes: Neutron is neutrontest's, but for what
// Octavia's user does there, and returns its clouds.yaml.
func newFront(t testing.TB, n *neutrontest.Cloud, o *octaviatest.Cloud) (string, error) {
	network, nerr := proxyTo(n.CloudsFile, "")
	balancers, berr := proxyTo(o.CloudsFile, "")
	addresses, aerr := proxyTo(o.CloudsFile, "/net")
	mux := http.NewServeMux()
	front := httptest.NewServer(mux)
	t.Cleanup(front.Close)
	mux.Handle("/", network)
	mux.Handle("/lb/", balancers)
	mux.Handle("/v2.0/floatingips", addresses)
	mux.Handle("/v2.0/floatingips/", addresses)
	mux.HandleFunc("/v2.0/ports", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("fixed_ips") {
			addresses.ServeHTTP(w, r)
			return
		}
		network.ServeHTTP(w, r)
	})
	mux.HandleFunc("POST /v3/auth/tokens", func(w http.ResponseWriter, _ *http.Request) { catalog(w, front.URL) })
	text, err := os.ReadFile(n.CloudsFile)
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	if err == nil && nerr == nil && berr == nil && aerr == nil {
		old := authURL.FindSubmatch(text)[1]
		err = os.WriteFile(file, []byte(strings.ReplaceAll(string(text), string(old), front.URL)), 0o600)
	}
	for _, e := range []error{nerr, berr, aerr, err} {
		if e != nil {
			return "", e
		}
	}
	return file, nil
}

// proxyTo is the way to the server of a clouds.yaml.
func proxyTo(cloudsFile, prefix string) (http.Handler, error) {
	text, err := os.ReadFile(cloudsFile)
	if err != nil {
		return nil, err
	}
	base, _, _ := strings.Cut(string(authURL.FindSubmatch(text)[1]), "/identity")
	to, err := url.Parse(base + prefix)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}, nil
}

func catalog(w http.ResponseWriter, base string) {
	endpoint := func(kind, path string) map[string]any {
		return map[string]any{"type": kind, "name": kind, "endpoints": []map[string]any{
			{"interface": "public", "region": "R", "region_id": "R", "url": base + path},
		}}
	}
	w.Header().Set("X-Subject-Token", "token-0")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": map[string]any{
		"project": map[string]any{"id": neutrontest.Project, "name": "k8s"}, "expires_at": "2100-01-01T00:00:00.000000Z",
		"catalog": []map[string]any{endpoint("network", ""), endpoint("load-balancer", "/lb")},
	}})
}

// balancers FILE COLLECTION PREFIX: Octavia has things of these names, of those
// that begin so.
func (w *world) balancers(args []string) error {
	return w.compare(args[0], func() (string, error) {
		var out []string
		for _, n := range w.cloud.octavia.Names(args[1]) {
			if _, to, leads := strings.Cut(n, " -> "); leads {
				n = to // what a floating IP leads to
			}
			if strings.HasPrefix(n, args[2]) {
				out = append(out, n)
			}
		}
		return strings.Join(out, "\n"), nil
	})
}

// spoil COLLECTION NAME deletes something of Octavia's as somebody else would.
func (w *world) spoil(args []string) error {
	w.cloud.octavia.Edit(args[0], args[1], nil)
	return nil
}
