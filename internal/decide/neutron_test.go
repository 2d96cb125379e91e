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
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

func readySubnet(name, provider string) *v1.Subnet {
	s := subnetOf(name, router0, "10.1.0.0/24", "a")
	s.Spec.Provider = provider
	s.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue}}
	return s
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// A network of our own is made and joined; one that is there is only looked at.
func TestSubnetOfNeutrons(t *testing.T) {
	for _, row := range []struct {
		name string
		set  func(*v1.Subnet)
		want intent.Want
	}{
		{"a new network", func(*v1.Subnet) {}, intent.Want{
			Fabric: intent.FabricNeutron,
			Networks: []intent.Network{{
				Name: "net2", Prefixes: []netip.Prefix{prefix("10.1.0.0/24")}, Gateways: []netip.Addr{addr("10.1.0.1")},
			}},
			RouterInterfaces: []intent.RouterInterface{{
				Network: "net2", Router: router0, Foreign: true, MAC: "02:00:0a:01:00:01", Addresses: []netip.Prefix{prefix("10.1.0.1/24")},
				NetworkPort: "net2-neutron-22040ed5", RouterPort: "neutron-22040ed5-net2",
			}},
		}},
		{"one that is there", func(s *v1.Subnet) { s.Spec.Network = "abc" }, intent.Want{
			Fabric: intent.FabricNeutron,
			Networks: []intent.Network{{
				Name: "net2", Prefixes: []netip.Prefix{prefix("10.1.0.0/24")}, Gateways: []netip.Addr{addr("10.1.0.1")}, Existing: "abc",
			}},
		}},
	} {
		s := readySubnet("net2", "neutron")
		row.set(s)
		got, _, err := parts(Subnet(SubnetFacts{Name: "net2", Subnet: s, Vpc: vpcOf(router0, "a"), Router: &Router{Name: router0}, UnderlayMTU: 1500}))
		if diff := cmp.Diff(row.want, got, comparePrefixes); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", row.name, err, diff)
		}
	}
}

func TestRangesLeaveOutWhatIsExcluded(t *testing.T) {
	net, err := NetOf(&v1.SubnetSpec{CIDRBlock: "10.1.0.0/28", ExcludeIPs: []string{"10.1.0.4..10.1.0.6"}})
	want := []intent.Range{{First: addr("10.1.0.2"), Last: addr("10.1.0.3")}, {First: addr("10.1.0.7"), Last: addr("10.1.0.14")}}
	if diff := cmp.Diff(want, rangesOf(net), comparePrefixes); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// What a pod's port is asked to be, and what keeps it from being asked for.
func TestPodsOnNeutron(t *testing.T) {
	base := intent.Port{Name: "a/p", Network: "net2", Version: "u", Node: "node1"}
	for _, row := range []struct {
		name, reason string
		set          func(*PodFacts)
		port         func(*intent.Port)
	}{
		{"any address", "", func(*PodFacts) {}, func(p *intent.Port) { p.Groups = []string{policy.GroupPods} }},
		{"not bound", NotBound, func(f *PodFacts) { f.Pod.Spec.NodeName = "" }, nil},
		{"an address of its choice", "", func(f *PodFacts) {
			f.Pod.Annotations = map[string]string{v1.AnnotationIPAddress: "10.1.0.7", v1.AnnotationMACAddress: "0a:00:00:00:00:07"}
		}, func(p *intent.Port) {
			p.Addrs, p.MAC, p.Groups = []netip.Addr{addr("10.1.0.7")}, "0a:00:00:00:00:07", []string{policy.GroupPods}
		}},
		{"the settings' groups", "", func(f *PodFacts) { f.Standard = []string{"1"} }, func(p *intent.Port) {
			p.CloudGroups = []string{"1"}
		}},
		{"its node is in Neutron, too", "", func(f *PodFacts) { f.Standard, f.NodeVpc = []string{"1"}, router0 }, func(p *intent.Port) {
			p.Groups, p.CloudGroups = []string{policy.GuardGroup("node1")}, []string{"1"}
		}},
		{"a policy isolates it", "", func(f *PodFacts) {
			f.Book = policy.NewIndex([]*networkingv1.NetworkPolicy{{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "deny"}}})
		}, func(p *intent.Port) { p.Groups = []string{policy.OpenEgress, "policy/a/deny"} }},
		{"groups of its choice", "", func(f *PodFacts) {
			f.Standard, f.CloudGroups = []string{"1"}, map[string]string{"web": "2", "3": "3"}
			f.Pod.Annotations = map[string]string{policy.AnnotationSecurityGroups: "web, 3"}
		}, func(p *intent.Port) { p.CloudGroups = []string{"2", "3"} }},
		{"a group that its namespace does not allow", "NotAllowed", func(f *PodFacts) {
			f.CloudGroups = map[string]string{"web": "2"}
			f.Pod.Annotations = map[string]string{policy.AnnotationSecurityGroups: "web"}
			f.InNamespace = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{policy.AnnotationAllowedSecurityGroups: "db"}}}
		}, nil},
		{"a group that is not there", "UnknownSecurityGroup", func(f *PodFacts) {
			f.Pod.Annotations = map[string]string{policy.AnnotationSecurityGroups: "web"}
		}, nil},
		{"finished", "", func(f *PodFacts) { f.Pod.Status.Phase = corev1.PodSucceeded }, nil},
	} {
		f := PodFacts{
			Namespace: "a", Name: "p", Subnets: []*v1.Subnet{readySubnet("net2", "neutron")}, Vpcs: []*v1.Vpc{vpcOf(router0, "a")},
			Pod:    &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a", UID: "u"}, Spec: corev1.PodSpec{NodeName: "node1"}},
			Leases: book{},
		}
		row.set(&f)
		got, ip, err := parts(Pod(f))
		want := intent.Want{}
		if row.port != nil {
			p := base
			row.port(&p)
			want = intent.Want{Fabric: intent.FabricNeutron, Ports: []intent.Port{p}}
		}
		if diff := cmp.Diff(want, got, comparePrefixes); diff != "" || reason(err) != row.reason {
			t.Errorf("%s: %v\n%s", row.name, err, diff)
		}
		if (row.port != nil) != (ip != nil) || Attached(ip) {
			t.Errorf("%s: the draft is %+v", row.name, ip)
		}
	}
}

