package ovn

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/ovntest"
)

type unit = intent.Unit

var comparePrefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func isWait(err error, reason string) bool {
	var w intent.Wait
	return errors.As(err, &w) && w.Reason == reason
}

func isStop(err error, reason string) bool {
	var s intent.Stop
	return errors.As(err, &s) && s.Reason == reason
}

// notifications has what a fabric notifies of.
type notifications struct {
	units      chan intent.Unit
	routers    chan string
	parentKeys chan string
	subportsUp chan string
}

func collect(f *Fabric) notifications {
	n := notifications{make(chan intent.Unit, 1000), make(chan string, 1000), make(chan string, 1000), make(chan string, 1000)}
	f.Watch(Notify{
		Unit: func(u intent.Unit) { n.units <- u }, Router: func(r string) { n.routers <- r }, ParentKey: func(w string) { n.parentKeys <- w },
		SubportUp: func(p string) { n.subportsUp <- p },
	})
	return n
}

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was told")
		panic("unreachable")
	}
}

// applyUntilRestored applies the units that the fabric notifies of until the database is
// as before.
func applyUntilRestored(t *testing.T, s *ovntest.Server, f *Fabric, n notifications, w world, before string) {
	t.Helper()
	for {
		is := s.Dump()
		if is == before {
			return
		}
		var u intent.Unit
		select {
		case u = <-n.units:
		case <-withTimeout(t).Done():
			t.Fatalf("nothing more is told, but this differs:\n%s", cmp.Diff(lines(before), lines(is)))
		}
		if _, err := f.Apply(withTimeout(t), u, w[u]); err != nil && !isWaitOrStop(err) {
			t.Fatal(err)
		}
	}
}

func TestChangedRowsAreRestored(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	addNeutronRows(s)
	f := dial(t, s)
	n, w := collect(f), fullWorld()
	for _, u := range applyOrder {
		apply(t, f, unit(u), w[unit(u)])
	}
	before := s.Dump()
	for _, damage := range [][]string{
		{"lsp-del", "p.ns"},
		{"lsp-del", "net2-neutron-r"},
		{"lrp-del", "neutron-r-net2"},
		{"pg-del", "node_a"},
		{"ls-del", "net2"},
		{"lr-del", "ovn-cluster"},
		{"clear", "logical_switch", "net2", "load_balancer"},
		{"set", "logical_switch_port", "p.ns", "type=virtual", "--", "lsp-set-addresses", "p.ns", "router"},
		{"set", "logical_router_port", "neutron-r-net2", "networks=10.0.0.1/8", `mac="00:00:00:00:00:01"`},
		{"remove", "logical_switch", "net2", "external_ids", "isthmus-key"},
		{"set", "logical_switch", "net2", "name=renamed"},
		{"lsp-set-options", "q.ns"},
	} {
		s.Nbctl(damage...)
		applyUntilRestored(t, s, f, n, w, before)
	}
}

func TestOwnChangesDoNotNotify(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	addNeutronRows(s)
	f := dial(t, s)
	n, w := collect(f), fullWorld()
	for _, u := range applyOrder {
		apply(t, f, unit(u), w[unit(u)])
	}
	s.Nbctl("lsp-set-type", "q.ns", "virtual")
	if u := next(t, n.units); u != "pod/ns/q" {
		t.Errorf("first of all, %s was told", u)
	}
}

// The fabric notifies of a waiting unit when the row that it waits for exists.
func TestNotifiesWaitingUnit(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	f := dial(t, s)
	n := collect(f)
	for _, c := range []struct {
		unit   intent.Unit
		want   intent.Want
		reason string
		comes  []string
	}{
		{"subnet/net2", subnet("net2", "neutron-r", true), "WaitingForRouter", []string{"lr-add", "neutron-r"}},
		{"pod/ns/p", pod("p.ns", "other"), "WaitingForNetwork", []string{"ls-add", "other"}},
		{"pod/ns/q", pod("q.ns", "other", "pg_sg"), "WaitingForGroup", []string{"pg-add", "pg_sg"}},
	} {
		if _, err := f.Apply(withTimeout(t), c.unit, c.want); !isWait(err, c.reason) {
			t.Fatalf("%s: %v, want %s", c.unit, err, c.reason)
		}
		s.Nbctl(c.comes...)
		if u := next(t, n.units); u != c.unit {
			t.Fatalf("%s was told, want %s", u, c.unit)
		}
		apply(t, f, c.unit, c.want)
	}
	s.Nbctl("lr-del", "neutron-r") // this deletes our port on it, too
	if u := next(t, n.units); u != "subnet/net2" {
		t.Errorf("%s was told of the router that went", u)
	}
}

func TestRefusals(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	addNeutronRows(s)
	f := dial(t, s)
	apply(t, f, "vpc/ovn-cluster", vpc("ovn-cluster"))
	for name, c := range map[string]struct {
		want   intent.Want
		reason string
	}{
		"a switch of Neutron's":       {intent.Want{Networks: []intent.Network{{Name: "neutron-net"}}}, "NameTaken"},
		"a router of Neutron's":       {vpc("neutron-r"), "NameTaken"},
		"a router of another unit":    {vpc("ovn-cluster"), "NameTaken"},
		"a port of a machine":         {pod("vm1", "neutron-net"), "NameTaken"},
		"a group of Neutron's":        {group("neutron_pg_drop"), "NameTaken"},
		"a join as if it were ours":   {subnet("net2", "neutron-r", false), "NotOurs"},
		"a policy on Neutron's":       {intent.Want{RoutePolicies: []intent.RoutePolicy{{Router: "neutron-r", Allow: true}}}, "NotOurs"},
		"one name for two of its own": {intent.Want{Groups: []intent.Group{{Name: "g"}, {Name: "g"}}}, "NameTaken"},
	} {
		if _, err := f.Apply(withTimeout(t), "x/y", c.want); !isStop(err, c.reason) {
			t.Errorf("%s: %v, want %s", name, err, c.reason)
		}
	}
}

