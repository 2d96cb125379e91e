package policy

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Membership is what a pod's port is a member of.
type Membership struct {
	// Groups are the names of our groups. CloudGroups are the ids of OpenStack's
	// own. Both are sorted.
	Groups, CloudGroups []string
}

// CloudGroups are OpenStack's own security groups.
type CloudGroups struct {
	// Standard are the ids of the groups of a pod that asks for none and that no
	// policy selects. If there are none, such a pod permits everything.
	Standard []string
	// IDs maps the groups that the pod asks for, by id or name, to their ids.
	IDs map[string]string
}

// Memberships returns a pod's groups. It errs with an intent.Stop or an
// intent.Wait if the pod's annotation names a group that it cannot have. The
// groups are then those of a pod with an empty annotation; a pod without a port
// should not get one.
func (x *Index) Memberships(pod Pod, c CloudGroups) (Membership, error) {
	groups, ingress, egress := x.isolation(pod)
	m := Membership{Groups: groups}
	clouds, problem := pod.cloudGroups(c.IDs)
	if len(clouds) == 0 && !ingress && !egress {
		clouds = c.Standard
	}
	m.CloudGroups = nameSet(clouds)
	if len(clouds) == 0 {
		m.Groups = append(m.Groups, openGroups(ingress, egress)...)
	}
	if (ingress || egress || len(clouds) > 0) && pod.Node != "" {
		m.Groups = append(m.Groups, GuardGroup(pod.Node))
	}
	for _, s := range x.sets {
		if name, ok := s.groupOf(pod); ok {
			m.Groups = append(m.Groups, name)
		}
	}
	m.Groups = nameSet(m.Groups)
	return m, problem
}

// isolation returns the groups of the policies that select a pod, and in which
// directions these isolate it.
func (x *Index) isolation(pod Pod) (groups []string, ingress, egress bool) {
	for _, p := range x.byNamespace[pod.Namespace] {
		if p.selects(pod) {
			ingress, egress = ingress || p.ingress, egress || p.egress
			groups = append(groups, p.groupsFor(pod)...)
		}
	}
	return groups, ingress, egress
}

// openGroups returns the open groups of a pod that is isolated in these directions.
// Most pods are not isolated and are in one group.
func openGroups(ingress, egress bool) []string {
	switch {
	case ingress && egress:
		return nil
	case ingress:
		return []string{OpenEgress}
	case egress:
		return []string{OpenIngress}
	}
	return []string{GroupPods}
}

// Pod holds the properties of a pod that matter to NetworkPolicies.
type Pod struct {
	Namespace, Name         string
	Labels, NamespaceLabels map[string]string
	// Node is empty for a pod that is not bound.
	Node string
	// Addrs are empty as long as the pod has none. They matter only for an egress
	// rule that has both a named port and an ipBlock.
	Addrs []netip.Addr
	Ports []NamedPort
	// Asked is the pod's AnnotationSecurityGroups, Allowed its namespace's
	// AnnotationAllowedSecurityGroups; nil if there is no such annotation.
	Asked, Allowed *string
}

// PodOf reads a pod and its namespace. ns may be nil.
func PodOf(p *corev1.Pod, ns *corev1.Namespace, addrs []netip.Addr) Pod {
	pod := Pod{
		Namespace: p.Namespace, Name: p.Name, Labels: p.Labels, Node: p.Spec.NodeName,
		Addrs: addrs, Ports: NamedPortsOf(p), Asked: lookup(p.Annotations, AnnotationSecurityGroups),
	}
	if ns != nil {
		pod.NamespaceLabels, pod.Allowed = ns.Labels, lookup(ns.Annotations, AnnotationAllowedSecurityGroups)
	}
	return pod
}

func lookup(m map[string]string, key string) *string {
	if v, ok := m[key]; ok {
		return &v
	}
	return nil
}

// nameSet returns names sorted and without duplicates; nil if there are none.
func nameSet(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}