// A claim that stands asks for the very port that it names.
func TestClaimsOfNeutronsPortsStay(t *testing.T) {
	ip := &v1.IP{ObjectMeta: metav1.ObjectMeta{Name: "p.a"}, Spec: v1.IPSpec{PodName: "p", Namespace: "a", PodUID: "u", Subnet: "net2"}}
	Bind(ip, intent.PortStatus{
		ID: "port1", MAC: "fa:16:3e:00:00:01", MTU: 1442,
		Addrs: []netip.Prefix{prefix("10.1.0.9/24")}, Gateways: []netip.Addr{addr("10.1.0.1")},
	})
	if FabricOfIP(ip) != intent.FabricNeutron || ip.Spec.V4Gateway != "10.1.0.1" || ip.Spec.V4PrefixLength != 24 || ip.Spec.MTU != 1442 {
		t.Errorf("the claim is %+v", ip.Spec)
	}
	l := book{}
	if err := l.Claim("net2", "pod/a/p", []netip.Addr{addr("10.1.0.9")}); err != nil {
		t.Fatal(err)
	}
	// The Subnet may be gone: what the claim says is enough.
	f := PodFacts{
		Namespace: "a", Name: "p", Claim: ip, Leases: l,
		Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a", UID: "u"}, Spec: corev1.PodSpec{NodeName: "node1"}},
	}
	got, told, err := parts(Pod(f))
	want := intent.Want{Fabric: intent.FabricNeutron, Ports: []intent.Port{{
		Name: "a/p", Network: "net2", MAC: "fa:16:3e:00:00:01", Addrs: []netip.Addr{addr("10.1.0.9")}, Version: "u", Node: "node1", Groups: []string{policy.GroupPods},
	}}}
	if diff := cmp.Diff(want, got, comparePrefixes); diff != "" || err != nil || told.Spec.Attach.OVS.IfaceID != "port1" {
		t.Error(err, diff, told)
	}
	// That it asks for what it cannot have takes its port from nobody.
	f.Pod.Annotations = map[string]string{policy.AnnotationSecurityGroups: "nobody's"}
	got, _, err = parts(Pod(f))
	if diff := cmp.Diff(want, got, comparePrefixes); diff != "" || reason(err) != "UnknownSecurityGroup" {
		t.Error(err, diff)
	}
}

