// Package policy decides what NetworkPolicies ask of the network: groups, their
// rules, and which groups each pod is a member of. It knows no fabric and reads
// nothing. Begin with Decide and Memberships; read.go says how a policy is
// understood, rules.go what becomes of it, affected.go whom a change affects.
//
// There are two sorts of groups, so that no group lists pods and no pod that
// comes or goes changes a rule:
//
//   - A policy has one group that enforces it. Its rules are the policy's, its
//     members the pods that the policy selects.
//   - A peer that selects pods is a group without rules, shared by all policies
//     that mean the same pods. Rules name it as their remote group.
//
// Each pod states its memberships, in one update of its port. A pod that no
// policy isolates in a direction is a member of the group that is open in that
// direction; isolation is not being one.
package policy

import (
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// GroupPods lets everything through. Pods that ask for no group are in it, as
// Kubernetes wants it where no NetworkPolicy says otherwise.
const GroupPods = "k8s-pods"

// The groups of pods that are isolated in the other direction only. Those that
// are not isolated at all are in GroupPods.
const (
	OpenIngress = "open-ingress"
	OpenEgress  = "open-egress"
)

// Unit names a NetworkPolicy's unit.
func Unit(namespace, policy string) intent.Unit {
	return intent.Unit("policy/" + namespace + "/" + policy)
}

// GroupUnit names the unit of a group that policies share.
func GroupUnit(group string) intent.Unit {
	return intent.Unit("group/" + group[strings.LastIndexByte(group, '/')+1:])
}

// Facts are all that matters to one NetworkPolicy.
type Facts struct {
	Namespace, Name string
	Index           *Index
	// Ports are those in use; only what UsingPorts tells matters.
	Ports PortCount
	// Services are needed only if the policy is one of UsingServices.
	Services []Service
	// CloudGroups are the ids of the security groups of OpenStack's that the
	// policy names, by id or name; those that CloudGroupsOf lists.
	CloudGroups map[string]string
}

// Decide decides what a NetworkPolicy wants: its groups, with their rules. A
// peer that cannot be understood lets nobody through and is an intent.Stop, one
// that OpenStack does not have yet an intent.Wait.
func Decide(f Facts) intent.Decision[struct{}] {
	p := f.Index.policies[types.NamespacedName{Namespace: f.Namespace, Name: f.Name}]
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
	Index *Index
	Ports PortCount
}

// SharedGroup decides what the unit of such a group wants: the group, as long
// as a policy refers to it.
func SharedGroup(f GroupFacts) intent.Decision[struct{}] {
	g, used := f.Index.Groups(f.Ports)[f.Unit]
	if !used {
		return intent.Remove(struct{}{})
	}
	return intent.Apply(intent.Want{Fabric: intent.FabricNeutron, Groups: []intent.Group{g}}, struct{}{})
}

// Groups are the groups that no policy owns alone, by their units: the open
// ones, and those of peers. A group unit that is not here wants nothing.
func (x *Index) Groups(ports PortCount) map[intent.Unit]intent.Group {
	out := map[intent.Unit]intent.Group{
		GroupUnit(OpenIngress): {Name: OpenIngress, Rules: []intent.Rule{{Direction: intent.Ingress}}},
		GroupUnit(OpenEgress):  {Name: OpenEgress, Rules: []intent.Rule{{Direction: intent.Egress}}},
	}
	for _, s := range x.sets {
		for _, name := range s.groups(ports) {
			out[GroupUnit(name)] = intent.Group{Name: name}
		}
	}
	return out
}
