package pod

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// nestedFacts returns the facts about a pod on a Node that is a virtual machine.
func nestedFacts() Facts {
	s := decidetest.Subnet("ovn-default", v1.DefaultVpc, decidetest.CIDRs["ovn-default"])
	s.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue}}
	return Facts{
		Namespace: "ns", Name: "p", Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}, Spec: corev1.PodSpec{NodeName: "w"}}, Subnets: []*v1.Subnet{s},
		AttachFacts: AttachFacts{OnNode: true, Nested: true, Parent: &decide.ParentPort{Port: "vm-port", MAC: "fa:16:3e:00:00:01"}},
		PlaceFacts:  PlaceFacts{Vpcs: []*v1.Vpc{decidetest.Vpc(v1.DefaultVpc)}},
		ClaimFacts:  ClaimFacts{Leases: decidetest.Leases{}},
	}
}

func TestNestedPod(t *testing.T) {
	f := nestedFacts()
	want, ip, err := decidetest.Parts(Decide(f))
	port := intent.Port{
		Name: "p.ns", Network: "ovn-default", MAC: "02:00:0a:10:00:02", Addrs: []netip.Addr{netip.MustParseAddr("10.16.0.2")},
		Node: "w", Parent: "vm-port", Version: "u", MustBeUp: true,
	}
	if diff := cmp.Diff(intent.Want{Ports: []intent.Port{port}}, want, decidetest.Compare); diff != "" || err != nil {
		t.Fatal(err, diff)
	}
	if decide.Attached(ip) || !ip.Spec.HostLink {
		t.Errorf("a claim without tag: %+v", ip.Spec)
	}
	decide.Bind(ip, intent.PortStatus{Tag: 7})
	attach := v1.Attach{VLAN: &v1.AttachVLAN{Parent: "fa:16:3e:00:00:01", Tag: 7}}
	if diff := cmp.Diff(attach, ip.Spec.Attach); diff != "" || ip.Spec.MacAddress != "02:00:0a:10:00:02" {
		t.Error(ip.Spec, diff)
	}
	// A pod with a claim does not wait again, and asks for its tag.
	f.Claim = ip
	want, again, err := decidetest.Parts(Decide(f))
	if port.MustBeUp, port.Tag = false, 7; !cmp.Equal(want.Ports[0], port, decidetest.Compare) || err != nil {
		t.Errorf("%v: %+v", err, want.Ports[0])
	}
	if decide.Bind(again, intent.PortStatus{Tag: 9}); Retagged(ip, again) == "" || Retagged(ip, ip) != "" {
		t.Error("that a tag moved is not told")
	}
}

// A claim that was written before the node's plug was known is corrected.
func TestClaimIsCorrectedWhenPlugIsKnown(t *testing.T) {
	f := nestedFacts()
	f.Nested, f.Parent = false, nil
	_, early, err := decidetest.Parts(Decide(f))
	if err != nil || early.Spec.Attach.OVS == nil || early.Spec.HostLink {
		t.Fatal(err, early.Spec)
	}
	f.Claim = early
	f.Nested, f.Parent = true, nestedFacts().Parent
	want, ip, err := decidetest.Parts(Decide(f))
	if err != nil || ip.Spec.Attach.OVS != nil || !want.Ports[0].MustBeUp || !ip.Spec.HostLink {
		t.Errorf("%v: %+v %+v", err, want.Ports, ip.Spec)
	}
	decide.Bind(ip, intent.PortStatus{Tag: 7})
	f.Claim, f.Nested, f.Parent = ip, false, nil
	want, ip, err = decidetest.Parts(Decide(f))
	if err != nil || !cmp.Equal(early.Spec, ip.Spec) || want.Ports[0].Parent != "" {
		t.Errorf("%v: %+v", err, ip.Spec)
	}
}