func TestNodeInNeutron(t *testing.T) {
	pods, services := readySubnet(v1.PodSubnet, "neutron"), []netip.Prefix{prefix("10.96.0.0/16")}
	got, ip, err := parts(Node(NodeFacts{
		Name: "node1", Join: pods, NodeVpc: router0, Services: services, Leases: book{},
		Node: &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "node1", UID: "n"},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "172.31.0.1"}, {Type: corev1.NodeHostName, Address: "node1"}}},
		},
		Claim: &v1.IP{Spec: v1.IPSpec{NodeName: "node1", V4IPAddress: "10.1.0.5"}},
	}))
	want := intent.Want{
		Fabric: intent.FabricNeutron, Groups: []intent.Group{policy.Guard("node1", []netip.Addr{addr("172.31.0.1"), addr("10.1.0.5")}, services)},
		Ports: []intent.Port{{Name: "node-node1", Network: PodNetwork, Version: "n", Node: "node1", Groups: []string{GroupNodes}}},
	}
	if diff := cmp.Diff(want, got, comparePrefixes); diff != "" || err != nil {
		t.Fatal(err, diff)
	}
	Bind(ip, intent.PortStatus{ID: "x", Addrs: []netip.Prefix{prefix("10.1.0.5/24")}, Gateways: []netip.Addr{addr("10.1.0.1")}})
	if diff := cmp.Diff([]v1.Route{{Destination: "10.96.0.0/16", Gateway: "10.1.0.1"}}, ip.Spec.Routes); diff != "" {
		t.Error(diff)
	}
}

// The Services' network is the parent of their range; the rest of it is the other half.
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
		got, _, err := parts(Cluster(ClusterFacts{
			NodeVpc: router0,
			CIDRs:   []*networkingv1.ServiceCIDR{{ObjectMeta: metav1.ObjectMeta{Name: MainCIDR}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{row.cidr}}}},
			Subnets: []*v1.Subnet{subnetOf("x", router0, "10.1.0.0/24")},
			Nodes:   []NodeAddr{{"n", addr("172.31.1.11")}},
			Router:  &Router{Name: router0, Interfaces: []RouterInterface{{Prefix: prefix("192.168.1.1/24"), Network: "neutron-1"}}},
		}))
		says := ""
		for _, s := range got.Networks {
			says = strings.Join([]string{s.Prefixes[0].String(), s.Gateways[0].String(), s.Ranges[0].First.String(), s.Ranges[0].Last.String()}, " ")
		}
		if reason(err) != row.reason || says != row.says || len(got.Groups) != 2 {
			t.Errorf("%s: %v: %s", row.cidr, err, says)
		}
	}
}

