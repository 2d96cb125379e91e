package reach

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Allows tells whether the Kubernetes API allows a flow: the egress policies of
// the sending pod and the ingress policies of the receiving pod must both allow
// it. The code is slow and simple on purpose.
func (w World) Allows(f Flow) bool {
	if f.From == f.To {
		return true // a pod cannot block access to itself
	}
	if s := w.service(f.To); s != nil {
		return w.allowsService(s, f)
	}
	from, to := w.pod(f.From), w.pod(f.To)
	return w.allows(netv1.PolicyTypeEgress, from, f.To, to, f) && w.allows(netv1.PolicyTypeIngress, to, f.From, to, f)
}

// allowsService is true only if the flow is allowed to all pods behind a Service,
// because any of them may get it.
func (w World) allowsService(s *corev1.Service, f Flow) bool {
	backends := 0
	for _, b := range w.Backends(s, f) {
		backends++
		if !w.Allows(b) {
			return false
		}
	}
	return backends > 0
}

// Backends returns the flows that a flow to a Service becomes, one for each pod
// behind it.
func (w World) Backends(s *corev1.Service, f Flow) []Flow {
	var out []Flow
	for _, sp := range s.Spec.Ports {
		if int(sp.Port) != f.Port || protocolName(string(sp.Protocol)) != f.Protocol {
			continue
		}
		for _, p := range w.Pods {
			port := sp.TargetPort.IntValue()
			if sp.TargetPort.Type == intstr.String {
				port = portNamed(p, sp.TargetPort.StrVal, f.Protocol)
			}
			if p.Namespace == s.Namespace && port != 0 && matches(&metav1.LabelSelector{MatchLabels: s.Spec.Selector}, p.Labels) {
				out = append(out, Flow{From: f.From, To: PodAddrs(p)[0], Protocol: f.Protocol, Port: port})
			}
		}
	}
	return out
}

// allows checks one direction. subject is the pod whose policies apply, peer the
// other endpoint, to the pod whose named ports count. Both pods may be nil.
func (w World) allows(d netv1.PolicyType, subject *corev1.Pod, peer netip.Addr, to *corev1.Pod, f Flow) bool {
	if subject == nil || w.isOwnNode(subject, peer) {
		return true
	}
	isolated := false
	for _, p := range w.Policies {
		if p.Namespace != subject.Namespace || !matches(&p.Spec.PodSelector, subject.Labels) || !applies(p, d) {
			continue
		}
		isolated = true
		if w.permits(p, d, peer, to, f) {
			return true
		}
	}
	return !isolated
}

// applies tells whether the policy has the direction.
func applies(p *netv1.NetworkPolicy, d netv1.PolicyType) bool {
	if len(p.Spec.PolicyTypes) == 0 {
		return d == netv1.PolicyTypeIngress || len(p.Spec.Egress) > 0
	}
	return slices.Contains(p.Spec.PolicyTypes, d)
}

// isOwnNode tells whether a is an address of the pod's node. Traffic to and from
// that node is always allowed.
func (w World) isOwnNode(p *corev1.Pod, a netip.Addr) bool {
	for _, n := range w.Nodes {
		if n.Name == p.Spec.NodeName && slices.Contains(nodeAddrs(n), a) {
			return true
		}
	}
	return false
}

// permits tells whether any rule of the policy matches both a peer and a port.
func (w World) permits(p *netv1.NetworkPolicy, d netv1.PolicyType, peer netip.Addr, to *corev1.Pod, f Flow) bool {
	if d == netv1.PolicyTypeIngress {
		return slices.ContainsFunc(p.Spec.Ingress, func(r netv1.NetworkPolicyIngressRule) bool {
			return w.isPeer(p.Namespace, r.From, peer) && isPort(r.Ports, to, f)
		})
	}
	return slices.ContainsFunc(p.Spec.Egress, func(r netv1.NetworkPolicyEgressRule) bool {
		return w.isPeer(p.Namespace, r.To, peer) && isPort(r.Ports, to, f)
	})
}

func (w World) isPeer(namespace string, peers []netv1.NetworkPolicyPeer, a netip.Addr) bool {
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p netv1.NetworkPolicyPeer) bool { return w.isSelected(namespace, p, a) })
}

func (w World) isSelected(namespace string, p netv1.NetworkPolicyPeer, a netip.Addr) bool {
	if p.IPBlock != nil {
		return inBlock(p.IPBlock.CIDR, a) && !slices.ContainsFunc(p.IPBlock.Except, func(e string) bool { return inBlock(e, a) })
	}
	if p.PodSelector != nil {
		if group, is := p.PodSelector.MatchLabels[labelSecurityGroup]; is {
			return slices.Contains(w.cloudGroups(a), group)
		}
	}
	pod := w.pod(a)
	if pod == nil {
		return false
	}
	if p.NamespaceSelector == nil && pod.Namespace != namespace {
		return false
	}
	if p.NamespaceSelector != nil && !matches(p.NamespaceSelector, w.namespaceLabels(pod.Namespace)) {
		return false
	}
	return p.PodSelector == nil || matches(p.PodSelector, pod.Labels)
}

func inBlock(cidr string, a netip.Addr) bool {
	p, err := netip.ParsePrefix(cidr)
	return err == nil && p.Contains(a)
}

func isPort(ports []netv1.NetworkPolicyPort, to *corev1.Pod, f Flow) bool {
	if len(ports) == 0 {
		return true
	}
	return slices.ContainsFunc(ports, func(p netv1.NetworkPolicyPort) bool {
		if protocol(p.Protocol) != f.Protocol {
			return false
		}
		switch {
		case p.Port == nil:
			return true
		case p.Port.Type == intstr.String:
			return f.Port != 0 && f.Port == portNamed(to, p.Port.StrVal, f.Protocol)
		case p.EndPort != nil:
			return int(p.Port.IntVal) <= f.Port && f.Port <= int(*p.EndPort)
		}
		return f.Port == int(p.Port.IntVal)
	})
}

func protocol(p *corev1.Protocol) string {
	if p == nil {
		return "tcp"
	}
	return protocolName(string(*p))
}

func protocolName(protocol string) string {
	if protocol == "" {
		return "tcp"
	}
	return strings.ToLower(protocol)
}

// portNamed returns the number of a pod's port; 0 if it has none of that name. p
// may be nil.
func portNamed(p *corev1.Pod, name, protocol string) int {
	if p == nil {
		return 0
	}
	for _, c := range p.Spec.Containers {
		for _, cp := range c.Ports {
			if cp.Name == name && protocolName(string(cp.Protocol)) == protocol {
				return int(cp.ContainerPort)
			}
		}
	}
	return 0
}

// matches evaluates a label selector, requirement by requirement.
func matches(s *metav1.LabelSelector, labels map[string]string) bool {
	for k, v := range s.MatchLabels {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	for _, e := range s.MatchExpressions {
		have, ok := labels[e.Key]
		in := ok && slices.Contains(e.Values, have)
		want := map[metav1.LabelSelectorOperator]bool{
			metav1.LabelSelectorOpIn: in, metav1.LabelSelectorOpNotIn: !in,
			metav1.LabelSelectorOpExists: ok, metav1.LabelSelectorOpDoesNotExist: !ok,
		}
		if !want[e.Operator] {
			return false
		}
	}
	return true
}
