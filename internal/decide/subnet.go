package decide

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// SubnetFacts are the facts about one Subnet.
type SubnetFacts struct {
	Name string
	// Subnet is nil if there is no such object.
	Subnet *v1.Subnet
	// Template is the object to create if there is none: for a Subnet that every
	// cluster has, or for a namespace's own Subnet, whose prefix is still empty.
	// nil for all others.
	Template *v1.Subnet
	// PerNamespace is where a namespace's own Subnet gets its prefix from; nil if
	// namespaces get none.
	PerNamespace *PerNamespace
	// Vpc is the Vpc that spec.vpc names; nil if it does not exist.
	Vpc *v1.Vpc
	// Router is the Vpc's router; nil if there is none.
	Router *Router
	// Others are all other Subnets.
	Others []*v1.Subnet
	// Users are the units that have an address in it, sorted.
	Users []string
	// Nodes are the addresses of the cluster's nodes.
	Nodes []NodeAddr
	// UnderlayMTU is the smallest underlay MTU of all nodes, in bytes.
	UnderlayMTU int
	// NodeVpc is the Vpc that the nodes are in; ovn-cluster if empty.
	NodeVpc string
	// PortPrefix is the prefix of the name of our port on a Neutron router.
	PortPrefix string
}

// NodeAddr is a node's own address.
type NodeAddr struct {
	Node string
	Addr netip.Addr
}

// SubnetReport is what is reported to Kubernetes about a Subnet.
type SubnetReport struct {
	Action Action
	// Status has no counts and no conditions.
	Status v1.SubnetStatus
	// Net is what the address allocator gives addresses from.
	Net Net
}

// tunnelOverhead is the size in bytes of the headers that Geneve over IPv4 adds
// to a packet.
const tunnelOverhead = 58

// Priorities of the route policies of Vpc ovn-cluster. Traffic within the Vpc
// must match before the policies that send traffic out of it.
const (
	priorityWithin = 31000
	priorityOut    = 29000
)

// Subnet decides a network with an interface on its Vpc's router. A Subnet with
// ports on it keeps its network even if its spec is now refused; the problem is
// reported. A Subnet without ports that is refused keeps what it has, except if
// another Subnet, a node or another network has an older right to its prefix or
// name: then its network is removed.
func Subnet(f SubnetFacts) intent.Decision[SubnetReport] {
	switch {
	case f.Subnet == nil:
		return absentSubnet(f)
	case !f.Subnet.DeletionTimestamp.IsZero():
		return deletedSubnet(f)
	}
	report := SubnetReport{Action: Hold}
	if isLeftover(f) {
		report.Action = Remove
	}
	net, err := NetOf(&f.Subnet.Spec)
	if err != nil {
		return unreadableSubnet(f, report, err)
	}
	report.Status, report.Net = subnetStatus(f, net), net
	refused, outranked := refusal(f), conflict(f, net)
	problem := cmp.Or(refused, outranked)
	switch {
	case problem == nil && External(f.Subnet.Spec.Vpc) && f.Router == nil:
		return intent.ApplyWith(subnetWant(f, net), report, routerGone(f.Subnet.Spec.Vpc))
	case problem == nil || len(f.Users) > 0:
		return intent.ApplyWith(subnetWant(f, net), report, problem)
	case outranked != nil:
		return intent.Withdraw(report, problem)
	}
	if f.Subnet.Status.Gateway != "" {
		report.Status = f.Subnet.Status
	}
	return intent.Keep(report, problem)
}

// deletedSubnet removes the network as soon as no unit has an address in it.
func deletedSubnet(f SubnetFacts) intent.Decision[SubnetReport] {
	net, err := NetOf(&f.Subnet.Spec)
	if len(f.Users) == 0 {
		return intent.Remove(SubnetReport{Action: Release, Status: f.Subnet.Status, Net: net})
	}
	inUse := intent.Wait{Reason: "InUse", For: listNames("the release of its addresses by", f.Users, identity)}
	if err != nil {
		return intent.Keep(SubnetReport{Status: f.Subnet.Status}, inUse)
	}
	return intent.ApplyWith(subnetWant(f, net), SubnetReport{Status: subnetStatus(f, net), Net: net}, inUse)
}

// unreadableSubnet keeps what exists, and the last good status.
func unreadableSubnet(f SubnetFacts, report SubnetReport, err error) intent.Decision[SubnetReport] {
	if report.Action == Hold {
		report.Action = ""
	}
	report.Status = f.Subnet.Status
	return intent.Keep(report, intent.Stop{Reason: "InvalidSpec", Why: err.Error()})
}

func identity(s string) string { return s }

