// Package decide holds the rules: what each Kubernetes object asks of the
// network, as a function of facts that the caller has gathered. It does no I/O
// and knows no events: the result depends on the present state only.
//
// Each rule returns an intent.Decision: what to apply or that everything is kept,
// the report to Kubernetes, and a problem, which is an intent.Wait or an
// intent.Stop. A decision can both apply something and have a problem: a Subnet
// whose router was deleted keeps its ports.
package decide

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/isthmus-cni/isthmus/api/kubeovn/v1"
	"github.com/isthmus-cni/isthmus/internal/intent"
)

// Router is a router that exists in the network, ours or not.
type Router struct {
	Name       string
	Ours       bool
	Interfaces []RouterInterface
	// Networks are the names of the logical switches connected to it, sorted.
	Networks []string
	// MTU is the smallest MTU of the Neutron networks on it, in bytes; 0 if there
	// are none.
	MTU int
}

// RouterInterface is the prefix and the network of one router port.
type RouterInterface struct {
	Prefix        netip.Prefix
	Network, Port string
	Ours          bool
}

// Net holds the prefixes and addresses of a Subnet's spec.
type Net struct {
	Prefixes []netip.Prefix
	// Gateways are the router's addresses, one for each prefix.
	Gateways []netip.Addr
	// Excluded are the ranges that pods never get addresses from. They include the
	// gateways.
	Excluded []netipx.IPRange
}

// PrefixesOf returns a Subnet's prefixes. They are immutable and can be read even
// if another field of the spec is invalid. It errs if one of them is not a
// network prefix.
func PrefixesOf(s *v1.SubnetSpec) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for text := range strings.SplitSeq(s.CIDRBlock, ",") {
		p, err := netip.ParsePrefix(text)
		if err != nil || p != p.Masked() {
			return nil, fmt.Errorf("cidrBlock %q is not a network prefix such as 12.0.1.0/24", text)
		}
		out = append(out, p)
	}
	return out, nil
}

// LeasesOf returns what the address allocator needs of a Subnet when the
// controller starts. If the Subnet's spec cannot be read, all addresses are
// excluded: units keep the addresses that they have, and no unit gets a new one.
// It errs if the prefixes cannot be read.
func LeasesOf(s *v1.SubnetSpec) (Net, error) {
	if n, err := NetOf(s); err == nil {
		return n, nil
	}
	prefixes, err := PrefixesOf(s)
	n := Net{Prefixes: prefixes}
	for _, p := range prefixes {
		n.Excluded = append(n.Excluded, netipx.RangeOfPrefix(p))
	}
	return n, err
}

// NetOf reads the addresses of a Subnet's spec. It errs if a prefix, a gateway or
// an excluded range is invalid; the CRD's schema rejects most such specs earlier.
func NetOf(s *v1.SubnetSpec) (Net, error) {
	prefixes, err := PrefixesOf(s)
	if err != nil {
		return Net{}, err
	}
	n := Net{Prefixes: prefixes}
	for _, p := range prefixes {
		n.Gateways = append(n.Gateways, firstHost(p))
	}
	if err := n.setGateways(s.Gateway); err != nil {
		return Net{}, err
	}
	for _, g := range n.Gateways {
		n.Excluded = append(n.Excluded, netipx.IPRangeFrom(g, g))
	}
	for _, text := range s.ExcludeIPs {
		r, err := parseRange(text)
		if err != nil {
			return Net{}, err
		}
		n.Excluded = append(n.Excluded, r)
	}
	return n, nil
}

// firstHost returns the first address of a network that a router can have.
func firstHost(p netip.Prefix) netip.Addr {
	if p.Bits() >= p.Addr().BitLen()-1 {
		return p.Addr()
	}
	return p.Addr().Next()
}

// setGateways replaces the gateways with those of the spec; it keeps them if text
// is empty. It errs if one is not in a prefix.
func (n *Net) setGateways(text string) error {
	if text == "" {
		return nil
	}
	for t := range strings.SplitSeq(text, ",") {
		g, err := netip.ParseAddr(t)
		i := slices.IndexFunc(n.Prefixes, func(p netip.Prefix) bool { return p.Contains(g) })
		if err != nil || i < 0 {
			return fmt.Errorf("gateway %q is not an address in cidrBlock", t)
		}
		n.Gateways[i] = g
	}
	return nil
}

// parseRange parses an address or a range "first..last". It errs if it is
// neither.
func parseRange(text string) (netipx.IPRange, error) {
	from, to, isRange := strings.Cut(text, "..")
	if !isRange {
		to = from
	}
	a, aerr := netip.ParseAddr(from)
	b, berr := netip.ParseAddr(to)
	r := netipx.IPRangeFrom(a, b)
	if aerr != nil || berr != nil || !r.IsValid() {
		return r, fmt.Errorf("excludeIps has %q, which is neither an address nor a range first..last", text)
	}
	return r, nil
}

// firstOverlap returns two prefixes, one of each list, that have an address in
// common; false if there are none.
func firstOverlap(a, b []netip.Prefix) (netip.Prefix, netip.Prefix, bool) {
	for _, x := range a {
		for _, y := range b {
			if x.Overlaps(y) {
				return x, y, true
			}
		}
	}
	return netip.Prefix{}, netip.Prefix{}, false
}

// Older compares two objects by creation time, then by name. The result is
// negative if a is older.
func Older(a, b metav1.Object) int {
	at, bt := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return cmp.Or(at.Compare(bt.Time), cmp.Compare(a.GetName(), b.GetName()))
}

// Allows tells whether pods of the namespace may use the Vpc. home is the Vpc
// that the nodes are in; all namespaces may use it if its spec names none.
func Allows(v *v1.Vpc, namespace, home string) bool {
	if v.Name == NodeVpcOf(home) && len(v.Spec.Namespaces) == 0 {
		return true
	}
	return slices.Contains(v.Spec.Namespaces, namespace)
}

// Ready returns nil if the Subnet may take new ports; otherwise an intent.Wait
// that says why not. It reads the spec itself, because the condition may not yet
// say that the spec is invalid.
func Ready(s *v1.Subnet) error {
	if !s.DeletionTimestamp.IsZero() {
		return intent.Wait{Reason: "SubnetNotReady", For: fmt.Sprintf("Subnet %s, which is being deleted", s.Name)}
	}
	if _, err := NetOf(&s.Spec); err != nil {
		return intent.Wait{Reason: "SubnetNotReady", For: fmt.Sprintf("Subnet %s to be mended: %v", s.Name, err)}
	}
	c := meta.FindStatusCondition(s.Status.Conditions, v1.ConditionReady)
	if c == nil {
		return intent.Wait{Reason: "SubnetNotReady", For: fmt.Sprintf("Subnet %s to be ready", s.Name)}
	}
	if c.Status != metav1.ConditionTrue {
		return intent.Wait{Reason: "SubnetNotReady", For: fmt.Sprintf("Subnet %s to be ready (%s: %s)", s.Name, c.Reason, c.Message)}
	}
	return nil
}

// listNames joins the names of at most three items, and says how many more there
// are.
func listNames[T any](what string, items []T, name func(T) string) string {
	const most = 3
	names := make([]string, 0, most)
	for _, i := range items[:min(most, len(items))] {
		names = append(names, name(i))
	}
	text := strings.Join(names, ", ")
	if more := len(items) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return what + " " + text
}
