package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

func (p *policy) selects(pod Pod) bool {
	return pod.Namespace == p.namespace && p.pods.Matches(labels.Set(pod.Labels))
}

// group returns the name of the group of the pods that the policy selects. With a
// port name it is the group of those pods whose port of that name has that
// number.
func (p *policy) group(at portRange, number int) string {
	name := "policy/" + p.namespace + "/" + p.name
	if at.name != "" {
		name += fmt.Sprintf("/%s/%s/%d", at.name, at.protocol, number)
	}
	return intent.ShortName(name)
}

// groupsFor returns the policy's groups that a selected pod is a member of.
func (p *policy) groupsFor(pod Pod) []string {
	out := []string{p.group(portRange{}, 0)}
	for _, a := range p.allows {
		if !a.namedIngress() {
			continue
		}
		if n, ok := pod.number(a.at.name, a.at.protocol); ok {
			out = append(out, p.group(a.at, n))
		}
	}
	return out
}

// namedIngress tells whether the port's number depends on the pod that the policy
// selects. For egress it depends on the peer instead.
func (a allow) namedIngress() bool { return a.direction == intent.Ingress && a.at.name != "" }

// sets returns the pod sets that the policy's rules refer to.
func (p *policy) sets() []podSet {
	var out []podSet
	for _, a := range p.allows {
		if a.peer.pods != nil {
			out = append(out, *a.peer.pods)
		}
	}
	return out
}

func (p *policy) usesPort(n NamedPort) bool {
	return slices.ContainsFunc(p.allows, func(a allow) bool { return a.at.name == n.Name && a.at.protocol == n.Protocol })
}

// usesServices is false if the policy permits all egress or none.
func (p *policy) usesServices() bool {
	out := func(a allow) bool { return a.direction == intent.Egress }
	everything := func(a allow) bool { return out(a) && a.peer.isEverybody() && a.at == portRange{} }
	return slices.ContainsFunc(p.allows, out) && !slices.ContainsFunc(p.allows, everything)
}

// groups returns the policy's groups with their rules, sorted by name.
func (p *policy) groups(ports PortCount, services []Service) []intent.Group {
	rules := map[string][]intent.Rule{p.group(portRange{}, 0): p.toServices(services)}
	for _, a := range p.allows {
		for _, n := range a.numbers(p.namespace, ports) {
			in := p.group(portRange{}, 0)
			if a.namedIngress() {
				in = p.group(a.at, n)
			}
			rules[in] = append(rules[in], a.rules(n)...)
		}
	}
	var out []intent.Group
	for name, r := range rules {
		out = append(out, intent.Group{Name: name, Rules: compact(r)})
	}
	slices.SortFunc(out, func(x, y intent.Group) int { return cmp.Compare(x.Name, y.Name) })
	return out
}

// numbers returns the numbers that the port's name stands for; 0 if it has no
// name.
func (a allow) numbers(namespace string, ports PortCount) []int {
	switch {
	case a.at.name == "":
		return []int{0}
	case a.peer.pods != nil && !a.namedIngress():
		namespace = a.peer.pods.namespace
	case a.direction == intent.Egress:
		return nil // members of an OpenStack security group have no named ports
	}
	return ports.numbers(namespace, a.at.name, a.at.protocol)
}

// rules returns the rules of the pair. number is the number of the port's name; 0
// if it has no name.
func (a allow) rules(number int) []intent.Rule {
	r := intent.Rule{Direction: a.direction, Protocol: a.at.protocol, First: a.at.first, Last: a.at.last}
	if number != 0 {
		r.First, r.Last = number, number
	}
	switch {
	case a.peer.cloud != "":
		r.RemoteCloudGroup = a.peer.cloud
	case a.peer.pods != nil && a.direction == intent.Egress:
		r.RemoteGroup = a.peer.pods.group(number)
		if b := a.peer.pods.blocks; b != nil { // a block is of one family, the pods' other addresses are not in it
			r.Family = familyOfPrefix(b[0])
		}
	case a.peer.pods != nil:
		r.RemoteGroup = a.peer.pods.group(0)
	}
	if a.peer.pods != nil || a.peer.blocks == nil {
		return []intent.Rule{r}
	}
	var out []intent.Rule
	for _, b := range a.peer.blocks {
		r.Remote = b
		out = append(out, r)
	}
	return out
}

// compact sorts rules and removes those that another rule contains. OpenStack has a
// quota of rules and rejects duplicates.
func compact(rules []intent.Rule) []intent.Rule {
	for i, r := range rules {
		if r.Remote.IsValid() && r.Remote.Bits() == 0 {
			rules[i].Family, rules[i].Remote = familyOfPrefix(r.Remote), netip.Prefix{}
		}
	}
	slices.SortFunc(rules, compareRules)
	rules = slices.Compact(rules)
	var out []intent.Rule
	for i, r := range rules {
		inOther := func(o intent.Rule) bool { return contains(o, r) }
		if !slices.ContainsFunc(rules[:i], inOther) && !slices.ContainsFunc(rules[i+1:], inOther) {
			out = append(out, r)
		}
	}
	return out
}

func familyOfPrefix(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 4
	}
	return 6
}

func compareRules(a, b intent.Rule) int {
	return cmp.Or(cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Protocol, b.Protocol),
		cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last), cmp.Compare(a.Family, b.Family),
		a.Remote.Compare(b.Remote), cmp.Compare(a.RemoteGroup, b.RemoteGroup), cmp.Compare(a.RemoteCloudGroup, b.RemoteCloudGroup))
}

// contains tells whether a permits everything that b permits. a and b differ.
func contains(a, b intent.Rule) bool {
	switch {
	case a.Direction != b.Direction, a.Protocol != "" && a.Protocol != b.Protocol,
		a.First != 0 && (b.First == 0 || b.First < a.First || b.Last > a.Last):
		return false
	}
	return containsPeer(a, b)
}

// containsPeer tells whether a's peer contains b's.
func containsPeer(a, b intent.Rule) bool {
	if a.RemoteGroup != "" || a.RemoteCloudGroup != "" {
		return a.RemoteGroup == b.RemoteGroup && a.RemoteCloudGroup == b.RemoteCloudGroup
	}
	if a.Remote.IsValid() {
		return b.Remote.IsValid() && a.Remote.Bits() <= b.Remote.Bits() && a.Remote.Contains(b.Remote.Addr())
	}
	family := b.Family
	if b.Remote.IsValid() {
		family = familyOfPrefix(b.Remote)
	}
	return a.Family == 0 || a.Family == family
}