// subnetWant returns the Subnet's network and its router interface. On fabric ovn
// it leaves the interface out while the Neutron router does not exist.
func subnetWant(f SubnetFacts, net Net) intent.Want {
	if FabricOf(f.Subnet) == intent.FabricNeutron {
		return neutronSubnet(f, net)
	}
	vpc := f.Subnet.Spec.Vpc
	segment := intent.Network{Name: f.Name, Prefixes: net.Prefixes}
	if External(vpc) {
		segment.LoadBalancersOf = vpc
	}
	want := intent.Want{Networks: []intent.Network{segment}}
	if External(vpc) && f.Router == nil {
		want.Networks[0].LoadBalancersOf = ""
		return want
	}
	want.RouterInterfaces = []intent.RouterInterface{routerInterfaceOf(f, net)}
	if vpc == v1.DefaultVpc {
		for _, p := range net.Prefixes {
			want.RoutePolicies = append(want.RoutePolicies, intent.RoutePolicy{Router: vpc, Priority: priorityWithin, To: p, Allow: true})
		}
	}
	return want
}

func routerInterfaceOf(f SubnetFacts, net Net) intent.RouterInterface {
	vpc := f.Subnet.Spec.Vpc
	j := intent.RouterInterface{
		Network: f.Name, Router: vpc, Foreign: External(vpc), MAC: MAC(net.Gateways[0]),
		NetworkPort: networkPort(f.Name, vpc), RouterPort: routerPort(f.PortPrefix, f.Name, vpc),
	}
	for i, g := range net.Gateways {
		j.Addresses = append(j.Addresses, netip.PrefixFrom(g, net.Prefixes[i].Bits()))
	}
	return j
}

// subnetStatus returns the status without counts and conditions. Network, MTU and
// gateway of a Subnet on Neutron stay as they are until Neutron is read.
func subnetStatus(f SubnetFacts, net Net) v1.SubnetStatus {
	s := v1.SubnetStatus{Protocol: "Dual", MTU: mtu(f)}
	if len(net.Prefixes) == 1 {
		s.Protocol = map[bool]string{true: "IPv4", false: "IPv6"}[net.Prefixes[0].Addr().Is4()]
	}
	s.Gateway = joinAddrs(net.Gateways)
	if old := f.Subnet.Status; FabricOf(f.Subnet) == intent.FabricNeutron && old.Network != "" {
		s.Network, s.MTU, s.Gateway = old.Network, old.MTU, old.Gateway // until Neutron is read again
	}
	return s
}

func joinAddrs(addrs []netip.Addr) string {
	texts := make([]string, 0, len(addrs))
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ",")
}

// mtu returns the spec's MTU, or the largest one that fits into the tunnels and
// into the router's Neutron networks, in bytes.
func mtu(f SubnetFacts) int32 {
	if f.Subnet.Spec.MTU != 0 {
		return f.Subnet.Spec.MTU
	}
	m := f.UnderlayMTU - tunnelOverhead
	if f.Router != nil && f.Router.MTU > 0 {
		m = min(m, f.Router.MTU)
	}
	return int32(m)
}

// refusal returns the first reason in the Subnet's own spec not to make it, or to
// wait; nil if there is none.
func refusal(f SubnetFacts) error {
	return cmp.Or(checkSpec(f), checkVpc(f), checkNamespaces(f))
}

// conflict returns the first reason why something else has an older right to the
// Subnet's prefix or name; nil if there is none.
func conflict(f SubnetFacts, net Net) error {
	return cmp.Or(checkSubnets(f, net), checkNodes(f, net), checkRouter(f, net))
}

// checkSpec returns an intent.Stop if the spec is refused, whatever else exists;
// nil otherwise.
func checkSpec(f SubnetFacts) error {
	s := f.Subnet.Spec
	switch {
	case FabricOf(f.Subnet) == intent.FabricNeutron && !External(s.Vpc):
		return intent.Stop{Reason: "NotNeutrons", Why: fmt.Sprintf("provider neutron needs a router of Neutron's, and Vpc %s is none: make the Subnet with a Vpc named neutron-<router id>", s.Vpc)}
	case f.Name == s.Vpc:
		return intent.Stop{Reason: "NameTaken", Why: fmt.Sprintf("the Subnet is named as its Vpc %s: choose another name", s.Vpc)}
	case External(f.Name):
		return intent.Stop{Reason: "NameTaken", Why: "names that begin with neutron- are those of Neutron's networks: choose another name"}
	case s.NatOutgoing && s.Vpc != v1.DefaultVpc:
		return intent.Stop{Reason: "NatOutgoing", Why: natOutgoingProblem(s.Vpc)}
	}
	return nil
}

func natOutgoingProblem(vpc string) string {
	if id, ok := strings.CutPrefix(vpc, "neutron-"); ok {
		return fmt.Sprintf("natOutgoing works in Vpc %s only: set it to false; what leaves router %s is Neutron's to translate: "+
			"give the router an external gateway with SNAT (openstack router set --external-gateway NETWORK --enable-snat %s)", v1.DefaultVpc, vpc, id)
	}
	return fmt.Sprintf("natOutgoing works in Vpc %s only: set it to false, Vpc %s has no way out", v1.DefaultVpc, vpc)
}

