package ovn

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/nbdb"
)

var update = flag.Bool("update", false, "write the golden file anew")

// The very operations that a change of mind costs, in testdata/plans.golden.
func TestPlans(t *testing.T) {
	moved := pod("p.ns", "net3", "pg_b")
	moved.Ports[0].Parent, moved.Ports[0].Tag = "vm", 7
	reroutes := intent.Want{
		Groups: []intent.Group{{Name: "node_a"}},
		RoutePolicies: []intent.RoutePolicy{
			{Router: "ovn-cluster", Priority: 31000, To: prefix("10.16.0.0/16"), Allow: true},
			{Router: "ovn-cluster", Priority: 29000, From: "node_a", NextHops: []netip.Addr{netip.MustParseAddr("100.64.0.2")}},
		},
	}
	a := around{
		switches: map[string]string{"net2": "LS-net2", "net3": "LS-net3"}, groups: map[string]string{"pg_a": "PG-a", "pg_b": "PG-b"},
		tags: map[string]int{"p.ns": 7},
		routers: map[string]surroundingRouter{
			"ovn-cluster": {uuid: "LR-cluster", ours: true},
			"neutron-r":   {uuid: "LR-neutron", balancers: []string{"LB-2", "LB-1"}, subnet: "sub-1"},
		},
	}
	noLonger := a
	noLonger.routers = map[string]surroundingRouter{"neutron-r": {uuid: "LR-neutron"}}
	var out strings.Builder
	for _, c := range []struct {
		name      string
		have      intent.Want
		want      intent.Want
		now       around
		elsewhere bool // the port was taken out of its groups behind our back
	}{
		{name: "a subnet on a router of Neutron's", want: subnet("net5", "neutron-r", true), now: a},
		{name: "the same again", have: subnet("net5", "neutron-r", true), want: subnet("net5", "neutron-r", true), now: a},
		{name: "the router has lost its load balancers and subnets", have: subnet("net5", "neutron-r", true), want: subnet("net5", "neutron-r", true), now: noLonger},
		{name: "the subnet goes", have: subnet("net5", "neutron-r", true), now: a},
		{name: "a router", want: vpc("r"), now: a},
		{name: "a pod", want: pod("p.ns", "net2", "pg_a", "pg_b"), now: a},
		{name: "another switch, other groups, behind a machine", have: pod("p.ns", "net2", "pg_a"), want: moved, now: a},
		{name: "not in its groups", have: pod("p.ns", "net2", "pg_a"), want: pod("p.ns", "net2", "pg_a"), now: a, elsewhere: true},
		{name: "the pod goes", have: moved, now: a},
		{name: "a node", want: reroutes, now: a},
		{name: "the node goes", have: reroutes, now: a},
	} {
		h := holder{"kubernetes", "unit/name"}
		have := asHad(mustTranslate(t, h, c.have, a), c.elsewhere)
		p := diff(have, mustTranslate(t, h, c.want, c.now), c.now.groups, new(names))
		fmt.Fprintf(&out, "# %s: %d changes\n%s\n", c.name, p.changed, p)
	}
	golden(t, "testdata/plans.golden", out.String())
}

func mustTranslate(t *testing.T, h holder, w intent.Want, a around) []row {
	t.Helper()
	rows, err := translate(h, w, a)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// asHad are rows as if they were there.
func asHad(rows []row, elsewhere bool) []had {
	var have []had
	for i, r := range rows {
		h := had{id: r.id, uuid: fmt.Sprint("have-", i), columns: r.columns, member: map[string]bool{}}
		for _, g := range r.groups {
			h.member[g.uuid] = !elsewhere
		}
		if elsewhere {
			h.member = nil
		}
		have = append(have, h)
	}
	return have
}

func (p *plan) String() string {
	var out strings.Builder
	for _, o := range p.ops {
		fmt.Fprintf(&out, "%s %s %s", o.Op, o.Table, o.UUIDName)
		if len(o.Where) > 0 {
			fmt.Fprintf(&out, " where %v", o.Where)
		}
		for _, m := range o.Mutations {
			fmt.Fprintf(&out, " %s %s %v", m.Column, m.Mutator, m.Value)
		}
		if o.Until != "" {
			fmt.Fprintf(&out, " until %s %v", o.Until, o.Rows)
		}
		if len(o.Row) > 0 {
			fmt.Fprintf(&out, " %v", o.Row)
		}
		out.WriteString("\n")
	}
	return out.String()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("not as in %s; if that is right, go test ./internal/ovn -run %s -update\n%s", file, t.Name(), diff)
	}
}

// The same want in any order gives the same plan.
func TestOrderHasNoMeaning(t *testing.T) {
	a := around{switches: map[string]string{"net": "LS"}, groups: map[string]string{"a": "A", "b": "B"}}
	w := intent.Want{Ports: append(pod("p", "net", "a", "b").Ports, pod("q", "net", "b", "a", "b").Ports...)}
	x := intent.Want{Ports: append(pod("q", "net", "a", "b").Ports, pod("p", "net", "b", "a").Ports...)}
	h := holder{"kubernetes", "pod/p"}
	one := diff(nil, mustTranslate(t, h, w, a), a.groups, new(names))
	other := diff(nil, mustTranslate(t, h, x, a), a.groups, new(names))
	if d := cmp.Diff(one.String(), other.String()); d != "" {
		t.Error(d)
	}
}

// Of several reasons, the one that nothing but a new spec mends comes first.
func TestStopBeforeWait(t *testing.T) {
	w := subnet("net", "r", true)
	_, err := translate(holder{"kubernetes", "subnet/net"}, w, around{
		taken: map[named]holder{{nbdb.LogicalSwitchTable, "net"}: {"kubernetes", "subnet/other"}},
	})
	var stop intent.Stop
	if !errors.As(err, &stop) || !strings.Contains(stop.Why, "subnet/other of cluster kubernetes") {
		t.Errorf("%v", err)
	}
}
