package decide

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// A new network gets an interface on the router; an existing network is only
// read.
func TestNeutronSubnet(t *testing.T) {
	for _, row := range []struct {
		name string
		set  func(*v1.Subnet)
		want intent.Want
	}{
		{"a new network", func(*v1.Subnet) {}, intent.Want{
			Fabric: intent.FabricNeutron,
			Networks: []intent.Network{{
				Name: "net2", Prefixes: []netip.Prefix{decidetest.Prefix("10.1.0.0/24")}, Gateways: []netip.Addr{decidetest.Addr("10.1.0.1")},
			}},
			RouterInterfaces: []intent.RouterInterface{{
				Network: "net2", Router: decidetest.Router, Foreign: true, MAC: "02:00:0a:01:00:01", Addresses: []netip.Prefix{decidetest.Prefix("10.1.0.1/24")},
				NetworkPort: "net2-neutron-22040ed5", RouterPort: "neutron-22040ed5-net2",
			}},
		}},
		{"one that is there", func(s *v1.Subnet) { s.Spec.Network = "abc" }, intent.Want{
			Fabric: intent.FabricNeutron,
			Networks: []intent.Network{{
				Name: "net2", Prefixes: []netip.Prefix{decidetest.Prefix("10.1.0.0/24")}, Gateways: []netip.Addr{decidetest.Addr("10.1.0.1")}, Existing: "abc",
			}},
		}},
	} {
		s := decidetest.ReadySubnet("net2", "neutron")
		row.set(s)
		got, _, err := decidetest.Parts(Subnet(SubnetFacts{Name: "net2", Subnet: s, Vpc: decidetest.Vpc(decidetest.Router, "a"), Router: &Router{Name: decidetest.Router}, UnderlayMTU: 1500}))
		if diff := cmp.Diff(row.want, got, decidetest.Compare); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", row.name, err, diff)
		}
	}
}

func TestRangesWithoutExcluded(t *testing.T) {
	net, err := NetOf(&v1.SubnetSpec{CIDRBlock: "10.1.0.0/28", ExcludeIPs: []string{"10.1.0.4..10.1.0.6"}})
	want := []intent.Range{{First: decidetest.Addr("10.1.0.2"), Last: decidetest.Addr("10.1.0.3")}, {First: decidetest.Addr("10.1.0.7"), Last: decidetest.Addr("10.1.0.14")}}
	if diff := cmp.Diff(want, allocationRanges(net), decidetest.Compare); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestNodeInNeutron(t *testing.T) {
	pods, services := decidetest.ReadySubnet(v1.PodSubnet, "neutron"), []netip.Prefix{decidetest.Prefix("10.96.0.0/16")}
	got, ip, err := decidetest.Parts(Node(NodeFacts{
		Name: "node1", NodeSubnet: pods, NodeVpc: decidetest.Router, Services: services, Leases: decidetest.Leases{},
		Node: &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "node1", UID: "n"},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "172.31.0.1"}, {Type: corev1.NodeHostName, Address: "node1"}}},
		},
		Claim: &v1.IP{Spec: v1.IPSpec{NodeName: "node1", V4IPAddress: "10.1.0.5"}},
	}))
	want := intent.Want{
		Fabric: intent.FabricNeutron, Groups: []intent.Group{policy.Guard("node1", []netip.Addr{decidetest.Addr("172.31.0.1"), decidetest.Addr("10.1.0.5")}, services)},
		Ports: []intent.Port{{Name: "node-node1", Network: PodNetwork, Version: "n", Node: "node1", Groups: []string{GroupNodes}}},
	}
	if diff := cmp.Diff(want, got, decidetest.Compare); diff != "" || err != nil {
		t.Fatal(err, diff)
	}
	Bind(ip, intent.PortStatus{ID: "x", Addrs: []netip.Prefix{decidetest.Prefix("10.1.0.5/24")}, Gateways: []netip.Addr{decidetest.Addr("10.1.0.1")}})
	if diff := cmp.Diff([]v1.Route{{Destination: "10.96.0.0/16", Gateway: "10.1.0.1"}}, ip.Spec.Routes); diff != "" {
		t.Error(diff)
	}
}

