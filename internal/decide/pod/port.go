package pod

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// PortFacts say whose port it is in Neutron and which security groups it is in.
type PortFacts struct {
	// Policies are all NetworkPolicies; nil where none are enforced.
	Policies *policy.Index
	// InNamespace is the pod's Namespace, for its labels and annotations.
	InNamespace *corev1.Namespace
	// Standard are the ids of OpenStack's security groups for pods that ask for
	// none; CloudGroups the ids of those that the pod asks for, by id or name.
	Standard    []string
	CloudGroups map[string]string
	// Project is the id of the cloud project that the port is made in; empty for
	// ours. ProjectProblem is why none can be; nil if one can.
	Project        string
	ProjectProblem error
}

// port is what the fabric is asked for: the claim's port. It returns a problem
// to report beside it. The want is empty if the pod can have no port for that.
func port(f Facts, ip *v1.IP, how attachment) (intent.Want, error) {
	if fabricOf(f, ip) == intent.FabricNeutron {
		return portNeutron(f, ip, how)
	}
	p := decide.PortOf(ip)
	behind(f, &p, ip, how)
	if f.OnNode && how.parent == nil && vpcOf(f, ip.Spec.Subnet) == v1.DefaultVpc {
		p.Groups = []string{decide.NodeGroup(ip.Spec.NodeName)}
	}
	return intent.Want{Ports: []intent.Port{p}}, nil
}

// fabricOf is what makes the claim's port: the Subnet says it, and where that is
// gone the claim itself.
func fabricOf(f Facts, ip *v1.IP) intent.Fabric {
	if s := subnet(f, ip.Spec.Subnet); s != nil {
		return decide.FabricOf(s)
	}
	return decide.FabricOfIP(ip)
}

// portNeutron wants the claim's port, named as Kuryr names it, in the pod's groups.
// A pod that asks for groups or a project that it cannot have gets no port; one
// that has its port is in the groups that it may be in, and stays in its project.
func portNeutron(f Facts, ip *v1.IP, how attachment) (intent.Want, error) {
	m, problem := memberships(f, ip, how)
	if missing := cmp.Or(f.ProjectProblem, problem); missing != nil && !decide.Attached(ip) {
		return intent.Want{}, missing
	}
	p := decide.NeutronPortOf(f.Namespace+"/"+f.Name, ip)
	behind(f, &p, ip, how)
	p.Project, p.Groups, p.CloudGroups = f.Project, m.Groups, m.CloudGroups
	return intent.Want{Fabric: intent.FabricNeutron, Ports: []intent.Port{p}}, problem
}

// behind puts the port behind that of the pod's node, if it is nested. The fabric
// waits for it to be up until the claim says so.
func behind(f Facts, p *intent.Port, ip *v1.IP, how attachment) {
	if how.parent == nil {
		return
	}
	p.Version = ip.Spec.PodUID
	p.Parent, p.Tag = how.parent.Port, int(ip.Spec.Attach.VLAN.Tag)
	was := f.Claim
	p.MustBeUp = was == nil || was.Spec.PodUID != ip.Spec.PodUID || was.Spec.Attach.VLAN == nil || was.Spec.Attach.VLAN.Parent != ip.Spec.Attach.VLAN.Parent
}

// memberships are the pod's security groups: ours, and OpenStack's own. Nodes
// have guard groups only where they are in Neutron, too: elsewhere, and from
// inside a virtual machine, they reach their pods by the host link.
func memberships(f Facts, ip *v1.IP, how attachment) (policy.Membership, error) {
	policies := f.Policies
	if policies == nil {
		policies = &policy.Index{}
	}
	p := policy.PodOf(f.Pod, f.InNamespace, decide.Addrs(ip))
	if decide.NodeVpcOf(f.NodeVpc) == v1.DefaultVpc || how.parent != nil {
		p.Node = ""
	}
	return policies.Memberships(p, policy.CloudGroups{Standard: f.Standard, IDs: f.CloudGroups})
}
