package decide

import (
	"cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// fabric is what makes the port of a claim, or of one that is being drafted.
func (f PodFacts) fabric(ip *v1.IP) intent.Fabric {
	if s := f.subnet(ip.Spec.Subnet); s != nil {
		return FabricOf(s)
	}
	return FabricOfIP(ip)
}

// draft is a claim without what Neutron chooses: Bind completes it. An address
// that the pod asks for is in it; other pods' ports may come from a pool.
//
// There is no address of a StatefulSet's that outlives the pod: the port goes
// back to the pool with its address.
func (f PodFacts) draft(s *v1.Subnet, mac intent.MAC) (*v1.IP, error) {
	ip := &v1.IP{
		ObjectMeta: metav1.ObjectMeta{Name: PodPort(f.Namespace, f.Name), Labels: map[string]string{v1.LabelSubnet: s.Name}},
		Spec: v1.IPSpec{
			PodName: f.Name, Namespace: f.Namespace, PodUID: uid(f.Pod), Subnet: s.Name,
			MTU: s.Spec.MTU, MacAddress: string(mac), HostLink: s.Spec.Vpc != nodeVpcOf(f.NodeVpc),
		},
	}
	if f.Pod.Annotations[v1.AnnotationIPAddress] == "" {
		return ip, nil
	}
	addrs, err := f.lease(s)
	if err != nil {
		return nil, err
	}
	net, err := NetOf(&s.Spec)
	for _, a := range addrs {
		setAddr(&ip.Spec, a, net)
	}
	return ip, err
}

// neutron wants the claim's port, named as Kuryr names it, in the pod's groups.
// A pod that asks for groups that it cannot have gets no port; one that has its
// port is in those that it may have. A port that stands stays in its project.
func (f PodFacts) neutron(ip *v1.IP, problem error) intent.Decision[*v1.IP] {
	m, err := f.memberships(ip)
	if missing := cmp.Or(f.ProjectProblem, err); missing != nil && !Attached(ip) {
		return withoutPort(f, missing)
	}
	port := neutronPort(f.Namespace+"/"+f.Name, ip)
	f.behind(&port, ip)
	port.Project, port.Groups, port.CloudGroups = f.Project, m.Groups, m.CloudGroups
	return intent.ApplyWith(intent.Want{Fabric: intent.FabricNeutron, Ports: []intent.Port{port}}, ip, cmp.Or(err, problem))
}

// memberships are the security groups of the pod: ours, and OpenStack's own.
// Nodes have guard groups only where they are in Neutron, too: elsewhere, and
// from inside a virtual machine, they reach their pods by the host link.
func (f PodFacts) memberships(ip *v1.IP) (policy.Membership, error) {
	book := f.Book
	if book == nil {
		book = &policy.Index{}
	}
	p := policy.PodOf(f.Pod, f.InNamespace, Addrs(ip))
	if nodeVpcOf(f.NodeVpc) == v1.DefaultVpc || f.nested() {
		p.Node = ""
	}
	return book.Memberships(p, policy.CloudGroups{Standard: f.Standard, IDs: f.CloudGroups})
}

// Attached tells whether a claim says how to plug the interface.
func Attached(ip *v1.IP) bool {
	return ip != nil && (ip.Spec.Attach.OVS != nil || ip.Spec.Attach.VLAN != nil && ip.Spec.Attach.VLAN.Tag != 0)
}
