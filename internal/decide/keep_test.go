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
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// These tests say what becomes of what stands when its object can no longer be
// read or done: it stays as it is, and the problem is reported.

// keeps fails unless d keeps what stands, for that reason.
func keeps[R any](t *testing.T, name string, d intent.Decision[R], why string) {
	t.Helper()
	if want, called := d.Want(); called || !want.Empty() || reason(d.Problem()) != why {
		t.Errorf("%s: it is to be %+v (%v): %v", name, want, called, d.Problem())
	}
}

// backwards is a range that the schema admits and nobody can read.
const backwards = "10.16.0.6..10.16.0.5"

func TestASubnetThatCannotBeReadStays(t *testing.T) {
	s := subnetOf("ovn-default", v1.DefaultVpc, "10.16.0.0/16")
	s.Spec.ExcludeIPs = []string{backwards}
	s.Status = v1.SubnetStatus{Gateway: "10.16.0.1", MTU: 1400, V4UsingIPs: 3}
	for _, users := range [][]string{nil, {"pod/ns/p"}} {
		f := SubnetFacts{Name: s.Name, Subnet: s, Users: users, UnderlayMTU: 1500}
		d := Subnet(f)
		keeps(t, "a Subnet", d, "InvalidSpec")
		if got := d.Report(); got.Status.Gateway != "10.16.0.1" || got.Status.MTU != 1400 || got.Action != "" {
			t.Errorf("its report is %+v", got)
		}
		gone := s.DeepCopy()
		gone.DeletionTimestamp = &s.CreationTimestamp
		f.Subnet = gone
		if len(users) > 0 {
			keeps(t, "a Subnet that is deleted", Subnet(f), "InUse")
			continue
		}
		if want, called := Subnet(f).Want(); !called || !want.Empty() || Subnet(f).Report().Action != Release {
			t.Errorf("a Subnet that is deleted and not in use stays: %+v", want)
		}
	}
}

func TestASubnetThatIsRefusedKeepsItsStatus(t *testing.T) {
	s := subnetOf("net2", router0, "12.0.1.0/24")
	s.Spec.NatOutgoing, s.Spec.MTU = true, 9000
	s.Status = v1.SubnetStatus{Gateway: "12.0.1.1", MTU: 1400}
	d := Subnet(SubnetFacts{Name: s.Name, Subnet: s, Vpc: vpcOf(router0), Router: &Router{Name: router0}, UnderlayMTU: 1500})
	if keeps(t, "a Subnet", d, "NatOutgoing"); d.Report().Status.MTU != 1400 {
		t.Errorf("its report is %+v", d.Report())
	}
}

// A Subnet that cannot be read still has its prefix, and gives no address.
func TestWhatIsReadOfASubnetThatCannotBe(t *testing.T) {
	s := readySubnet("a", "ovn")
	s.Spec.ExcludeIPs = []string{"10.1.0.6..10.1.0.5"}
	net, err := LeasesOf(&s.Spec)
	if err != nil || len(net.Prefixes) != 1 || !net.Excluded[0].Contains(addr("10.1.0.77")) {
		t.Errorf("%+v, %v", net, err)
	}
	if err := ready(s); reason(err) != "SubnetNotReady" || !strings.Contains(err.Error(), "excludeIps") {
		t.Errorf("it is ready: %v", err)
	}
	younger := subnetOf("z", s.Spec.Vpc, "10.1.0.0/16")
	d := Subnet(SubnetFacts{Name: "z", Subnet: younger, Others: []*v1.Subnet{s}, Vpc: vpcOf(router0), Router: &Router{Name: router0}})
	if reason(d.Problem()) != "Overlap" {
		t.Errorf("a younger Subnet takes its prefix: %v", d.Problem())
	}
}

