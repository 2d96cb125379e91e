package decide

import (
	"cmp"
	"net/netip"
	"slices"

	"go4.org/netipx"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Default names of what a cluster has in Neutron. The networks are named as in
// Kuryr's clusters.
const (
	PodNetwork     = "k8s-pod-net"
	ServiceNetwork = "k8s-service-net"
	// GroupNodes is the security group of the nodes' ports.
	GroupNodes = "k8s-nodes"
)

// FabricOf returns the fabric of a Subnet and of the ports on it.
func FabricOf(s *v1.Subnet) intent.Fabric {
	if s.Spec.Provider == string(intent.FabricNeutron) {
		return intent.FabricNeutron
	}
	return intent.FabricOVN
}

// FabricOfIP returns the fabric of a claim's port.
func FabricOfIP(ip *v1.IP) intent.Fabric {
	if CloudPort(ip) != "" {
		return intent.FabricNeutron
	}
	return intent.FabricOVN
}

// CloudPort returns the id of a claim's port in Neutron; empty if the port is not
// in Neutron. A Neutron port is plugged by its id, a port of ours by its name.
func CloudPort(ip *v1.IP) string {
	switch a := ip.Spec.Attach; {
	case a.VLAN != nil:
		return a.VLAN.Port
	case a.OVS != nil && a.OVS.IfaceID != ip.Name:
		return a.OVS.IfaceID
	}
	return ""
}

// NetworkName returns the name of a Subnet's network in Neutron.
func NetworkName(subnet string) string {
	if subnet == v1.PodSubnet {
		return PodNetwork
	}
	return subnet
}

// NodeVpcOf returns the Vpc that the nodes are in: ovn-cluster if home is empty.
func NodeVpcOf(home string) string {
	if home == "" {
		return v1.DefaultVpc
	}
	return home
}

// DefaultSubnet returns the name of the Subnet that every cluster has for its
// pods.
func DefaultSubnet(home string) string {
	if NodeVpcOf(home) == v1.DefaultVpc {
		return v1.DefaultSubnet
	}
	return v1.PodSubnet
}

// neutronSubnet wants a new network connected to the Vpc's router, or an existing
// network if the spec names one.
func neutronSubnet(f SubnetFacts, net Net) intent.Want {
	s := intent.Network{
		Name: NetworkName(f.Name), Prefixes: net.Prefixes, Gateways: net.Gateways,
		Existing: f.Subnet.Spec.Network,
	}
	want := intent.Want{Fabric: intent.FabricNeutron}
	if s.Existing == "" {
		if len(f.Subnet.Spec.ExcludeIPs) > 0 {
			s.Ranges = allocationRanges(net)
		}
		if f.Subnet.Labels[v1.LabelNamespace] != "" && f.PerNamespace != nil {
			s.SubnetPool = f.PerNamespace.Pool
		}
		j := routerInterfaceOf(f, net)
		j.Network = s.Name
		want.RouterInterfaces = []intent.RouterInterface{j}
	}
	want.Networks = []intent.Network{s}
	return want
}

// allocationRanges returns the addresses that pods may have.
func allocationRanges(net Net) []intent.Range {
	var b netipx.IPSetBuilder
	for _, p := range net.Prefixes {
		r := netipx.RangeOfPrefix(p)
		b.AddPrefix(p)
		b.Remove(r.From())
		b.Remove(r.To())
	}
	for _, r := range net.Excluded {
		b.RemoveRange(r)
	}
	set, err := b.IPSet()
	if err != nil {
		return nil // cannot happen: all prefixes and ranges are valid
	}
	var out []intent.Range
	for _, r := range set.Ranges() {
		out = append(out, intent.Range{First: r.From(), Last: r.To()})
	}
	return out
}

// CloudNetwork is a Subnet's network as it is in Neutron.
type CloudNetwork struct {
	ID       string
	MTU      int
	Prefixes []netip.Prefix
	Gateways []netip.Addr
}

// AddNetworkStatus completes a Subnet's status with what Neutron has.
func AddNetworkStatus(s *v1.SubnetStatus, spec *v1.SubnetSpec, n CloudNetwork) {
	s.Network = n.ID
	if spec.MTU == 0 && n.MTU > 0 {
		s.MTU = int32(n.MTU)
	}
	s.Gateway = joinAddrs(n.Gateways)
}

// isOwnNetwork tells whether a Neutron network on the router is the Subnet's own.
// If the network's id is not known yet, it is the one with exactly the Subnet's
// prefix: Neutron rejects a second network with that prefix on the router.
func isOwnNetwork(s *v1.Subnet, n RouterInterface, net Net) bool {
	if FabricOf(s) != intent.FabricNeutron || !External(n.Network) {
		return false
	}
	if id := cmp.Or(s.Spec.Network, s.Status.Network); id != "" {
		return n.Network == "neutron-"+id
	}
	return slices.Contains(net.Prefixes, n.Prefix.Masked())
}

// NeutronPortOf returns the port that a claim asks Neutron for. Neutron chooses
// what the claim leaves empty.
func NeutronPortOf(name string, ip *v1.IP) intent.Port {
	return intent.Port{
		Name: name, Network: NetworkName(ip.Spec.Subnet), MAC: intent.MAC(ip.Spec.MacAddress), Addrs: Addrs(ip),
		Version: ip.Spec.PodUID, Node: ip.Spec.NodeName,
	}
}

// Bind completes a claim with what the fabric chose for its port.
func Bind(ip *v1.IP, b intent.PortStatus) {
	s := &ip.Spec
	if s.Attach.VLAN != nil {
		s.Attach.VLAN.Tag, s.Attach.VLAN.Port = int32(b.Tag), b.ID
	} else {
		s.Attach = v1.Attach{OVS: &v1.AttachOVS{IfaceID: b.ID}}
	}
	s.MacAddress = cmp.Or(string(b.MAC), s.MacAddress)
	if s.MTU == 0 {
		s.MTU = int32(b.MTU)
	}
	for _, p := range b.Addrs {
		if p.Addr().Is4() {
			s.V4IPAddress, s.V4PrefixLength = p.Addr().String(), int32(p.Bits())
		} else {
			s.V6IPAddress, s.V6PrefixLength = p.Addr().String(), int32(p.Bits())
		}
	}
	for _, g := range b.Gateways {
		if g.Is4() {
			s.V4Gateway = g.String()
		} else {
			s.V6Gateway = g.String()
		}
	}
	s.Routes = routesWithGateway(s)
}

// routesWithGateway returns the claim's routes with the gateway of their family
// as next hop. It leaves out routes of a family without a gateway.
func routesWithGateway(s *v1.IPSpec) []v1.Route {
	var out []v1.Route
	for _, r := range s.Routes {
		r.Gateway = s.V6Gateway
		if p, err := netip.ParsePrefix(r.Destination); err == nil && p.Addr().Is4() {
			r.Gateway = s.V4Gateway
		}
		if r.Gateway != "" {
			out = append(out, r)
		}
	}
	return out
}
