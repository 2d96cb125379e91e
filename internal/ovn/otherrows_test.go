package ovn

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/isthmus-cni/isthmus/internal/ovn/ovntest"
	"github.com/isthmus-cni/isthmus/internal/ovn/rows"
)

// addNeutronRows adds rows as Neutron (Zed) and Octavia make them, including rows
// without external_ids, and rows of an operator.
func addNeutronRows(s *ovntest.Server) {
	for _, args := range [][]string{
		{"init"},
		{
			"ls-add", "neutron-net", "--", "set", "logical_switch", "neutron-net", `external_ids:"neutron:network_name"=net`,
			`external_ids:"neutron:mtu"=1442`, `other_config:mcast_snoop="false"`,
		},
		{
			"ls-add", "neutron-ext", "--", "set", "logical_switch", "neutron-ext", `external_ids:"neutron:network_name"=ext`,
			`external_ids:"neutron:mtu"=1400`,
		},
		{
			"lsp-add", "neutron-net", "vm1", "--", "lsp-set-addresses", "vm1", "fa:16:3e:00:00:05 10.10.1.5",
			"--", "set", "logical_switch_port", "vm1", `external_ids:"neutron:device_owner"=compute:nova`,
		},
		{
			"lr-add", "neutron-r", "--", "set", "logical_router", "neutron-r", `external_ids:"neutron:router_name"=router0`,
			`external_ids:"neutron:gw_port_id"="2"`, "options:dynamic_neigh_routers=true",
		},
		{
			"lrp-add", "neutron-r", "lrp-1", "fa:16:3e:00:00:01", "10.10.1.1/24", "--", "set", "logical_router_port", "lrp-1",
			`external_ids:"neutron:network_name"=neutron-net`, `external_ids:"neutron:subnet_ids"="sub-2 sub-1"`,
		},
		{
			"lrp-add", "neutron-r", "lrp-2", "fa:16:3e:00:00:02", "172.24.4.10/24", "--", "set", "logical_router_port", "lrp-2",
			`external_ids:"neutron:network_name"=neutron-ext`, `external_ids:"neutron:subnet_ids"="sub-0"`,
		},
		{
			"lsp-add", "neutron-net", "lsp-1", "--", "lsp-set-type", "lsp-1", "router", "--", "lsp-set-addresses", "lsp-1", "router",
			"--", "lsp-set-options", "lsp-1", "router-port=lrp-1",
		},
		{"lr-nat-add", "neutron-r", "snat", "172.24.4.10", "10.10.1.0/24"},
		{"lr-route-add", "neutron-r", "0.0.0.0/0", "172.24.4.1"},
		{"lr-policy-add", "neutron-r", "100", "ip4.src == 10.10.1.0/24", "allow"},
		{"pg-add", "neutron_pg_drop", "vm1", "--", "acl-add", "neutron_pg_drop", "to-lport", "1001", "outport == @neutron_pg_drop && ip", "drop"},
		{"pg-add", "pg_sg", "vm1", "--", "acl-add", "pg_sg", "to-lport", "1002", "outport == @pg_sg && ip4", "allow-related"},
		{"lb-add", "octavia", "10.10.1.9:80", "10.10.1.5:80", "--", "lr-lb-add", "neutron-r", "octavia", "--", "ls-lb-add", "neutron-net", "octavia"},
		{"dhcp-options-create", "10.10.1.0/24", "subnet_id=sub-1"},
		{"create", "address_set", "name=operators", "addresses=10.0.0.1"},
		{"ls-add", "operators", "--", "lsp-add", "operators", "op1", "--", "acl-add", "operators", "from-lport", "5", "ip4", "drop"},
		{"lr-add", "operators-r", "--", "lrp-add", "operators-r", "op-lrp", "00:00:00:00:00:77", "10.77.0.1/24"},
	} {
		s.Nbctl(args...)
	}
}

