package pod

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/decidetest"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Which port a pod on Neutron asks for, and what prevents it.
func TestPodsOnNeutron(t *testing.T) {
	base := intent.Port{Name: "a/p", Network: "net2", Version: "u", Node: "node1"}
	for _, row := range []struct {
		name, reason string
		set          func(*Facts)
		port         func(*intent.Port)
	}{
		{"any address", "", func(*Facts) {}, func(p *intent.Port) { p.Groups = []string{policy.GroupPods} }},
		{"not bound", NotBound, func(f *Facts) { f.Pod.Spec.NodeName = "" }, nil},
		{"an address of its choice", "", func(f *Facts) {
			f.Pod.Annotations = map[string]string{v1.AnnotationIPAddress: "10.1.0.7", v1.AnnotationMACAddress: "0a:00:00:00:00:07"}
		}, func(p *intent.Port) {
			p.Addrs, p.MAC, p.Groups = []netip.Addr{decidetest.Addr("10.1.0.7")}, "0a:00:00:00:00:07", []string{policy.GroupPods}
		}},
		{"the settings' groups", "", func(f *Facts) { f.Standard = []string{"1"} }, func(p *intent.Port) {
			p.CloudGroups = []string{"1"}
		}},
		{"its node is in Neutron, too", "", func(f *Facts) { f.Standard, f.NodeVpc = []string{"1"}, decidetest.Router }, func(p *intent.Port) {
			p.Groups, p.CloudGroups = []string{policy.GuardGroup("node1")}, []string{"1"}
		}},
		{"a policy isolates it", "", func(f *Facts) {
			f.Policies = policy.NewIndex([]*networkingv1.NetworkPolicy{{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "deny"}}})
		}, func(p *intent.Port) { p.Groups = []string{policy.OpenEgress, "policy/a/deny"} }},
		{"groups of its choice", "", func(f *Facts) {
			f.Standard, f.CloudGroups = []string{"1"}, map[string]string{"web": "2", "3": "3"}
			f.Pod.Annotations = map[string]string{policy.AnnotationSecurityGroups: "web, 3"}
		}, func(p *intent.Port) { p.CloudGroups = []string{"2", "3"} }},
		{"a group that its namespace does not allow", "NotAllowed", func(f *Facts) {
			f.CloudGroups = map[string]string{"web": "2"}
			f.Pod.Annotations = map[string]string{policy.AnnotationSecurityGroups: "web"}
			f.InNamespace = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{policy.AnnotationAllowedSecurityGroups: "db"}}}
		}, nil},
		{"a group that is not there", "UnknownSecurityGroup", func(f *Facts) {
			f.Pod.Annotations = map[string]string{policy.AnnotationSecurityGroups: "web"}
		}, nil},
		{"finished", "", func(f *Facts) { f.Pod.Status.Phase = corev1.PodSucceeded }, nil},
	} {
		f := Facts{
			Namespace: "a", Name: "p", Subnets: []*v1.Subnet{decidetest.ReadySubnet("net2", "neutron")}, Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a", UID: "u"}, Spec: corev1.PodSpec{NodeName: "node1"}},
			PlaceFacts: PlaceFacts{Vpcs: []*v1.Vpc{decidetest.Vpc(decidetest.Router, "a")}},
			ClaimFacts: ClaimFacts{Leases: decidetest.Leases{}},
		}
		row.set(&f)
		got, ip, err := decidetest.Parts(Decide(f))
		want := intent.Want{}
		if row.port != nil {
			p := base
			row.port(&p)
			want = intent.Want{Fabric: intent.FabricNeutron, Ports: []intent.Port{p}}
		}
		if diff := cmp.Diff(want, got, decidetest.Compare); diff != "" || decidetest.Reason(err) != row.reason {
			t.Errorf("%s: %v\n%s", row.name, err, diff)
		}
		if (row.port != nil) != (ip != nil) || decide.Attached(ip) {
			t.Errorf("%s: the draft is %+v", row.name, ip)
		}
	}
}

// A pod with a claim asks for the port that the claim names.
func TestNeutronClaimStays(t *testing.T) {
	ip := &v1.IP{ObjectMeta: metav1.ObjectMeta{Name: "p.a"}, Spec: v1.IPSpec{PodName: "p", Namespace: "a", PodUID: "u", Subnet: "net2"}}
	decide.Bind(ip, intent.PortStatus{
		ID: "port1", MAC: "fa:16:3e:00:00:01", MTU: 1442,
		Addrs: []netip.Prefix{decidetest.Prefix("10.1.0.9/24")}, Gateways: []netip.Addr{decidetest.Addr("10.1.0.1")},
	})
	if decide.FabricOfIP(ip) != intent.FabricNeutron || ip.Spec.V4Gateway != "10.1.0.1" || ip.Spec.V4PrefixLength != 24 || ip.Spec.MTU != 1442 {
		t.Errorf("the claim is %+v", ip.Spec)
	}
	l := decidetest.Leases{}
	if err := l.Claim("net2", "pod/a/p", []netip.Addr{decidetest.Addr("10.1.0.9")}); err != nil {
		t.Fatal(err)
	}
	// The claim is sufficient; the Subnet may not exist any more.
	f := Facts{
		Namespace: "a", Name: "p", Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a", UID: "u"}, Spec: corev1.PodSpec{NodeName: "node1"}},
		ClaimFacts: ClaimFacts{Claim: ip, Leases: l},
	}
	got, report, err := decidetest.Parts(Decide(f))
	want := intent.Want{Fabric: intent.FabricNeutron, Ports: []intent.Port{{
		Name: "a/p", Network: "net2", MAC: "fa:16:3e:00:00:01", Addrs: []netip.Addr{decidetest.Addr("10.1.0.9")}, Version: "u", Node: "node1", Groups: []string{policy.GroupPods},
	}}}
	if diff := cmp.Diff(want, got, decidetest.Compare); diff != "" || err != nil || report.Spec.Attach.OVS.IfaceID != "port1" {
		t.Error(err, diff, report)
	}
	// A pod that asks for a group that it cannot have keeps its port.
	f.Pod.Annotations = map[string]string{policy.AnnotationSecurityGroups: "nobody's"}
	got, _, err = decidetest.Parts(Decide(f))
	if diff := cmp.Diff(want, got, decidetest.Compare); diff != "" || decidetest.Reason(err) != "UnknownSecurityGroup" {
		t.Error(err, diff)
	}
}

