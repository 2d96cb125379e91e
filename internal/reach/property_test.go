package reach_test

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"github.com/isthmus-cni/isthmus/internal/reach"
)

// The groups permit a flow if and only if the policies allow it.
func TestGroupsMatchPolicies(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := someWorld(t)
		for i := range rapid.IntRange(0, 4).Draw(t, "policies") {
			w.Policies = append(w.Policies, somePolicy(t, fmt.Sprint("p", i)))
		}
		compareAll(t, w, probes)
	})
}

// A pod reaches a Service if it reaches all pods behind it. Test cases check a
// pod that is behind the Service itself.
func TestServicesFollowTheirPods(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := someWorld(t)
		for _, ns := range w.Namespaces { // one policy each: two that each permit a part of the pods do not permit the Service
			if p := somePolicy(t, "p"); rapid.Bool().Draw(t, "has policy") {
				p.Namespace = ns.Name
				w.Policies = append(w.Policies, p)
			}
		}
		w.Services = []*corev1.Service{someService(t)}
		n := network(t, w)
		for _, p := range w.Pods {
			f := reach.Flow{From: reach.PodAddrs(p)[0], To: netip.MustParseAddr("10.96.0.10"), Protocol: "tcp", Port: 80}
			if isBackend(w, f) {
				continue
			}
			if by, direct := n.Passes(f), w.Allows(f); by != direct {
				t.Fatalf("%+v: passes %v, by the API's words %v", f, by, direct)
			}
		}
	})
}

func isBackend(w reach.World, f reach.Flow) bool {
	for _, b := range w.Backends(w.Services[0], f) {
		if b.To == b.From {
			return true
		}
	}
	return false
}

func someService(t *rapid.T) *corev1.Service {
	target := rapid.SampledFrom([]intstr.IntOrString{intstr.FromInt32(80), intstr.FromInt32(8080), intstr.FromString("http")}).Draw(t, "target")
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "s"}, Spec: corev1.ServiceSpec{
		ClusterIP: "10.96.0.10", Selector: someLabels(t), Ports: []corev1.ServicePort{{Port: 80, TargetPort: target}},
	}}
}

func someWorld(t *rapid.T) reach.World {
	var w reach.World
	for _, n := range []string{"a", "b", "c"} {
		w.Namespaces = append(w.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n, Labels: someLabels(t)}})
	}
	for i, n := range []string{"node1", "node2"} {
		w.Nodes = append(w.Nodes, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: n},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Address: fmt.Sprint("10.0.0.", 30+i)}}},
		})
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "pods") {
		w.Pods = append(w.Pods, somePod(t, i))
	}
	for i, a := range []string{"10.0.0.16", "fd00::10"} {
		w.Outside = append(w.Outside, &reach.Outside{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("out", i)}, Addr: netip.MustParseAddr(a),
			SecurityGroups: rapid.SampledFrom([][]string{nil, {"x"}, {"x", "y"}}).Draw(t, "security groups"),
		})
	}
	return w
}

func somePod(t *rapid.T, i int) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: someNamespace(t), Name: fmt.Sprint("pod", i), Labels: someLabels(t)}}
	p.Spec.NodeName = rapid.SampledFrom([]string{"node1", "node2", ""}).Draw(t, "node")
	p.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprint("10.0.0.", 3*i)}, {IP: fmt.Sprintf("fd00::%x", 3*i)}}
	for _, c := range []string{"one", "two"} {
		port := corev1.ContainerPort{
			Name:          rapid.SampledFrom([]string{"http", "alt"}).Draw(t, "port name"),
			ContainerPort: int32(rapid.SampledFrom([]int{80, 81, 8080}).Draw(t, "port number")),
			Protocol:      *someProtocol(t),
		}
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c, Ports: []corev1.ContainerPort{port}})
	}
	return p
}

func someNamespace(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "namespace")
}

func someLabels(t *rapid.T) map[string]string {
	return rapid.MapOfN(rapid.SampledFrom([]string{"k", "l"}), rapid.SampledFrom([]string{"u", "v"}), 0, 2).Draw(t, "labels")
}

func someProtocol(t *rapid.T) *corev1.Protocol {
	p := rapid.SampledFrom([]corev1.Protocol{"TCP", "UDP", "SCTP"}).Draw(t, "protocol")
	return &p
}