// fullWorld is a world that uses every feature, next to Neutron's rows.
func fullWorld() world {
	return world{
		"vpc/ovn-cluster": vpc("ovn-cluster"),
		"subnet/default":  subnet("ovn-default", "ovn-cluster", false),
		"subnet/net2":     subnet("net2", "neutron-r", true),
		"node/a":          group("node_a"),
		"pod/ns/p":        pod("p.ns", "net2", "node_a", "pg_sg", "neutron_pg_drop"),
		"pod/ns/q":        pod("q.ns", "ovn-default", "node_a"),
	}
}

// applyOrder is an order in which no unit of fullWorld waits for another.
var applyOrder = []string{"vpc/ovn-cluster", "node/a", "subnet/default", "subnet/net2", "pod/ns/p", "pod/ns/q"}

// The rows of others stay the same, except for references to our rows, while we have
// rows in the database. After Clear the database is exactly as before.
func TestOtherRowsStayUnchanged(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	addNeutronRows(s)
	before := s.DumpExact()
	f := dial(t, s)
	w := fullWorld()
	for _, u := range applyOrder {
		apply(t, f, unit(u), w[unit(u)])
	}
	if diff := cmp.Diff(lines(before), lines(s.DumpOthers(rows.KeyOwner))); diff != "" {
		t.Errorf("somebody else's rows changed:\n%s", diff)
	}
	if got := s.Nbctl("get", "logical_router_port", "neutron-r-net2", "external_ids"); got != `{isthmus-key="join/neutron-r-net2", `+
		`isthmus-owner=kubernetes, isthmus-router=neutron-r, isthmus-segment=net2, isthmus-unit="subnet/net2", "neutron:subnet_ids"=sub-1}` {
		t.Errorf("our port on Neutron's router: %s", got)
	}
	if got := s.Nbctl("ls-lb-list", "net2"); got == "" {
		t.Error("our switch lacks the load balancers of its router")
	}
	if _, err := f.Clear(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines(before), lines(s.DumpExact())); diff != "" {
		t.Errorf("not as it was:\n%s", diff)
	}
}

// Our switch is not deleted while it has a port of another owner.
func TestForeignPortOnOurSwitch(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	s.Nbctl("init")
	before := s.DumpExact()
	f := dial(t, s)
	apply(t, f, "vpc/r", vpc("r"))
	apply(t, f, "subnet/net2", subnet("net2", "r", false))
	s.Nbctl("lsp-add", "net2", "theirs")
	if _, err := f.Clear(withTimeout(t)); !isWait(err, "PortsLeft") {
		t.Errorf("clear: %v", err)
	}
	s.Nbctl("lsp-del", "theirs")
	if _, err := f.Clear(withTimeout(t)); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(lines(before), lines(s.DumpExact())); diff != "" {
		t.Errorf("left over:\n%s", diff)
	}
}

func TestRouters(t *testing.T) {
	s := ovntest.New(t, ovntest.Northbound)
	addNeutronRows(s)
	f := dial(t, s)
	apply(t, f, "subnet/net2", subnet("net2", "neutron-r", true))
	got, there := f.Router("neutron-r")
	want := Router{
		Name: "neutron-r", Networks: []string{"net2", "neutron-ext", "neutron-net"}, MTU: 1400,
		Interfaces: []RouterInterface{
			{prefix("10.10.1.0/24"), "neutron-net", "lrp-1", false},
			{prefix("12.0.1.0/24"), "net2", "neutron-r-net2", true},
			{prefix("172.24.4.0/24"), "neutron-ext", "lrp-2", false},
		},
	}
	if diff := cmp.Diff(want, got, comparePrefixes); diff != "" || !there {
		t.Errorf("router:\n%s", diff)
	}
	if all := f.Routers(); len(all) != 2 || all[0].Name != "neutron-r" || all[1].Name != "operators-r" {
		t.Errorf("routers: %v", all)
	}
	if _, there := f.Router("none"); there {
		t.Error("a router that is not there")
	}
}
