package policy

import (
	"net/netip"

	"github.com/isthmus-cni/isthmus/internal/intent"
)

// GuardGroup returns the name of the group of a node's pods that do not permit
// everything.
func GuardGroup(node string) string { return "node/" + node }

// Guard returns a node's guard group. It permits what no policy and no OpenStack
// group may block: traffic between the pods and their own node, as Kubernetes
// requires, and traffic from the address of a Service. The latter is how a pod's
// packets to its own Service come back to it; no other sender has such an
// address. The node's unit owns the group.
func Guard(node string, addrs []netip.Addr, services []netip.Prefix) intent.Group {
	var rules []intent.Rule
	for _, a := range addrs {
		p := netip.PrefixFrom(a, a.BitLen())
		rules = append(rules, intent.Rule{Direction: intent.Ingress, Remote: p}, intent.Rule{Direction: intent.Egress, Remote: p})
	}
	for _, p := range services {
		rules = append(rules, intent.Rule{Direction: intent.Ingress, Remote: p})
	}
	return intent.Group{Name: GuardGroup(node), Rules: compact(rules)}
}
