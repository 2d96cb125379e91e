package decide

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
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
			MTU: s.Spec.MTU, MacAddress: string(mac), HostLink: s.Spec.Vpc != homeOf(f.Home),
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
// A port that stands stays in its project.
func (f PodFacts) neutron(ip *v1.IP) (intent.Want, *v1.IP, error) {
	if f.ProjectProblem != nil && !Attached(ip) {
		return intent.Want{}, nil, f.ProjectProblem
	}
	port := neutronPort(f.Namespace+"/"+f.Name, ip)
	port.Project = f.Project
	var err error
	if port.Groups, port.CloudGroups, err = f.groups(); err != nil {
		return intent.Want{}, nil, err
	}
	return intent.Want{Fabric: intent.FabricNeutron, Ports: []intent.Port{port}}, ip, nil
}

// groups are the security groups of the pod: ours, and OpenStack's own.
func (f PodFacts) groups() (ours, cloud []string, err error) {
	text, asked := f.Pod.Annotations[AnnotationSecurityGroups]
	switch {
	case !asked && len(f.Standard) == 0:
		return []string{GroupPods}, nil, nil
	case !asked:
		return []string{GroupProbes}, f.Standard, nil
	}
	for _, g := range words(text) {
		id, known := f.CloudGroups[g]
		if !known {
			return nil, nil, intent.Wait{
				Reason: "UnknownSecurityGroup", After: lookAgain,
				For: fmt.Sprintf("security group %q of annotation %s in OpenStack", g, AnnotationSecurityGroups),
			}
		}
		cloud = append(cloud, id)
	}
	return []string{GroupProbes}, cloud, nil
}

// GroupsAsked are OpenStack's security groups that a pod asks for, by id or name.
func GroupsAsked(p *corev1.Pod) []string {
	if p == nil {
		return nil
	}
	return words(p.Annotations[AnnotationSecurityGroups])
}

// Attached tells whether a claim says how to plug the interface.
func Attached(ip *v1.IP) bool {
	return ip != nil && (ip.Spec.Attach.OVS != nil || ip.Spec.Attach.VLAN != nil)
}
