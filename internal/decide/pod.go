package decide

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// PodFacts are all that matters to one pod.
type PodFacts struct {
	Namespace, Name string
	// Pod is nil if there is no such object.
	Pod *corev1.Pod
	// Claim is the IP object that bears the pod port's name, if any.
	Claim *v1.IP
	// Kept is true if the pod's StatefulSet still wants a pod of that name.
	Kept bool
	// OnNode is true if the Node that the pod is bound to exists.
	OnNode bool
	// Nested is true if that Node is a virtual machine with a trunk port; Parent
	// is that port, nil if it is not found. SomeNested is true if any Node is one.
	Nested, SomeNested bool
	Parent             *ParentPort
	Subnets            []*v1.Subnet
	Vpcs               []*v1.Vpc
	// SameMAC are the claims that have the MAC which the pod asks for.
	SameMAC []*v1.IP
	// NodeVpc is the Vpc that the nodes are in; ovn-cluster if empty.
	NodeVpc string
	// Standard are the ids of OpenStack's security groups for pods that ask for
	// none; CloudGroups the ids of those that the pod asks for, by id or name.
	Standard    []string
	CloudGroups map[string]string
	// OwnSubnet is true if the namespace is to have a Subnet of its own.
	OwnSubnet bool
	// Project is the id of the cloud project that the port is made in; empty for
	// ours. ProjectProblem is why none can be, nil if one can.
	Project        string
	ProjectProblem error
	// Allocator is all NetworkPolicies; nil where none are enforced.
	Book *policy.Index
	// InNamespace is the pod's Namespace, for its labels and annotations.
	InNamespace *corev1.Namespace
	Leases      Leases
}

// StatefulSet is the kind whose pods keep their addresses.
const StatefulSet = "StatefulSet"

// Pod decides: one port, and the claim that says so. Told is the claim; nil if
// there must be none.
//
// A claim that stands is not moved: what a pod asks for matters when it gets
// its address, for its interface cannot be exchanged later. Nor is a port taken
// away because the pod's node seems to be a virtual machine by now.
func Pod(f PodFacts) intent.Decision[*v1.IP] {
	if !NeedsPort(f.Pod) {
		if f.mine() && f.Kept && f.Claim.Spec.PodType == StatefulSet {
			return intent.Remove(f.Claim)
		}
		return intent.Remove[*v1.IP](nil)
	}
	if f.Claim != nil && !f.mine() {
		return intent.Withdraw[*v1.IP](nil, nameTaken(f.Claim))
	}
	if f.onSwitch() {
		f.Nested = false
		return f.port(NoParent(f.Pod.Spec.NodeName))
	}
	return f.port(nil)
}

// port decides for a pod that needs a port. The problem is reported if there is
// no other.
func (f PodFacts) port(problem error) intent.Decision[*v1.IP] {
	ip := f.standing()
	if ip == nil {
		var err error
		if ip, err = f.claim(); err != nil {
			return withoutPort(f, err)
		}
	}
	ip.Spec.NodeName = f.Pod.Spec.NodeName
	delete(ip.Labels, v1.LabelNode)
	if ip.Spec.NodeName != "" {
		ip.Labels[v1.LabelNode] = ip.Spec.NodeName
	}
	if err := f.plug(ip); err != nil {
		return intent.Withdraw(ip, err) // OpenStack has deleted what its port was behind.
	}
	if f.fabric(ip) == intent.FabricNeutron {
		return f.neutron(ip, problem)
	}
	port := portOf(ip)
	f.behind(&port, ip)
	if f.OnNode && !f.nested() && f.vpcOf(ip.Spec.Subnet) == v1.DefaultVpc {
		port.Groups = []string{NodeGroup(ip.Spec.NodeName)}
	}
	if f.early() {
		problem = notBound()
	}
	return intent.ApplyWith(intent.Want{Ports: []intent.Port{port}}, ip, problem)
}

// withoutPort decides for a pod that can have no port now. What this very pod has
// stays; what its name had before goes.
func withoutPort(f PodFacts, problem error) intent.Decision[*v1.IP] {
	if f.attached() {
		return intent.Keep(f.Claim, problem)
	}
	return intent.Withdraw[*v1.IP](nil, problem)
}

// attached tells whether the claim is this very pod's, says how it is plugged,
// and its addresses are its own: after a crash another may have got them.
func (f PodFacts) attached() bool {
	return f.mine() && f.Claim.Spec.PodUID == uid(f.Pod) && Attached(f.Claim) && holds(f.Leases, f.unit(), f.Claim)
}

