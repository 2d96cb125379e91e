package rows

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

// testdata/plans.golden has the operations of each change.
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
	a := Dependencies{
		Networks: map[string]string{"net2": "LS-net2", "net3": "LS-net3"}, Groups: map[string]string{"pg_a": "PG-a", "pg_b": "PG-b"},
		VLANs: map[string]int{"p.ns": 7},
		Routers: map[string]RouterDependency{
			"ovn-cluster": {UUID: "LR-cluster", Ours: true},
			"neutron-r":   {UUID: "LR-neutron", LoadBalancers: []string{"LB-2", "LB-1"}, NeutronSubnet: "sub-1"},
		},
	}
	noLonger := a
	noLonger.Routers = map[string]RouterDependency{"neutron-r": {UUID: "LR-neutron"}}
	var out strings.Builder
	for _, c := range []struct {
		name       string
		have       intent.Want
		want       intent.Want
		now        Dependencies
		leftGroups bool // another client took the port out of its groups
	}{
		{name: "a subnet on a router of Neutron's", want: subnet("net5", "neutron-r", true), now: a},
		{name: "the same again", have: subnet("net5", "neutron-r", true), want: subnet("net5", "neutron-r", true), now: a},
		{name: "the router has lost its load balancers and subnets", have: subnet("net5", "neutron-r", true), want: subnet("net5", "neutron-r", true), now: noLonger},
		{name: "the subnet goes", have: subnet("net5", "neutron-r", true), now: a},
		{name: "a router", want: vpc("r"), now: a},
		{name: "a pod", want: pod("p.ns", "net2", "pg_a", "pg_b"), now: a},
		{name: "another switch, other groups, behind a machine", have: pod("p.ns", "net2", "pg_a"), want: moved, now: a},
		{name: "not in its groups", have: pod("p.ns", "net2", "pg_a"), want: pod("p.ns", "net2", "pg_a"), now: a, leftGroups: true},
		{name: "the pod goes", have: moved, now: a},
		{name: "a node", want: reroutes, now: a},
		{name: "the node goes", have: reroutes, now: a},
	} {
		h := Owner{"kubernetes", "unit/name"}
		have := asExisting(mustTranslate(t, h, c.have, a), c.leftGroups)
		p := Diff(have, mustTranslate(t, h, c.want, c.now), c.now.Groups, new(Names))
		fmt.Fprintf(&out, "# %s: %d changes\n%s\n", c.name, p.Changed, p)
	}
	golden(t, "testdata/plans.golden", out.String())
}

func mustTranslate(t *testing.T, h Owner, w intent.Want, a Dependencies) []Row {
	t.Helper()
	rows, err := Translate(h, w, a)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// asExisting returns wanted rows as existing ones.
func asExisting(rows []Row, leftGroups bool) []Existing {
	var have []Existing
	for i, r := range rows {
		h := Existing{ID: r.ID, UUID: fmt.Sprint("have-", i), Columns: r.columns, InGroups: map[string]bool{}}
		for _, g := range r.groups {
			h.InGroups[g.uuid] = !leftGroups
		}
		if leftGroups {
			h.InGroups = nil
		}
		have = append(have, h)
	}
	return have
}

func (p *Plan) String() string {
	var out strings.Builder
	for _, o := range p.Ops {
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
		t.Errorf("not as in %s; if that is right, go test ./internal/ovn/rows -run %s -update\n%s", file, t.Name(), diff)
	}
}

// The same want in any order gives the same plan.
func TestOrderHasNoMeaning(t *testing.T) {
	a := Dependencies{Networks: map[string]string{"net": "LS"}, Groups: map[string]string{"a": "A", "b": "B"}}
	w := intent.Want{Ports: append(pod("p", "net", "a", "b").Ports, pod("q", "net", "b", "a", "b").Ports...)}
	x := intent.Want{Ports: append(pod("q", "net", "a", "b").Ports, pod("p", "net", "b", "a").Ports...)}
	h := Owner{"kubernetes", "pod/p"}
	one := Diff(nil, mustTranslate(t, h, w, a), a.Groups, new(Names))
	other := Diff(nil, mustTranslate(t, h, x, a), a.Groups, new(Names))
	if d := cmp.Diff(one.String(), other.String()); d != "" {
		t.Error(d)
	}
}

// If there is a Stop and a Wait, Translate returns the Stop.
func TestStopBeforeWait(t *testing.T) {
	w := subnet("net", "r", true)
	_, err := Translate(Owner{"kubernetes", "subnet/net"}, w, Dependencies{
		Taken: map[RowName]Owner{{nbdb.LogicalSwitchTable, "net"}: {"kubernetes", "subnet/other"}},
	})
	var stop intent.Stop
	if !errors.As(err, &stop) || !strings.Contains(stop.Why, "subnet/other of cluster kubernetes") {
		t.Errorf("%v", err)
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func vpc(name string) intent.Want { return intent.Want{Routers: []intent.Router{{Name: name}}} }

// subnet is a network and its router interface.
func subnet(name, router string, foreign bool) intent.Want {
	return intent.Want{
		Networks: []intent.Network{{Name: name, LoadBalancersOf: router}},
		RouterInterfaces: []intent.RouterInterface{{
			Network: name, Router: router, Foreign: foreign,
			NetworkPort: name + "-" + router, RouterPort: router + "-" + name,
			MAC: "00:00:00:91:4d:df", Addresses: []netip.Prefix{prefix("12.0.1.1/24")},
		}},
	}
}

func pod(name, network string, groups ...string) intent.Want {
	return intent.Want{Ports: []intent.Port{{
		Name: name, Network: network, MAC: "00:00:00:aa:00:02", Version: "uid-" + name, Groups: groups,
		Addrs: []netip.Addr{netip.MustParseAddr("12.0.1.2")},
	}}}
}