// The fabric notifies of a router of others when it is added, changed or deleted, and
// not at other times.
func TestNotifiesOfRouters(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	s.Nbctl("lr-add", "first")
	f := dial(t, s)
	n := collect(f)
	if r := next(t, n.routers); r != "first" {
		t.Fatalf("%s was told, want the one that was there", r)
	}
	for _, change := range [][]string{
		{"lr-add", "r"},
		{"lrp-add", "r", "lrp-1", "fa:16:3e:00:00:01", "10.10.1.1/24"},
		{"set", "logical_router_port", "lrp-1", `external_ids:"neutron:network_name"=net`},
		{"ls-add", "net", "--", "set", "logical_switch", "net", `external_ids:"neutron:mtu"=1442`},
		{"lr-del", "r"},
	} {
		s.Nbctl("set", "logical_router", "first", `external_ids:"neutron:revision_number"=`+change[0])
		s.Nbctl(change...)
		if r := next(t, n.routers); r != "r" {
			t.Fatalf("%v: %s was told", change, r)
		}
	}
	apply(t, f, "vpc/x", vpc("x"))
	if r := next(t, n.routers); r != "x" {
		t.Fatalf("%s was told, want x", r)
	}
}

// When a router gets a load balancer, the fabric notifies of the switches that share
// the router's load balancers.
func TestNotifiesOfLoadBalancers(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	addNeutronRows(s)
	f := dial(t, s)
	n := collect(f)
	w := subnet("net2", "neutron-r", true)
	apply(t, f, "subnet/net2", w)
	s.Nbctl("lb-add", "more", "10.10.1.8:80", "10.10.1.5:80", "--", "lr-lb-add", "neutron-r", "more")
	if u := next(t, n.units); u != "subnet/net2" {
		t.Fatalf("%s was told", u)
	}
	apply(t, f, "subnet/net2", w)
	if got := len(lines(s.Nbctl("ls-lb-list", "net2"))); got != 3 { // with a header
		t.Errorf("%d lines of load balancers", got)
	}
}

// While the server is stopped, Apply fails. After the server has started again, the
// fabric notifies of what has changed meanwhile.
func TestServerStopped(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	addNeutronRows(s)
	f := dial(t, s)
	n, w := collect(f), fullWorld()
	for _, u := range applyOrder {
		apply(t, f, unit(u), w[unit(u)])
	}
	before := s.Dump()
	s.Stop()
	if _, err := f.Apply(withTimeout(t), "pod/ns/p", intent.Want{}); err == nil || isWaitOrStop(err) {
		t.Fatalf("without a server: %v", err)
	}
	f.watcher.begin("pod/ns/p", w["pod/ns/p"]) // the unit still wants its port
	f.watcher.end("pod/ns/p", nil)
	if _, there := f.Router("neutron-r"); !there {
		t.Error("a router is forgotten only because the server is away")
	}
	s.Transact(
		deleted("Port_Group", "node_a"),
		deleted("Logical_Router", "ovn-cluster"),
		map[string]any{"op": "insert", "table": "Logical_Router", "row": map[string]any{"name": "came"}},
	)
	s.Start()
	for next(t, n.routers) != "came" {
	}
	s.Nbctl("lr-del", "came")
	applyUntilRestored(t, s, f, n, w, before)
}

func deleted(table, name string) map[string]any {
	return map[string]any{"op": "delete", "table": table, "where": []any{[]any{"name", "==", name}}}
}

// A second controller finds all rows as the first one left them, and changes none.
func TestSecondController(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	addNeutronRows(s)
	first, second := dial(t, s), dial(t, s)
	w := fullWorld()
	for _, u := range applyOrder {
		apply(t, first, unit(u), w[unit(u)])
	}
	third := dial(t, s)
	for _, f := range []*Fabric{second, third} {
		for _, u := range applyOrder {
			if f == third || w[unit(u)].Ports == nil { // the second connected before the ports joined groups
				if seen := apply(t, f, unit(u), w[unit(u)]); seen.Changed != 0 {
					t.Errorf("%s: %d changes", u, seen.Changed)
				}
			}
		}
	}
	// It can still remove p from its groups, because p's row records them.
	apply(t, second, "pod/ns/p", pod("p.ns", "net2", "node_a"))
	if got := s.Nbctl("--bare", "--columns=name", "find", "port_group", "ports{>=}"+s.Nbctl("get", "logical_switch_port", "p.ns", "_uuid")); got != "node_a" {
		t.Errorf("p is in %q", got)
	}
	units, err := third.Units(withTimeout(t))
	if err != nil || len(units) != len(applyOrder) {
		t.Errorf("units: %v %v", units, err)
	}
	ports, err := third.Ports(withTimeout(t))
	if diff := cmp.Diff(w["pod/ns/q"].Ports, ports["pod/ns/q"], cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || diff != "" {
		t.Errorf("ports: %v\n%s", err, diff)
	}
}