// The Services' network is twice as large as their range, which is one half of
// it.
func TestServiceNetwork(t *testing.T) {
	for _, row := range []struct{ cidr, reason, says string }{
		{"10.96.0.0/16", "", "10.96.0.0/15 10.97.255.254 10.97.0.0 10.97.255.253"},
		{"10.97.0.0/16", "", "10.96.0.0/15 10.96.0.1 10.96.0.2 10.96.255.255"},
		{"fd10::/108", "", "fd10::/107 fd10::1f:fffe fd10::10:0 fd10::1f:fffd"},
		{"10.0.0.0/31", "BadServiceCIDR", ""},
		{"10.1.0.0/16", "Overlap", ""},
		{"192.168.0.0/24", "Overlap", ""},
		{"172.31.0.0/24", "Overlap", ""},
	} {
		got, _, err := decidetest.Parts(Cluster(ClusterFacts{
			NodeVpc: decidetest.Router,
			CIDRs:   []*networkingv1.ServiceCIDR{{ObjectMeta: metav1.ObjectMeta{Name: MainCIDR}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{row.cidr}}}},
			Subnets: []*v1.Subnet{decidetest.Subnet("x", decidetest.Router, "10.1.0.0/24")},
			Nodes:   []NodeAddr{{"n", decidetest.Addr("172.31.1.11")}},
			Router:  &Router{Name: decidetest.Router, Interfaces: []RouterInterface{{Prefix: decidetest.Prefix("192.168.1.1/24"), Network: "neutron-1"}}},
		}))
		says := ""
		for _, s := range got.Networks {
			says = strings.Join([]string{s.Prefixes[0].String(), s.Gateways[0].String(), s.Ranges[0].First.String(), s.Ranges[0].Last.String()}, " ")
		}
		if decidetest.Reason(err) != row.reason || says != row.says || len(got.Groups) != 2 {
			t.Errorf("%s: %v: %s", row.cidr, err, says)
		}
	}
}

// An existing network is used as soon as it is on the router, and none is
// created.
func TestExistingServiceNetwork(t *testing.T) {
	f := ClusterFacts{
		NodeVpc: decidetest.Router, ServiceNetwork: "net", Router: &Router{Name: decidetest.Router},
		CIDRs: []*networkingv1.ServiceCIDR{{ObjectMeta: metav1.ObjectMeta{Name: MainCIDR}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16"}}}},
	}
	if got, _, err := decidetest.Parts(Cluster(f)); decidetest.Reason(err) != "NotOnRouter" || len(got.Networks) != 0 {
		t.Errorf("%v: %+v", err, got)
	}
	f.Router.Interfaces = []RouterInterface{{Prefix: decidetest.Prefix("10.97.255.254/15"), Network: "neutron-net"}}
	got, _, err := decidetest.Parts(Cluster(f))
	if err != nil || len(got.Networks) != 1 || got.Networks[0].Existing != "net" || len(got.RouterInterfaces) != 0 {
		t.Errorf("%v: %+v", err, got)
	}
}

// Once the network exists, no later change removes it.
func TestServiceNetworkStays(t *testing.T) {
	got, _, err := decidetest.Parts(Cluster(ClusterFacts{
		NodeVpc: decidetest.Router,
		CIDRs: []*networkingv1.ServiceCIDR{
			{ObjectMeta: metav1.ObjectMeta{Name: MainCIDR}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16"}}},
			{ObjectMeta: metav1.ObjectMeta{Name: "more"}},
		},
		Nodes:  []NodeAddr{{"n", decidetest.Addr("10.97.1.11")}},
		Router: &Router{Name: decidetest.Router, Interfaces: []RouterInterface{{Prefix: decidetest.Prefix("10.97.255.254/15"), Network: "neutron-1"}}},
	}))
	if len(got.Networks) != 1 || decidetest.Reason(err) != "MoreServiceCIDRs" {
		t.Errorf("%v: %+v", err, got)
	}
}

// A Subnet does not overlap with its own network on the router, only with others.
func TestRefusedNeutronSubnets(t *testing.T) {
	on := func(segment string) *Router {
		return &Router{Name: decidetest.Router, Interfaces: []RouterInterface{{Prefix: decidetest.Prefix("10.1.0.1/24"), Network: segment}}}
	}
	for _, row := range []struct {
		name, reason string
		set          func(*SubnetFacts)
	}{
		{"on a router of ours", "NotNeutrons", func(f *SubnetFacts) { f.Subnet.Spec.Vpc, f.Vpc, f.Router = "blue", decidetest.Vpc("blue", "a"), nil }},
		{"over a network of Neutron's", "Overlap", func(f *SubnetFacts) { f.Subnet.Status.Network, f.Router = "8", on("neutron-9") }},
		{"that has its network", "", func(f *SubnetFacts) { f.Subnet.Status.Network, f.Router = "9", on("neutron-9") }},
		{"on a network that is there", "", func(f *SubnetFacts) { f.Subnet.Spec.Network, f.Router = "9", on("neutron-9") }},
		{"whose network is not known yet", "", func(f *SubnetFacts) { f.Router = on("neutron-9") }},
		{"over a Subnet of ours", "Overlap", func(f *SubnetFacts) { f.Router = on("a") }},
	} {
		f := SubnetFacts{Name: "net2", Subnet: decidetest.ReadySubnet("net2", "neutron"), Vpc: decidetest.Vpc(decidetest.Router, "a"), Router: &Router{Name: decidetest.Router}}
		row.set(&f)
		want, _, err := decidetest.Parts(Subnet(f))
		if decidetest.Reason(err) != row.reason || (err == nil) != (len(want.Networks) == 1) {
			t.Errorf("a Subnet %s: %v: %+v", row.name, err, want)
		}
	}
}
