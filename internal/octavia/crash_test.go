package octavia

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/octavia/octaviatest"
)

// life is the sequence of states of a Service.
func life() []intent.Want {
	a, b := members(8080, "10.50.0.11"), members(8080, "10.50.0.12", "10.50.0.13")
	return []intent.Want{
		floating(web(tcp(80, a)), ""),
		floating(web(tcp(80, b), tcp(443, a)), ""),
		floating(web(tcp(443, b)), "172.24.4.200"),
		web(tcp(443, members(8080, "10.50.0.12", "10.50.0.13", "10.50.0.14"))),
		web(tcp(443, b)),
		floating(web(tcp(443, nil)), ""),
		{},
	}
}

// For each n, the n-th call fails, executed or not, and the controller dies or gets an
// error. Another controller that then applies the wanted state leaves nothing over and
// creates nothing twice.
func TestFailureAtEveryCall(t *testing.T) {
	for _, a := range []octaviatest.Fault{
		{},
		{After: true},
		{Code: http.StatusServiceUnavailable},
		{Code: http.StatusGatewayTimeout, After: true},
		{Code: http.StatusConflict, Text: "Load Balancer x is immutable and cannot be updated."},
	} {
		for step := range life() {
			t.Run(fmt.Sprintf("step %d, answer %d, done %v", step, a.Code, a.After), func(t *testing.T) {
				t.Parallel()
				want := failAt(t, a, step, 0, nil)
				for n := 1; failAt(t, a, step, n, want) != nil; n++ {
				}
			})
		}
	}
}

// failAt makes the n-th call of a step of life fail, continues with another fabric, and
// returns the result, nil if there is no such call.
func failAt(t *testing.T, how octaviatest.Fault, step, n int, want map[string][]string) map[string][]string {
	t.Helper()
	c := octaviatest.New(t)
	c.Slow(0)
	c.Add("floatingips", map[string]any{"floating_ip_address": "172.24.4.200", "description": "mine", "tags": []any{}})
	f := start(c, "k")
	for _, w := range life()[:step] {
		apply(t, f, unit, w)
	}
	happened := n == 0
	c.Fail(func(call int, _, _ string) octaviatest.Fault {
		if call != n {
			return octaviatest.Fault{}
		}
		happened = true
		fault := how
		if fault.Code == 0 {
			fault.Then = func() {}
		}
		return fault
	})
	_, err := f.Apply(t.Context(), unit, life()[step])
	c.Fail(nil) // from here on nothing writes to happened
	if !happened {
		return nil
	}
	apply(t, start(c, "k"), unit, life()[step])
	have := tree(c)
	delete(have, "floatingips") // which address of the external network it is does not matter
	have["floatingips"] = make([]string, len(c.Names("floatingips")))
	if diff := cmp.Diff(want, have); want != nil && diff != "" {
		t.Errorf("step %d, call %d, %+v, it said %v: %s", step, n, how.Code, err, diff)
	}
	return have
}
