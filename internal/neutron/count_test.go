package neutron

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/neutron/neutrontest"
)

// tally is what Options.Count was told.
type tally struct {
	mu    sync.Mutex
	calls []string
}

func (y *tally) count(kind, verb string, background bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.calls = append(y.calls, verb+" "+kind+map[bool]string{true: " behind"}[background])
}

// since are the calls after the last since.
func (y *tally) since() []string {
	y.mu.Lock()
	defer y.mu.Unlock()
	calls := y.calls
	y.calls = nil
	return calls
}

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

// Calls are counted where they are made, each as one in a unit's path or behind its back.
func TestCalls(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	var y tally
	f := startAs(t, Options{Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile, Count: y.count})
	if _, err := f.Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if signing := y.since(); !slices.Contains(signing, "create token behind") || !slices.Contains(signing, "list network behind") {
		t.Errorf("the look: %v", signing)
	}
	apply(t, f, "subnet/net2", subnetWant(""))
	want := []string{"create network", "tag network", "create subnet", "tag subnet", "create subnet", "tag subnet"}
	if diff := cmp.Diff(want, y.since()); diff != "" {
		t.Error(diff)
	}
}

// What the pool does is behind everybody's back.
func TestCallsOfThePool(t *testing.T) {
	t.Parallel()
	c := neutrontest.New(t)
	var y tally
	f := poolAs(t, Options{
		Owner: "c1", Cloud: neutrontest.Name, CloudsFile: c.CloudsFile, Count: y.count, Pool: &Limits{Min: 2, Batch: 2},
	})
	y.since()
	apply(t, f, "pod/ns/a", podWant("ns/a", "node1"))
	full(t, f, 2)
	eventually(t, time.Minute, "it has its name", func() bool { return slices.Contains(pods(c), "ns/a") })
	f.Close()
	calls := y.since()
	if slices.ContainsFunc(calls, func(s string) bool { return !strings.HasSuffix(s, " behind") }) || len(calls) < 2 {
		t.Errorf("a pod from the pool cost %v", calls)
	}
}
