package pod

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
)

func TestPlace(t *testing.T) {
	ready := func(s *v1.Subnet) *v1.Subnet {
		s.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue}}
		return s
	}
	def, mine, bound := ready(decidetest.Subnet("own", "ovn-cluster", "10.3.0.0/16")), decidetest.Subnet("x", "blue", "10.0.0.0/16"), ready(decidetest.Subnet("y", "blue", "10.2.0.0/16", "b"))
	def.Spec.Default = true
	subnets := []*v1.Subnet{ready(decidetest.Subnet("ovn-default", "ovn-cluster", "10.1.0.0/16")), def, mine, bound, decidetest.Subnet("p", "blue", "10.4.0.0/16", "b", "c")}
	blue := decidetest.Vpc("blue", "a", "b", "d")
	blue.Spec.DefaultSubnet = "x"
	for _, row := range []struct{ namespace, annotation, subnet, reason string }{
		{"a", "", "x", "SubnetNotReady"},
		{"b", "", "y", ""}, // p is older, y is ready.
		{"c", "", "p", "SubnetNotReady"},
		{"e", "", "own", ""},
		{"e", "ovn-default", "ovn-default", ""},
		{"e", "y", "y", "NotAllowed"},
		{"e", "x", "x", "NotAllowed"},
		{"e", "join", "", "UnknownSubnet"},
	} {
		f := Facts{
			Namespace: row.namespace, Name: "p", Subnets: subnets, Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1.AnnotationSubnet: row.annotation}}},
			PlaceFacts: PlaceFacts{Vpcs: []*v1.Vpc{decidetest.Vpc("ovn-cluster"), blue}},
		}
		s, err := place(f)
		if decidetest.Reason(err) != row.reason || s != nil && s.Name != row.subnet {
			t.Errorf("%s/%s: %v, %v", row.namespace, row.annotation, s, err)
		}
	}
}

// Pods wait for their namespace's Subnet and do not use another one.
func TestPodsWaitForTheirSubnet(t *testing.T) {
	pods := decidetest.ReadySubnet(v1.PodSubnet, "neutron")
	pods.Spec.Namespaces = nil
	f := Facts{
		Namespace: "a", Name: "p", NodeVpc: decidetest.Router, Subnets: []*v1.Subnet{pods}, Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a", UID: "u"}, Spec: corev1.PodSpec{NodeName: "node1"}},
		PlaceFacts: PlaceFacts{OwnSubnet: true, Vpcs: []*v1.Vpc{decidetest.Vpc(decidetest.Router)}},
		ClaimFacts: ClaimFacts{Leases: decidetest.Leases{}},
	}
	if _, _, err := decidetest.Parts(Decide(f)); decidetest.Reason(err) != "UnknownSubnet" {
		t.Error(err)
	}
	mine := decidetest.ReadySubnet("ns-a", "neutron")
	f.Subnets = append(f.Subnets, mine)
	if got, _, err := decidetest.Parts(Decide(f)); err != nil || got.Ports[0].Network != "ns-a" {
		t.Errorf("%v: %+v", err, got)
	}
	f.Pod.Annotations = map[string]string{v1.AnnotationSubnet: v1.PodSubnet}
	if got, _, err := decidetest.Parts(Decide(f)); err != nil || got.Ports[0].Network != decide.PodNetwork {
		t.Errorf("by annotation: %v: %+v", err, got)
	}
}
