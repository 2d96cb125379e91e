package decide

import (
	"fmt"
	"strings"
)

// Quota is the limit of one resource type in our cloud project, negative for no
// limit, and how many of it the project has.
type Quota struct{ Limit, Used int }

// quotaReserve is how much of each quota should be free for what users may do at
// any time: a NetworkPolicy with its peers, a node, a few pods.
var quotaReserve = []struct {
	kind, words, flag, why string
	left                   int
}{
	{"security_group", "security groups", "--secgroups", "each NetworkPolicy, each different peer and each node needs one", 10},
	{"security_group_rule", "rules of security groups", "--secgroup-rules", "each rule of a NetworkPolicy needs some", 50},
	{"port", "ports", "--ports", "each pod needs one, and the pools keep some", 20},
}

// LowQuotas returns a text that says which quotas are almost used up and what to
// do; empty if none is. It leaves out numbers that change with every pod, so that
// the text does not change and is reported once.
func LowQuotas(quotas map[string]Quota, project string) string {
	var all []string
	for _, r := range quotaReserve {
		q, known := quotas[r.kind]
		if !known || q.Limit < 0 || q.Limit-q.Used >= r.left {
			continue
		}
		all = append(all, fmt.Sprintf("less than %d of %d %s are left, and %s: openstack quota set %s NUMBER %s", r.left, q.Limit, r.words, r.why, r.flag, project))
	}
	return strings.Join(all, "; ")
}