// If the nodes are on a Neutron router, there is no overlay, and pods use Subnet
// pods.
func TestNodesInNeutron(t *testing.T) {
	if want, report, _ := decidetest.Parts(decide.Vpc(decide.VpcFacts{Name: v1.DefaultVpc, NodeVpc: decidetest.Router})); !want.Empty() || report.Action != "" {
		t.Errorf("Vpc ovn-cluster: %+v %+v", want, report)
	}
	pods := decidetest.ReadySubnet(v1.PodSubnet, "neutron")
	pods.Spec.Namespaces = nil
	f := Facts{
		Namespace: "any", Name: "p", NodeVpc: decidetest.Router, Subnets: []*v1.Subnet{pods}, Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "any", UID: "u"}, Spec: corev1.PodSpec{NodeName: "node1"}},
		PlaceFacts: PlaceFacts{Vpcs: []*v1.Vpc{decidetest.Vpc(decidetest.Router)}},
		ClaimFacts: ClaimFacts{Leases: decidetest.Leases{}},
	}
	got, ip, err := decidetest.Parts(Decide(f))
	if err != nil || len(got.Ports) != 1 || got.Ports[0].Network != decide.PodNetwork || ip.Spec.HostLink {
		t.Errorf("%v: %+v %+v", err, got, ip)
	}
}

// The Neutron router of the nodes may name namespaces, as every Vpc may. Other
// namespaces may then use only its default Subnet.
func TestDefaultSubnetIsForAllNamespaces(t *testing.T) {
	pods, other := decidetest.ReadySubnet(v1.PodSubnet, "neutron"), decidetest.ReadySubnet("net2", "neutron")
	pods.Spec.Namespaces, other.Spec.Namespaces = nil, nil
	f := Facts{
		Namespace: "a", Name: "p", NodeVpc: decidetest.Router, Subnets: []*v1.Subnet{pods, other}, Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a", UID: "u"}, Spec: corev1.PodSpec{NodeName: "node1"}},
		PlaceFacts: PlaceFacts{Vpcs: []*v1.Vpc{decidetest.Vpc(decidetest.Router, "b")}},
		ClaimFacts: ClaimFacts{Leases: decidetest.Leases{}},
	}
	if got, _, err := decidetest.Parts(Decide(f)); err != nil || len(got.Ports) != 1 || got.Ports[0].Network != decide.PodNetwork {
		t.Error(err, got)
	}
	f.Pod.Annotations = map[string]string{v1.AnnotationSubnet: "net2"}
	if _, _, err := decidetest.Parts(Decide(f)); decidetest.Reason(err) != "NotAllowed" {
		t.Error(err)
	}
}

// A project that does not exist delays only new Neutron ports.
func TestProjects(t *testing.T) {
	problem := intent.Wait{Reason: "UnknownProject"}
	attached := &v1.IP{
		ObjectMeta: metav1.ObjectMeta{Name: "p.a"},
		Spec: v1.IPSpec{
			PodName: "p", Namespace: "a", PodUID: "u", Subnet: "net2", V4IPAddress: "10.1.0.9",
			Attach: v1.Attach{OVS: &v1.AttachOVS{IfaceID: "port1"}},
		},
	}
	for _, row := range []struct {
		name, provider, project, want, reason string
		problem                               error
		claim                                 *v1.IP
	}{
		{"none asked for", "neutron", "", "", "", nil, nil},
		{"one that is there", "neutron", "P", "P", "", nil, nil},
		{"one that is not", "neutron", "P", "", "UnknownProject", problem, nil},
		{"one that is not, of a pod that runs", "neutron", "P", "P", "", problem, attached},
		{"one that is not, of a pod that is not on Neutron", "ovn", "P", "", "", problem, nil},
	} {
		l := decidetest.Leases{}
		if row.claim != nil {
			l[decidetest.Addr("10.1.0.9")] = "net2 pod/a/p"
		}
		got, _, err := decidetest.Parts(Decide(Facts{
			Namespace: "a", Name: "p", Subnets: []*v1.Subnet{decidetest.ReadySubnet("net2", row.provider)}, Pod: &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "a", UID: "u", Annotations: map[string]string{v1.AnnotationIPAddress: "10.1.0.9"}},
				Spec:       corev1.PodSpec{NodeName: "node1"},
			},
			PlaceFacts: PlaceFacts{Vpcs: []*v1.Vpc{decidetest.Vpc(decidetest.Router, "a")}},
			ClaimFacts: ClaimFacts{Leases: l, Claim: row.claim},
			PortFacts:  PortFacts{Project: row.project, ProjectProblem: row.problem},
		}))
		if decidetest.Reason(err) != row.reason || len(got.Ports) == 1 && got.Ports[0].Project != row.want || (err == nil) != (len(got.Ports) == 1) {
			t.Errorf("%s: %v: %+v", row.name, err, got)
		}
	}
}
