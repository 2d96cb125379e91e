package decide

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

func TestWhichPlugANodeUses(t *testing.T) {
	for _, row := range []struct {
		name                string
		labels, annotations map[string]string
		nested, known       bool
	}{
		{"nobody says anything", nil, nil, false, false},
		{"the agent found a switch", nil, map[string]string{v1.Plug: "ovs"}, false, true},
		{"an agent that knows no virtual machines found one", nil, map[string]string{v1.AnnotationUnderlayMTU: "1500"}, false, true},
		{"the agent found none", nil, map[string]string{v1.Plug: "vlan"}, true, true},
		{"the user knows better", map[string]string{v1.Plug: "ovs"}, map[string]string{v1.Plug: "vlan"}, false, true},
		{"the user asks for it", map[string]string{v1.Plug: "vlan"}, nil, true, true},
		{"in Kuryr's words", map[string]string{v1.LabelPodVIF: "nested-vlan"}, map[string]string{v1.Plug: "ovs"}, true, true},
		{"in Kuryr's words, not", map[string]string{v1.LabelPodVIF: "neutron-vif"}, map[string]string{v1.Plug: "vlan"}, false, true},
	} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: row.labels, Annotations: row.annotations}}
		if got := Nested(n); got != row.nested {
			t.Errorf("%s: nested is %v", row.name, got)
		}
		if got := PlugKnown(n); got != row.known {
			t.Errorf("%s: known is %v", row.name, got)
		}
	}
}

// worker is a Node that is a virtual machine.
func worker() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "w", Labels: map[string]string{v1.Plug: v1.PlugVLAN},
			Annotations: map[string]string{v1.AnnotationMACs: "fa:16:3e:00:00:01,fa:16:3e:00:00:08"},
		},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.5"}}},
	}
}

func hostPort(id, mac, server, addr string) ParentCandidate {
	return ParentCandidate{ID: id, MAC: intent.MAC(mac), Server: server, Addrs: []netip.Addr{netip.MustParseAddr(addr)}}
}

func TestWhichPortANodeHas(t *testing.T) {
	mine := hostPort("mine", "fa:16:3e:00:00:01", "vm", "10.0.0.5")
	second := hostPort("second", "fa:16:3e:00:00:02", "vm", "10.9.0.1")
	other := hostPort("other", "fa:16:3e:00:00:03", "else", "10.0.0.5")
	named := func(n *corev1.Node) { n.Annotations = map[string]string{v1.ParentPort: "second"} }
	untold := func(n *corev1.Node) { n.Annotations = nil }
	server := func(n *corev1.Node) { n.Spec.ProviderID = "openstack:///vm" }
	for _, row := range []struct {
		name  string
		node  func(*corev1.Node)
		claim string
		ports []ParentCandidate
		want  string
	}{
		{"by its address", nil, "", []ParentCandidate{mine, second}, "mine"},
		{"by its address where others have it, too", nil, "", []ParentCandidate{mine, other}, "mine"},
		{"not by an address that two have", nil, "", []ParentCandidate{mine, hostPort("twin", "fa:16:3e:00:00:08", "else", "10.0.0.5")}, ""},
		{"not the port of a stranger that has the address", nil, "", []ParentCandidate{other}, ""},
		{"not by its address before the agent tells its interfaces", untold, "", []ParentCandidate{mine}, ""},
		{"not even a port without a MAC", untold, "", []ParentCandidate{hostPort("bare", "", "else", "10.0.0.5")}, ""},
		{"by its provider id before that", func(n *corev1.Node) { untold(n); server(n) }, "", []ParentCandidate{mine, second}, "mine"},
		{"none has it", nil, "", nil, ""},
		{"by its provider id and address", server, "", []ParentCandidate{mine, second, other}, "mine"},
		{"by its provider id alone", server, "", []ParentCandidate{second, other}, "second"},
		{"by its provider id in a region", func(n *corev1.Node) { n.Spec.ProviderID = "openstack://west/vm" }, "", []ParentCandidate{second, other}, "second"},
		{"by the user's word", named, "", []ParentCandidate{mine, second}, "second"},
		{"by the user's word only", named, "", []ParentCandidate{mine}, ""},
		{"by where its pods are already", nil, "fa:16:3e:00:00:03", []ParentCandidate{mine, other}, "other"},
		{"not by the address where its pods were behind another", nil, "fa:16:3e:00:00:09", []ParentCandidate{mine}, ""},
	} {
		n := worker()
		if row.node != nil {
			row.node(n)
		}
		claim := &v1.IP{}
		if row.claim != "" {
			claim.Spec.Attach.VLAN = &v1.AttachVLAN{Parent: row.claim}
		}
		got := ParentPortSelectorOf(n, claim).Parent(row.ports)
		if id := portID(got); id != row.want {
			t.Errorf("%s: %q, want %q", row.name, id, row.want)
		}
	}
}