func TestNestedPodWithoutParentPort(t *testing.T) {
	f := nestedFacts()
	_, ip, _ := decidetest.Parts(Decide(f))
	decide.Bind(ip, intent.PortStatus{Tag: 7})
	f.Claim, f.Parent = ip, nil
	want, kept, err := decidetest.Parts(Decide(f))
	if decidetest.Reason(err) != decide.NoParentPort || !want.Empty() || kept == nil || !cmp.Equal(kept.Spec.Attach, ip.Spec.Attach) {
		t.Errorf("%v: %+v, %+v", err, want, kept)
	}
	// A deleted Node's parent port is used as long as it exists in OpenStack.
	f.OnNode, f.Nested, f.Parent = false, false, nestedFacts().Parent
	if want, _, err := decidetest.Parts(Decide(f)); err != nil || want.Ports[0].Parent != "vm-port" {
		t.Errorf("%v: %+v", err, want)
	}
}

// A node whose Open vSwitch is stopped may seem to be a virtual machine: its
// running pods keep what they have, on both fabrics.
func TestPodOnNodeThatSeemsNested(t *testing.T) {
	for _, home := range []string{"", decidetest.Router} {
		f := nestedFacts()
		f.Nested, f.Parent, f.NodeVpc = false, nil, home
		if home != "" {
			f.Subnets[0].Name, f.Subnets[0].Spec.Provider, f.Subnets[0].Spec.Vpc = v1.PodSubnet, "neutron", decidetest.Router
		}
		_, ip, err := decidetest.Parts(Decide(f))
		if err != nil {
			t.Fatal(err)
		}
		if home != "" {
			decide.Bind(ip, intent.PortStatus{ID: "id", MAC: "fa:16:3e:00:00:07", Addrs: []netip.Prefix{decidetest.Prefix("10.16.0.7/29")}, MTU: 1442})
		}
		f.Claim = ip
		before, stood, err := decidetest.Parts(Decide(f))
		if err != nil {
			t.Fatal(err)
		}
		f.Nested = true
		after, kept, err := decidetest.Parts(Decide(f))
		if diff := cmp.Diff(before, after, decidetest.Compare); diff != "" || decidetest.Reason(err) != decide.NoParentPort || !cmp.Equal(kept, stood) {
			t.Errorf("home %q: %v: %s", home, err, diff)
		}
	}
}

// If some nodes are nested, a pod that is not bound has its address and its port,
// but its claim is not written yet.
func TestPodThatMayBecomeNested(t *testing.T) {
	f := nestedFacts()
	f.Pod.Spec.NodeName, f.OnNode, f.Nested, f.Parent, f.SomeNested = "", false, false, nil, true
	want, ip, err := decidetest.Parts(Decide(f))
	if decidetest.Reason(err) != NotBound || len(want.Ports) != 1 || want.Ports[0].Parent != "" || ip == nil {
		t.Errorf("%v: %+v, %+v", err, want, ip)
	}
}

func TestNestedPodOnNeutron(t *testing.T) {
	f := nestedFacts()
	f.NodeVpc = decidetest.Router
	f.Subnets[0].Name, f.Subnets[0].Spec.Provider, f.Subnets[0].Spec.Vpc = v1.PodSubnet, "neutron", decidetest.Router
	want, ip, err := decidetest.Parts(Decide(f))
	if err != nil || want.Fabric != intent.FabricNeutron || want.Ports[0].Parent != "vm-port" || !want.Ports[0].MustBeUp || !ip.Spec.HostLink {
		t.Fatalf("%v: %+v", err, want)
	}
	decide.Bind(ip, intent.PortStatus{ID: "id", MAC: "fa:16:3e:00:00:07", Addrs: []netip.Prefix{decidetest.Prefix("10.16.0.7/29")}, MTU: 1442, Tag: 7})
	if decide.FabricOfIP(ip) != intent.FabricNeutron || decide.CloudPort(ip) != "id" {
		t.Errorf("%+v", ip.Spec.Attach)
	}
	if want := (v1.AttachVLAN{Parent: "fa:16:3e:00:00:01", Tag: 7, Port: "id"}); *ip.Spec.Attach.VLAN != want {
		t.Errorf("%+v", ip.Spec.Attach.VLAN)
	}
}
