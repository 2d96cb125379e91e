package agent

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/netdev"
	"github.com/isthmus-cni/isthmus/internal/nodenet"
	"github.com/isthmus-cni/isthmus/internal/plug"
)

// networks says which networks the node reaches by way of its own port, and
// whose packets leave under its address. claim is the node's, nil while there is
// none; join is what Subnet join will have until it is there. Sorted, so that
// equal worlds give equal states.
func networks(subnets []v1.Subnet, claim *v1.IP, join []netip.Prefix) nodenet.State {
	var s nodenet.State
	link, vpc := linkOf(subnets, claim)
	for _, sub := range subnets {
		if sub.Name == v1.JoinSubnet {
			join = parsePrefixes(sub.Spec.CIDRBlock)
		}
		if sub.Name == link || !joined(sub, vpc) {
			continue
		}
		prefixes := parsePrefixes(sub.Spec.CIDRBlock)
		s.Routes = append(s.Routes, prefixes...)
		if sub.Spec.NatOutgoing {
			s.Masquerade = append(s.Masquerade, prefixes...)
		}
	}
	if claim != nil {
		for _, r := range claim.Spec.Routes {
			s.Routes = append(s.Routes, parsePrefixes(r.Destination)...)
		}
	}
	slices.SortFunc(s.Routes, netip.Prefix.Compare)
	slices.SortFunc(s.Masquerade, netip.Prefix.Compare)
	s.Local = append(slices.Clone(s.Routes), join...)
	return s
}

// linkOf is the Subnet that the node's port is on, which needs no route, and its Vpc.
func linkOf(subnets []v1.Subnet, claim *v1.IP) (subnet, vpc string) {
	if claim == nil {
		return v1.JoinSubnet, v1.DefaultVpc
	}
	for _, s := range subnets {
		if s.Name == claim.Spec.Subnet && s.Spec.Vpc != "" {
			return s.Name, s.Spec.Vpc
		}
	}
	return claim.Spec.Subnet, v1.DefaultVpc
}

// joined is true for a Subnet that the node reaches by way of the router of its
// Vpc. A Subnet that was refused is not Ready and has no pods: a wrong CIDR must
// not become a route of the node's.
func joined(s v1.Subnet, vpc string) bool {
	inVpc := s.Spec.Vpc == vpc || s.Spec.Vpc == "" && vpc == v1.DefaultVpc
	works := meta.IsStatusConditionTrue(s.Status.Conditions, v1.ConditionReady) || s.Status.V4UsingIPs+s.Status.V6UsingIPs > 0
	return inVpc && works
}

// parsePrefixes leaves out what is none: the API server admits no such Subnet.
func parsePrefixes(list string) []netip.Prefix {
	var all []netip.Prefix
	for text := range strings.SplitSeq(list, ",") {
		if p, err := netip.ParsePrefix(strings.TrimSpace(text)); err == nil {
			all = append(all, p.Masked())
		}
	}
	return all
}

// ovn0 is the node's own interface as its claim says.
func ovn0(claim *v1.IP) (nodenet.Interface, error) {
	i := nodenet.Interface{IfaceID: claim.Name, MAC: claim.Spec.MacAddress, MTU: int(claim.Spec.MTU)}
	if claim.Spec.Attach.OVS != nil {
		i.IfaceID = claim.Spec.Attach.OVS.IfaceID
	}
	var err error
	if i.Addrs, err = addrsOf(claim.Spec); err == nil {
		i.Gateways, err = gatewaysOf(claim.Spec)
	}
	if err != nil {
		return nodenet.Interface{}, fmt.Errorf("claim %s makes no sense: %w", claim.Name, err)
	}
	return i, nil
}

// probes are the host links of this node's pods, as their ports say. The links
// have IPv4 link-local addresses only, so only IPv4 is probed through them.
func probes(ports []netdev.Port) []nodenet.Probe {
	var all []nodenet.Probe
	for _, p := range ports {
		link := p.IDs[plug.KeyHostLink]
		if link == "" {
			continue
		}
		for text := range strings.SplitSeq(p.IDs[plug.KeyAddrs], ",") {
			if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
				all = append(all, nodenet.Probe{Pod: p.IDs[plug.KeyPod], Addr: a, Link: link})
			}
		}
	}
	slices.SortFunc(all, func(a, b nodenet.Probe) int { return strings.Compare(a.Link, b.Link) })
	return all
}

// uid is that of a port's pod. Earlier releases wrote it as the port's version
// only, and not on Neutron's ports.
func uid(p netdev.Port) types.UID {
	return types.UID(cmp.Or(p.IDs[plug.KeyUID], p.IDs[plug.KeyIfaceIDVer]))
}
