package decide

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

func TestPlug(t *testing.T) {
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

// worker returns a Node that is a virtual machine.
func worker() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "w", Labels: map[string]string{v1.Plug: v1.PlugVLAN},
			Annotations: map[string]string{v1.AnnotationMACs: "fa:16:3e:00:00:01,fa:16:3e:00:00:08"},
		},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.5"}}},
	}
}

func candidate(id, mac, server, addr string) ParentCandidate {
	return ParentCandidate{ID: id, MAC: intent.MAC(mac), Server: server, Addrs: []netip.Addr{netip.MustParseAddr(addr)}}
}

func TestParentPort(t *testing.T) {
	mine := candidate("mine", "fa:16:3e:00:00:01", "vm", "10.0.0.5")
	second := candidate("second", "fa:16:3e:00:00:02", "vm", "10.9.0.1")
	other := candidate("other", "fa:16:3e:00:00:03", "else", "10.0.0.5")
	named := func(n *corev1.Node) { n.Annotations = map[string]string{v1.ParentPort: "second"} }
	unannotated := func(n *corev1.Node) { n.Annotations = nil }
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
		{"not by an address that two have", nil, "", []ParentCandidate{mine, candidate("twin", "fa:16:3e:00:00:08", "else", "10.0.0.5")}, ""},
		{"not the port of a stranger that has the address", nil, "", []ParentCandidate{other}, ""},
		{"not by its address before the agent tells its interfaces", unannotated, "", []ParentCandidate{mine}, ""},
		{"not even a port without a MAC", unannotated, "", []ParentCandidate{candidate("bare", "", "else", "10.0.0.5")}, ""},
		{"by its provider id before that", func(n *corev1.Node) { unannotated(n); server(n) }, "", []ParentCandidate{mine, second}, "mine"},
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

func TestNodeThatSeemsNestedKeepsItsPort(t *testing.T) {
	f := NodeFacts{Name: "w", Node: worker(), NodeSubnet: decidetest.Subnet(v1.JoinSubnet, v1.DefaultVpc, decidetest.CIDRs[v1.JoinSubnet]), Leases: decidetest.Leases{}}
	f.NodeSubnet.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue}}
	before, ip, err := decidetest.Parts(Node(f))
	if err != nil || len(before.Ports) != 1 {
		t.Fatal(err, before)
	}
	f.Claim, f.Nested = ip, true
	after, kept, err := decidetest.Parts(Node(f))
	if diff := cmp.Diff(before, after, decidetest.Compare); diff != "" || decidetest.Reason(err) != NoParentPort || !cmp.Equal(kept.Spec, ip.Spec) {
		t.Errorf("%v: %s", err, diff)
	}
	f.Parent = &ParentPort{Port: "vm-port", MAC: "fa:16:3e:00:00:01"}
	if after, _, err := decidetest.Parts(Node(f)); !after.Empty() || err != nil {
		t.Errorf("with a port in OpenStack: %v: %+v", err, after)
	}
}

func TestNestedNodeHasNothingInOVN(t *testing.T) {
	f := NodeFacts{Name: "w", Node: worker(), Nested: true, Parent: &ParentPort{Port: "vm-port", MAC: "fa:16:3e:00:00:01"}, Leases: decidetest.Leases{}}
	want, ip, err := decidetest.Parts(Node(f))
	if !want.Empty() || ip != nil || err != nil {
		t.Errorf("%v: %+v, %+v", err, want, ip)
	}
	f.Parent = nil
	if want, _, err = decidetest.Parts(Node(f)); !want.Empty() || decidetest.Reason(err) != NoParentPort {
		t.Errorf("%v: %+v", err, want)
	}
}