// NeedsPort is false for pods that have none: not any more, or on the host's network.
func NeedsPort(p *corev1.Pod) bool {
	return p != nil && !p.Spec.HostNetwork && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

func (f PodFacts) unit() intent.Unit { return PodUnit(f.Namespace, f.Name) }

// uid is the pod's UID as its kubelet knows it, which is what the CNI plugin
// is told. A static pod has another one there than its mirror in the API server.
func uid(p *corev1.Pod) string {
	if hash := p.Annotations[corev1.MirrorPodAnnotationKey]; hash != "" {
		return hash
	}
	return string(p.UID)
}

// mine tells whether the claim of that name is this pod's, or of one that bore
// its name before.
func (f PodFacts) mine() bool { return f.Claim != nil && IPUnit(f.Claim) == f.unit() }

// standing is a copy of the claim if the pod is attached as it says. A port of
// Neutron's cannot become one that is plugged otherwise.
func (f PodFacts) standing() *v1.IP {
	if !f.attached() || FabricOfIP(f.Claim) == intent.FabricNeutron && f.nested() != (f.Claim.Spec.Attach.VLAN != nil) {
		return nil
	}
	ip := &v1.IP{ObjectMeta: metav1.ObjectMeta{Name: f.Claim.Name, Labels: map[string]string{v1.LabelSubnet: f.Claim.Spec.Subnet}}}
	f.Claim.Spec.DeepCopyInto(&ip.Spec)
	return ip
}

// claim finds the pod's Subnet and takes an address there.
func (f PodFacts) claim() (*v1.IP, error) {
	s, err := f.place()
	if err != nil {
		return nil, err
	}
	if err := f.admits(s); err != nil {
		return nil, err
	}
	mac, err := f.wantedMAC(s)
	if err != nil {
		return nil, err
	}
	if FabricOf(s) == intent.FabricNeutron {
		return f.draft(s, mac)
	}
	addrs, err := f.lease(s)
	if err != nil {
		return nil, err
	}
	ip, err := claimOn(s, PodPort(f.Namespace, f.Name), addrs)
	if err != nil {
		return nil, err
	}
	if mac != "" {
		ip.Spec.MacAddress = string(mac)
	}
	ip.Spec.PodName, ip.Spec.Namespace, ip.Spec.PodUID = f.Name, f.Namespace, uid(f.Pod)
	ip.Spec.Attach.OVS.IfaceIDVer = uid(f.Pod)
	ip.Spec.HostLink = s.Spec.Vpc != nodeVpcOf(f.NodeVpc)
	if c := metav1.GetControllerOf(f.Pod); c != nil && c.Kind == StatefulSet {
		ip.Spec.PodType = StatefulSet
	}
	return ip, nil
}

func (f PodFacts) lease(s *v1.Subnet) ([]netip.Addr, error) {
	text := f.Pod.Annotations[v1.AnnotationIPAddress]
	if text == "" {
		return f.Leases.Next(s.Name, f.unit())
	}
	addrs, err := f.wantedAddrs(s, text)
	if err != nil {
		return nil, badAnnotation(v1.AnnotationIPAddress, err)
	}
	return addrs, f.Leases.Claim(s.Name, f.unit(), addrs)
}

// wantedAddrs reads one address for each of the Subnet's prefixes.
func (f PodFacts) wantedAddrs(s *v1.Subnet, text string) ([]netip.Addr, error) {
	net, err := NetOf(&s.Spec)
	if err != nil {
		return nil, err
	}
	fields := strings.Split(text, ",")
	addrs := make([]netip.Addr, len(net.Prefixes))
	for _, t := range fields {
		a, err := netip.ParseAddr(strings.TrimSpace(t))
		i := slices.IndexFunc(net.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
		if err != nil || i < 0 {
			return nil, fmt.Errorf("%q is not an address of Subnet %s, %s", t, s.Name, s.Spec.CIDRBlock)
		}
		addrs[i] = a
	}
	if len(fields) != len(addrs) || slices.Contains(addrs, netip.Addr{}) {
		return nil, fmt.Errorf("%q: Subnet %s needs one address of each of %s", text, s.Name, s.Spec.CIDRBlock)
	}
	return addrs, nil
}

func (f PodFacts) wantedMAC(s *v1.Subnet) (intent.MAC, error) {
	text := f.Pod.Annotations[v1.AnnotationMACAddress]
	if text == "" {
		return "", nil
	}
	mac, err := staticMAC(text)
	if err != nil {
		return "", badAnnotation(v1.AnnotationMACAddress, err)
	}
	for _, other := range f.SameMAC {
		if other.Spec.Subnet == s.Name && IPUnit(other) != f.unit() {
			return "", intent.Wait{Reason: "MACTaken", For: fmt.Sprintf("MAC address %s, which %s has", mac, IPUnit(other))}
		}
	}
	return mac, nil
}

func badAnnotation(name string, err error) error {
	return intent.Stop{Reason: "BadRequest", Why: fmt.Sprintf("annotation %s: %v", name, err)}
}

func (f PodFacts) vpcOf(subnet string) string {
	if s := f.subnet(subnet); s != nil {
		return s.Spec.Vpc
	}
	return ""
}

func (f PodFacts) subnet(name string) *v1.Subnet {
	if i := slices.IndexFunc(f.Subnets, func(s *v1.Subnet) bool { return s.Name == name }); i >= 0 {
		return f.Subnets[i]
	}
	return nil
}
