package openstack

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCallName(t *testing.T) {
	t.Parallel()
	for call, want := range map[string][2]string{
		"GET /v2.0/ports":                                    {"port", "list"},
		"GET /networking/v2.0/security-groups":               {"security_group", "list"},
		"POST /v2.0/security-group-rules":                    {"security_group_rule", "create"},
		"PUT /v2.0/ports/3fa85f64":                           {"port", "update"},
		"PUT /v2.0/ports/3fa85f64/tags":                      {"port", "tag"},
		"PUT /v2.0/routers/3fa85f64/add_router_interface":    {"router_interface", "create"},
		"PUT /v2.0/trunks/3fa85f64/add_subports":             {"subport", "create"},
		"PUT /v2.0/trunks/3fa85f64/remove_subports":          {"subport", "delete"},
		"PUT /v2.0/routers/3fa85f64/remove_router_interface": {"router_interface", "delete"},
		"DELETE /v2.0/networks/3fa85f64":                     {"network", "delete"},
		"POST /identity/v3/auth/tokens":                      {"token", "create"},
		"GET /load-balancer/v2.0/lbaas/loadbalancers":        {"loadbalancer", "list"},
		"PUT /v2/lbaas/pools/3fa85f64/members":               {"member", "update"},
		"DELETE /v2.0/lbaas/pools/3fa85f64/members/77":       {"member", "delete"},
		"GET /":     {"version", "list"},
		"GET /v2.0": {"version", "list"},
	} {
		method, path, _ := strings.Cut(call, " ")
		kind, verb := callName(method, path)
		if diff := cmp.Diff(want, [2]string{kind, verb}); diff != "" {
			t.Errorf("%s: %s", call, diff)
		}
	}
}
