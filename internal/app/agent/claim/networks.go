package claim

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
)

// Networks returns the part of the node's network that depends on Subnets: which
// networks the node reaches through its own port, and whose packets leave under the
// node's address. node is the node's own claim; nil while there is none. join has the
// prefixes of Subnet join to use while that Subnet does not exist. The lists are sorted,
// so that equal input gives equal states.
func Networks(subnets []v1.Subnet, node *v1.IP, join []netip.Prefix) nodenet.State {
	var s nodenet.State
	own, vpc := nodeSubnet(subnets, node)
	for _, sub := range subnets {
		if sub.Name == v1.JoinSubnet {
			join = ParsePrefixes(sub.Spec.CIDRBlock)
		}
		if sub.Name == own || !routed(sub, vpc) {
			continue
		}
		prefixes := ParsePrefixes(sub.Spec.CIDRBlock)
		s.Routes = append(s.Routes, prefixes...)
		if sub.Spec.NatOutgoing {
			s.Masquerade = append(s.Masquerade, prefixes...)
		}
	}
	if node != nil {
		for _, r := range node.Spec.Routes {
			s.Routes = append(s.Routes, ParsePrefixes(r.Destination)...)
		}
	}
	slices.SortFunc(s.Routes, netip.Prefix.Compare)
	slices.SortFunc(s.Masquerade, netip.Prefix.Compare)
	s.Local = append(slices.Clone(s.Routes), join...)
	return s
}

// nodeSubnet returns the names of the Subnet of the node's port, which needs no route,
// and of its Vpc. Both are the defaults while the node has no claim.
func nodeSubnet(subnets []v1.Subnet, node *v1.IP) (subnet, vpc string) {
	if node == nil {
		return v1.JoinSubnet, v1.DefaultVpc
	}
	for _, s := range subnets {
		if s.Name == node.Spec.Subnet && s.Spec.Vpc != "" {
			return s.Name, s.Spec.Vpc
		}
	}
	return node.Spec.Subnet, v1.DefaultVpc
}

// routed returns whether the node reaches a Subnet through the router of its Vpc. A
// refused Subnet is not Ready and has no pods; its wrong CIDR must not become a route of
// the node.
func routed(s v1.Subnet, vpc string) bool {
	inVpc := s.Spec.Vpc == vpc || s.Spec.Vpc == "" && vpc == v1.DefaultVpc
	works := meta.IsStatusConditionTrue(s.Status.Conditions, v1.ConditionReady) || s.Status.V4UsingIPs+s.Status.V6UsingIPs > 0
	return inVpc && works
}

// ParsePrefixes parses prefixes separated by commas. It leaves out invalid ones, which
// the API server does not accept in a Subnet.
func ParsePrefixes(list string) []netip.Prefix {
	var all []netip.Prefix
	for text := range strings.SplitSeq(list, ",") {
		if p, err := netip.ParsePrefix(strings.TrimSpace(text)); err == nil {
			all = append(all, p.Masked())
		}
	}
	return all
}

// NodeInterface returns the properties of ovn0 in the node's claim. It errs if an address
// of the claim cannot be parsed.
func NodeInterface(node *v1.IP) (nodenet.Interface, error) {
	i := nodenet.Interface{IfaceID: node.Name, MAC: node.Spec.MacAddress, MTU: int(node.Spec.MTU)}
	if node.Spec.Attach.OVS != nil {
		i.IfaceID = node.Spec.Attach.OVS.IfaceID
	}
	var err error
	if i.Addrs, err = Addrs(node.Spec); err == nil {
		i.Gateways, err = gateways(node.Spec)
	}
	if err != nil {
		return nodenet.Interface{}, fmt.Errorf("claim %s is invalid: %w", node.Name, err)
	}
	return i, nil
}
