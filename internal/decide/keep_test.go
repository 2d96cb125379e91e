package decide

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// These tests check what happens to existing resources when their object cannot be
// read or fulfilled any more: they stay as they are, and the problem is reported.

// invalidRange is a range that the CRD's schema accepts although it is invalid.
const invalidRange = "10.16.0.6..10.16.0.5"

func TestSubnetWithInvalidSpecStays(t *testing.T) {
	s := decidetest.Subnet("ovn-default", v1.DefaultVpc, "10.16.0.0/16")
	s.Spec.ExcludeIPs = []string{invalidRange}
	s.Status = v1.SubnetStatus{Gateway: "10.16.0.1", MTU: 1400, V4UsingIPs: 3}
	for _, users := range [][]string{nil, {"pod/ns/p"}} {
		f := SubnetFacts{Name: s.Name, Subnet: s, Users: users, UnderlayMTU: 1500}
		d := Subnet(f)
		decidetest.Keeps(t, "a Subnet", d, "InvalidSpec")
		if got := d.Report(); got.Status.Gateway != "10.16.0.1" || got.Status.MTU != 1400 || got.Action != "" {
			t.Errorf("its report is %+v", got)
		}
		gone := s.DeepCopy()
		gone.DeletionTimestamp = &s.CreationTimestamp
		f.Subnet = gone
		if len(users) > 0 {
			decidetest.Keeps(t, "a Subnet that is deleted", Subnet(f), "InUse")
			continue
		}
		if want, called := Subnet(f).Want(); !called || !want.Empty() || Subnet(f).Report().Action != Release {
			t.Errorf("a Subnet that is deleted and not in use stays: %+v", want)
		}
	}
}

// Other units may still use its network and read its status.
func TestDeletedSubnetKeepsItsStatus(t *testing.T) {
	s := decidetest.Subnet("net2", "", "12.0.1.0/24")
	s.DeletionTimestamp, s.Status = &metav1.Time{Time: time.Unix(9, 0)}, v1.SubnetStatus{Gateway: "12.0.1.1", MTU: 1400}
	d := Subnet(SubnetFacts{Name: s.Name, Subnet: s})
	if want, called := d.Want(); !called || !want.Empty() || d.Report().Status.MTU != 1400 || d.Report().Action != Release {
		t.Errorf("%v, %+v, %+v", called, want, d.Report())
	}
}

func TestRefusedSubnetKeepsItsStatus(t *testing.T) {
	s := decidetest.Subnet("net2", decidetest.Router, "12.0.1.0/24")
	s.Spec.NatOutgoing, s.Spec.MTU = true, 9000
	s.Status = v1.SubnetStatus{Gateway: "12.0.1.1", MTU: 1400}
	d := Subnet(SubnetFacts{Name: s.Name, Subnet: s, Vpc: decidetest.Vpc(decidetest.Router), Router: &Router{Name: decidetest.Router}, UnderlayMTU: 1500})
	if decidetest.Keeps(t, "a Subnet", d, "NatOutgoing"); d.Report().Status.MTU != 1400 {
		t.Errorf("its report is %+v", d.Report())
	}
}

// A Subnet with an invalid spec still has its prefix, and allocates no addresses.
func TestInvalidSubnetKeepsItsPrefix(t *testing.T) {
	s := decidetest.ReadySubnet("a", "ovn")
	s.Spec.ExcludeIPs = []string{"10.1.0.6..10.1.0.5"}
	net, err := LeasesOf(&s.Spec)
	if err != nil || len(net.Prefixes) != 1 || !net.Excluded[0].Contains(decidetest.Addr("10.1.0.77")) {
		t.Errorf("%+v, %v", net, err)
	}
	if err := Ready(s); decidetest.Reason(err) != "SubnetNotReady" || !strings.Contains(err.Error(), "excludeIps") {
		t.Errorf("it is ready: %v", err)
	}
	younger := decidetest.Subnet("z", s.Spec.Vpc, "10.1.0.0/16")
	d := Subnet(SubnetFacts{Name: "z", Subnet: younger, Others: []*v1.Subnet{s}, Vpc: decidetest.Vpc(decidetest.Router), Router: &Router{Name: decidetest.Router}})
	if decidetest.Reason(d.Problem()) != "Overlap" {
		t.Errorf("a younger Subnet takes its prefix: %v", d.Problem())
	}
}