func TestANodeKeepsItsPortWhenItsSubnetCannotBeRead(t *testing.T) {
	for _, home := range []string{"", router0} {
		f := NodeFacts{Name: "n", NodeVpc: home, Leases: book{}, Node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "u"}}}
		f.Join = subnetOf(v1.JoinSubnet, v1.DefaultVpc, cidrs[v1.JoinSubnet])
		if home != "" {
			f.Join = readySubnet(v1.PodSubnet, "neutron")
		}
		f.Join.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue}}
		f.Claim = Node(f).Report()
		if f.Claim == nil {
			t.Fatal(Node(f).Problem())
		}
		if home != "" {
			Bind(f.Claim, intent.PortStatus{ID: "id", Addrs: []netip.Prefix{prefix("10.1.0.5/24")}})
			if err := f.Leases.Claim(v1.PodSubnet, "node/n", []netip.Addr{addr("10.1.0.5")}); err != nil {
				t.Fatal(err)
			}
		}
		join := f.Join
		f.Join = nil
		keeps(t, "without its Subnet", Node(f), "SubnetNotReady")
		f.Join = join.DeepCopy()
		f.Join.Spec.ExcludeIPs = []string{backwards}
		want, called := Node(f).Want()
		if called && len(want.Ports) != 1 || Node(f).Report() == nil {
			t.Errorf("home %q: its port goes: %+v", home, want)
		}
	}
}

// What a pod that runs has stays, whatever its annotations ask for by now.
func TestAPodKeepsItsPort(t *testing.T) {
	f := inVM()
	f.Nested, f.Parent, f.NodeVpc = false, nil, router0
	f.Subnets[0].Name, f.Subnets[0].Spec.Provider, f.Subnets[0].Spec.Vpc = v1.PodSubnet, "neutron", router0
	f.Claim = Pod(f).Report()
	Bind(f.Claim, intent.PortStatus{ID: "id", MAC: "fa:16:3e:00:00:07", Addrs: []netip.Prefix{prefix("10.16.0.3/29")}})
	if err := f.Leases.Claim(v1.PodSubnet, "pod/ns/p", []netip.Addr{addr("10.16.0.3")}); err != nil {
		t.Fatal(err)
	}
	f.Pod.Annotations = map[string]string{v1.AnnotationMACAddress: "nonsense", v1.AnnotationSubnet: "nowhere"}
	if want, _, err := parts(Pod(f)); err != nil || len(want.Ports) != 1 {
		t.Errorf("%+v, %v", want, err)
	}
	// It would have to be plugged otherwise, and that cannot be done.
	f.Nested, f.Parent = true, inVM().Parent
	keeps(t, "a pod to be plugged otherwise", Pod(f), "UnknownSubnet")
	// Another pod of the name gets nothing of it.
	f.Pod = f.Pod.DeepCopy()
	f.Pod.UID = "other"
	if want, called := Pod(f).Want(); !called || !want.Empty() || Pod(f).Report() != nil {
		t.Errorf("a pod of the same name has its port: %+v", want)
	}
}

// That a Node's annotation names no port moves no pod.
func TestAParentPortThatIsNotThereMovesNoPod(t *testing.T) {
	n := worker()
	n.Annotations[v1.ParentPort] = "typo"
	claim := &v1.IP{}
	claim.Spec.Attach.VLAN = &v1.AttachVLAN{Parent: "fa:16:3e:00:00:01"}
	ports := []ParentCandidate{hostPort("mine", "fa:16:3e:00:00:01", "vm", "10.0.0.5"), hostPort("second", "fa:16:3e:00:00:02", "vm", "10.9.0.1")}
	if got := portID(ParentPortSelectorOf(n, claim).Parent(ports)); got != "mine" {
		t.Errorf("a pod that runs is behind %q", got)
	}
	if got := portID(ParentPortSelectorOf(n, nil).Parent(ports)); got != "" {
		t.Errorf("a new pod is behind %q", got)
	}
}

