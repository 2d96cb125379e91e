package policy

import (
	"cmp"
	"slices"

	netv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// The functions here return the units that a change affects, and no others. Call
// them for both the old and the new state.

// Affects returns a function that tells whether a policy affects a pod: it
// selects the pod, or the pod is one of its peers. When a policy or a pod
// changes, call it for both the old and the new version.
func Affects(np *netv1.NetworkPolicy) func(Pod) bool {
	p := readPolicy(np)
	sets := p.sets()
	return func(pod Pod) bool {
		return p.selects(pod) || slices.ContainsFunc(sets, func(s podSet) bool { return s.has(pod) })
	}
}

// SharedGroups returns the units of the groups that a policy's rules refer to,
// sorted.
func SharedGroups(np *netv1.NetworkPolicy, ports PortCount) []intent.Unit {
	var out []intent.Unit
	for _, s := range readPolicy(np).sets() {
		for _, g := range s.groups(ports) {
			out = append(out, GroupUnit(g))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ReferringTo returns the policies whose rules refer to a group unit's group,
// sorted.
func (x *Index) ReferringTo(u intent.Unit, ports PortCount) []types.NamespacedName {
	is := func(group string) bool { return GroupUnit(group) == u }
	return x.filter(func(p *policy) bool {
		return slices.ContainsFunc(p.sets(), func(s podSet) bool { return slices.ContainsFunc(s.groups(ports), is) })
	})
}

// UsingPorts returns the policies and the units of shared groups that depend on
// named ports that came into use or went out of use. Both are sorted.
func (x *Index) UsingPorts(changed []NamedPort) ([]types.NamespacedName, []intent.Unit) {
	var groups []intent.Unit
	for _, s := range x.sets {
		for _, n := range changed {
			if s.port == n.Name && s.protocol == n.Protocol && (s.namespace == "" || s.namespace == n.Namespace) {
				groups = append(groups, GroupUnit(s.group(n.Number)))
			}
		}
	}
	slices.Sort(groups)
	return x.filter(func(p *policy) bool { return slices.ContainsFunc(changed, p.usesPort) }), slices.Compact(groups)
}

// UsingServices returns the policies that depend on Services, sorted. They must
// run again when a Service or its endpoints change, or a label of a pod behind a
// Service or of that pod's namespace.
func (x *Index) UsingServices() []types.NamespacedName {
	return x.filter(func(p *policy) bool { return p.usesServices() })
}

// All returns all policies, sorted.
func (x *Index) All() []types.NamespacedName {
	return x.filter(func(*policy) bool { return true })
}

func (x *Index) filter(fits func(*policy) bool) []types.NamespacedName {
	var out []types.NamespacedName
	for n, p := range x.policies {
		if fits(p) {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(x, y types.NamespacedName) int { return cmp.Compare(x.String(), y.String()) })
	return out
}