func TestNodeKeepsItsPortIfSubnetIsInvalid(t *testing.T) {
	for _, home := range []string{"", decidetest.Router} {
		f := NodeFacts{Name: "n", NodeVpc: home, Leases: decidetest.Leases{}, Node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "u"}}}
		f.NodeSubnet = decidetest.Subnet(v1.JoinSubnet, v1.DefaultVpc, decidetest.CIDRs[v1.JoinSubnet])
		if home != "" {
			f.NodeSubnet = decidetest.ReadySubnet(v1.PodSubnet, "neutron")
		}
		f.NodeSubnet.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue}}
		f.Claim = Node(f).Report()
		if f.Claim == nil {
			t.Fatal(Node(f).Problem())
		}
		if home != "" {
			Bind(f.Claim, intent.PortStatus{ID: "id", Addrs: []netip.Prefix{decidetest.Prefix("10.1.0.5/24")}})
			if err := f.Leases.Claim(v1.PodSubnet, "node/n", []netip.Addr{decidetest.Addr("10.1.0.5")}); err != nil {
				t.Fatal(err)
			}
		}
		join := f.NodeSubnet
		f.NodeSubnet = nil
		decidetest.Keeps(t, "without its Subnet", Node(f), "SubnetNotReady")
		f.NodeSubnet = join.DeepCopy()
		f.NodeSubnet.Spec.ExcludeIPs = []string{invalidRange}
		want, called := Node(f).Want()
		if called && len(want.Ports) != 1 || Node(f).Report() == nil {
			t.Errorf("home %q: its port goes: %+v", home, want)
		}
	}
}

// If a Node's annotation names a port that does not exist, no pod moves to
// another port.
func TestMissingParentPortMovesNoPod(t *testing.T) {
	n := worker()
	n.Annotations[v1.ParentPort] = "typo"
	claim := &v1.IP{}
	claim.Spec.Attach.VLAN = &v1.AttachVLAN{Parent: "fa:16:3e:00:00:01"}
	ports := []ParentCandidate{candidate("mine", "fa:16:3e:00:00:01", "vm", "10.0.0.5"), candidate("second", "fa:16:3e:00:00:02", "vm", "10.9.0.1")}
	if got := portID(ParentPortSelectorOf(n, claim).Parent(ports)); got != "mine" {
		t.Errorf("a pod that runs is behind %q", got)
	}
	if got := portID(ParentPortSelectorOf(n, nil).Parent(ports)); got != "" {
		t.Errorf("a new pod is behind %q", got)
	}
}

// Services with load balancers keep their network, whatever changes later.
func TestServiceNetworkInUseStays(t *testing.T) {
	main := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: MainCIDR}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16", "fd00::/127"}}}
	f := ClusterFacts{NodeVpc: decidetest.Router, Router: &Router{Name: decidetest.Router}, InUse: true}
	decidetest.Keeps(t, "no ServiceCIDR", Cluster(f), "NoServiceCIDR")
	f.CIDRs = []*networkingv1.ServiceCIDR{main}
	decidetest.Keeps(t, "a second family that is no half", Cluster(f), "BadServiceCIDR")
	f.InUse = false
	if want, called := Cluster(f).Want(); !called || len(want.Groups) != 2 {
		t.Errorf("without Services there are no groups: %+v", want)
	}
}

// A Vpc keeps its router if another router of the same name appears.
func TestVpcKeepsItsRouter(t *testing.T) {
	theirs := &Router{Name: "r"}
	decidetest.Keeps(t, "a Vpc", Vpc(VpcFacts{Name: "blue", Vpc: decidetest.Vpc("blue"), Router: theirs}), "NameTaken")
	decidetest.Keeps(t, "the default Vpc", Vpc(VpcFacts{Name: v1.DefaultVpc, Vpc: decidetest.Vpc(v1.DefaultVpc), Router: theirs}), "NameTaken")
	v := decidetest.Vpc(v1.DefaultVpc)
	v.DeletionTimestamp = &v.CreationTimestamp
	if _, called := Vpc(VpcFacts{Name: v1.DefaultVpc, Vpc: v, Router: theirs}).Want(); !called {
		t.Error("the default Vpc that is deleted keeps its finalizer")
	}
	decidetest.Keeps(t, "one whose router is not there", Vpc(VpcFacts{Name: decidetest.Router, Vpc: decidetest.Vpc(decidetest.Router)}), "RouterGone")
}
