package decide

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// nodeInNeutron wants a port on the pods' network, with routes to the Services.
// It wants no route policy, because the Neutron router routes all other packets.
func nodeInNeutron(f NodeFacts, problem error) intent.Decision[*v1.IP] {
	// The guard group does not depend on the port: pods join it before the node
	// has one.
	want := intent.Want{Fabric: intent.FabricNeutron, Groups: []intent.Group{f.guardGroup()}}
	if f.Claim != nil && IPUnit(f.Claim) != NodeUnit(f.Name) {
		return intent.ApplyWith[*v1.IP](want, nil, NameTaken(f.Claim))
	}
	if f.NodeSubnet == nil {
		return f.keepOrApply(want, intent.Wait{Reason: "SubnetNotReady", For: "Subnet " + v1.PodSubnet + " to be made"})
	}
	ip := f.presentClaim()
	if ip == nil {
		if err := Ready(f.NodeSubnet); err != nil {
			return intent.ApplyWith[*v1.IP](want, nil, err)
		}
		ip = &v1.IP{Spec: v1.IPSpec{MTU: f.NodeSubnet.Spec.MTU}}
	}
	ip.ObjectMeta = metav1.ObjectMeta{Name: NodePort(f.Name), Labels: map[string]string{v1.LabelSubnet: f.NodeSubnet.Name, v1.LabelNode: f.Name}}
	ip.Spec.Subnet, ip.Spec.PodUID, ip.Spec.NodeName = f.NodeSubnet.Name, string(f.Node.UID), f.Name
	ip.Spec.Routes = nil
	for _, p := range f.Services {
		ip.Spec.Routes = append(ip.Spec.Routes, v1.Route{Destination: p.String()})
	}
	port := NeutronPortOf(ip.Name, ip)
	port.Groups = []string{GroupNodes}
	want.Ports = []intent.Port{port}
	return intent.ApplyWith(want, ip, problem)
}

// guardGroup returns the group that lets the node reach its pods. It contains the
// node's own addresses and, once it has one, its address on the pods' network.
func (f NodeFacts) guardGroup() intent.Group {
	var addrs []netip.Addr
	for _, a := range f.Node.Status.Addresses {
		if addr, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP {
			addrs = append(addrs, addr)
		}
	}
	if f.Claim != nil && IPUnit(f.Claim) == NodeUnit(f.Name) {
		addrs = append(addrs, Addrs(f.Claim)...)
	}
	return policy.Guard(f.Name, addrs, f.Services)
}

// presentClaim returns a copy of the node's claim on the Subnet; nil if there is
// none or if the node does not hold its addresses.
func (f NodeFacts) presentClaim() *v1.IP {
	if f.Claim == nil || f.Claim.Spec.Subnet != f.NodeSubnet.Name || FabricOfIP(f.Claim) != intent.FabricNeutron {
		return nil
	}
	if !Holds(f.Leases, NodeUnit(f.Name), f.Claim) {
		return nil
	}
	ip := &v1.IP{}
	f.Claim.Spec.DeepCopyInto(&ip.Spec)
	return ip
}
