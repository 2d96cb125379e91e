package decide

import (
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
	// Join is the Subnet that nodes have a port on, nil if there is none: join,
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
// the node. The report is the claim; nil if there must be none. A virtual machine has
// none of this: it reaches its pods by their host links. One that had it keeps it
// until its port in OpenStack is found.
func Node(f NodeFacts) intent.Decision[*v1.IP] {
	switch {
	case f.Node == nil, f.Nested && f.Parent != nil:
		return intent.Remove[*v1.IP](nil)
	case f.onSwitch():
		return f.port(NoParent(f.Name))
	case f.Nested: // What is there is that of an earlier Node of the name.
		return intent.Withdraw[*v1.IP](nil, NoParent(f.Name))
	}
	return f.port(nil)
}

// port decides for a node that has a port of its own. The problem is reported
// if there is no other.
func (f NodeFacts) port(problem error) intent.Decision[*v1.IP] {
	if NodeVpcOf(f.NodeVpc) != v1.DefaultVpc {
		return nodeInNeutron(f, problem)
	}
	unit := NodeUnit(f.Name)
	// The group stands alone: pods join it before the node has its address.
	want := intent.Want{Groups: []intent.Group{{Name: NodeGroup(f.Name)}}}
	if f.Claim != nil && IPUnit(f.Claim) != unit {
		return intent.ApplyWith[*v1.IP](want, nil, NameTaken(f.Claim))
	}
	if f.Join == nil {
		return f.unable(want, intent.Wait{Reason: "SubnetNotReady", For: "Subnet " + v1.JoinSubnet + " to be made"})
	}
	addrs, err := nodeAddrs(f, unit)
	if err != nil {
		return intent.ApplyWith[*v1.IP](want, nil, err) // it has no address
	}
	ip, err := ClaimOn(f.Join, NodePort(f.Name), addrs)
	if err != nil {
		return f.unable(want, err)
	}
	ip.Spec.PodUID, ip.Spec.NodeName = string(f.Node.UID), f.Name
	ip.Labels[v1.LabelNode] = f.Name
	port := PortOf(ip)
	port.UnknownAddresses = true // The node answers under its other addresses, too.
	want.Ports = []intent.Port{port}
	want.RoutePolicies = waysOut(f.Name, addrs)
	return intent.ApplyWith(want, ip, problem)
}

// unable keeps all that a node with a claim has, since it cannot be read what that
// is. A node without one has what needs no Subnet.
func (f NodeFacts) unable(want intent.Want, problem error) intent.Decision[*v1.IP] {
	if f.Claim != nil && IPUnit(f.Claim) == NodeUnit(f.Name) {
		return intent.Keep(f.Claim, problem)
	}
	return intent.ApplyWith[*v1.IP](want, nil, problem)
}

// nodeAddrs asks for Subnet join to be ready only until the node has its address.
func nodeAddrs(f NodeFacts, unit intent.Unit) ([]netip.Addr, error) {
	if held := f.Leases.Held(v1.JoinSubnet, unit); len(held) > 0 {
		return held, nil
	}
	if err := Ready(f.Join); err != nil {
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

// NameTaken is the problem of a unit whose port has the name of the claim of
// another unit.
func NameTaken(claim *v1.IP) error {
	return intent.Stop{Reason: "NameTaken", Why: fmt.Sprintf("IP %s is that of %s, whose port would have the same name: choose another name", claim.Name, IPUnit(claim))}
}
