package decide

import (
	"fmt"
	"net/netip"
	"slices"

	"go4.org/netipx"
	networkingv1 "k8s.io/api/networking/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/decide/policy"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// ClusterFacts are the facts about what a cluster always has in Neutron,
// independent of its users' objects.
type ClusterFacts struct {
	// NodeVpc is the Vpc that the nodes are in if it is a Neutron router; empty
	// otherwise.
	NodeVpc string
	// Router is the router of NodeVpc; nil if there is none.
	Router *Router
	// CIDRs are all ServiceCIDRs, sorted by name.
	CIDRs   []*networkingv1.ServiceCIDR
	Subnets []*v1.Subnet
	Nodes   []NodeAddr
	// ServiceNetwork is the id of an existing network for cluster IPs; empty if
	// the controller creates one.
	ServiceNetwork string
	// Project is the id of our cloud project. Quotas are its quotas by Neutron's
	// name of the resource type; nil if they are not known.
	Project string
	Quotas  map[string]Quota
	// InUse is true if Services have load balancers in their network, or if that
	// is not known yet.
	InUse bool
}

// ClusterReport is what is reported to Kubernetes in addition to the outcome.
type ClusterReport struct {
	// LowQuotas says which quotas may be too small; empty if none is.
	LowQuotas string
}

// MainCIDR is the name of the ServiceCIDR that every cluster has.
const MainCIDR = "kubernetes"

// Main returns the ServiceCIDR named MainCIDR; nil if there is none.
func (f ClusterFacts) Main() *networkingv1.ServiceCIDR {
	if i := slices.IndexFunc(f.CIDRs, func(c *networkingv1.ServiceCIDR) bool { return c.Name == MainCIDR }); i >= 0 {
		return f.CIDRs[i]
	}
	return nil
}

// Cluster decides the security groups of pods and nodes, and the network of the
// Services. Kubernetes allocates cluster IPs from one half of that network and
// Neutron allocates addresses from the other half, so that they never allocate
// the same address.
//
// If the network becomes impossible while Services use it, Cluster keeps
// everything.
func Cluster(f ClusterFacts) intent.Decision[ClusterReport] {
	want := intent.Want{Fabric: intent.FabricNeutron, Groups: standardGroups()}
	report := ClusterReport{LowQuotas: LowQuotas(f.Quotas, f.Project)}
	if f.NodeVpc == "" {
		return intent.Apply(want, report)
	}
	s, err := f.serviceNetwork()
	switch {
	case err != nil && f.InUse:
		return intent.Keep(report, err)
	case err != nil:
		return intent.ApplyWith(want, report, err) // pods need the groups already
	}
	if s.Existing = f.ServiceNetwork; s.Existing == "" {
		want.RouterInterfaces = []intent.RouterInterface{f.routerInterface(s)}
	}
	want.Networks = []intent.Network{s}
	if len(f.CIDRs) > 1 {
		return intent.ApplyWith(want, report, intent.Stop{Reason: "MoreServiceCIDRs", Why: fmt.Sprintf(
			"Services with addresses of ServiceCIDR %s have no load balancer: only those of %s have, delete it", f.otherServiceCIDR(), MainCIDR)})
	}
	return intent.Apply(want, report)
}

// serviceNetwork returns the network that the cluster IPs are in. It errs with an
// intent.Wait or an intent.Stop if there can be none.
func (f ClusterFacts) serviceNetwork() (intent.Network, error) {
	main := f.Main()
	if main == nil {
		return intent.Network{}, intent.Wait{Reason: "NoServiceCIDR", For: "ServiceCIDR " + MainCIDR + " in Kubernetes"}
	}
	s, err := serviceNetworkOf(main.Spec.CIDRs)
	if err != nil {
		return s, err
	}
	return s, f.conflict(s.Prefixes)
}

func (f ClusterFacts) routerInterface(s intent.Network) intent.RouterInterface {
	join := intent.RouterInterface{Network: s.Name, Router: f.NodeVpc, Foreign: true}
	for i, g := range s.Gateways {
		join.Addresses = append(join.Addresses, netip.PrefixFrom(g, s.Prefixes[i].Bits()))
	}
	return join
}

func (f ClusterFacts) otherServiceCIDR() string {
	i := slices.IndexFunc(f.CIDRs, func(c *networkingv1.ServiceCIDR) bool { return c.Name != MainCIDR })
	return f.CIDRs[i].Name
}

func standardGroups() []intent.Group {
	open := []intent.Rule{{Direction: intent.Ingress}, {Direction: intent.Egress}}
	return []intent.Group{
		{Name: policy.GroupPods, Rules: open},
		{Name: GroupNodes, Rules: open},
	}
}

// ServicePrefixes returns the prefixes of a ServiceCIDR, without those that
// cannot be parsed. c may be nil.
func ServicePrefixes(c *networkingv1.ServiceCIDR) []netip.Prefix {
	if c == nil {
		return nil
	}
	var out []netip.Prefix
	for _, text := range c.Spec.CIDRs {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

// serviceNetworkOf returns a network twice as large as the cluster's Service range.
// It errs with an intent.Stop if a prefix is invalid or has no usable other half.
func serviceNetworkOf(cidrs []string) (intent.Network, error) {
	s := intent.Network{Name: ServiceNetwork}
	for _, text := range cidrs {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Bits() == 0 || p.Bits() > p.Addr().BitLen()-3 {
			return s, intent.Stop{Reason: "BadServiceCIDR", Why: fmt.Sprintf("ServiceCIDR %s: %q cannot be half of a network of Neutron's", MainCIDR, text)}
		}
		parent := netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked()
		gateway, rest := otherHalf(parent, p.Masked())
		s.Prefixes, s.Gateways, s.Ranges = append(s.Prefixes, parent), append(s.Gateways, gateway), append(s.Ranges, rest)
	}
	return s, nil
}

// otherHalf returns a gateway and a range of addresses in the half of parent that
// is not p. Both leave out the first and the last address of parent.
func otherHalf(parent, p netip.Prefix) (netip.Addr, intent.Range) {
	whole := netipx.RangeOfPrefix(parent)
	if p.Addr() == parent.Addr() {
		gateway := whole.To().Prev()
		return gateway, intent.Range{First: netipx.PrefixLastIP(p).Next(), Last: gateway.Prev()}
	}
	gateway := whole.From().Next()
	return gateway, intent.Range{First: gateway.Next(), Last: p.Addr().Prev()}
}

// conflict returns the first reason not to have these networks on the router; nil
// if there is none.
func (f ClusterFacts) conflict(prefixes []netip.Prefix) error {
	switch {
	case f.onRouter(prefixes):
		return nil
	case f.ServiceNetwork != "":
		return intent.Wait{Reason: "NotOnRouter", For: fmt.Sprintf(
			"network %s with subnet %v on router %s: openstack router add subnet", f.ServiceNetwork, prefixes[0], f.NodeVpc)}
	}
	refuse := func(a, b netip.Prefix, side string) error {
		return intent.Stop{Reason: "Overlap", Why: fmt.Sprintf("the Services' network %v, twice as large as ServiceCIDR %s, overlaps %v of %s", a, MainCIDR, b, side)}
	}
	for _, s := range f.Subnets {
		others, err := PrefixesOf(&s.Spec)
		if err != nil || s.Spec.Vpc != f.NodeVpc {
			continue
		}
		if a, b, ok := firstOverlap(prefixes, others); ok {
			return refuse(a, b, "Subnet "+s.Name)
		}
	}
	for _, n := range f.Nodes {
		if a, b, ok := firstOverlap(prefixes, []netip.Prefix{netip.PrefixFrom(n.Addr, n.Addr.BitLen())}); ok {
			return refuse(a, b, "Node "+n.Node)
		}
	}
	if f.Router == nil {
		return nil
	}
	for _, n := range f.Router.Interfaces {
		if a, b, ok := firstOverlap(prefixes, []netip.Prefix{n.Prefix.Masked()}); ok {
			return refuse(a, b, "network "+n.Network+" on the router")
		}
	}
	return nil
}

// onRouter tells whether the networks are on the router already. A network with
// exactly our prefix is our own, because Neutron rejects a second network with
// that prefix on the router.
func (f ClusterFacts) onRouter(prefixes []netip.Prefix) bool {
	return f.Router != nil && !slices.ContainsFunc(prefixes, func(p netip.Prefix) bool {
		return !slices.ContainsFunc(f.Router.Interfaces, func(n RouterInterface) bool { return !n.Ours && n.Prefix.Masked() == p })
	})
}