func portID(p *ParentPort) string {
	if p == nil {
		return ""
	}
	return p.Port
}

// inVM are a pod's facts on a Node that is a virtual machine.
func inVM() PodFacts {
	s := subnetOf("ovn-default", v1.DefaultVpc, cidrs["ovn-default"])
	s.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue}}
	return PodFacts{
		Namespace: "ns", Name: "p", OnNode: true, Nested: true, Parent: &ParentPort{Port: "vm-port", MAC: "fa:16:3e:00:00:01"},
		Pod:     &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}, Spec: corev1.PodSpec{NodeName: "w"}},
		Subnets: []*v1.Subnet{s}, Vpcs: []*v1.Vpc{vpcOf(v1.DefaultVpc)}, Leases: book{},
	}
}

func TestAPodInAVirtualMachine(t *testing.T) {
	f := inVM()
	want, ip, err := parts(Pod(f))
	port := intent.Port{
		Name: "p.ns", Network: "ovn-default", MAC: "02:00:0a:10:00:02", Addrs: []netip.Addr{netip.MustParseAddr("10.16.0.2")},
		Node: "w", Parent: "vm-port", Version: "u", MustBeUp: true,
	}
	if diff := cmp.Diff(intent.Want{Ports: []intent.Port{port}}, want, comparePrefixes); diff != "" || err != nil {
		t.Fatal(err, diff)
	}
	if Attached(ip) || !ip.Spec.HostLink {
		t.Errorf("a claim without tag: %+v", ip.Spec)
	}
	Bind(ip, intent.PortStatus{Tag: 7})
	attach := v1.Attach{VLAN: &v1.AttachVLAN{Parent: "fa:16:3e:00:00:01", Tag: 7}}
	if diff := cmp.Diff(attach, ip.Spec.Attach); diff != "" || ip.Spec.MacAddress != "02:00:0a:10:00:02" {
		t.Error(ip.Spec, diff)
	}
	// The claim that stands is not awaited again, and asks for its tag.
	f.Claim = ip
	want, again, err := parts(Pod(f))
	if port.MustBeUp, port.Tag = false, 7; !cmp.Equal(want.Ports[0], port, comparePrefixes) || err != nil {
		t.Errorf("%v: %+v", err, want.Ports[0])
	}
	if Bind(again, intent.PortStatus{Tag: 9}); Retagged(ip, again) == "" || Retagged(ip, ip) != "" {
		t.Error("that a tag moved is not told")
	}
}

// What the claim said before anybody knew the node's plug is put right.
func TestAPodThatIsPluggedOtherwiseThanThought(t *testing.T) {
	f := inVM()
	f.Nested, f.Parent = false, nil
	_, early, err := parts(Pod(f))
	if err != nil || early.Spec.Attach.OVS == nil || early.Spec.HostLink {
		t.Fatal(err, early.Spec)
	}
	f.Claim = early
	f.Nested, f.Parent = true, inVM().Parent
	want, ip, err := parts(Pod(f))
	if err != nil || ip.Spec.Attach.OVS != nil || !want.Ports[0].MustBeUp || !ip.Spec.HostLink {
		t.Errorf("%v: %+v %+v", err, want.Ports, ip.Spec)
	}
	Bind(ip, intent.PortStatus{Tag: 7})
	f.Claim, f.Nested, f.Parent = ip, false, nil
	want, ip, err = parts(Pod(f))
	if err != nil || !cmp.Equal(early.Spec, ip.Spec) || want.Ports[0].Parent != "" {
		t.Errorf("%v: %+v", err, ip.Spec)
	}
}

func TestAPodWithoutItsNodesPort(t *testing.T) {
	f := inVM()
	_, ip, _ := parts(Pod(f))
	Bind(ip, intent.PortStatus{Tag: 7})
	f.Claim, f.Parent = ip, nil
	want, kept, err := parts(Pod(f))
	if reason(err) != NoParentPort || !want.Empty() || kept == nil || !cmp.Equal(kept.Spec.Attach, ip.Spec.Attach) {
		t.Errorf("%v: %+v, %+v", err, want, kept)
	}
	// A node that is gone has a port as long as OpenStack has it.
	f.OnNode, f.Nested, f.Parent = false, false, inVM().Parent
	if want, _, err := parts(Pod(f)); err != nil || want.Ports[0].Parent != "vm-port" {
		t.Errorf("%v: %+v", err, want)
	}
}

