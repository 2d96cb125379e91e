package controller

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-cni/isthmus/internal/app/controller/claim"
	"github.com/isthmus-cni/isthmus/internal/unit"
)

func TestEndpoints(t *testing.T) {
	c := &cluster{registry: prometheus.NewRegistry(), claims: claim.New(nil, nil)}
	c.metrics = unit.NewMetrics(c.registry)
	c.registry.MustRegister(collector{c})
	c.calls = newCalls(c.registry)
	c.countCalls("neutron")("port", "create", true)
	mux := endpoints{"0", c}.endpoints().Handler()
	get := func(path string) (int, string) {
		r := httptest.NewRecorder()
		mux.ServeHTTP(r, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return r.Code, r.Body.String()
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, _ := get(path); code != http.StatusOK {
			t.Errorf("%s of one that does not lead: %d", path, code)
		}
	}
	c.leading.Store(true)
	if code, _ := get("/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("a leader without OVN is ready: %d", code)
	}
	for _, line := range []string{
		`isthmus_ovn_connected{db="nb"} 0`, `isthmus_openstack_calls_total{background="true",kind="port",service="neutron",verb="create"} 1`,
	} {
		if code, text := get("/metrics"); code != http.StatusOK || !strings.Contains(text, line) {
			t.Errorf("%d, no %s\n%s", code, line, text)
		}
	}
}

func TestFlags(t *testing.T) {
	env := func(name string) string {
		return map[string]string{"ISTHMUS_LOG_LEVEL": "debug", "ISTHMUS_LISTEN": ":1"}[name]
	}
	f, err := parse([]string{"--listen=:2", "--leader-elect=false"}, env)
	if err != nil || f.Listen != ":2" || f.elect || f.LogLevel != -4 || f.Settings != "/etc/isthmus/isthmus.yaml" {
		t.Errorf("%+v %v", f, err)
	}
	for _, bad := range [][]string{{"extra"}, {"--log-level=loud"}, {"--nonsense"}} {
		if _, err := parse(bad, func(string) string { return "" }); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}