// checkVpc returns an intent.Wait if the Vpc does not exist or is being deleted;
// nil otherwise.
func checkVpc(f SubnetFacts) error {
	switch {
	case f.Subnet.Spec.Vpc == v1.DefaultVpc && NodeVpcOf(f.NodeVpc) == v1.DefaultVpc: // It exists or is created again.
		return nil
	case f.Vpc == nil:
		return intent.Wait{Reason: "UnknownVpc", For: fmt.Sprintf("Vpc %s to be made", f.Subnet.Spec.Vpc)}
	case !f.Vpc.DeletionTimestamp.IsZero():
		return intent.Wait{Reason: "UnknownVpc", For: fmt.Sprintf("Vpc %s, which is being deleted, to be made again", f.Vpc.Name)}
	}
	return nil
}

func checkNamespaces(f SubnetFacts) error {
	for _, ns := range f.Subnet.Spec.Namespaces {
		if f.Vpc != nil && !Allows(f.Vpc, ns, f.NodeVpc) {
			return intent.Wait{Reason: "NamespaceNotInVpc", For: fmt.Sprintf("namespace %s in spec.namespaces of Vpc %s", ns, f.Vpc.Name)}
		}
	}
	return nil
}

// checkSubnets returns a problem if an older Subnet has the same port names or
// overlaps; nil otherwise.
func checkSubnets(f SubnetFacts, net Net) error {
	for _, o := range f.Others {
		if Older(o, f.Subnet) > 0 {
			continue
		}
		if samePortNames(f, o) {
			return intent.Stop{Reason: "NameTaken", Why: fmt.Sprintf("the ports of Subnet %s of Vpc %s have the same names: choose another name", o.Name, o.Spec.Vpc)}
		}
		other, err := PrefixesOf(&o.Spec)
		if err != nil || o.Spec.Vpc != f.Subnet.Spec.Vpc {
			continue
		}
		if a, b, ok := firstOverlap(net.Prefixes, other); ok {
			return overlapProblem(a, b, "Subnet "+o.Name+" of the same Vpc")
		}
	}
	return nil
}

func samePortNames(f SubnetFacts, o *v1.Subnet) bool {
	vpc := f.Subnet.Spec.Vpc
	return networkPort(f.Name, vpc) == networkPort(o.Name, o.Spec.Vpc) ||
		routerPort(f.PortPrefix, f.Name, vpc) == routerPort(f.PortPrefix, o.Name, o.Spec.Vpc)
}

func overlapProblem(a, b netip.Prefix, side string) error {
	return intent.Stop{Reason: "Overlap", Why: fmt.Sprintf("cidrBlock %v overlaps %v of %s: make the Subnet with another cidrBlock", a, b, side)}
}

// checkNodes returns a problem if the Subnet of the nodes' Vpc contains a
// node's address: nodes have routes to the pods of their Vpc, and such a route
// would hide the node.
func checkNodes(f SubnetFacts, net Net) error {
	if f.Subnet.Spec.Vpc != NodeVpcOf(f.NodeVpc) {
		return nil
	}
	for _, n := range f.Nodes {
		if i := slices.IndexFunc(net.Prefixes, func(p netip.Prefix) bool { return p.Contains(n.Addr) }); i >= 0 {
			return overlapProblem(net.Prefixes[i], netip.PrefixFrom(n.Addr, n.Addr.BitLen()), "Node "+n.Node)
		}
	}
	return nil
}

// checkRouter returns a problem if the router is not ours and not Neutron's,
// or if a network on it has the same name or overlaps. Neutron does not check
// this, because it does not know our networks.
func checkRouter(f SubnetFacts, net Net) error {
	if f.Router == nil {
		return nil
	}
	if !f.Router.Ours && !External(f.Router.Name) {
		return intent.Stop{Reason: "NameTaken", Why: fmt.Sprintf("router %s is neither ours nor Neutron's", f.Router.Name)}
	}
	for _, n := range f.Router.Interfaces {
		if n.Ours || isOwnNetwork(f.Subnet, n, net) {
			continue
		}
		if n.Network == f.Name {
			return intent.Stop{Reason: "NameTaken", Why: fmt.Sprintf("router %s has a network %s that is not ours: choose another name", f.Router.Name, n.Network)}
		}
		if a, b, ok := firstOverlap(net.Prefixes, []netip.Prefix{n.Prefix.Masked()}); ok {
			return overlapProblem(a, b, fmt.Sprintf("network %s on router %s", n.Network, f.Router.Name))
		}
	}
	return nil
}
