package policy

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// NamedPort is a port that a pod of a namespace has given a name.
type NamedPort struct {
	Namespace, Name string
	// Protocol is tcp, udp or sctp.
	Protocol string
	Number   int
}

// NamedPortsOf are a pod's, the first of each name and protocol: that is the
// one which Services mean.
func NamedPortsOf(p *corev1.Pod) []NamedPort {
	containers := slices.Clone(p.Spec.Containers)
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			containers = append(containers, c)
		}
	}
	var out []NamedPort
	for _, c := range containers {
		for _, cp := range c.Ports {
			n := NamedPort{p.Namespace, cp.Name, protocolOf(&cp.Protocol), int(cp.ContainerPort)}
			if cp.Name != "" && !slices.ContainsFunc(out, n.sameName) {
				out = append(out, n)
			}
		}
	}
	return out
}

func (n NamedPort) sameName(o NamedPort) bool { return n.Name == o.Name && n.Protocol == o.Protocol }

// protocolOf is a protocol in the words of intent; TCP if none is given.
func protocolOf(p *corev1.Protocol) string {
	if p == nil || *p == "" {
		return "tcp"
	}
	return strings.ToLower(string(*p))
}

// PortCount says how many pods have each named port. Only whether there are any
// matters to the policies.
type PortCount map[NamedPort]int

// Change counts a pod's ports as they are in place of those that it had. It
// returns those that came into use or went out of use.
func (c PortCount) Change(before, after []NamedPort) []NamedPort {
	var changed []NamedPort
	for _, n := range after {
		if c[n]++; c[n] == 1 {
			changed = append(changed, n)
		}
	}
	for _, n := range before {
		if c[n]--; c[n] <= 0 {
			delete(c, n)
			changed = append(changed, n)
		}
	}
	return changed
}

// numbers are those in use for a name, sorted; in one namespace if it is given.
func (c PortCount) numbers(namespace, name, protocol string) []int {
	var out []int
	for n := range c {
		if n.Name == name && n.Protocol == protocol && (namespace == "" || n.Namespace == namespace) {
			out = append(out, n.Number)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// number is what a pod's port of that name is.
func (p Pod) number(name, protocol string) (int, bool) {
	i := slices.IndexFunc(p.Ports, func(n NamedPort) bool { return n.Name == name && n.Protocol == protocol })
	if i < 0 {
		return 0, false
	}
	return p.Ports[i].Number, true
}
