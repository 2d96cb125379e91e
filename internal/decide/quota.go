package decide

import (
	"fmt"
	"strings"
)

// Quota is how many things of a kind our cloud project may have, less than 0 for
// any number, and how many it has.
type Quota struct{ Limit, Used int }

// room is what a cluster should have left of each kind, for what its users may do
// any time: a NetworkPolicy with its peers, a node, a few pods.
var room = []struct {
	kind, words, flag, why string
	left                   int
}{
	{"security_group", "security groups", "--secgroups", "each NetworkPolicy, each different peer and each node needs one", 10},
	{"security_group_rule", "rules of security groups", "--secgroup-rules", "each rule of a NetworkPolicy needs some", 50},
	{"port", "ports", "--ports", "each pod needs one, and the pools keep some", 20},
}

// Short says of which quotas little is left, and what to do. It names no
// number that changes with every pod, so that the same is not told again and again.
func Short(quotas map[string]Quota, project string) string {
	var all []string
	for _, r := range room {
		q, known := quotas[r.kind]
		if !known || q.Limit < 0 || q.Limit-q.Used >= r.left {
			continue
		}
		all = append(all, fmt.Sprintf("less than %d of %d %s are left, and %s: openstack quota set %s NUMBER %s", r.left, q.Limit, r.words, r.why, r.flag, project))
	}
	return strings.Join(all, "; ")
}