func someSelector(t *rapid.T) *metav1.LabelSelector {
	s := &metav1.LabelSelector{}
	if rapid.Bool().Draw(t, "match labels") {
		s.MatchLabels = someLabels(t)
	}
	if rapid.Bool().Draw(t, "match expressions") {
		r := metav1.LabelSelectorRequirement{Key: rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key")}
		r.Operator = rapid.SampledFrom([]metav1.LabelSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist"}).Draw(t, "operator")
		if r.Operator == "In" || r.Operator == "NotIn" {
			r.Values = rapid.SampledFrom([][]string{{"u"}, {"v", "u"}, {"u", "v", "w"}}).Draw(t, "values")
		}
		s.MatchExpressions = append(s.MatchExpressions, r)
	}
	return s
}

func somePolicy(t *rapid.T, name string) *netv1.NetworkPolicy {
	p := &netv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: someNamespace(t), Name: name}}
	p.Spec.PodSelector = *someSelector(t)
	p.Spec.PolicyTypes = rapid.SampledFrom([][]netv1.PolicyType{nil, {"Ingress"}, {"Egress"}, {"Ingress", "Egress"}}).Draw(t, "types")
	peers := func() []netv1.NetworkPolicyPeer {
		return rapid.SliceOfN(rapid.Custom(somePeer), 0, 2).Draw(t, "peers")
	}
	ports := func() []netv1.NetworkPolicyPort {
		return rapid.SliceOfN(rapid.Custom(somePort), 0, 2).Draw(t, "ports")
	}
	for range rapid.IntRange(0, 2).Draw(t, "ingress") {
		p.Spec.Ingress = append(p.Spec.Ingress, netv1.NetworkPolicyIngressRule{From: peers(), Ports: ports()})
	}
	for range rapid.IntRange(0, 2).Draw(t, "egress") {
		p.Spec.Egress = append(p.Spec.Egress, netv1.NetworkPolicyEgressRule{To: peers(), Ports: ports()})
	}
	return p
}

func somePeer(t *rapid.T) netv1.NetworkPolicyPeer {
	switch rapid.IntRange(0, 4).Draw(t, "peer") {
	case 0:
		return netv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
			"openstack.org/security-group": rapid.SampledFrom([]string{"x", "y"}).Draw(t, "group"),
		}}}
	case 1, 2:
		return netv1.NetworkPolicyPeer{IPBlock: someBlock(t)}
	}
	return podPeer(t)
}

func podPeer(t *rapid.T) netv1.NetworkPolicyPeer {
	var p netv1.NetworkPolicyPeer
	which := rapid.IntRange(1, 3).Draw(t, "selectors")
	if which&1 != 0 {
		p.PodSelector = someSelector(t)
	}
	if which&2 != 0 {
		p.NamespaceSelector = someSelector(t)
	}
	return p
}

// someBlock returns a block of all addresses or of 8 to 32, with up to three
// exceptions of 1 to 16 addresses.
func someBlock(t *rapid.T) *netv1.IPBlock {
	base, most := netip.MustParseAddr("10.0.0.0"), 32
	if rapid.Bool().Draw(t, "v6") {
		base, most = netip.MustParseAddr("fd00::"), 128
	}
	bits := rapid.SampledFrom([]int{0, most - 5, most - 4, most - 3}).Draw(t, "bits")
	some := func(bits int) string {
		b := base.AsSlice()
		b[len(b)-1] = byte(rapid.IntRange(0, 31).Draw(t, "address"))
		a, _ := netip.AddrFromSlice(b)
		return netip.PrefixFrom(a, bits).Masked().String()
	}
	block := &netv1.IPBlock{CIDR: some(bits)}
	for range rapid.IntRange(0, 3).Draw(t, "exceptions") {
		block.Except = append(block.Except, some(rapid.IntRange(most-4, most).Draw(t, "bits")))
	}
	return block
}

func somePort(t *rapid.T) netv1.NetworkPolicyPort {
	p := netv1.NetworkPolicyPort{}
	if rapid.Bool().Draw(t, "has protocol") {
		p.Protocol = someProtocol(t)
	}
	port := rapid.SampledFrom([]intstr.IntOrString{
		intstr.FromInt32(80), intstr.FromInt32(81), intstr.FromInt32(8080), intstr.FromString("http"), intstr.FromString("alt"),
	}).Draw(t, "port")
	if rapid.Bool().Draw(t, "has port") {
		p.Port = &port
		if last := port.IntVal + int32(rapid.IntRange(0, 10).Draw(t, "more")); port.Type == intstr.Int && rapid.Bool().Draw(t, "range") {
			p.EndPort = &last
		}
	}
	return p
}
