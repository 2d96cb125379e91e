package octaviatest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
)

// Front joins two clouds: o answers for Octavia, floating IPs and the ports of virtual
// IPs, n for the rest of Neutron. It returns the path of a clouds.yaml with cloud
// neutrontest.Name.
func Front(tb testing.TB, n *neutrontest.Cloud, o *Cloud) (string, error) {
	tb.Helper()
	network, nerr := proxyTo(n.CloudsFile, "")
	balancers, berr := proxyTo(o.CloudsFile, "")
	addresses, aerr := proxyTo(o.CloudsFile, "/net")
	text, err := os.ReadFile(n.CloudsFile)
	if err := errors.Join(nerr, berr, aerr, err); err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	front := httptest.NewServer(mux)
	tb.Cleanup(front.Close)
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
	file := filepath.Join(tb.TempDir(), "clouds.yaml")
	old := string(authURL.FindSubmatch(text)[1])
	return file, os.WriteFile(file, []byte(strings.ReplaceAll(string(text), old, front.URL)), 0o600)
}

var authURL = regexp.MustCompile(`auth_url: (\S+)/v3`)

// proxyTo returns a proxy to the server in a clouds.yaml.
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
		"catalog": []map[string]any{endpoint("network", ""), endpoint("load-balancer", "/lb"), endpoint("identity", "/v3")},
	}})
}
