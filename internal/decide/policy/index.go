package policy

import (
	"cmp"
	"slices"

	netv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Index holds all NetworkPolicies, parsed. It is immutable: if a policy changes,
// make a new Index.
type Index struct {
	policies map[types.NamespacedName]*policy
	// byNamespace holds the policies of each namespace.
	byNamespace map[string][]*policy
	// sets are the pod sets that policies use as peers, each once, sorted.
	sets []podSet
}

// NewIndex parses policies. The unit of an invalid policy reports its problem.
func NewIndex(list []*netv1.NetworkPolicy) *Index {
	x := &Index{policies: map[types.NamespacedName]*policy{}, byNamespace: map[string][]*policy{}}
	seen := map[string]bool{}
	for _, np := range list {
		p := readPolicy(np)
		x.policies[types.NamespacedName{Namespace: np.Namespace, Name: np.Name}] = p
		x.byNamespace[np.Namespace] = append(x.byNamespace[np.Namespace], p)
		for _, s := range p.sets() {
			if !seen[s.text] {
				seen[s.text] = true
				x.sets = append(x.sets, s)
			}
		}
	}
	slices.SortFunc(x.sets, func(x, y podSet) int { return cmp.Compare(x.text, y.text) })
	return x
}
