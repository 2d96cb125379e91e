package pod

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// PortFacts are the facts about the project and the security groups of the port
// in Neutron.
type PortFacts struct {
	// Policies are all NetworkPolicies; nil if none are enforced.
	Policies *policy.Index
	// InNamespace is the pod's Namespace, for its labels and annotations.
	InNamespace *corev1.Namespace
	// Standard are the ids of the OpenStack security groups of pods that ask for
	// none. CloudGroups maps the groups that the pod asks for, by id or name, to
	// their ids.
	Standard    []string
	CloudGroups map[string]string
	// Project is the id of the cloud project that the port is created in; empty
	// for ours. ProjectProblem says why the port cannot be created there; nil if
	// it can.
	Project        string
	ProjectProblem error
}

// port returns what the fabric is asked for: the claim's port, and a problem to
// report beside it. The want is empty if the problem leaves the pod without a
// port.
func port(f Facts, ip *v1.IP, how attachment) (intent.Want, error) {
	if fabricOf(f, ip) == intent.FabricNeutron {
		return portNeutron(f, ip, how)
	}
	p := decide.PortOf(ip)
	setParent(f, &p, ip, how)
	if f.OnNode && how.parent == nil && vpcOf(f, ip.Spec.Subnet) == v1.DefaultVpc {
		p.Groups = []string{decide.NodeGroup(ip.Spec.NodeName)}
	}
	return intent.Want{Ports: []intent.Port{p}}, nil
}

// fabricOf returns the fabric of the claim's port: the Subnet's, or the claim's
// own if the Subnet does not exist any more.
func fabricOf(f Facts, ip *v1.IP) intent.Fabric {
	if s := subnet(f, ip.Spec.Subnet); s != nil {
		return decide.FabricOf(s)
	}
	return decide.FabricOfIP(ip)
}

// portNeutron wants the claim's port, named as in Kuryr, in the pod's groups. A
// new pod that asks for a group or a project that it cannot have gets no port. A
// pod that has its port keeps it in its project, in those groups that it may be
// in.
func portNeutron(f Facts, ip *v1.IP, how attachment) (intent.Want, error) {
	m, problem := memberships(f, ip, how)
	if missing := cmp.Or(f.ProjectProblem, problem); missing != nil && !decide.Attached(ip) {
		return intent.Want{}, missing
	}
	p := decide.NeutronPortOf(f.Namespace+"/"+f.Name, ip)
	setParent(f, &p, ip, how)
	p.Project, p.Groups, p.CloudGroups = f.Project, m.Groups, m.CloudGroups
	return intent.Want{Fabric: intent.FabricNeutron, Ports: []intent.Port{p}}, problem
}

// setParent makes a nested pod's port a subport of the node's parent port. The
// fabric must wait until the port is up, except if the claim already has that
// parent.
func setParent(f Facts, p *intent.Port, ip *v1.IP, how attachment) {
	if how.parent == nil {
		return
	}
	p.Version = ip.Spec.PodUID
	p.Parent, p.Tag = how.parent.Port, int(ip.Spec.Attach.VLAN.Tag)
	was := f.Claim
	p.MustBeUp = was == nil || was.Spec.PodUID != ip.Spec.PodUID || was.Spec.Attach.VLAN == nil || was.Spec.Attach.VLAN.Parent != ip.Spec.Attach.VLAN.Parent
}

// memberships returns the pod's security groups: ours, and OpenStack's own. A pod
// is in its node's guard group only if the nodes are in Neutron and the pod is
// not nested. Otherwise the node reaches its pods by the host link.
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
