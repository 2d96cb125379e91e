package decide

import (
	"cmp"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// NodeFacts are all that matters to one Node.
type NodeFacts struct {
	Name string
	// Node is nil if there is no such object.
	Node *corev1.Node
	// RouterInterface is the Subnet that nodes have a port on, nil if there is none: join,
	// or pods where the nodes' Vpc is Neutron's.
	Join *v1.Subnet
	// NodeVpc is the Vpc that the nodes are in; ovn-cluster if empty.
	NodeVpc string
	// Nested is true for a virtual machine with a trunk port; Parent is that port,
	// nil if it is not found.
	Nested bool
	Parent *ParentPort
	// Services are the prefixes that Services have addresses in.
	Services []netip.Prefix
	// Claim is the IP object that bears the node port's name, if any.
	Claim  *v1.IP
	Leases Leases
}

// Node decides: in Neutron a port beside the pods' and the group that guards the
// node's pods; elsewhere a port on Subnet join, a group of the node's pods of Vpc
// ovn-cluster, and a policy that leads what those send out of the Vpc to
// the node. Told is the claim; nil if there must be none. A virtual machine has
// none of this: it reaches its pods by their host links. One that had it keeps it
// until its port in OpenStack is found.
func Node(f NodeFacts) (intent.Want, *v1.IP, error) {
	switch {
	case f.Node == nil, f.Nested && f.Parent != nil:
		return intent.Want{}, nil, nil
	case f.onSwitch():
		f.Nested = false
		want, ip, err := Node(f)
		return want, ip, cmp.Or(err, NoParent(f.Name))
	case f.Nested:
		return intent.Want{}, nil, NoParent(f.Name)
	}
	if nodeVpcOf(f.NodeVpc) != v1.DefaultVpc {
		return nodeInNeutron(f)
	}
	unit := NodeUnit(f.Name)
	// The group stands alone: pods join it before the node has its address.
	want := intent.Want{Groups: []intent.Group{{Name: NodeGroup(f.Name)}}}
	if f.Claim != nil && IPUnit(f.Claim) != unit {
		return want, nil, nameTaken(f.Claim)
	}
	if f.Join == nil {
		return want, nil, intent.Wait{Reason: "SubnetNotReady", For: "Subnet " + v1.JoinSubnet + " to be made"}
	}
	addrs, err := nodeAddrs(f, unit)
	if err != nil {
		return want, nil, err
	}
	ip, err := claimOn(f.Join, NodePort(f.Name), addrs)
	if err != nil {
		return want, nil, err
	}
	ip.Spec.PodUID, ip.Spec.NodeName = string(f.Node.UID), f.Name
	ip.Labels[v1.LabelNode] = f.Name
	port := portOf(ip)
	port.UnknownAddresses = true // The node answers under its other addresses, too.
	want.Ports = []intent.Port{port}
	want.RoutePolicies = waysOut(f.Name, addrs)
	return want, ip, nil
}

// nodeAddrs asks for Subnet join to be ready only until the node has its address.
func nodeAddrs(f NodeFacts, unit intent.Unit) ([]netip.Addr, error) {
	if held := f.Leases.Held(v1.JoinSubnet, unit); len(held) > 0 {
		return held, nil
	}
	if err := ready(f.Join); err != nil {
		return nil, err
	}
	return f.Leases.Next(v1.JoinSubnet, unit)
}

func waysOut(node string, addrs []netip.Addr) []intent.RoutePolicy {
	ways := make([]intent.RoutePolicy, 0, len(addrs))
	for _, a := range addrs {
		ways = append(ways, intent.RoutePolicy{
			Router: v1.DefaultVpc, Priority: priorityOut, From: NodeGroup(node), NextHops: []netip.Addr{a},
		})
	}
	return ways
}

func nameTaken(claim *v1.IP) error {
	return intent.Stop{Reason: "NameTaken", Why: fmt.Sprintf("IP %s is that of %s, whose port would have the same name: choose another name", claim.Name, IPUnit(claim))}
}