// A node whose switch is away may be taken for a virtual machine: what runs there
// keeps what it has, in both fabrics.
func TestAPodOnANodeThatIsTakenForAVirtualMachine(t *testing.T) {
	for _, home := range []string{"", router0} {
		f := inVM()
		f.Nested, f.Parent, f.NodeVpc = false, nil, home
		if home != "" {
			f.Subnets[0].Name, f.Subnets[0].Spec.Provider, f.Subnets[0].Spec.Vpc = v1.PodSubnet, "neutron", router0
		}
		_, ip, err := parts(Pod(f))
		if err != nil {
			t.Fatal(err)
		}
		if home != "" {
			Bind(ip, intent.PortStatus{ID: "id", MAC: "fa:16:3e:00:00:07", Addrs: []netip.Prefix{prefix("10.16.0.7/29")}, MTU: 1442})
		}
		f.Claim = ip
		before, stood, err := parts(Pod(f))
		if err != nil {
			t.Fatal(err)
		}
		f.Nested = true
		after, kept, err := parts(Pod(f))
		if diff := cmp.Diff(before, after, comparePrefixes); diff != "" || reason(err) != NoParentPort || !cmp.Equal(kept, stood) {
			t.Errorf("home %q: %v: %s", home, err, diff)
		}
	}
}

func TestANodeThatIsTakenForAVirtualMachine(t *testing.T) {
	f := NodeFacts{Name: "w", Node: worker(), Join: subnetOf(v1.JoinSubnet, v1.DefaultVpc, cidrs[v1.JoinSubnet]), Leases: book{}}
	f.Join.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue}}
	before, ip, err := parts(Node(f))
	if err != nil || len(before.Ports) != 1 {
		t.Fatal(err, before)
	}
	f.Claim, f.Nested = ip, true
	after, kept, err := parts(Node(f))
	if diff := cmp.Diff(before, after, comparePrefixes); diff != "" || reason(err) != NoParentPort || !cmp.Equal(kept.Spec, ip.Spec) {
		t.Errorf("%v: %s", err, diff)
	}
	f.Parent = inVM().Parent
	if after, _, err := parts(Node(f)); !after.Empty() || err != nil {
		t.Errorf("with a port in OpenStack: %v: %+v", err, after)
	}
}

// Where pods may come to be nested, a pod that nobody has bound has its address
// and its port, but no claim that an agent could believe.
func TestAPodThatMayBecomeNested(t *testing.T) {
	f := inVM()
	f.Pod.Spec.NodeName, f.OnNode, f.Nested, f.Parent, f.SomeNested = "", false, false, nil, true
	want, ip, err := parts(Pod(f))
	if reason(err) != NotBound || len(want.Ports) != 1 || want.Ports[0].Parent != "" || ip == nil {
		t.Errorf("%v: %+v, %+v", err, want, ip)
	}
}

func TestANodeThatIsAVirtualMachineHasNothingInOVN(t *testing.T) {
	f := NodeFacts{Name: "w", Node: worker(), Nested: true, Parent: inVM().Parent, Leases: book{}}
	want, ip, err := parts(Node(f))
	if !want.Empty() || ip != nil || err != nil {
		t.Errorf("%v: %+v, %+v", err, want, ip)
	}
	f.Parent = nil
	if want, _, err = parts(Node(f)); !want.Empty() || reason(err) != NoParentPort {
		t.Errorf("%v: %+v", err, want)
	}
}

func TestAPodOfNeutronsInAVirtualMachine(t *testing.T) {
	f := inVM()
	f.NodeVpc = router0
	f.Subnets[0].Name, f.Subnets[0].Spec.Provider, f.Subnets[0].Spec.Vpc = v1.PodSubnet, "neutron", router0
	want, ip, err := parts(Pod(f))
	if err != nil || want.Fabric != intent.FabricNeutron || want.Ports[0].Parent != "vm-port" || !want.Ports[0].MustBeUp || !ip.Spec.HostLink {
		t.Fatalf("%v: %+v", err, want)
	}
	Bind(ip, intent.PortStatus{ID: "id", MAC: "fa:16:3e:00:00:07", Addrs: []netip.Prefix{prefix("10.16.0.7/29")}, MTU: 1442, Tag: 7})
	if FabricOfIP(ip) != intent.FabricNeutron || CloudPort(ip) != "id" {
		t.Errorf("%+v", ip.Spec.Attach)
	}
	if want := (v1.AttachVLAN{Parent: "fa:16:3e:00:00:01", Tag: 7, Port: "id"}); *ip.Spec.Attach.VLAN != want {
		t.Errorf("%+v", ip.Spec.Attach.VLAN)
	}
}
