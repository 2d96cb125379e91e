package decide

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// NetworkPolicies become groups of two sorts, so that no group lists pods and
// no pod's coming or going changes a rule:
//
//   - A policy has one group that enforces it. Its rules are the policy's, its
//     members the pods that the policy selects.
//   - A peer that selects pods is a group without rules, shared by all policies
//     that mean the same pods. Rules name it as their remote group.
//
// Each pod states its memberships, in one update of its port. A pod that no
// policy isolates in a direction is a member of the group that is open in that
// direction; isolation is not being one.

// The groups of pods that are isolated in the other direction only. Those that
// are not isolated at all are in GroupPods.
const (
	OpenIngress = "open-ingress"
	OpenEgress  = "open-egress"
)

// PolicyUnit names a NetworkPolicy's unit.
func PolicyUnit(namespace, policy string) intent.Unit {
	return intent.Unit("policy/" + namespace + "/" + policy)
}

// GroupUnit names the unit of a group that policies share.
func GroupUnit(group string) intent.Unit {
	return intent.Unit("group/" + group[strings.LastIndexByte(group, '/')+1:])
}

// GuardGroup names the group of the pods on a node that are not open both ways.
func GuardGroup(node string) string { return "node/" + node }

// Guard is what pods on a node are let through whatever policies and groups of
// OpenStack's say: to and from their own node, as Kubernetes asks for, and what comes from
// an address of a Service, for that is what a pod's own packets to its own
// Service come back as. Nobody else can send from there. The node's unit owns it.
func Guard(node string, addrs []netip.Addr, services []netip.Prefix) intent.Group {
	var rules []intent.Rule
	for _, a := range addrs {
		p := netip.PrefixFrom(a, a.BitLen())
		rules = append(rules, intent.Rule{Direction: intent.Ingress, Remote: p}, intent.Rule{Direction: intent.Egress, Remote: p})
	}
	for _, p := range services {
		rules = append(rules, intent.Rule{Direction: intent.Ingress, Remote: p})
	}
	return intent.Group{Name: GuardGroup(node), Rules: tidy(rules)}
}

// Allocator is all NetworkPolicies, read. It does not change: a changed policy makes
// a new Book.
type PolicyIndex struct {
	policies map[types.NamespacedName]*policy
	// of are a namespace's policies.
	of map[string][]*policy
	// sets are the pods that are anybody's peers, each set once.
	sets []podSet
}

// NewPolicyIndex reads policies. What is wrong with one is told by its unit.
func NewPolicyIndex(list []*netv1.NetworkPolicy) *PolicyIndex {
	b := &PolicyIndex{policies: map[types.NamespacedName]*policy{}, of: map[string][]*policy{}}
	seen := map[string]bool{}
	for _, np := range list {
		p := readPolicy(np)
		b.policies[types.NamespacedName{Namespace: np.Namespace, Name: np.Name}] = p
		b.of[np.Namespace] = append(b.of[np.Namespace], p)
		for _, s := range p.sets() {
			if !seen[s.text] {
				seen[s.text] = true
				b.sets = append(b.sets, s)
			}
		}
	}
	slices.SortFunc(b.sets, func(x, y podSet) int { return cmp.Compare(x.text, y.text) })
	return b
}

// PolicyFacts are all that matters to one NetworkPolicy.
type PolicyFacts struct {
	Namespace, Name string
	Book            *PolicyIndex
	// Ports are those in use; only what UsingPorts tells matters.
	Ports PortCount
	// Services are needed only if the policy is one of UsingServices.
	Services []PolicyService
	// CloudGroups are the ids of the security groups of OpenStack's that the
	// policy names, by id or name; those that CloudGroupsOf lists.
	CloudGroups map[string]string
}

// Policy decides what a NetworkPolicy wants: its groups, with their rules. A
// peer that cannot be understood lets nobody through and is an intent.Stop, one
// that OpenStack does not have yet an intent.Wait.
func Policy(f PolicyFacts) intent.Decision[struct{}] {
	p := f.Book.policies[types.NamespacedName{Namespace: f.Namespace, Name: f.Name}]
	if p == nil {
		return intent.Remove(struct{}{})
	}
	p, problem := p.withClouds(f.CloudGroups)
	want := intent.Want{Fabric: intent.FabricNeutron, Groups: p.groups(f.Ports, f.Services)}
	return intent.ApplyWith(want, struct{}{}, problem)
}

