package policy

import (
	"net/netip"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

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
