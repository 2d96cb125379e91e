package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// policy is a parsed NetworkPolicy. The zero selector selects nothing.
type policy struct {
	namespace, name string
	pods            labels.Selector
	// ingress and egress tell in which directions the policy isolates.
	ingress, egress bool
	allows          []allow
	problem         error
}

// allow permits one peer at one port. A rule of a NetworkPolicy becomes all pairs
// of its peers and ports.
type allow struct {
	direction intent.Direction
	at        portRange
	peer      peer
}

// portRange is a range of ports of one protocol. The zero portRange is every port
// of every protocol.
type portRange struct {
	protocol    string
	first, last int
	// name is the port's name if the rule has no numbers.
	name string
}

// peer has at most one of its fields set. The zero peer is everybody.
type peer struct {
	pods   *podSet
	blocks []netip.Prefix
	cloud  string
}

func (p peer) isEverybody() bool { return p.pods == nil && p.blocks == nil && p.cloud == "" }

// readPolicy parses a policy. It uses what is valid; an invalid part permits
// nothing and becomes the policy's problem.
func readPolicy(np *netv1.NetworkPolicy) *policy {
	r := reader{policy: policy{namespace: np.Namespace, name: np.Name}}
	r.pods = r.selector(&np.Spec.PodSelector, "spec.podSelector")
	r.ingress, r.egress = directions(&np.Spec)
	if r.ingress {
		for i, rule := range np.Spec.Ingress {
			r.rule(intent.Ingress, rule.From, rule.Ports, fmt.Sprintf("spec.ingress[%d]", i))
		}
	}
	if r.egress {
		for i, rule := range np.Spec.Egress {
			r.rule(intent.Egress, rule.To, rule.Ports, fmt.Sprintf("spec.egress[%d]", i))
		}
	}
	if err := errors.Join(r.errs...); err != nil {
		r.problem = intent.Stop{Reason: "InvalidPolicy", Why: strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	return &r.policy
}

// directions follows the Kubernetes API: without policyTypes a policy applies to
// ingress, and also to egress if it has egress rules.
func directions(s *netv1.NetworkPolicySpec) (ingress, egress bool) {
	if len(s.PolicyTypes) == 0 {
		return true, len(s.Egress) > 0
	}
	return slices.Contains(s.PolicyTypes, netv1.PolicyTypeIngress), slices.Contains(s.PolicyTypes, netv1.PolicyTypeEgress)
}

type reader struct {
	policy
	errs []error
}

func (r *reader) addError(where string, err error) {
	r.errs = append(r.errs, fmt.Errorf("%s: %w", where, err))
}

func (r *reader) selector(s *metav1.LabelSelector, where string) labels.Selector {
	out, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		r.addError(where, err)
		return labels.Nothing()
	}
	return out
}

// rule adds all pairs of the rule's peers and ports. No peers means everybody, no
// ports means every port.
func (r *reader) rule(d intent.Direction, peers []netv1.NetworkPolicyPeer, ports []netv1.NetworkPolicyPort, where string) {
	at := []portRange{{}}
	if len(ports) > 0 {
		at = r.ports(ports, where)
	}
	all := []peer{{}}
	if len(peers) > 0 {
		all = r.peers(peers, where)
	}
	for _, p := range all {
		for _, a := range at {
			r.allows = append(r.allows, allow{d, a, p.forPort(d, a)})
		}
	}
}

// forPort returns the peer for a port. For egress to a named port it is a set of
// pods, because only pods have named ports, and each may have its own number.
func (p peer) forPort(d intent.Direction, a portRange) peer {
	if d != intent.Egress || a.name == "" || p.cloud != "" {
		return p
	}
	s := podSet{namespaces: labels.Everything(), pods: labels.Everything()}
	if p.pods != nil {
		s = *p.pods
	}
	s.blocks, s.port, s.protocol = p.blocks, a.name, a.protocol
	return peer{pods: s.withText()}
}

func (r *reader) ports(list []netv1.NetworkPolicyPort, where string) []portRange {
	var out []portRange
	for i, p := range list {
		if a, err := readPort(p); err != nil {
			r.addError(fmt.Sprintf("%s.ports[%d]", where, i), err)
		} else {
			out = append(out, a)
		}
	}
	return out
}

// readPort returns the range of a port. It errs if the protocol or the numbers
// are invalid.
func readPort(p netv1.NetworkPolicyPort) (portRange, error) {
	a := portRange{protocol: protocolOf(p.Protocol)}
	switch {
	case !slices.Contains([]string{"tcp", "udp", "sctp"}, a.protocol):
		return a, fmt.Errorf("protocol %q is none of TCP, UDP, SCTP", *p.Protocol)
	case p.Port == nil && p.EndPort == nil:
		return a, nil
	case p.Port == nil || p.Port.Type == intstr.String && p.EndPort != nil:
		return a, errors.New("endPort needs a port that is a number")
	case p.Port.Type == intstr.String:
		a.name = p.Port.StrVal
		return a, checkPortName(a.name)
	}
	a.first, a.last = int(p.Port.IntVal), int(p.Port.IntVal)
	if p.EndPort != nil {
		a.last = int(*p.EndPort)
	}
	if a.first < 1 || a.last < a.first || a.last > 65535 {
		return a, fmt.Errorf("ports %d to %d are no range of 1 to 65535", a.first, a.last)
	}
	return a, nil
}

func checkPortName(port string) error {
	if port == "" {
		return errors.New("the port's name is empty")
	}
	return nil
}

func (r *reader) peers(list []netv1.NetworkPolicyPeer, where string) []peer {
	var out []peer
	for i, p := range list {
		at := fmt.Sprintf("%s peer %d", where, i)
		group, isCloud, err := cloudPeer(p.PodSelector, p.NamespaceSelector)
		switch {
		case err != nil:
			r.addError(at, err)
		case p.IPBlock != nil && (p.PodSelector != nil || p.NamespaceSelector != nil):
			r.addError(at, errors.New("ipBlock stands beside a selector: make two peers of it"))
		case p.IPBlock != nil:
			out = append(out, r.block(p.IPBlock, at)...)
		case isCloud:
			out = append(out, peer{cloud: group})
		case p.PodSelector != nil || p.NamespaceSelector != nil:
			out = append(out, r.podPeer(p, at))
		default:
			r.addError(at, errors.New("names nobody"))
		}
	}
	return out
}

// podPeer selects pods of the policy's own namespace if the peer has no
// namespaceSelector.
func (r *reader) podPeer(p netv1.NetworkPolicyPeer, where string) peer {
	s := podSet{pods: labels.Everything()}
	if p.PodSelector != nil {
		s.pods = r.selector(p.PodSelector, where)
	}
	if p.NamespaceSelector != nil {
		s.namespaces = r.selector(p.NamespaceSelector, where)
	} else {
		s.namespace = r.namespace
	}
	return peer{pods: s.withText()}
}

// block returns the prefixes of a network without its exceptions; no peer if
// nothing is left.
func (r *reader) block(b *netv1.IPBlock, where string) []peer {
	left, err := subtractPrefixes(b.CIDR, b.Except)
	if err != nil {
		r.addError(where, err)
	}
	if len(left) == 0 {
		return nil
	}
	return []peer{{blocks: left}}
}

// subtractPrefixes returns the prefixes of cidr without those of except. It errs
// if one is not a network prefix.
func subtractPrefixes(cidr string, except []string) ([]netip.Prefix, error) {
	var b netipx.IPSetBuilder
	for i, text := range append([]string{cidr}, except...) {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().Is4In6() {
			return nil, fmt.Errorf("ipBlock has %q, which is not a network such as 10.1.0.0/16 or fd00::/64", text)
		}
		if i == 0 {
			b.AddPrefix(p.Masked())
		} else {
			b.RemovePrefix(p.Masked())
		}
	}
	set, err := b.IPSet()
	if err != nil {
		return nil, fmt.Errorf("ipBlock %s without %s: %w", cidr, strings.Join(except, ", "), err)
	}
	return set.Prefixes(), nil
}
