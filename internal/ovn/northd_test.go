package ovn

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/isthmus-cni/isthmus/internal/intent"
	"github.com/isthmus-cni/isthmus/internal/ovn/ovntest"
)

// ovn-trace shows that ovn-northd makes the flows for our rows that pods need.
func TestPacketPaths(t *testing.T) {
	nb, sb := ovntest.New(t, ovntest.Northbound), ovntest.New(t, ovntest.Southbound)
	addNeutronRows(nb)
	ovntest.Northd(t, nb, sb)
	f := dial(t, nb)
	w := fullWorld()
	cluster := w["subnet/default"]
	cluster.RouterInterfaces[0].MAC, cluster.RouterInterfaces[0].Addresses = "00:00:00:91:4d:e0", []netip.Prefix{prefix("10.16.0.1/16")}
	q := w["pod/ns/q"]
	q.Ports[0].MAC, q.Ports[0].Addrs = "00:00:00:aa:00:03", []netip.Addr{netip.MustParseAddr("10.16.0.3")}
	for _, u := range applyOrder {
		apply(t, f, unit(u), w[unit(u)])
	}
	join := subnet("join", "ovn-cluster", false)
	join.RouterInterfaces[0].MAC, join.RouterInterfaces[0].Addresses = "00:00:00:91:4d:e1", []netip.Prefix{prefix("100.64.0.1/16")}
	join.RoutePolicies = []intent.RoutePolicy{
		{Router: "ovn-cluster", Priority: 31000, To: prefix("10.16.0.0/16"), Allow: true},
		{Router: "ovn-cluster", Priority: 29000, From: "node_a", NextHops: []netip.Addr{netip.MustParseAddr("100.64.0.2")}},
	}
	apply(t, f, "subnet/join", join)
	nb.Nbctl("--wait=sb", "sync")
	for _, c := range []struct{ name, datapath, packet, outcome string }{
		{
			"pod to machine", "net2",
			`inport=="p.ns" && eth.src==00:00:00:aa:00:02 && eth.dst==00:00:00:91:4d:df && ip4.src==12.0.1.2 && ip4.dst==10.10.1.5 && ip.ttl==64 && icmp4.type==8`,
			`/* output to "vm1", type "" */`,
		},
		{
			"machine to pod", "neutron-net",
			`inport=="vm1" && eth.src==fa:16:3e:00:00:05 && eth.dst==fa:16:3e:00:00:01 && ip4.src==10.10.1.5 && ip4.dst==12.0.1.2 && ip.ttl==64 && icmp4.type==8`,
			`outport = "p.ns"`,
		},
		{
			"pod asks for its gateway", "net2",
			`inport=="p.ns" && eth.src==00:00:00:aa:00:02 && eth.dst==ff:ff:ff:ff:ff:ff && arp.op==1 && arp.sha==00:00:00:aa:00:02 && arp.spa==12.0.1.2 && arp.tpa==12.0.1.1`,
			`/* output to "p.ns", type "" */`,
		},
		{
			"pod with another's address", "net2",
			`inport=="p.ns" && eth.src==00:00:00:aa:00:02 && eth.dst==00:00:00:91:4d:df && ip4.src==12.0.1.77 && ip4.dst==10.10.1.5 && ip.ttl==64`,
			`drop`,
		},
		{
			"a group's packet is rerouted", "ovn-default",
			`inport=="q.ns" && eth.src==00:00:00:aa:00:03 && eth.dst==00:00:00:91:4d:e0 && ip4.src==10.16.0.3 && ip4.dst==192.0.2.1 && ip.ttl==64`,
			`reg0 = 100.64.0.2`,
		},
		{
			"but not to the pod network", "ovn-default",
			`inport=="q.ns" && eth.src==00:00:00:aa:00:03 && eth.dst==00:00:00:91:4d:e0 && ip4.src==10.16.0.3 && ip4.dst==10.16.0.9 && ip.ttl==64`,
			`reg0 = ip4.dst`,
		},
	} {
		got := ovntest.Run(t, "ovn-trace", "--no-leader-only", "--db="+sb.Address, c.datapath, c.packet)
		if !strings.Contains(got, c.outcome) {
			t.Errorf("%s: no %q in:\n%s", c.name, c.outcome, got)
		}
	}
}
