// Package policy decides what NetworkPolicies ask of the network: groups, their
// rules, and which groups each pod is a member of. It does no I/O and knows no
// fabric. Begin with Decide and Memberships; read.go parses a policy, rules.go
// makes its groups and rules, affected.go finds what a change affects.
//
// There are two sorts of groups, so that no group lists pods and no rule changes
// when a pod is created or deleted:
//
//   - A policy has one group that enforces it. Its rules are the policy's, its
//     members the pods that the policy selects.
//   - A peer that selects pods is a group without rules. Policies that select the
//     same pods share it. Rules refer to it as their remote group.
//
// Each pod's port lists its own memberships, so one update of the port sets them
// all. A pod that no policy isolates in a direction is a member of the group that
// permits everything in that direction. A pod that is isolated is not a member.
package policy

import (
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// GroupPods permits everything. Pods that no policy selects and that ask for no
// group are in it, because Kubernetes permits everything without NetworkPolicies.
const GroupPods = "k8s-pods"

// The groups of pods that are isolated only in the other direction. Pods that are
// not isolated at all are in GroupPods.
const (
	OpenIngress = "open-ingress"
	OpenEgress  = "open-egress"
)

// Unit returns the name of a NetworkPolicy's unit.
func Unit(namespace, policy string) intent.Unit {
	return intent.Unit("policy/" + namespace + "/" + policy)
}

// GroupUnit returns the name of the unit of a group that policies share.
func GroupUnit(group string) intent.Unit {
	return intent.Unit("group/" + group[strings.LastIndexByte(group, '/')+1:])
}

// Facts are the facts about one NetworkPolicy.
type Facts struct {
	Namespace, Name string
	Index           *Index
	// Ports are the named ports in use. A change matters only to UsingPorts'
	// policies.
	Ports PortCount
	// Services are needed only for a policy in UsingServices.
	Services []Service
	// CloudGroups maps the policy's OpenStack security groups, as CloudGroupsOf
	// returns them, to their ids. A group that does not exist is missing.
	CloudGroups map[string]string
}

// Decide returns what a NetworkPolicy wants: its groups, with their rules. A peer
// that is invalid gets no access and makes an intent.Stop. A peer whose group
// OpenStack does not have yet gets no access and makes an intent.Wait.
func Decide(f Facts) intent.Decision[struct{}] {
	p := f.Index.policies[types.NamespacedName{Namespace: f.Namespace, Name: f.Name}]
	if p == nil {
		return intent.Remove(struct{}{})
	}
	p, problem := p.withCloudGroups(f.CloudGroups)
	want := intent.Want{Fabric: intent.FabricNeutron, Groups: p.groups(f.Ports, f.Services)}
	return intent.ApplyWith(want, struct{}{}, problem)
}

// GroupFacts are the facts about one group that policies share.
type GroupFacts struct {
	Unit  intent.Unit
	Index *Index
	Ports PortCount
}

// SharedGroup returns what the unit of a shared group wants: the group, as long
// as a policy refers to it.
func SharedGroup(f GroupFacts) intent.Decision[struct{}] {
	g, used := f.Index.Groups(f.Ports)[f.Unit]
	if !used {
		return intent.Remove(struct{}{})
	}
	return intent.Apply(intent.Want{Fabric: intent.FabricNeutron, Groups: []intent.Group{g}}, struct{}{})
}

// Groups returns the groups that no policy owns alone, by their units:
// OpenIngress, OpenEgress and those of peers. A group unit that is not in it
// wants nothing.
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