// A network that is given is used as soon as it is on the router, and not made.
func TestServiceNetworkGiven(t *testing.T) {
	f := ClusterFacts{
		NodeVpc: router0, ServiceNetwork: "net", Router: &Router{Name: router0},
		CIDRs: []*networkingv1.ServiceCIDR{{ObjectMeta: metav1.ObjectMeta{Name: MainCIDR}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16"}}}},
	}
	if got, _, err := parts(Cluster(f)); reason(err) != "NotOnRouter" || len(got.Networks) != 0 {
		t.Errorf("%v: %+v", err, got)
	}
	f.Router.Interfaces = []RouterInterface{{Prefix: prefix("10.97.255.254/15"), Network: "neutron-net"}}
	got, _, err := parts(Cluster(f))
	if err != nil || len(got.Networks) != 1 || got.Networks[0].Existing != "net" || len(got.RouterInterfaces) != 0 {
		t.Errorf("%v: %+v", err, got)
	}
}

// Once the network stands, nothing that comes later takes it away.
func TestServiceNetworkStays(t *testing.T) {
	got, _, err := parts(Cluster(ClusterFacts{
		NodeVpc: router0,
		CIDRs: []*networkingv1.ServiceCIDR{
			{ObjectMeta: metav1.ObjectMeta{Name: MainCIDR}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16"}}},
			{ObjectMeta: metav1.ObjectMeta{Name: "more"}},
		},
		Nodes:  []NodeAddr{{"n", addr("10.97.1.11")}},
		Router: &Router{Name: router0, Interfaces: []RouterInterface{{Prefix: prefix("10.97.255.254/15"), Network: "neutron-1"}}},
	}))
	if len(got.Networks) != 1 || reason(err) != "MoreServiceCIDRs" {
		t.Errorf("%v: %+v", err, got)
	}
}

// Where the nodes are on Neutron's router there is no overlay, and pods go to
// Subnet pods.
func TestHomeInNeutron(t *testing.T) {
	if want, told, _ := parts(Vpc(VpcFacts{Name: v1.DefaultVpc, NodeVpc: router0})); !want.Empty() || told.Action != "" {
		t.Errorf("Vpc ovn-cluster: %+v %+v", want, told)
	}
	pods := readySubnet(v1.PodSubnet, "neutron")
	pods.Spec.Namespaces = nil
	f := PodFacts{
		Namespace: "any", Name: "p", NodeVpc: router0, Subnets: []*v1.Subnet{pods}, Vpcs: []*v1.Vpc{vpcOf(router0)}, Leases: book{},
		Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "any", UID: "u"}, Spec: corev1.PodSpec{NodeName: "node1"}},
	}
	got, ip, err := parts(Pod(f))
	if err != nil || len(got.Ports) != 1 || got.Ports[0].Network != PodNetwork || ip.Spec.HostLink {
		t.Errorf("%v: %+v %+v", err, got, ip)
	}
}

// A router of Neutron's that the cluster's pods are on may name namespaces, as
// every Vpc: that keeps others out of its Subnets, but for the default one.
func TestDefaultSubnetIsForAllNamespaces(t *testing.T) {
	pods, other := readySubnet(v1.PodSubnet, "neutron"), readySubnet("net2", "neutron")
	pods.Spec.Namespaces, other.Spec.Namespaces = nil, nil
	f := PodFacts{
		Namespace: "a", Name: "p", NodeVpc: router0, Vpcs: []*v1.Vpc{vpcOf(router0, "b")}, Subnets: []*v1.Subnet{pods, other}, Leases: book{},
		Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a", UID: "u"}, Spec: corev1.PodSpec{NodeName: "node1"}},
	}
	if got, _, err := parts(Pod(f)); err != nil || len(got.Ports) != 1 || got.Ports[0].Network != PodNetwork {
		t.Error(err, got)
	}
	f.Pod.Annotations = map[string]string{v1.AnnotationSubnet: "net2"}
	if _, _, err := parts(Pod(f)); reason(err) != "NotAllowed" {
		t.Error(err)
	}
}

// A Subnet's own network on the router does not stand in its way, others' do.
func TestRefusedSubnetsOfNeutrons(t *testing.T) {
	on := func(segment string) *Router {
		return &Router{Name: router0, Interfaces: []RouterInterface{{Prefix: prefix("10.1.0.1/24"), Network: segment}}}
	}
	for _, row := range []struct {
		name, reason string
		set          func(*SubnetFacts)
	}{
		{"on a router of ours", "NotNeutrons", func(f *SubnetFacts) { f.Subnet.Spec.Vpc, f.Vpc, f.Router = "blue", vpcOf("blue", "a"), nil }},
		{"over a network of Neutron's", "Overlap", func(f *SubnetFacts) { f.Subnet.Status.Network, f.Router = "8", on("neutron-9") }},
		{"that has its network", "", func(f *SubnetFacts) { f.Subnet.Status.Network, f.Router = "9", on("neutron-9") }},
		{"on a network that is there", "", func(f *SubnetFacts) { f.Subnet.Spec.Network, f.Router = "9", on("neutron-9") }},
		{"whose network is not known yet", "", func(f *SubnetFacts) { f.Router = on("neutron-9") }},
		{"over a Subnet of ours", "Overlap", func(f *SubnetFacts) { f.Router = on("a") }},
	} {
		f := SubnetFacts{Name: "net2", Subnet: readySubnet("net2", "neutron"), Vpc: vpcOf(router0, "a"), Router: &Router{Name: router0}}
		row.set(&f)
		want, _, err := parts(Subnet(f))
		if reason(err) != row.reason || (err == nil) != (len(want.Networks) == 1) {
			t.Errorf("a Subnet %s: %v: %+v", row.name, err, want)
		}
	}
}
