package policy

import (
	"cmp"
	"slices"

	netv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Index is all NetworkPolicies, read. It does not change: a changed policy makes
// a new Index.
type Index struct {
	policies map[types.NamespacedName]*policy
	// of are a namespace's policies.
	of map[string][]*policy
	// sets are the pods that are anybody's peers, each set once.
	sets []podSet
}

// NewIndex reads policies. What is wrong with one is told by its unit.
func NewIndex(list []*netv1.NetworkPolicy) *Index {
	x := &Index{policies: map[types.NamespacedName]*policy{}, of: map[string][]*policy{}}
	seen := map[string]bool{}
	for _, np := range list {
		p := readPolicy(np)
		x.policies[types.NamespacedName{Namespace: np.Namespace, Name: np.Name}] = p
		x.of[np.Namespace] = append(x.of[np.Namespace], p)
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
