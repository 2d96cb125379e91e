package decide

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// NodeFacts are the facts about one Node.
type NodeFacts struct {
	Name string
	// Node is nil if there is no such object.
	Node *corev1.Node
	// NodeSubnet is the Subnet that nodes have a port on: Subnet join, or Subnet
	// pods if the nodes' Vpc is a Neutron router. It is nil if there is none.
	NodeSubnet *v1.Subnet
	// NodeVpc is the Vpc that the nodes are in; ovn-cluster if empty.
	NodeVpc string
	// Nested is true if the node is a virtual machine with a trunk port. Parent is
	// that port; nil if it is not found.
	Nested bool
	Parent *ParentPort
	// Services are the prefixes of the cluster IPs.
	Services []netip.Prefix
	// Claim is the IP object that has the node port's name; nil if there is none.
	Claim  *v1.IP
	Leases Leases
}

// Node decides a node's port and groups. If the nodes' Vpc is a Neutron router,
// that is a port on the pods' network and the group that lets the node reach its
// pods. Otherwise it is a port on Subnet join, a group of the node's pods in Vpc
// ovn-cluster, and a route policy that sends the packets of those pods that leave
// the Vpc to the node. The report is the claim; nil if there must be none.
//
// A virtual machine has none of this: it reaches its pods by their host links. If
// it had a port before, it keeps it until its parent port in OpenStack is found.
func Node(f NodeFacts) intent.Decision[*v1.IP] {
	switch {
	case f.Node == nil, f.Nested && f.Parent != nil:
		return intent.Remove[*v1.IP](nil)
	case f.keepsSwitch():
		return f.decidePort(NoParent(f.Name))
	case f.Nested: // Anything in the network belongs to an earlier Node of the same name.
		return intent.Withdraw[*v1.IP](nil, NoParent(f.Name))
	}
	return f.decidePort(nil)
}

// decidePort decides for a node that has a port of its own. problem is reported if
// there is no other.
func (f NodeFacts) decidePort(problem error) intent.Decision[*v1.IP] {
	if NodeVpcOf(f.NodeVpc) != v1.DefaultVpc {
		return nodeInNeutron(f, problem)
	}
	unit := NodeUnit(f.Name)
	// The group does not depend on the port: pods join it before the node has an
	// address.
	want := intent.Want{Groups: []intent.Group{{Name: NodeGroup(f.Name)}}}
	if f.Claim != nil && IPUnit(f.Claim) != unit {
		return intent.ApplyWith[*v1.IP](want, nil, NameTaken(f.Claim))
	}
	if f.NodeSubnet == nil {
		return f.keepOrApply(want, intent.Wait{Reason: "SubnetNotReady", For: "Subnet " + v1.JoinSubnet + " to be made"})
	}
	addrs, err := nodeAddrs(f, unit)
	if err != nil {
		return intent.ApplyWith[*v1.IP](want, nil, err) // the node has no address
	}
	ip, err := ClaimOn(f.NodeSubnet, NodePort(f.Name), addrs)
	if err != nil {
		return f.keepOrApply(want, err)
	}
	ip.Spec.PodUID, ip.Spec.NodeName = string(f.Node.UID), f.Name
	ip.Labels[v1.LabelNode] = f.Name
	port := PortOf(ip)
	port.UnknownAddresses = true // The node also sends from its other addresses.
	want.Ports = []intent.Port{port}
	want.RoutePolicies = egressPolicies(f.Name, addrs)
	return intent.ApplyWith(want, ip, problem)
}

// keepOrApply keeps everything of a node that has a claim, because what it should
// have cannot be read. A node without a claim gets what needs no Subnet.
func (f NodeFacts) keepOrApply(want intent.Want, problem error) intent.Decision[*v1.IP] {
	if f.Claim != nil && IPUnit(f.Claim) == NodeUnit(f.Name) {
		return intent.Keep(f.Claim, problem)
	}
	return intent.ApplyWith[*v1.IP](want, nil, problem)
}

// nodeAddrs returns the node's addresses in Subnet join. The Subnet must be ready
// only while the node has no address.
func nodeAddrs(f NodeFacts, unit intent.Unit) ([]netip.Addr, error) {
	if held := f.Leases.Held(v1.JoinSubnet, unit); len(held) > 0 {
		return held, nil
	}
	if err := Ready(f.NodeSubnet); err != nil {
		return nil, err
	}
	return f.Leases.Next(v1.JoinSubnet, unit)
}

// egressPolicies returns the route policies that send the packets of the node's
// pods that leave the Vpc to the node.
func egressPolicies(node string, addrs []netip.Addr) []intent.RoutePolicy {
	ways := make([]intent.RoutePolicy, 0, len(addrs))
	for _, a := range addrs {
		ways = append(ways, intent.RoutePolicy{
			Router: v1.DefaultVpc, Priority: priorityOut, From: NodeGroup(node), NextHops: []netip.Addr{a},
		})
	}
	return ways
}

// NameTaken returns the problem of a unit whose port would have the name of
// another unit's claim.
func NameTaken(claim *v1.IP) error {
	return intent.Stop{Reason: "NameTaken", Why: fmt.Sprintf("IP %s is that of %s, whose port would have the same name: choose another name", claim.Name, IPUnit(claim))}
}