// GroupFacts are all that matters to one group that policies share.
type GroupFacts struct {
	Unit  intent.Unit
	Book  *PolicyIndex
	Ports PortCount
}

// SharedGroup decides what the unit of such a group wants: the group, as long
// as a policy refers to it.
func SharedGroup(f GroupFacts) intent.Decision[struct{}] {
	g, used := f.Book.Groups(f.Ports)[f.Unit]
	if !used {
		return intent.Remove(struct{}{})
	}
	return intent.Apply(intent.Want{Fabric: intent.FabricNeutron, Groups: []intent.Group{g}}, struct{}{})
}

// Groups are the groups that no policy owns alone, by their units: the open
// ones, and those of peers. A group unit that is not here wants nothing.
func (b *PolicyIndex) Groups(ports PortCount) map[intent.Unit]intent.Group {
	out := map[intent.Unit]intent.Group{
		GroupUnit(OpenIngress): {Name: OpenIngress, Rules: []intent.Rule{{Direction: intent.Ingress}}},
		GroupUnit(OpenEgress):  {Name: OpenEgress, Rules: []intent.Rule{{Direction: intent.Egress}}},
	}
	for _, s := range b.sets {
		for _, name := range s.groups(ports) {
			out[GroupUnit(name)] = intent.Group{Name: name}
		}
	}
	return out
}

// Membership is what a pod's port is a member of.
type Membership struct {
	// Groups are ours, CloudGroups the ids of OpenStack's own.
	Groups, CloudGroups []string
}

// Clouds are security groups of OpenStack's own.
type Clouds struct {
	// Standard are the ids of those of pods that ask for none and that no policy
	// selects; if there are none, such a pod is open.
	Standard []string
	// IDs are those of the groups that the pod asks for, by id or name.
	IDs map[string]string
}

// Memberships decides a pod's groups. A problem, an intent.Stop or an
// intent.Wait, is one of the pod's annotation, which then counts as if it were
// empty: a pod that has no port yet should not get one.
func (b *PolicyIndex) Memberships(pod PolicyPod, c Clouds) (Membership, error) {
	var m Membership
	ingress, egress := false, false
	for _, p := range b.of[pod.Namespace] {
		if p.selects(pod) {
			ingress, egress = ingress || p.ingress, egress || p.egress
			m.Groups = append(m.Groups, p.groupsFor(pod)...)
		}
	}
	clouds, problem := pod.cloudGroups(c.IDs)
	if len(clouds) == 0 && !ingress && !egress {
		clouds = c.Standard
	}
	m.CloudGroups = nameSet(clouds)
	if len(clouds) == 0 {
		m.Groups = append(m.Groups, open(ingress, egress)...)
	}
	if (ingress || egress || len(clouds) > 0) && pod.Node != "" {
		m.Groups = append(m.Groups, GuardGroup(pod.Node))
	}
	for _, s := range b.sets {
		if name, ok := s.groupOf(pod); ok {
			m.Groups = append(m.Groups, name)
		}
	}
	m.Groups = nameSet(m.Groups)
	return m, problem
}

// open are the groups of a pod that is isolated so. Most pods are not at all,
// and in one group.
func open(ingress, egress bool) []string {
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

// PolicyPod is all of a pod that matters to NetworkPolicies.
type PolicyPod struct {
	Namespace, Name         string
	Labels, NamespaceLabels map[string]string
	// Node is empty for a pod that is not bound.
	Node string
	// Addrs are empty as long as the pod has none. They matter only where a
	// policy has both a named port and an ipBlock to send to.
	Addrs []netip.Addr
	Ports []NamedPort
	// Asked and Allowed are annotations: the pod's, and its namespace's.
	Asked, Allowed *string
}

// PolicyPodOf reads a pod and its namespace.
func PolicyPodOf(p *corev1.Pod, ns *corev1.Namespace, addrs []netip.Addr) PolicyPod {
	pod := PolicyPod{
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

// nameSet sorts names and leaves each once; nil if there are none.
func nameSet(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}
