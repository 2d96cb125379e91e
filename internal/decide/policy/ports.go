package policy

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// NamedPort is a container port with a name, in a namespace.
type NamedPort struct {
	Namespace, Name string
	// Protocol is tcp, udp or sctp.
	Protocol string
	Number   int
}

// NamedPortsOf returns a pod's named ports, the first one of each name and
// protocol, because Services use the first one too.
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

// protocolOf returns a protocol in lower case; tcp if none is given.
func protocolOf(p *corev1.Protocol) string {
	if p == nil || *p == "" {
		return "tcp"
	}
	return strings.ToLower(string(*p))
}

// PortCount is the number of pods with each named port. For policies it matters
// only whether there is one.
type PortCount map[NamedPort]int

// Change counts a pod's new ports instead of its old ones. It returns the ports
// that came into use or went out of use.
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

// numbers returns the numbers in use for a name, sorted. If namespace is not
// empty, only pods of that namespace count.
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

// number returns the number of the pod's port of that name; false if it has none.
func (p Pod) number(name, protocol string) (int, bool) {
	i := slices.IndexFunc(p.Ports, func(n NamedPort) bool { return n.Name == name && n.Protocol == protocol })
	if i < 0 {
		return 0, false
	}
	return p.Ports[i].Number, true
}