func TestAServiceThatIsRefusedKeepsItsBalancer(t *testing.T) {
	lb := func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "172.24.4.7"}}
	}
	waiting := intent.Wait{Reason: "Unread"}
	for _, row := range []struct {
		name, why string
		change    func(*ServiceFacts)
	}{
		{"a typo in a timeout", "BadRequest", func(f *ServiceFacts) { f.Service.Annotations = map[string]string{AnnotationClientTimeout: "ten"} }},
		{"a field that no balancer does", "Unsupported", func(f *ServiceFacts) {
			f.Service.Spec.InternalTrafficPolicy = new(corev1.ServiceInternalTrafficPolicyLocal)
		}},
		{"a wrong source range", "BadRequest", func(f *ServiceFacts) { f.Service.Spec.LoadBalancerSourceRanges = []string{"all"} }},
		{"a wrong address", "BadRequest", func(f *ServiceFacts) { f.Service.Spec.LoadBalancerIP = "here" }},
		{"no network of floating IPs any more", "NoExternalNetwork", func(f *ServiceFacts) { f.ExternalNetwork = "" }},
		{"nobody can say which network that is", "Unread", func(f *ServiceFacts) { f.ExternalProblem = waiting }},
		{"nobody can say which project it is", "Unread", func(f *ServiceFacts) { f.ProjectProblem = waiting }},
	} {
		f := serviceFacts(serviceOf(lb), sliceOf(8080, endpointAt("10.16.0.5")))
		row.change(&f)
		keeps(t, row.name, Service(f), row.why)
		if b, balanced := Frontends(f); !balanced || len(b.Listeners) != 1 || len(b.Listeners[0].Members) != 1 {
			t.Errorf("%s: policies see %+v", row.name, b)
		}
	}
}

// What comes later takes the network of Services with load balancers from nobody.
func TestServiceNetworkInUseStays(t *testing.T) {
	main := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: MainCIDR}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16", "fd00::/127"}}}
	f := ClusterFacts{NodeVpc: router0, Router: &Router{Name: router0}, InUse: true}
	keeps(t, "no ServiceCIDR", Cluster(f), "NoServiceCIDR")
	f.CIDRs = []*networkingv1.ServiceCIDR{main}
	keeps(t, "a second family that is no half", Cluster(f), "BadServiceCIDR")
	f.InUse = false
	if want, called := Cluster(f).Want(); !called || len(want.Groups) != 2 {
		t.Errorf("without Services there are no groups: %+v", want)
	}
}

// A Vpc does not lose its router for another's of the name.
func TestAVpcKeepsItsRouter(t *testing.T) {
	theirs := &Router{Name: "r"}
	keeps(t, "a Vpc", Vpc(VpcFacts{Name: "blue", Vpc: vpcOf("blue"), Router: theirs}), "NameTaken")
	keeps(t, "the default Vpc", Vpc(VpcFacts{Name: v1.DefaultVpc, Vpc: vpcOf(v1.DefaultVpc), Router: theirs}), "NameTaken")
	v := vpcOf(v1.DefaultVpc)
	v.DeletionTimestamp = &v.CreationTimestamp
	if _, called := Vpc(VpcFacts{Name: v1.DefaultVpc, Vpc: v, Router: theirs}).Want(); !called {
		t.Error("the default Vpc that is deleted keeps its finalizer")
	}
	keeps(t, "one whose router is not there", Vpc(VpcFacts{Name: router0, Vpc: vpcOf(router0)}), "RouterGone")
}

func TestPathThroughRefusal(t *testing.T) {
	w := newWorld()
	for _, name := range []string{"router", "subnet/a"} {
		w.add(name)
		w.settle(t, known)
	}
	stood := w.applied["subnet/a"]
	a := object[*v1.Subnet](w, "subnet/a")
	a.Spec.NatOutgoing = true
	w.settle(t, known)
	if diff := cmp.Diff(stood, w.applied["subnet/a"], comparePrefixes); diff != "" || len(stood.RouterInterfaces) != 1 || !w.kept["subnet/a"] {
		t.Errorf("a wrong edit changes the network: %s", diff)
	}
	a.Spec.NatOutgoing = false
	w.settle(t, known)
	if w.kept["subnet/a"] {
		t.Error("it is refused after it was mended")
	}
	a.Spec.NatOutgoing = true
	w.remove("subnet/a")
	w.settle(t, known)
	if w.objects["subnet/a"] != nil || len(w.applied["subnet/a"].Networks) > 0 {
		t.Error("what is refused and deleted stays")
	}
}
